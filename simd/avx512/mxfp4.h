/* What 512-bit registers take from a block of MXFP4: its scales, and its codes for a look-up. */
#ifndef QM_SIMD_AVX512_MXFP4_H
#define QM_SIMD_AVX512_MXFP4_H

#include "simd/avx512/lanes.h"
#include "simd/mxfp4.h"

/* The scales of a block's 16 rows. */
QM_INLINE qm_lanes mxfp4_scales(const char *block, int part) {
    (void)part; /* one is all of it */
    __m512i e = _mm512_slli_epi32(
        _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(block + offsetof(struct qm_mxfp4_block, scale)))), 23);
    return _mm512_castsi512_ps(_mm512_max_epu32(e, _mm512_set1_epi32(0x00400000)));
}

/* The codes of a line of a block, `bits` of each dword's lowest shifted out. */
QM_INLINE __m512i mxfp4_codes(const char *block, int line, int bits) {
    __m512i v = _mm512_loadu_si512(block + offsetof(struct qm_mxfp4_block, code) + line * 64 + bits / 8);
    return bits % 8 ? _mm512_srli_epi32(v, 4) : v;
}

#endif
