/* Probes with 256-bit vectors: what this CPU reads and multiplies at most with them. */
#include "simd/avx2/probe.h"

#include <immintrin.h>

static __m256i line(const char *p, __m256i sum) {
    sum = _mm256_xor_si256(sum, _mm256_load_si256((const __m256i *)(const void *)p));
    return _mm256_xor_si256(sum, _mm256_load_si256((const __m256i *)(const void *)(p + 32)));
}

uint64_t read_lanes_avx2(const void *p, size_t lane, size_t step, size_t n) {
    const char *at = p;
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (; n; n--, at += step) {
        a = line(at, a);
        b = line(at + lane, b);
        c = line(at + 2 * lane, c);
        d = line(at + 3 * lane, d);
    }
    a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
    return (uint64_t)(_mm256_extract_epi64(a, 0) ^ _mm256_extract_epi64(a, 1) ^ _mm256_extract_epi64(a, 2) ^
                      _mm256_extract_epi64(a, 3));
}

/* Twelve chains hide the latency of FMAs on two ports. */
double peak_f32_avx2(int64_t n, float *state) {
    enum { CHAINS = 12, LANES = 8 };
    __m256 x = _mm256_set1_ps(state[15] * 0.0f + 0.5f), y = _mm256_add_ps(x, x);
    __m256 a = _mm256_set1_ps(state[0]), b = _mm256_set1_ps(state[1]), c = _mm256_set1_ps(state[2]),
           d = _mm256_set1_ps(state[3]), e = _mm256_set1_ps(state[4]), f = _mm256_set1_ps(state[5]),
           g = _mm256_set1_ps(state[6]), h = _mm256_set1_ps(state[7]), i = _mm256_set1_ps(state[8]),
           j = _mm256_set1_ps(state[9]), k = _mm256_set1_ps(state[10]), l = _mm256_set1_ps(state[11]);
    for (int64_t r = 0; r < n; r++) {
        a = _mm256_fmadd_ps(a, x, y);
        b = _mm256_fmadd_ps(b, x, y);
        c = _mm256_fmadd_ps(c, x, y);
        d = _mm256_fmadd_ps(d, x, y);
        e = _mm256_fmadd_ps(e, x, y);
        f = _mm256_fmadd_ps(f, x, y);
        g = _mm256_fmadd_ps(g, x, y);
        h = _mm256_fmadd_ps(h, x, y);
        i = _mm256_fmadd_ps(i, x, y);
        j = _mm256_fmadd_ps(j, x, y);
        k = _mm256_fmadd_ps(k, x, y);
        l = _mm256_fmadd_ps(l, x, y);
    }
    state[0] = _mm256_cvtss_f32(a);
    state[1] = _mm256_cvtss_f32(b);
    state[2] = _mm256_cvtss_f32(c);
    state[3] = _mm256_cvtss_f32(d);
    state[4] = _mm256_cvtss_f32(e);
    state[5] = _mm256_cvtss_f32(f);
    state[6] = _mm256_cvtss_f32(g);
    state[7] = _mm256_cvtss_f32(h);
    state[8] = _mm256_cvtss_f32(i);
    state[9] = _mm256_cvtss_f32(j);
    state[10] = _mm256_cvtss_f32(k);
    state[11] = _mm256_cvtss_f32(l);
    return (double)n * CHAINS * LANES * 2;
}
