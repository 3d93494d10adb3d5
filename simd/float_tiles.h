/* Products of BF16, F16 and F32 panels by F32 activations (rounded to BF16 first for BF16 panels), one FMA an element
 * and k, whatever the vectors are: the bodies of the tiles and their tables. A tile is `rows` x `panels` accumulators
 * of PARTS registers; the panels' values of one k are loaded once and meet each row's broadcast. Activations are
 * micro-panels [k][r] of float (see simd/tiling.h).
 * Included by an instruction set's product.c, once, after its lanes.h, and after it has
 *   ROWS        of a micro-panel at most
 *   SHAPES      of tiles whose panels come from memory, a list as in simd/tile_tables.h
 *   CACHED      of tiles whose panels come from cache
 *   BF16_BLOCK_STEPS  steps of BF16 that one walk over the micro-panels takes
 *   weights     (shape, b, k_in_step, part) of a panel: qm_lanes
 * and gets bf16_tiling, f16_tiling, f32_tiling. */
#ifndef QM_SIMD_FLOAT_TILES_H
#define QM_SIMD_FLOAT_TILES_H

#include "simd/fetched.h"

enum { PARTS = QM_PANEL_ROWS / QM_LANES, LANE_BYTES = 4 * QM_LANES };

/* A span of a tile's steps. */
QM_INLINE void steps_of(struct qm_shape x, const float *a, const char *b, size_t stride, int64_t steps,
                        struct qm_span span, const struct qm_along *along, qm_lanes acc[][8]) {
    for (int64_t s = span.from; s < span.to; s++) {
        qm_fetch(x, span, stride, s, along);
        QM_UNROLL
        for (int k = 0; k < x.k_step; k++) {
            int64_t at = s * x.k_step + k;
            qm_lanes w[8];
            QM_UNROLL
            for (int j = 0; j < PARTS * x.panels; j++) {
                w[j] = weights(x, b + (size_t)(j / PARTS) * stride + s * x.b_step, k, j % PARTS);
                if (x.taken == QM_EXPANDING)
                    lanes_store(along->expanded + (j / PARTS * steps * x.k_step + at) * 64 + j % PARTS * LANE_BYTES,
                                w[j]);
            }
            QM_UNROLL
            for (int i = 0; i < x.rows; i++) {
                qm_lanes v = lanes_all(a[at * x.rows + i]);
                QM_UNROLL
                for (int j = 0; j < PARTS * x.panels; j++)
                    acc[i][j] = lanes_fma(v, w[j], acc[i][j]);
            }
        }
    }
}

QM_INLINE void tile(struct qm_shape x, const float *a, const char *b, size_t stride, int64_t steps, float *c,
                    int64_t ldc, int accumulate, const struct qm_along *along) {
    qm_lanes acc[ROWS][8];
    float *volatile kept = c; /* else the addresses of all rows are kept over the loop, in registers that it needs */
    QM_UNROLL
    for (int i = 0; i < x.rows; i++)
        QM_UNROLL
    for (int j = 0; j < PARTS * x.panels; j++)
        acc[i][j] = accumulate ? lanes_read(c + i * ldc + j * QM_LANES) : lanes_zero();
    for (int i = 0; i < qm_spans(x); i++)
        steps_of(x, a, b, stride, steps, qm_span_of(x, i, b, steps, along), along, acc);
    c = kept;
    QM_UNROLL
    for (int i = 0; i < x.rows; i++)
        QM_UNROLL
    for (int j = 0; j < PARTS * x.panels; j++)
        lanes_write(c + i * ldc + j * QM_LANES, acc[i][j]);
}

#define TILE(rows, panels, name, type, taken)                                                                          \
    QM_TILE(name, rows, panels) {                                                                                      \
        tile(qm_shape_of(type, taken, rows, panels), (const float *)a, b, stride, steps, c, ldc, accumulate, along);   \
    }

QM_TILES(SHAPES, bf16, QM_BF16, QM_FETCHED)
QM_TILES(SHAPES, f16, QM_F16, QM_FETCHED)
QM_TILES(SHAPES, f32, QM_F32, QM_FETCHED)
QM_TILES(CACHED, expanding_bf16, QM_BF16, QM_EXPANDING)
QM_TILES(CACHED, expanding_f16, QM_F16, QM_EXPANDING)
QM_TILES(CACHED, expanded_pairs, QM_BF16, QM_EXPANDED)
QM_TILES(CACHED, expanded, QM_F32, QM_EXPANDED)

static const struct qm_tiling bf16_tiling = {
    .rows = ROWS,
    .k_step = 2,
    .a_step = 8,
    .b_step = 64,
    .block_steps = BF16_BLOCK_STEPS,
    .expanded_step = 128,
    .one_micro_panel = QM_TILE_TABLE(SHAPES, bf16),
    .expanding = QM_TILE_TABLE(CACHED, expanding_bf16),
    .micro_panels = QM_TILE_TABLE(CACHED, expanded_pairs),
};

static const struct qm_tiling f16_tiling = {
    .rows = ROWS,
    .k_step = 1,
    .a_step = 4,
    .b_step = 32,
    .block_steps = 256,
    .expanded_step = 64,
    .one_micro_panel = QM_TILE_TABLE(SHAPES, f16),
    .expanding = QM_TILE_TABLE(CACHED, expanding_f16),
    .micro_panels = QM_TILE_TABLE(CACHED, expanded),
};

static const struct qm_tiling f32_tiling = {
    .rows = ROWS,
    .k_step = 1,
    .a_step = 4,
    .b_step = 64,
    .block_steps = 256,
    .one_micro_panel = QM_TILE_TABLE(SHAPES, f32),
    .micro_panels = QM_TILE_TABLE(CACHED, expanded),
};

#endif
