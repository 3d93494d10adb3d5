/* Product of BF16 panels by BF16 activations with vdpbf16ps: one instruction an element and pair of k. A tile is
 * `rows` x `panels` accumulators of 16 lanes. Activations are strips [k/2][r] of pairs (see simd/tiling.h). */
#include <immintrin.h>

#include "simd/avx512bf16/avx512bf16.h"
#include "simd/inline.h"
#include "simd/tile_tables.h"

/* Where the panels come from memory: how far ahead they are fetched, in steps (3 KiB of each); a tile's panels are
 * followed by those of the next tile. Two threads read 85 % of what plain reads do without, 96 % with. */
enum { AHEAD = 48 };

/* Steps [from, to). What lies at `ahead` is fetched: of `later`, its bytes of a step, into L2; else a line of each
 * panel a step, into L1. */
QM_INLINE void steps_of(int rows, int panels, const int32_t *a, const char *b, size_t stride, int64_t from, int64_t to,
                        const char *ahead, const struct qm_along *later, __m512 acc[][2]) {
    for (int64_t s = from; s < to; s++) {
        __m512i w[2];
        if (later && !(s & later->between))
            _mm_prefetch(later->ahead + s * later->step, _MM_HINT_T1);
        QM_UNROLL
        for (int j = 0; j < panels; j++) {
            if (!later)
                _mm_prefetch(ahead + (size_t)j * stride + s * 64, _MM_HINT_T0);
            w[j] = _mm512_load_si512(b + (size_t)j * stride + s * 64);
        }
        QM_UNROLL
        for (int i = 0; i < rows; i++) {
            __m512i x = _mm512_set1_epi32(a[s * rows + i]);
            QM_UNROLL
            for (int j = 0; j < panels; j++)
                acc[i][j] = _mm512_dpbf16_ps(acc[i][j], (__m512bh)x, (__m512bh)w[j]);
        }
    }
}

QM_INLINE void tile(int rows, int panels, const int32_t *a, const char *b, size_t stride, int64_t steps, float *c,
                    int64_t ldc, int accumulate, const struct qm_along *along) {
    __m512 acc[QM_TILE_ROWS][2];
    float *volatile kept = c; /* as in avx512/product.c */
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < panels; j++)
        acc[i][j] = accumulate ? _mm512_loadu_ps(c + i * ldc + j * 16) : _mm512_setzero_ps();
    if (along->ahead) {
        steps_of(rows, panels, a, b, stride, 0, steps, NULL, along, acc);
    } else {
        int64_t within = steps > AHEAD ? steps - AHEAD : 0;
        steps_of(rows, panels, a, b, stride, 0, within, b + AHEAD * 64, NULL, acc);
        steps_of(rows, panels, a, b, stride, within, steps, b + (size_t)panels * stride - within * 64, NULL, acc);
    }
    c = kept;
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < panels; j++)
        _mm512_storeu_ps(c + i * ldc + j * 16, acc[i][j]);
}

#define TILE(rows, panels, name)                                                                                       \
    QM_TILE(name, rows, panels) {                                                                                      \
        tile(rows, panels, (const int32_t *)a, b, stride, steps, c, ldc, accumulate, along);                           \
    }

QM_TILES(QM_SHAPES_12_BY_2, tile)

void product_bf16_avx512bf16(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = 12,
        .k_step = 2,
        .a_step = 4,
        .b_step = 64,
        .block_steps = 256,
        .one_strip = QM_TILE_TABLE(QM_SHAPES_12_BY_2, tile),
        .strips = QM_TILE_TABLE(QM_SHAPES_12_BY_2, tile),
    };
    qm_product_tiled(p, &tiling);
}
