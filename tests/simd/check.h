/* Shared by the tests of the kernels: buffers with guards, random values, the tables that run here. */
#ifndef QM_TESTS_SIMD_CHECK_H
#define QM_TESTS_SIMD_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "simd/kernels.h"

enum { GUARD = 128, GUARD_BYTE = 0xA5 };

/* 64-byte aligned, with guard bytes behind the last byte asked for. Filled with guard bytes. */
struct buffer {
    size_t size;
    unsigned char *data;
};

static inline struct buffer buffer_new(size_t size) {
    struct buffer b = {size, aligned_alloc(64, (size + GUARD + 63) / 64 * 64)};
    assert_non_null(b.data);
    memset(b.data, GUARD_BYTE, size + GUARD);
    return b;
}

static inline void buffer_free(struct buffer *b) {
    for (size_t i = 0; i < GUARD; i++)
        if (b->data[b->size + i] != GUARD_BYTE)
            fail_msg("byte %zu past the end was written", i);
    free(b->data);
}

/* The next of a fixed sequence of numbers. */
static inline uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*state >> 33);
}

/* In (-1, 1). */
static inline float next_float(uint64_t *state) {
    return (float)((int32_t)(next_random(state) & 0xFFFFFF) - 0x800000) / 0x800000;
}

static inline void fill_floats(float *x, int64_t n, uint64_t seed) {
    for (int64_t i = 0; i < n; i++)
        x[i] = next_float(&seed);
}

/* The tables of every instruction set that runs here, lowest first; returns how many. */
static inline int available_tables(const struct qm_kernels *tables[QM_ISA_COUNT]) {
    int n = 0;
    for (int isa = 0; isa < QM_ISA_COUNT; isa++)
        if (!qm_kernels_get((enum qm_isa)isa, &tables[n], NULL))
            n++;
    return n;
}

#endif
