/* Repacking of published rows into panels, and the search for values that are not finite. Rows are read 32 bytes at a
 * time each and transposed in registers. */
#include <immintrin.h>
#include <string.h>

#include "simd/avx2/avx2.h"
#include "simd/avx2/transpose.h"
#include "simd/mxfp4.h"

/* Bytes [at, at + 32) of n, zero beyond. */
QM_INLINE __m256i load_bytes(const char *from, int64_t at, int64_t n) {
    if (n - at >= 32)
        return _mm256_loadu_si256((const __m256i *)(const void *)(from + at));
    char left[32] = {0};
    memcpy(left, from + at, (size_t)(n - at));
    return _mm256_loadu_si256((const __m256i *)(const void *)left);
}

/* Eight dwords from byte `at` of each of 16 rows of `bytes` bytes, by column: low[j] is dword j of rows 0 to 7, high[j]
 * of 8 to 15. Rows that are not there are zero. */
QM_INLINE void load_columns(__m256i low[8], __m256i high[8], const void *const rows[QM_PANEL_ROWS], int64_t at,
                            int64_t bytes) {
    for (int i = 0; i < 8; i++) {
        low[i] = rows[i] ? load_bytes(rows[i], at, bytes) : _mm256_setzero_si256();
        high[i] = rows[i + 8] ? load_bytes(rows[i + 8], at, bytes) : _mm256_setzero_si256();
    }
    transpose_dwords(low);
    transpose_dwords(high);
}

/* BF16 pairs and F32: each dword of a row becomes a lane of the panel's two vectors. */
static void pack_dwords(char *dst, const void *const rows[QM_PANEL_ROWS], int64_t bytes) {
    for (int64_t at = 0; at < bytes; at += 32) {
        __m256i low[8], high[8];
        load_columns(low, high, rows, at, bytes);
        int64_t count = (bytes - at + 3) / 4;
        for (int64_t i = 0; i < 8 && i < count; i++, dst += 64) {
            _mm256_store_si256((__m256i *)(void *)dst, low[i]);
            _mm256_store_si256((__m256i *)(void *)(dst + 32), high[i]);
        }
    }
}

/* The low words of 16 dwords, in order. */
QM_INLINE __m256i low_words(__m256i low, __m256i high) {
    const __m256i mask = _mm256_set1_epi32(0xFFFF);
    __m256i v = _mm256_packus_epi32(_mm256_and_si256(low, mask), _mm256_and_si256(high, mask));
    return _mm256_permute4x64_epi64(v, 0xD8);
}

/* F16: as pairs, then split into the panel's vectors of two k. Odd k leaves the last 32 bytes as padding. */
static void pack_words(char *dst, const void *const rows[QM_PANEL_ROWS], int64_t bytes) {
    for (int64_t at = 0; at < bytes; at += 32) {
        __m256i low[8], high[8];
        load_columns(low, high, rows, at, bytes);
        int64_t count = (bytes - at + 3) / 4;
        for (int64_t i = 0; i < 8 && i < count; i++, dst += 64) {
            _mm256_store_si256((__m256i *)(void *)dst, low_words(low[i], high[i]));
            _mm256_store_si256((__m256i *)(void *)(dst + 32),
                               low_words(_mm256_srli_epi32(low[i], 16), _mm256_srli_epi32(high[i], 16)));
        }
    }
}

/* v with the bits `mask` of each dword and those `shift` above exchanged. */
QM_INLINE __m256i exchange(__m256i v, int mask, int shift) {
    __m256i differ = _mm256_and_si256(_mm256_xor_si256(v, _mm256_srli_epi32(v, shift)), _mm256_set1_epi32(mask));
    return _mm256_xor_si256(v, _mm256_xor_si256(differ, _mm256_slli_epi32(differ, shift)));
}

/* Moves the even nibbles of each dword to its low half, the odd ones to its high half. */
QM_INLINE __m256i part_nibbles(__m256i v) {
    return exchange(exchange(v, 0x00F000F0, 4), 0x0000FF00, 8);
}

static void pack_mxfp4(struct qm_mxfp4_block *out, const void *const rows[QM_PANEL_ROWS],
                       const uint8_t *const scales[QM_PANEL_ROWS], int64_t k) {
    int64_t blocks = k / QM_MXFP4_K;
    for (int64_t b = 0; b < blocks; b += 2) {
        __m256i low[8], high[8];
        load_columns(low, high, rows, b * 16, blocks * 16);
        int64_t count = blocks - b < 2 ? blocks - b : 2;
        for (int64_t i = 0; i < count * QM_MXFP4_LINES; i++) {
            __m256i *line = (__m256i *)(void *)out[b + i / QM_MXFP4_LINES].code[i % QM_MXFP4_LINES];
            _mm256_storeu_si256(line, part_nibbles(low[i]));
            _mm256_storeu_si256(line + 1, part_nibbles(high[i]));
        }
    }
    for (int64_t b = 0; b < blocks; b++)
        for (int r = 0; r < QM_PANEL_ROWS; r++)
            out[b].scale[r] = rows[r] ? scales[r][b] : 0;
}

void pack_panel_avx2(void *dst, enum qm_dtype t, const void *const rows[QM_PANEL_ROWS],
                     const uint8_t *const scales[QM_PANEL_ROWS], int64_t k) {
    size_t bytes = qm_panel_bytes(t, k);
    if (bytes)
        memset((char *)dst + bytes - 64, 0, 64); /* the padding, if any */
    switch (t) {
    case QM_BF16: pack_dwords(dst, rows, k * 2); break;
    case QM_F16: pack_words(dst, rows, k * 2); break;
    case QM_MXFP4: pack_mxfp4(dst, rows, scales, k); break;
    default: pack_dwords(dst, rows, k * 4); break;
    }
}

int64_t find_nonfinite_avx2(const void *x, enum qm_dtype t, int64_t n) {
    int64_t size = (int64_t)qm_dtype_size(t), bytes = n * size;
    __m256i exponent = t == QM_F32 ? _mm256_set1_epi32(0x7F800000) : _mm256_set1_epi16(t == QM_BF16 ? 0x7F80 : 0x7C00);
    for (int64_t at = 0; at < bytes; at += 32) {
        __m256i v = _mm256_and_si256(load_bytes(x, at, bytes), exponent);
        __m256i hit = size == 4 ? _mm256_cmpeq_epi32(v, exponent) : _mm256_cmpeq_epi16(v, exponent);
        uint32_t hits = (uint32_t)_mm256_movemask_epi8(hit);
        if (hits)
            return (at + __builtin_ctz(hits)) / size;
    }
    return -1;
}
