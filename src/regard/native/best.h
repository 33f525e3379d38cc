/* The best of many scores, and what all of them come to, in one call. */
#ifndef REGARD_BEST_H
#define REGARD_BEST_H

#include <math.h>

#include "threads.h"
#include "vectors.h"

struct choosing {
    const float *scores;
    long words, count;
    float *values, *totals;
    int64_t *places;
};

/* Puts a score among the best ones, which are in order; behind those that are equal. */
INLINE void insert(float *values, int64_t *places, long count, float value, int64_t place) {
    long i = count - 1;
    for (; i > 0 && values[i - 1] < value; i--) {
        values[i] = values[i - 1];
        places[i] = places[i - 1];
    }
    values[i] = value;
    places[i] = place;
}

static void best_of_row(void *given, long row) {
    const struct choosing *job = given;
    const float *scores = job->scores + row * job->words;
    float *values = job->values + row * job->count, *least = values + job->count - 1, total = 0;
    int64_t *places = job->places + row * job->count;
    for (long i = 0; i < job->count; i++) values[i] = -INFINITY, places[i] = 0;
    long even = job->words / LANES * LANES;
    for (long i = 0; i < even; i += LANES) {
        vec x = load(scores + i);
        if (__builtin_reduce_or((ints)(x > *least)))
            for (int l = 0; l < LANES; l++)
                if (x[l] > *least) insert(values, places, job->count, x[l], i + l);
    }
    for (long i = even; i < job->words; i++)
        if (scores[i] > *least) insert(values, places, job->count, scores[i], i);
    vec sum = all(0);
    ints wrong = {0};
    for (long i = 0; i < even; i += LANES) {
        vec x = load(scores + i);
        sum += exponential(x - values[0]);
        wrong |= (ints)(x != x);
    }
    for (long i = even; i < job->words; i++) total += expf(scores[i] - values[0]);
    total = values[0] + logf(total + sum_of(sum));
    job->totals[row] = __builtin_reduce_or(wrong) ? NAN : total;
}

/* Of scores (rows, words) the `count` best of each row in order, of equal ones the first, where they
   are, and the logarithm of the sum of e^score; no number where a score is none. */
void regard_best(const float *scores, long rows, long words, long count, float *values, int64_t *places,
                 float *totals, int threads) {
    struct choosing job = {scores, words, count, values, totals, places};
    in_parallel(rows, threads, best_of_row, &job);
}

#endif
