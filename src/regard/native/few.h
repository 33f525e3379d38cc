/* Products for few rows: what a decoder that writes does, whose time is reading the weights once. They
   lie by 64 outputs, in the order in which they are read. */
#ifndef REGARD_FEW_H
#define REGARD_FEW_H

#include <stdlib.h>

#include "bytes.h"

#define OUTPUTS 64
#define VECTORS (OUTPUTS / LANES)

/* For one number of rows each. */
#define FOR_ROWS(DO) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6)

/* Writes as many of LANES results as there are outputs. */
INLINE void store_some(float *out, vec y, long left) {
    if (left >= LANES) store(out, y);
    else if (left > 0) memcpy(out, &y, (size_t)left * sizeof(float));
}

struct few_halves {
    const float *x;
    const uint16_t *weight;
    float *out;
    long rows, width, outputs;
    struct finishing finishing;
};

#define FEW_HALVES(M)                                                                                 \
    INLINE void few_halves_##M(const struct few_halves *job, const float *x, const uint16_t *weight, \
                               long from, long row) {                                                 \
        vec sums[M][VECTORS];                                                                         \
        for (int i = 0; i < M; i++)                                                                   \
            for (int j = 0; j < VECTORS; j++) sums[i][j] = all(0);                                    \
        for (long k = 0; k < job->width; k++, weight += OUTPUTS)                                      \
            for (int j = 0; j < VECTORS; j++) {                                                       \
                vec w = load_half(weight + j * LANES);                                                \
                for (int i = 0; i < M; i++) sums[i][j] += x[i * job->width + k] * w;                  \
            }                                                                                         \
        for (int i = 0; i < M; i++)                                                                   \
            for (int j = 0; j < VECTORS; j++) {                                                       \
                long at = from + j * LANES;                                                           \
                vec y = activated(sums[i][j] + load(job->finishing.bias + at), &job->finishing);      \
                store_some(job->out + (row + i) * job->outputs + at, y, job->outputs - at);           \
            }                                                                                         \
    }
FOR_ROWS(FEW_HALVES)

static void few_halves_outputs(void *given, long part) {
    const struct few_halves *job = given;
    const uint16_t *weight = job->weight + part * OUTPUTS * job->width;
    for (long row = 0; row < job->rows; row += 6) {
        const float *x = job->x + row * job->width;
        long left = job->rows - row, from = part * OUTPUTS;
#define CASE(M) case M: few_halves_##M(job, x, weight, from, row); break;
        switch (left < 6 ? left : 6) { FOR_ROWS(CASE) }
#undef CASE
    }
}

/* out (rows, outputs) = activation(x weight^T + bias) for x (rows, width) and a weight of bfloat16,
   (outputs / 64, width, 64); weight and bias are for a multiple of 64 outputs. */
void regard_few_halves(const float *x, long rows, long width, const uint16_t *weight, const float *bias,
                       long outputs, const float *curve, long degree, float *out, int threads) {
    struct few_halves job = {x, weight, out, rows, width, outputs, {bias, curve, degree}};
    in_parallel((outputs + OUTPUTS - 1) / OUTPUTS, threads, few_halves_outputs, &job);
}

#ifdef __AVX512VNNI__
#include <immintrin.h>

struct few {
    const uint8_t *bytes;
    const float *steps, *scale;
    const int32_t *sums;
    const int8_t *weight;
    float *out;
    long rows, width, outputs;
    int zero;
    struct finishing finishing;
};

/* Weights of bytes as the instructions of AVX-512 VNNI take them: of 64 outputs four neighbouring inputs
   each. M rows of inputs, and 64 outputs, the first of which is `from`. */
#define FEW(M)                                                                                       \
    INLINE void few_##M(const struct few *job, const uint8_t *x, const int8_t *weight, long from,   \
                        long row) {                                                                  \
        __m512i sums[M][VECTORS];                                                                    \
        for (int i = 0; i < M; i++)                                                                  \
            for (int j = 0; j < VECTORS; j++) sums[i][j] = _mm512_setzero_si512();                   \
        for (long k = 0; k < job->width; k += 4, weight += 4 * OUTPUTS) {                            \
            __m512i w[VECTORS];                                                                      \
            for (int j = 0; j < VECTORS; j++) w[j] = _mm512_loadu_si512(weight + 64 * j);            \
            for (int i = 0; i < M; i++) {                                                            \
                int32_t four;                                                                        \
                memcpy(&four, x + i * job->width + k, 4);                                            \
                for (int j = 0; j < VECTORS; j++)                                                    \
                    sums[i][j] = _mm512_dpbusd_epi32(sums[i][j], _mm512_set1_epi32(four), w[j]);     \
            }                                                                                        \
        }                                                                                            \
        for (int i = 0; i < M; i++)                                                                  \
            for (int j = 0; j < VECTORS; j++)                                                        \
                few_results(job, (ints)sums[i][j], row + i, from + j * LANES);                       \
    }

INLINE void few_results(const struct few *job, ints sums, long row, long from) {
    sums -= *(const ints *)(job->sums + from) * job->zero;
    vec y = __builtin_convertvector(sums, vec) * load(job->scale + from) * job->steps[row];
    y = activated(y + load(job->finishing.bias + from), &job->finishing);
    store_some(job->out + row * job->outputs + from, y, job->outputs - from);
}
FOR_ROWS(FEW)

static void few_outputs(void *given, long part) {
    const struct few *job = given;
    const int8_t *weight = job->weight + part * OUTPUTS * job->width;
    long from = part * OUTPUTS;
    for (long row = 0; row < job->rows; row += 6) {
        const uint8_t *x = job->bytes + row * job->width;
        long left = job->rows - row;
#define CASE(M) case M: few_##M(job, x, weight, from, row); break;
        switch (left < 6 ? left : 6) { FOR_ROWS(CASE) }
#undef CASE
    }
}

/* out (rows, outputs) = activation(x weight^T + bias) for x (rows, width). Weight, scale, sums (of each
   output's weights) and bias are for a multiple of 64 outputs; width is a multiple of 4. */
void regard_few_bytes(const float *x, long rows, long width, const float *factor, const float *offset, int signs,
                const int8_t *weight, const float *scale, const int32_t *sums, const float *bias, long outputs,
                const float *curve, long degree, float *out, int threads) {
    uint8_t *bytes = malloc((size_t)(rows * width));
    float *steps = malloc(sizeof(float) * (size_t)rows), room[width];
    struct rounding rounding = {factor, offset, signs};
    for (long row = 0; row < rows; row++)
        steps[row] = round_row(x + row * width, width, &rounding, bytes + row * width, room);
    struct few job = {bytes, steps, scale, sums, weight, out, rows, width, outputs, signs ? 128 : 0,
                      {bias, curve, degree}};
    in_parallel((outputs + OUTPUTS - 1) / OUTPUTS, threads, few_outputs, &job);
    free(steps);
    free(bytes);
}
#endif

#endif
