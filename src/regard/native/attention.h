/* Scaled dot-product attention within packed sequences (Vaswani et al. 2017, section 3.2.1). */
#ifndef REGARD_ATTENTION_H
#define REGARD_ATTENTION_H

#include <stdlib.h>

#include "threads.h"
#include "vectors.h"

#define TALL 6 /* rows of a product at a time: 6 x 4 sums fit into the registers */
#define BLOCK (2 * LANES) /* queries at a time: their scores stay in the nearest cache */
#define NEVER -1e30f

/* Packed queries, keys and values: (tokens, heads, size), whose rows lie `..._stride` elements
   apart; sequence s has the tokens from starts[s] to starts[s + 1]. */
struct attending {
    const void *query, *key, *value;
    void *out;
    long query_stride, key_stride, value_stride;
    const int32_t *starts;
    long count, heads, key_heads, size;
    float scale;
    int causal, half;
};

#define PRODUCT(M, N)                                                                              \
    INLINE void product_##M##_##N(const float *a, long a_stride, long a_step, const float *b,      \
                                  long b_stride, long depth, float *c, long c_stride) {            \
        vec sums[M][N];                                                                            \
        for (int i = 0; i < M; i++)                                                                \
            for (int j = 0; j < N; j++) sums[i][j] = all(0);                                       \
        for (long k = 0; k < depth; k++) {                                                         \
            vec row[N];                                                                            \
            for (int j = 0; j < N; j++) row[j] = load(b + k * b_stride + j * LANES);               \
            for (int i = 0; i < M; i++)                                                            \
                for (int j = 0; j < N; j++) sums[i][j] += a[i * a_stride + k * a_step] * row[j];   \
        }                                                                                          \
        for (int i = 0; i < M; i++)                                                                \
            for (int j = 0; j < N; j++) store(c + i * c_stride + j * LANES, sums[i][j]);           \
    }
#define PRODUCTS(M) PRODUCT(M, 1) PRODUCT(M, 2) PRODUCT(M, 3) PRODUCT(M, 4)
PRODUCTS(1) PRODUCTS(2) PRODUCTS(3) PRODUCTS(4) PRODUCTS(5) PRODUCTS(6)

/* c = a b for a (M, depth), whose elements lie a_stride and a_step apart, and b (depth, columns), a
   multiple of LANES. */
#define WIDE(M, N) product_##M##_##N(a, a_stride, a_step, b + j, b_stride, depth, c + j, c_stride)
#define HIGH(M)                                                                                    \
    case M: {                                                                                      \
        long j = 0;                                                                                \
        for (; j + 4 * LANES <= columns; j += 4 * LANES) WIDE(M, 4);                               \
        long left = (columns - j) / LANES;                                                         \
        if (left == 3) WIDE(M, 3);                                                                 \
        if (left == 2) WIDE(M, 2);                                                                 \
        if (left == 1) WIDE(M, 1);                                                                 \
        break;                                                                                     \
    }
static void product(long rows, const float *a, long a_stride, long a_step, const float *b, long b_stride,
                    long depth, long columns, float *c, long c_stride) {
    switch (rows) { HIGH(1) HIGH(2) HIGH(3) HIGH(4) HIGH(5) HIGH(6) }
}

/* Softmax of a row of which `length` columns are seen, and zero in the others. */
INLINE void softmax(float *row, long length, long columns, float scale) {
    for (long j = length; j < columns; j++) row[j] = NEVER;
    vec high = all(NEVER), sum = all(0);
    for (long j = 0; j < columns; j += LANES) high = max_of(high, load(row + j));
    vec top = all(largest(high));
    for (long j = 0; j < columns; j += LANES) {
        vec weight = exponential((load(row + j) - top) * scale);
        store(row + j, weight);
        sum += weight;
    }
    vec share = all(1 / sum_of(sum));
    for (long j = 0; j < columns; j += LANES) store(row + j, load(row + j) * share);
}

