/* Tiles of MXFP4 panels (simd/mxfp4.h) in 512-bit registers, whatever they multiply with: blocks, their scales, and
 * what is fetched and kept along. */
#ifndef QM_SIMD_AVX512_MXFP4_H
#define QM_SIMD_AVX512_MXFP4_H

#include <immintrin.h>

#include "simd/inline.h"
#include "simd/mxfp4.h"
#include "simd/tile_tables.h"

/* The scales of a block's 16 rows. */
QM_INLINE __m512 mxfp4_scales(const char *block) {
    __m512i e = _mm512_slli_epi32(
        _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(block + offsetof(struct qm_mxfp4_block, scale)))), 23);
    return _mm512_castsi512_ps(_mm512_max_epu32(e, _mm512_set1_epi32(0x00400000)));
}

/* The codes of a line of a block, `bits` of each dword's lowest shifted out. */
QM_INLINE __m512i mxfp4_codes(const char *block, int line, int bits) {
    __m512i v = _mm512_loadu_si512(block + offsetof(struct qm_mxfp4_block, code) + line * 64 + bits / 8);
    return bits % 8 ? _mm512_srli_epi32(v, 4) : v;
}

/* The constants that shape a tile's code. Expanded, a block is the 16 scales as float and then the values that its
 * products take. */
struct mxfp4_shape {
    enum qm_taken taken;
    int rows, panels;
    int a_step; /* bytes of a row's activations of a block */
    int expanded_step;
};

/* One block: b as it is, or expanded; out is where it is expanded to. */
struct mxfp4_block {
    const char *a, *b;
    size_t stride;
    char *out;
    size_t out_stride;
};

/* Adds the products of the eight k of one line of codes to sum. */
typedef void mxfp4_line(struct mxfp4_shape x, struct mxfp4_block o, int line, __m512 sum[][4]);

/* Fetches what lies `at` bytes ahead: in each panel, into L1; or what is read along, into L2. */
QM_INLINE void mxfp4_fetch(struct mxfp4_shape x, const char *ahead, size_t stride, int64_t at) {
    if (x.taken != QM_FETCHED) {
        _mm_prefetch(ahead + at, _MM_HINT_T1);
        return;
    }
    QM_UNROLL
    for (int j = 0; j < x.panels; j++)
        _mm_prefetch(ahead + (size_t)j * stride + at, _MM_HINT_T0);
}

/* Adds the products of one block. A block of 272 bytes is on five lines: `ahead` is fetched in so many steps. */
QM_INLINE void mxfp4_block_sums(struct mxfp4_shape x, mxfp4_line *line_sums, struct mxfp4_block o, const char *ahead,
                                int64_t ahead_step, __m512 acc[][4]) {
    __m512 sum[QM_TILE_ROWS][4];
    QM_UNROLL
    for (int r = 0; r < x.rows; r++)
        QM_UNROLL
    for (int j = 0; j < x.panels; j++)
        sum[r][j] = _mm512_setzero_ps();
    for (int line = 0; line < QM_MXFP4_LINES; line++) {
        mxfp4_fetch(x, ahead, o.stride, line * ahead_step / QM_MXFP4_LINES);
        line_sums(x, o, line, sum);
    }
    mxfp4_fetch(x, ahead, o.stride, ahead_step - 1);
    QM_UNROLL
    for (int j = 0; j < x.panels; j++) {
        const char *b = o.b + (size_t)j * o.stride;
        __m512 scale = x.taken == QM_EXPANDED ? _mm512_load_ps(b) : mxfp4_scales(b);
        if (x.taken == QM_EXPANDING)
            _mm512_store_ps(o.out + (size_t)j * o.out_stride, scale);
        QM_UNROLL
        for (int r = 0; r < x.rows; r++)
            acc[r][j] = _mm512_fmadd_ps(sum[r][j], scale, acc[r][j]);
    }
}

QM_INLINE void mxfp4_tile(struct mxfp4_shape x, mxfp4_line *line_sums, const char *a, const char *b, size_t stride,
                          int64_t steps, float *c, int64_t ldc, int accumulate, const struct qm_along *along) {
    struct mxfp4_block o = {a, b, stride, along->expanded, (size_t)(steps * x.expanded_step)};
    __m512 acc[QM_TILE_ROWS][4];
    float *volatile kept = c; /* as in product.c */
    QM_UNROLL
    for (int r = 0; r < x.rows; r++)
        QM_UNROLL
    for (int j = 0; j < x.panels; j++)
        acc[r][j] = accumulate ? _mm512_loadu_ps(c + r * ldc + j * 16) : _mm512_setzero_ps();
    for (int64_t s = 0; s < steps; s++) {
        if (x.taken == QM_FETCHED)
            mxfp4_block_sums(x, line_sums, o, qm_mxfp4_ahead(o.b, along->next, s, steps), QM_MXFP4_BLOCK, acc);
        else
            mxfp4_block_sums(x, line_sums, o, along->ahead + s * along->step, along->step, acc);
        o.a += x.a_step * x.rows;
        o.b += x.taken == QM_EXPANDED ? x.expanded_step : QM_MXFP4_BLOCK;
        if (x.taken == QM_EXPANDING)
            o.out += x.expanded_step;
    }
    c = kept;
    QM_UNROLL
    for (int r = 0; r < x.rows; r++)
        QM_UNROLL
    for (int j = 0; j < x.panels; j++)
        _mm512_storeu_ps(c + r * ldc + j * 16, acc[r][j]);
}

#endif
