/* Product of BF16 panels by BF16 activations with vdpbf16ps: one instruction an element and pair of k. A tile is
 * `rows` x `panels` accumulators of 16 lanes. Activations are micro-panels [k/2][r] of pairs (see simd/tiling.h). */
#include <immintrin.h>

#include "simd/avx512bf16/avx512bf16.h"
#include "simd/fetched.h"

/* A span of a tile's steps. */
QM_INLINE void steps_of(struct qm_shape x, const int32_t *a, const char *b, size_t stride, struct qm_span span,
                        const struct qm_along *along, __m512 acc[][4]) {
    for (int64_t s = span.from; s < span.to; s++) {
        __m512i w[4];
        qm_fetch(x, span, stride, s, along);
        QM_UNROLL
        for (int j = 0; j < x.panels; j++)
            w[j] = _mm512_load_si512(b + (size_t)j * stride + s * 64);
        QM_UNROLL
        for (int i = 0; i < x.rows; i++) {
            __m512i v = _mm512_set1_epi32(a[s * x.rows + i]);
            QM_UNROLL
            for (int j = 0; j < x.panels; j++)
                acc[i][j] = _mm512_dpbf16_ps(acc[i][j], (__m512bh)v, (__m512bh)w[j]);
        }
    }
}

QM_INLINE void tile(struct qm_shape x, const int32_t *a, const char *b, size_t stride, int64_t steps, float *c,
                    int64_t ldc, int accumulate, const struct qm_along *along) {
    __m512 acc[QM_TILE_ROWS][4];
    float *volatile kept = c; /* as in simd/float_tiles.h */
    QM_UNROLL
    for (int i = 0; i < x.rows; i++)
        QM_UNROLL
    for (int j = 0; j < x.panels; j++)
        acc[i][j] = accumulate ? _mm512_loadu_ps(c + i * ldc + j * 16) : _mm512_setzero_ps();
    for (int i = 0; i < qm_spans(x); i++)
        steps_of(x, a, b, stride, qm_span_of(x, i, b, steps, along), along, acc);
    c = kept;
    QM_UNROLL
    for (int i = 0; i < x.rows; i++)
        QM_UNROLL
    for (int j = 0; j < x.panels; j++)
        _mm512_storeu_ps(c + i * ldc + j * 16, acc[i][j]);
}

/* From memory. */
#define SHAPES(MANY, ONE, ...)                                                                                         \
    MANY(1, 4, __VA_ARGS__)                                                                                            \
    MANY(2, 4, __VA_ARGS__)                                                                                            \
    MANY(3, 4, __VA_ARGS__)                                                                                            \
    MANY(4, 4, __VA_ARGS__)                                                                                            \
    MANY(5, 2, __VA_ARGS__)                                                                                            \
    MANY(6, 2, __VA_ARGS__)                                                                                            \
    MANY(7, 2, __VA_ARGS__)                                                                                            \
    MANY(8, 2, __VA_ARGS__)                                                                                            \
    MANY(9, 2, __VA_ARGS__)                                                                                            \
    MANY(10, 2, __VA_ARGS__)                                                                                           \
    MANY(11, 2, __VA_ARGS__)                                                                                           \
    MANY(12, 2, __VA_ARGS__)

/* As they are, a panel's pairs need no expanding. */
#define TILE(rows, panels, name, taken)                                                                                \
    QM_TILE(name, rows, panels) {                                                                                      \
        struct qm_shape x = qm_shape_of(QM_BF16, taken, rows, panels);                                                 \
        x.b_step = 64;                                                                                                 \
        tile(x, (const int32_t *)a, b, stride, steps, c, ldc, accumulate, along);                                      \
    }

QM_TILES(SHAPES, fetched, QM_FETCHED)
QM_TILES(QM_SHAPES_12_BY_2, cached, QM_EXPANDED)

void product_bf16_avx512bf16(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = QM_TILE_ROWS,
        .k_step = 2,
        .a_step = 4,
        .b_step = 64,
        .block_steps = 256,
        .one_micro_panel = QM_TILE_TABLE(SHAPES, fetched),
        .micro_panels = QM_TILE_TABLE(QM_SHAPES_12_BY_2, cached),
    };
    qm_product_tiled(p, &tiling);
}