/* Copies rows to floats, whatever they are. */
INLINE void copy_rows(const void *from, long at, long stride, long rows, long size, int half, float *to) {
    for (long r = 0; r < rows; r++)
        for (long d = 0; d < size; d += LANES)
            store(to + r * size + d, load_as(from, at + r * stride + d, half));
}

/* Softmax of every column of scores (seen, width), but for the division by the sums, which it gives. If
   `first` is not negative, the column of query j ends at row first + j. */
INLINE void softmax_columns(float *scores, long seen, long width, long first, float *sums) {
    for (long j = 0; j < width; j += LANES) {
        vec high = all(NEVER), sum = all(0), last = numbers() + (float)(first + j);
        for (long k = 0; k < seen; k++) {
            float *at = scores + k * width + j;
            if (first >= 0 && k > first + j) store(at, chosen(last < all(k), all(NEVER), load(at)));
            high = max_of(high, load(at));
        }
        for (long k = 0; k < seen; k++) {
            float *at = scores + k * width + j;
            vec weight = exponential(load(at) - high);
            store(at, weight);
            sum += weight;
        }
        store(sums + j, sum);
    }
}

/* Queries in columns: to (size, width) from (rows, size), with zeros for the columns that are missing. */
INLINE void turn_rows(const void *from, long at, long stride, long rows, long size, int half, float scale,
                      float *to, long width) {
    for (long j = 0; j < width; j += LANES)
        for (long d = 0; d < size; d += LANES) {
            vec square[LANES];
            for (long l = 0; l < LANES; l++)
                square[l] = j + l < rows ? load_as(from, at + (j + l) * stride + d, half) * scale : all(0);
            turn(square);
            for (long l = 0; l < LANES; l++) store(to + (d + l) * width + j, square[l]);
        }
}

/* One head of one sequence. A column is a query's, so that softmax goes down the vectors, not along. */
static void attend(void *given, long number) {
    const struct attending *job = given;
    long sequence = number / job->heads, head = number % job->heads, size = job->size;
    long from = job->starts[sequence], length = job->starts[sequence + 1] - from;
    long key_head = head / (job->heads / job->key_heads);
    int half = job->half;
    long floats = (2 * size + BLOCK) * length + (size + 1) * BLOCK + TALL * size;
    float *room = aligned_alloc(64, sizeof(float) * floats);
    float *keys = room, *values = keys + size * length, *scores = values + size * length;
    float *queries = scores + BLOCK * length, *sums = queries + BLOCK * size, *mixed = sums + BLOCK;
    copy_rows(job->key, from * job->key_stride + key_head * size, job->key_stride, length, size, half, keys);
    copy_rows(job->value, from * job->value_stride + key_head * size, job->value_stride, length, size, half, values);
    for (long i = 0; i < length; i += BLOCK) {
        long count = length - i < BLOCK ? length - i : BLOCK, seen = job->causal ? i + count : length;
        long width = (count + LANES - 1) / LANES * LANES;
        turn_rows(job->query, (from + i) * job->query_stride + head * size, job->query_stride, count, size, half,
                  job->scale, queries, width);
        for (long k = 0; k < seen; k += TALL)
            product(seen - k < TALL ? seen - k : TALL, keys + k * size, size, 1, queries, width, size, width,
                    scores + k * width, width);
        softmax_columns(scores, seen, width, job->causal ? i : -1, sums);
        for (long r = 0; r < count; r += TALL) {
            long rows = count - r < TALL ? count - r : TALL;
            product(rows, scores + r, 1, width, values, size, seen, size, mixed, size);
            for (long q = 0; q < rows; q++) {
                long at = ((from + i + r + q) * job->heads + head) * size;
                vec share = all(1 / sums[r + q]);
                for (long d = 0; d < size; d += LANES)
                    store_as(job->out, at + d, load(mixed + q * size + d) * share, half);
            }
        }
    }
    free(room);
}

