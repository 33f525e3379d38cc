/* Around products of bytes: floats to bytes with a scale for each row, sums of products to floats. */
#ifndef REGARD_BYTES_H
#define REGARD_BYTES_H

#include "threads.h"
#include "vectors.h"

#define TINY 1e-12f
#define SPAN 16 /* rows that a thread takes at a time */

/* How rows of floats become bytes: as (x factor + offset) / step, if that is never below zero, or else,
   for numbers on both sides of it, plus 128. */
struct rounding {
    const float *factor, *offset;
    int signs;
};

/* What becomes of a sum of products: activation(sum step scale + bias). The activation is
   none without a curve, and else x (0.5 + x P(x^2)) with x clamped to the reach in the brackets;
   curve: the reach, then coefficients of P as a polynomial of 2 (x / reach)^2 - 1, lowest first.
   With a reach of zero it is max(x, 0). */
struct finishing {
    const float *bias, *curve;
    long degree;
};

INLINE vec activated(vec x, const struct finishing *how) {
    const float *curve = how->curve;
    if (!curve) return x;
    if (curve[0] == 0) return (vec)(~(x < 0) & (ints)x); /* what is no number stays none */
    vec near = max_of(min_of(x, all(curve[0])), all(-curve[0]));
    vec place = near * near * (2 / (curve[0] * curve[0])) - 1.0f;
    vec sum = all(curve[how->degree + 1]);
    for (long i = how->degree; i > 0; i--) sum = sum * place + curve[i];
    return x * (near * sum + 0.5f);
}

/* Rounds one row, and returns its step: no number where the row has one that is none. */
static float round_row(const float *x, long width, const struct rounding *how, uint8_t *out, float *room) {
    vec high = all(0), wrong = all(0);
    for (long i = 0; i < width; i += LANES) {
        vec even = load(x + i) * load(how->factor + i) + load(how->offset + i);
        store(room + i, even);
        high = max_of(high, how->signs ? absolute(even) : even);
        wrong += even * 0;
    }
    float step = largest(high) / (how->signs ? 127.0f : 255.0f);
    step = (step > TINY ? step : TINY) + sum_of(wrong);
    vec times = all(1 / step), from = all(how->signs ? 128.0f : 0.0f);
    for (long i = 0; i < width; i += LANES) store_bytes(out + i, load(room + i) * times + from);
    return step;
}

INLINE void finish_row(const float *y, long width, float step, const struct finishing *how, float *out) {
    long even = width / LANES * LANES, left = width - even;
    for (long i = 0; i < even; i += LANES)
        store(out + i, activated(load(y + i) * step + load(how->bias + i), how));
    if (left) {
        vec sum = all(0), bias = all(0);
        memcpy(&sum, y + even, (size_t)left * sizeof(float));
        memcpy(&bias, how->bias + even, (size_t)left * sizeof(float));
        sum = activated(sum * step + bias, how);
        memcpy(out + even, &sum, (size_t)left * sizeof(float));
    }
}

struct rows {
    const float *in;
    float *out, *steps, *next;
    uint8_t *bytes;
    long rows, width;
    struct rounding rounding;
    struct finishing finishing;
};

INLINE long last(const struct rows *job, long part) {
    long end = (part + 1) * SPAN;
    return end < job->rows ? end : job->rows;
}

static void levels_of_rows(void *given, long part) {
    struct rows *job = given;
    float room[job->width];
    for (long row = part * SPAN, end = last(job, part); row < end; row++)
        job->steps[row] = round_row(job->in + row * job->width, job->width, &job->rounding,
                                    job->bytes + row * job->width, room);
}

static void finish_rows(void *given, long part) {
    struct rows *job = given;
    for (long row = part * SPAN, end = last(job, part); row < end; row++)
        finish_row(job->in + row * job->width, job->width, job->steps[row], &job->finishing,
                   job->out + row * job->width);
}

static void relevel_rows(void *given, long part) {
    struct rows *job = given;
    float room[job->width];
    for (long row = part * SPAN, end = last(job, part); row < end; row++) {
        finish_row(job->in + row * job->width, job->width, job->steps[row], &job->finishing, room);
        job->next[row] = round_row(room, job->width, &job->rounding, job->bytes + row * job->width, room);
    }
}

/* x (rows, width) to bytes, and steps (rows). */
void regard_levels(const float *x, long rows, long width, const float *factor, const float *offset,
                   int signs, uint8_t *out, float *steps, int threads) {
    struct rows job = {.in = x, .bytes = out, .steps = steps, .rows = rows, .width = width,
                       .rounding = {factor, offset, signs}};
    in_parallel((rows + SPAN - 1) / SPAN, threads, levels_of_rows, &job);
}

/* Sums of products (rows, width) to results, in place; of any width. */
void regard_finish(float *y, long rows, long width, const float *steps, const float *bias,
                   const float *curve, long degree, int threads) {
    struct rows job = {.in = y, .out = y, .steps = (float *)steps, .rows = rows, .width = width,
                       .finishing = {bias, curve, degree}};
    in_parallel((rows + SPAN - 1) / SPAN, threads, finish_rows, &job);
}

/* Sums of products (rows, width) to results, and these to bytes and steps. */
void regard_relevel(const float *y, long rows, long width, const float *steps, const float *bias,
                    const float *curve, long degree, const float *factor, const float *offset, int signs,
                    uint8_t *out, float *next, int threads) {
    struct rows job = {.in = y, .bytes = out, .steps = (float *)steps, .next = next, .rows = rows,
                       .width = width, .rounding = {factor, offset, signs}, .finishing = {bias, curve, degree}};
    in_parallel((rows + SPAN - 1) / SPAN, threads, relevel_rows, &job);
}

#endif
