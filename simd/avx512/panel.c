/* Repacking of published rows into panels, near the speed of a copy, and the search for values that are not
 * finite. Rows are read 64 bytes at a time each and transposed in registers. A row that is not there is read with
 * no lanes. */
#include <immintrin.h>

#include "simd/avx512/avx512.h"
#include "simd/avx512/transpose.h"
#include "simd/mxfp4.h"

/* Bytes [at, at + 64) of 16 rows of `bytes` bytes, zero where there are none. */
QM_INLINE void load_rows(__m512i v[16], const void *const rows[QM_PANEL_ROWS], int64_t at, int64_t bytes) {
    int64_t left = bytes - at;
    __mmask64 in = left >= 64 ? ~0ull : (1ull << left) - 1;
    QM_UNROLL
    for (int i = 0; i < 16; i++)
        v[i] = _mm512_maskz_loadu_epi8(rows[i] ? in : 0, rows[i] ? (const char *)rows[i] + at : (const char *)rows);
}

/* BF16 pairs and F32: each dword of a row becomes a lane of the panel's vector. `bytes` of a row; F32 and BF16
 * differ in nothing else. */
static void pack_dwords(char *dst, const void *const rows[QM_PANEL_ROWS], int64_t bytes) {
    for (int64_t at = 0; at < bytes; at += 64) {
        __m512i v[16];
        load_rows(v, rows, at, bytes);
        transpose_dwords(v);
        int64_t count = (bytes - at + 3) / 4;
        for (int64_t i = 0; i < 16 && i < count; i++, dst += 64)
            _mm512_store_si512(dst, v[i]);
    }
}

/* F16: as pairs, then split into the panel's two half vectors. Odd k leaves the last 32 bytes as padding. */
static void pack_words(char *dst, const void *const rows[QM_PANEL_ROWS], int64_t bytes) {
    for (int64_t at = 0; at < bytes; at += 64) {
        __m512i v[16];
        load_rows(v, rows, at, bytes);
        transpose_dwords(v);
        int64_t count = (bytes - at + 3) / 4;
        for (int64_t i = 0; i < 16 && i < count; i++, dst += 64) {
            _mm256_store_si256((__m256i *)dst, _mm512_cvtepi32_epi16(v[i]));
            _mm256_store_si256((__m256i *)(dst + 32), _mm512_cvtepi32_epi16(_mm512_srli_epi32(v[i], 16)));
        }
    }
}

/* v with the bits `mask` of each dword and those `shift` above exchanged. */
QM_INLINE __m512i exchange(__m512i v, int mask, unsigned shift) {
    __m512i differ = _mm512_and_si512(_mm512_xor_si512(v, _mm512_srli_epi32(v, shift)), _mm512_set1_epi32(mask));
    return _mm512_xor_si512(v, _mm512_xor_si512(differ, _mm512_slli_epi32(differ, shift)));
}

/* Moves the even nibbles of each dword to its low half, the odd ones to its high half. */
QM_INLINE __m512i part_nibbles(__m512i v) {
    return exchange(exchange(v, 0x00F000F0, 4), 0x0000FF00, 8);
}

static void pack_mxfp4(struct qm_mxfp4_block *out, const void *const rows[QM_PANEL_ROWS],
                       const uint8_t *const scales[QM_PANEL_ROWS], int64_t k) {
    int64_t blocks = k / QM_MXFP4_K;
    for (int64_t b = 0; b < blocks; b += 4) {
        __m512i v[16];
        load_rows(v, rows, b * 16, blocks * 16);
        transpose_dwords(v);
        int64_t count = blocks - b < 4 ? blocks - b : 4;
        for (int64_t i = 0; i < count * QM_MXFP4_LINES; i++)
            _mm512_storeu_si512(out[b + i / QM_MXFP4_LINES].code[i % QM_MXFP4_LINES], part_nibbles(v[i]));
    }
    for (int64_t b = 0; b < blocks; b++)
        for (int r = 0; r < QM_PANEL_ROWS; r++)
            out[b].scale[r] = rows[r] ? scales[r][b] : 0;
}

void pack_panel_avx512(void *dst, enum qm_dtype t, const void *const rows[QM_PANEL_ROWS],
                       const uint8_t *const scales[QM_PANEL_ROWS], int64_t k) {
    size_t bytes = qm_panel_bytes(t, k);
    if (bytes)
        _mm512_store_si512((char *)dst + bytes - 64, _mm512_setzero_si512()); /* the padding, if any */
    switch (t) {
    case QM_BF16: pack_dwords(dst, rows, k * 2); break;
    case QM_F16: pack_words(dst, rows, k * 2); break;
    case QM_MXFP4: pack_mxfp4(dst, rows, scales, k); break;
    default: pack_dwords(dst, rows, k * 4); break;
    }
}

int64_t find_nonfinite_avx512(const void *x, enum qm_dtype t, int64_t n) {
    size_t size = qm_dtype_size(t);
    int64_t bytes = n * (int64_t)size;
    __m512i exponent = t == QM_F32 ? _mm512_set1_epi32(0x7F800000) : _mm512_set1_epi16(t == QM_BF16 ? 0x7F80 : 0x7C00);
    for (int64_t at = 0; at < bytes; at += 64) {
        int64_t left = bytes - at;
        __m512i v = _mm512_maskz_loadu_epi8(left >= 64 ? ~0ull : (1ull << left) - 1, (const char *)x + at);
        v = _mm512_and_si512(v, exponent);
        uint64_t hits = size == 4 ? _mm512_cmpeq_epi32_mask(v, exponent) : _mm512_cmpeq_epi16_mask(v, exponent);
        if (hits)
            return at / (int64_t)size + __builtin_ctzll(hits);
    }
    return -1;
}
