/* Probe of the BF16 dot product instruction, vdpbf16ps: two multiply-adds in each of 16 lanes. */
#include "simd/avx512bf16/probe.h"

#include <immintrin.h>

/* Sixteen chains hide its latency. */
double peak_bf16_avx512bf16(int64_t n, float *state) {
    enum { CHAINS = 16, LANES = 16, PAIR = 2 };
    __m512 one = _mm512_set1_ps(state[15] * 0.0f + 1.0f);
    __m512bh x = _mm512_cvtne2ps_pbh(one, one);
    __m512 a = _mm512_set1_ps(state[0]), b = _mm512_set1_ps(state[1]), c = _mm512_set1_ps(state[2]),
           d = _mm512_set1_ps(state[3]), e = _mm512_set1_ps(state[4]), f = _mm512_set1_ps(state[5]),
           g = _mm512_set1_ps(state[6]), h = _mm512_set1_ps(state[7]), i = _mm512_set1_ps(state[8]),
           j = _mm512_set1_ps(state[9]), k = _mm512_set1_ps(state[10]), l = _mm512_set1_ps(state[11]),
           m = _mm512_set1_ps(state[12]), o = _mm512_set1_ps(state[13]), p = _mm512_set1_ps(state[14]),
           q = _mm512_set1_ps(state[15]);
    for (int64_t r = 0; r < n; r++) {
        a = _mm512_dpbf16_ps(a, x, x);
        b = _mm512_dpbf16_ps(b, x, x);
        c = _mm512_dpbf16_ps(c, x, x);
        d = _mm512_dpbf16_ps(d, x, x);
        e = _mm512_dpbf16_ps(e, x, x);
        f = _mm512_dpbf16_ps(f, x, x);
        g = _mm512_dpbf16_ps(g, x, x);
        h = _mm512_dpbf16_ps(h, x, x);
        i = _mm512_dpbf16_ps(i, x, x);
        j = _mm512_dpbf16_ps(j, x, x);
        k = _mm512_dpbf16_ps(k, x, x);
        l = _mm512_dpbf16_ps(l, x, x);
        m = _mm512_dpbf16_ps(m, x, x);
        o = _mm512_dpbf16_ps(o, x, x);
        p = _mm512_dpbf16_ps(p, x, x);
        q = _mm512_dpbf16_ps(q, x, x);
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
    return (double)n * CHAINS * LANES * PAIR * 2;
}
