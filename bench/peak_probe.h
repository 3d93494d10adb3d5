/* What the machine can do: the peak probes of the kernel benchmarks. Each function is compiled for the instruction
 * set it needs by its target attribute and must be called only where that runs. */
#ifndef QM_BENCH_PEAK_PROBE_H
#define QM_BENCH_PEAK_PROBE_H

#include <immintrin.h>
#include <stddef.h>

#include "simd/inline.h"

enum { PEAK_ROUNDS = 500000 };

/* Reads `bytes` (a multiple of 256) once, in order, 32 bytes at a time. */
__attribute__((target("avx2"), unused)) static void read_memory(const void *memory, size_t bytes) {
    const __m256i *x = memory;
    __m256i s[8] = {0};
    for (size_t i = 0; i < bytes / 32; i += 8)
        _Pragma("GCC unroll 8") for (size_t j = 0; j < 8; j++) s[j] =
            _mm256_xor_si256(s[j], _mm256_load_si256(x + i + j));
    for (size_t j = 1; j < 8; j++)
        s[0] = _mm256_xor_si256(s[0], s[j]);
    __asm__ volatile("" : : "x"(s[0]));
}

/* The asm keeps the chains apart and in registers. Each returns the floating-point operations done. */
#define PEAK(name, isa, chains, vector, step, flops)                                                                   \
    __attribute__((target(isa), unused)) static double name(void) {                                                    \
        vector acc[chains] = {0}, x = {0}, y = {0};                                                                    \
        __asm__ volatile("" : "+v"(x), "+v"(y));                                                                       \
        for (long i = 0; i < PEAK_ROUNDS; i++) {                                                                       \
            _Pragma("GCC unroll 24") for (int j = 0; j < chains; j++) {                                                \
                acc[j] = step;                                                                                         \
                __asm__ volatile("" : "+v"(acc[j]));                                                                   \
            }                                                                                                          \
        }                                                                                                              \
        return (double)PEAK_ROUNDS * chains * flops;                                                                   \
    }

PEAK(peak_fma256, "avx2,fma", 12, __m256, _mm256_fmadd_ps(x, y, acc[j]), 16)
PEAK(peak_fma512, "avx512f", 24, __m512, _mm512_fmadd_ps(x, y, acc[j]), 32)
PEAK(peak_pairs, "avx512f,avx512bf16", 24, __m512, _mm512_dpbf16_ps(acc[j], (__m512bh)x, (__m512bh)y), 64)

#endif
