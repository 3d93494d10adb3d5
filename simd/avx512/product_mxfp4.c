/* Product of MXFP4 panels by activations rounded to BF16 and kept as float: a block's products are summed from
 * zero by one FMA a k, and that sum times the block's scale added to the element's accumulator by one FMA. Codes are
 * decoded in registers; the first of several strips of rows keeps what it decodes for the others: per step { float
 * scale[16]; float value[32][16] }. */
#include "simd/avx512/avx512.h"
#include "simd/avx512/mxfp4.h"
#include "simd/tile_tables.h"

enum { A_STEP = QM_MXFP4_K * 4, EXPANDED_STEP = 64 + QM_MXFP4_K * 64 };

static const float code_values[16] = {QM_E2M1_F32};
/* A mxfp4_line: adds the products of the eight k of one line of codes. */
QM_INLINE void line_sums(struct mxfp4_shape x, struct mxfp4_block o, int line, __m512 sum[][4]) {
    const float *a = (const float *)o.a;
    const __m512 table = _mm512_loadu_ps(code_values); /* looked up by the low four bits */
    QM_UNROLL
    for (int i = 0; i < QM_MXFP4_LINE_K; i++) {
        int k = line * QM_MXFP4_LINE_K + i;
        __m512 w[4];
        QM_UNROLL
        for (int j = 0; j < x.panels; j++) {
            const char *b = o.b + (size_t)j * o.stride;
            w[j] = x.taken == QM_EXPANDED ? _mm512_load_ps(b + 64 + k * 64)
                                          : _mm512_permutexvar_ps(mxfp4_codes(b, line, qm_mxfp4_shift(k)), table);
            if (x.taken == QM_EXPANDING)
                _mm512_store_ps(o.out + (size_t)j * o.out_stride + 64 + k * 64, w[j]);
        }
        QM_UNROLL
        for (int r = 0; r < x.rows; r++) {
            __m512 v = _mm512_set1_ps(a[k * x.rows + r]);
            QM_UNROLL
            for (int j = 0; j < x.panels; j++)
                sum[r][j] = _mm512_fmadd_ps(v, w[j], sum[r][j]);
        }
    }
}

/* Four panels for as many rows as leave registers for it. */
#define SHAPES(MANY, ONE, ...)                                                                                         \
    MANY(1, 4, __VA_ARGS__)                                                                                            \
    MANY(2, 4, __VA_ARGS__)                                                                                            \
    MANY(3, 4, __VA_ARGS__)                                                                                            \
    MANY(4, 2, __VA_ARGS__)                                                                                            \
    MANY(5, 2, __VA_ARGS__)                                                                                            \
    MANY(6, 2, __VA_ARGS__)                                                                                            \
    MANY(7, 2, __VA_ARGS__)                                                                                            \
    MANY(8, 2, __VA_ARGS__)                                                                                            \
    MANY(9, 2, __VA_ARGS__)                                                                                            \
    MANY(10, 2, __VA_ARGS__)                                                                                           \
    MANY(11, 2, __VA_ARGS__)                                                                                           \
    MANY(12, 2, __VA_ARGS__)

#define TILE(rows, panels, name, taken)                                                                                \
    QM_TILE(name, rows, panels) {                                                                                      \
        mxfp4_tile((struct mxfp4_shape){taken, rows, panels, A_STEP, EXPANDED_STEP}, line_sums, a, b, stride, steps,   \
                   c, ldc, accumulate, along);                                                                         \
    }

QM_TILES(SHAPES, fetched, QM_FETCHED)
QM_TILES(QM_SHAPES_12_BY_2, expanding, QM_EXPANDING)
QM_TILES(QM_SHAPES_12_BY_2, expanded, QM_EXPANDED)

void product_mxfp4_avx512(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = QM_TILE_ROWS,
        .k_step = QM_MXFP4_K,
        .a_step = A_STEP,
        .b_step = QM_MXFP4_BLOCK,
        .block_steps = 8,
        .expanded_step = EXPANDED_STEP,
        .one_strip = QM_TILE_TABLE(SHAPES, fetched),
        .expanding = QM_TILE_TABLE(QM_SHAPES_12_BY_2, expanding),
        .strips = QM_TILE_TABLE(QM_SHAPES_12_BY_2, expanded),
    };
    qm_product_tiled(p, &tiling);
}
