/* Probes with 512-bit vectors: what this CPU reads and multiplies at most with them. */
#include "simd/avx512/probe.h"

#include <immintrin.h>

uint64_t read_lanes_avx512(const void *p, size_t lane, size_t step, size_t n) {
    const char *at = p;
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (; n; n--, at += step) {
        a = _mm512_xor_si512(a, _mm512_load_si512(at));
        b = _mm512_xor_si512(b, _mm512_load_si512(at + lane));
        c = _mm512_xor_si512(c, _mm512_load_si512(at + 2 * lane));
        d = _mm512_xor_si512(d, _mm512_load_si512(at + 3 * lane));
    }
    return (uint64_t)_mm512_reduce_add_epi64(_mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d)));
}

/* Sixteen chains hide the latency of FMAs on two ports. */
double peak_f32_avx512(int64_t n, float *state) {
    enum { CHAINS = 16, LANES = 16 };
    __m512 x = _mm512_set1_ps(state[15] * 0.0f + 0.5f), y = _mm512_add_ps(x, x);
    __m512 a = _mm512_set1_ps(state[0]), b = _mm512_set1_ps(state[1]), c = _mm512_set1_ps(state[2]),
           d = _mm512_set1_ps(state[3]), e = _mm512_set1_ps(state[4]), f = _mm512_set1_ps(state[5]),
           g = _mm512_set1_ps(state[6]), h = _mm512_set1_ps(state[7]), i = _mm512_set1_ps(state[8]),
           j = _mm512_set1_ps(state[9]), k = _mm512_set1_ps(state[10]), l = _mm512_set1_ps(state[11]),
           m = _mm512_set1_ps(state[12]), o = _mm512_set1_ps(state[13]), p = _mm512_set1_ps(state[14]),
           q = _mm512_set1_ps(state[15]);
    for (int64_t r = 0; r < n; r++) {
        a = _mm512_fmadd_ps(a, x, y);
        b = _mm512_fmadd_ps(b, x, y);
        c = _mm512_fmadd_ps(c, x, y);
        d = _mm512_fmadd_ps(d, x, y);
        e = _mm512_fmadd_ps(e, x, y);
        f = _mm512_fmadd_ps(f, x, y);
        g = _mm512_fmadd_ps(g, x, y);
        h = _mm512_fmadd_ps(h, x, y);
        i = _mm512_fmadd_ps(i, x, y);
        j = _mm512_fmadd_ps(j, x, y);
        k = _mm512_fmadd_ps(k, x, y);
        l = _mm512_fmadd_ps(l, x, y);
        m = _mm512_fmadd_ps(m, x, y);
        o = _mm512_fmadd_ps(o, x, y);
        p = _mm512_fmadd_ps(p, x, y);
        q = _mm512_fmadd_ps(q, x, y);
    }
    state[0] = _mm512_cvtss_f32(a);
    state[1] = _mm512_cvtss_f32(b);
    state[2] = _mm512_cvtss_f32(c);
    state[3] = _mm512_cvtss_f32(d);
    state[4] = _mm512_cvtss_f32(e);
    state[5] = _mm512_cvtss_f32(f);
    state[6] = _mm512_cvtss_f32(g);
    state[7] = _mm512_cvtss_f32(h);
    state[8] = _mm512_cvtss_f32(i);
    state[9] = _mm512_cvtss_f32(j);
    state[10] = _mm512_cvtss_f32(k);
    state[11] = _mm512_cvtss_f32(l);
    state[12] = _mm512_cvtss_f32(m);
    state[13] = _mm512_cvtss_f32(o);
    state[14] = _mm512_cvtss_f32(p);
    state[15] = _mm512_cvtss_f32(q);
    return (double)n * CHAINS * LANES * 2;
}
