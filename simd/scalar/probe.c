/* Probes of the reference kernels: reads and multiply-adds as plain C makes them. */
#include <cpuid.h>
#include <emmintrin.h>
#include <string.h>

#include "simd/scalar/scalar.h"

uint64_t read_lanes_scalar(const void *p, size_t lane, size_t step, size_t n) {
    const char *line = p;
    uint64_t sum[8] = {0};
    for (; n; n--, line += step)
        for (size_t l = 0; l < 4; l++) {
            uint64_t v[8];
            memcpy(v, line + l * lane, sizeof v);
            for (int i = 0; i < 8; i++)
                sum[i] ^= v[i];
        }
    return sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
}

static int has_clflushopt(void) {
    unsigned a, b = 0, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & 1u << 23;
}

/* No C does this: every x86-64 has CLFLUSH, which waits for the one before, and those since 2015 CLFLUSHOPT, which
 * does not; no instruction set that has kernels here implies it. */
void flush_lines_scalar(const void *p, size_t n) {
    const char *line = p;
    if (has_clflushopt())
        for (; n; n--, line += 64)
            __asm__ volatile("clflushopt %0" ::"m"(*line) : "memory");
    else
        for (; n; n--, line += 64)
            _mm_clflush(line);
    _mm_mfence();
}

double peak_f32_scalar(int64_t n, float *state) {
    enum { CHAINS = 8 };
    float a[CHAINS], x = state[8] * 0.0f + 0.5f, y = x + 1;
    memcpy(a, state, sizeof a);
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < CHAINS; c++)
            a[c] = a[c] * x + y;
    memcpy(state, a, sizeof a);
    return (double)n * CHAINS * 2;
}
