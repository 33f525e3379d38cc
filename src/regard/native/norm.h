/* Layer normalisation of a sum (Ba et al. 2016, equation 4). */
#ifndef REGARD_NORM_H
#define REGARD_NORM_H

#include <math.h>

#include "threads.h"
#include "vectors.h"

#define ROWS_AT_A_TIME 16

struct norming {
    const float *x, *weight, *bias;
    const void *added;
    float *out, eps;
    long rows, width;
    int half;
};

static void norm_rows(void *given, long part) {
    const struct norming *job = given;
    long width = job->width, end = (part + 1) * ROWS_AT_A_TIME;
    for (long row = part * ROWS_AT_A_TIME; row < end && row < job->rows; row++) {
        const float *x = job->x + row * width;
        float *out = job->out + row * width;
        vec sum = all(0), squares = all(0);
        for (long i = 0; i < width; i += LANES) {
            vec v = load(x + i) + load_as(job->added, row * width + i, job->half);
            store(out + i, v);
            sum += v;
        }
        vec mean = all(sum_of(sum) / (float)width);
        for (long i = 0; i < width; i += LANES) {
            vec v = load(out + i) - mean;
            squares += v * v;
        }
        vec scale = all(1 / sqrtf(sum_of(squares) / (float)width + job->eps));
        for (long i = 0; i < width; i += LANES)
            store(out + i, (load(out + i) - mean) * scale * load(job->weight + i) + load(job->bias + i));
    }
}

/* out = norm(x + added) weight + bias, (rows, width); `added` is bfloat16 if `half`, else float. */
void regard_add_norm(const float *x, const void *added, long rows, long width, const float *weight,
                     const float *bias, float eps, int half, float *out, int threads) {
    struct norming job = {x, weight, bias, added, out, eps, rows, width, half};
    in_parallel((rows + ROWS_AT_A_TIME - 1) / ROWS_AT_A_TIME, threads, norm_rows, &job);
}

#endif