/* out (tokens, heads, size), in the type of the rest: bfloat16 if `half`, else float. */
void regard_attention(const void *query, const void *key, const void *value, long query_stride,
                      long key_stride, long value_stride, const int32_t *starts, long count, long heads,
                      long key_heads, long size, float scale, int causal, int half, void *out, int threads) {
    struct attending job = {query, key, value, out, query_stride, key_stride, value_stride, starts,
                            count, heads, key_heads, size, scale, causal, half};
    in_parallel(count * heads, threads, attend, &job);
}

/* Queries, as many for each sequence, to what a cache holds: a store (slots, heads, places, size). */
struct remembering {
    const void *query, *key, *value;
    void *out;
    const int64_t *slots;
    const int32_t *used;
    long slot_stride, head_stride, queries, heads, key_heads, size;
    float scale;
    int half;
};

/* scores = queries keys^T for keys that lie row by row; so many that the last may stand several times. */
INLINE void score_rows(const float *queries, long rows, const float *keys, long length, long size,
                       float *scores, long columns) {
    for (long j = 0; j < columns; j += LANES)
        for (long r = 0; r < rows; r++) {
            vec square[LANES], sum = all(0);
            for (long l = 0; l < LANES; l++) {
                const float *key = keys + (j + l < length ? j + l : length - 1) * size;
                square[l] = all(0);
                for (long d = 0; d < size; d += LANES) square[l] += load(queries + r * size + d) * load(key + d);
            }
            turn(square);
            for (long l = 0; l < LANES; l++) sum += square[l];
            store(scores + r * columns + j, sum);
        }
}

/* One head of keys of one sequence, and all queries to it. */
static void attend_to_store(void *given, long number) {
    const struct remembering *job = given;
    long sequence = number / job->key_heads, key_head = number % job->key_heads, size = job->size;
    long length = job->used[sequence], columns = (length + LANES - 1) / LANES * LANES;
    long at = job->slots[sequence] * job->slot_stride + key_head * job->head_stride;
    long shared = job->heads / job->key_heads, count = job->queries * shared;
    float *room = malloc(sizeof(float) * ((2 * size + columns) * TALL + (job->half ? 2 * size * length : 0)));
    float *queries = room, *mixed = queries + TALL * size, *scores = mixed + TALL * size;
    const float *keys = (const float *)job->key + at, *values = (const float *)job->value + at;
    if (job->half) {
        float *copies = scores + TALL * columns;
        copy_rows(job->key, at, size, length, size, 1, copies);
        copy_rows(job->value, at, size, length, size, 1, copies + length * size);
        keys = copies;
        values = copies + length * size;
    }
    for (long i = 0; i < count; i += TALL) {
        long rows = count - i < TALL ? count - i : TALL, place[TALL];
        for (long r = 0; r < rows; r++) {
            long token = sequence * job->queries + (i + r) / shared;
            place[r] = (token * job->heads + key_head * shared + (i + r) % shared) * size;
            copy_rows(job->query, place[r], 0, 1, size, job->half, queries + r * size);
        }
        score_rows(queries, rows, keys, length, size, scores, columns);
        for (long r = 0; r < rows; r++) softmax(scores + r * columns, length, columns, job->scale);
        product(rows, scores, columns, 1, values, size, length, size, mixed, size);
        for (long r = 0; r < rows; r++)
            for (long d = 0; d < size; d += LANES) store_as(job->out, place[r] + d, load(mixed + r * size + d), job->half);
    }
    free(room);
}

/* out (count * queries, heads, size) like query; sequence s has `used[s]` places in slot `slots[s]`, at
   least one. Strides are in elements; the places of a head lie one after the other. */
void regard_attention_to_store(const void *query, const void *key, const void *value, long slot_stride,
                               long head_stride, const int64_t *slots, const int32_t *used, long count,
                               long queries, long heads, long key_heads, long size, float scale, int half,
                               void *out, int threads) {
    struct remembering job = {query, key, value, out, slots, used, slot_stride, head_stride,
                              queries, heads, key_heads, size, scale, half};
    in_parallel(count * key_heads, threads, attend_to_store, &job);
}

#endif
