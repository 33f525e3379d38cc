/* Vectors of floats as wide as the processor's registers, and what is done to them. */
#ifndef REGARD_VECTORS_H
#define REGARD_VECTORS_H

#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4)));
typedef int32_t ints __attribute__((vector_size(LANES * 4), aligned(4)));
typedef uint16_t halves __attribute__((vector_size(LANES * 2), aligned(2)));
typedef int8_t bytes __attribute__((vector_size(LANES), aligned(1)));

/* 1.5 * 2^23: a float that is added to it is rounded to a whole number, which stands in its last bits. */
#define ROUNDER 12582912.0f

INLINE vec all(float x) { return x - (vec){0}; }
/* 0, 1, 2, ... */
INLINE vec numbers(void) {
    vec found;
    for (int i = 0; i < LANES; i++) found[i] = i;
    return found;
}

INLINE vec load(const float *x) { return *(const vec *)x; }
INLINE void store(float *x, vec v) { *(vec *)x = v; }
INLINE vec max_of(vec a, vec b) { return __builtin_elementwise_max(a, b); }
INLINE vec min_of(vec a, vec b) { return __builtin_elementwise_min(a, b); }
INLINE vec chosen(ints which, vec a, vec b) { return (vec)(((ints)a & which) | ((ints)b & ~which)); }
INLINE vec absolute(vec a) { return __builtin_elementwise_abs(a); }

/* bfloat16 is the upper half of a float. */
INLINE vec load_half(const uint16_t *x) {
    return (vec)(__builtin_convertvector(*(const halves *)x, ints) << 16);
}

INLINE vec load_as(const void *x, long i, int half) {
    return half ? load_half((const uint16_t *)x + i) : load((const float *)x + i);
}

/* To the nearest, and of two to the even one. */
INLINE void store_half(uint16_t *x, vec v) {
    ints bits = (ints)v;
    bits += 0x7fff + ((bits >> 16) & 1);
    *(halves *)x = __builtin_convertvector(bits >> 16, halves);
}

INLINE void store_as(void *x, long i, vec v, int half) {
    if (half) store_half((uint16_t *)x + i, v);
    else store((float *)x + i, v);
}

/* Elements of two vectors by their numbers. */
#define FROM_BOTH(a, b, n, PICK) \
    __builtin_shufflevector(a, b, PICK(0, n), PICK(1, n), PICK(2, n), PICK(3, n), PICK(4, n), \
                            PICK(5, n), PICK(6, n), PICK(7, n) MORE(n, PICK))
#if LANES == 16
#define MORE(n, PICK) \
    , PICK(8, n), PICK(9, n), PICK(10, n), PICK(11, n), PICK(12, n), PICK(13, n), PICK(14, n), PICK(15, n)
#else
#define MORE(n, PICK)
#endif

/* Every element in the place of the one whose number differs in the bits of n. */
#define ACROSS(i, n) ((i) ^ (n))
#define SWAPPED(v, n) FROM_BOTH(v, v, n, ACROSS)

INLINE float largest(vec v) {
#if LANES == 16
    v = max_of(v, SWAPPED(v, 8));
#endif
    v = max_of(v, SWAPPED(v, 4));
    v = max_of(v, SWAPPED(v, 2));
    return max_of(v, SWAPPED(v, 1))[0];
}

INLINE float sum_of(vec v) {
#if LANES == 16
    v += SWAPPED(v, 8);
#endif
    v += SWAPPED(v, 4);
    v += SWAPPED(v, 2);
    return (v + SWAPPED(v, 1))[0];
}

/* One of four steps (three, for eight lanes) of turning a square of LANES vectors: in rows a and b, n
   apart, the columns whose numbers differ by n change places. */
#define UPPER(i, n) ((i) & (n) ? LANES + ((i) ^ (n)) : (i))
#define LOWER(i, n) ((i) & (n) ? LANES + (i) : ((i) ^ (n)))
#define EXCHANGE(rows, n)                                   \
    _Pragma("unroll") for (int i = 0; i < LANES; i++) {     \
        if (i & n) continue;                                \
        vec a = rows[i], b = rows[i | n];                   \
        rows[i] = FROM_BOTH(a, b, n, UPPER);                \
        rows[i | n] = FROM_BOTH(a, b, n, LOWER);            \
    }

INLINE void turn(vec rows[LANES]) {
#if LANES == 16
    EXCHANGE(rows, 8)
#endif
    EXCHANGE(rows, 4)
    EXCHANGE(rows, 2)
    EXCHANGE(rows, 1)
}

/* e^x for x <= 0, to some 2 units in the last place: 2^n e^r with |r| <= ln(2) / 2, by Taylor. */
INLINE vec exponential(vec x) {
    x = max_of(x, all(-87.0f));
    vec n = x * 1.44269504f + ROUNDER;
    ints power = (ints)n << 23;
    n -= ROUNDER;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f; /* ln(2) in two parts */
    vec p = r * (1.0f / 720) + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * (r * r) + r + 1.0f;
    return (vec)((ints)p + power);
}

/* Numbers as bytes: rounded to whole ones, of which the last eight bits are kept. */
INLINE void store_bytes(uint8_t *out, vec v) {
    bytes found = __builtin_convertvector((ints)(v + ROUNDER), bytes);
    memcpy(out, &found, LANES);
}

#endif
