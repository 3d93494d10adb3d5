/* Tiles of MXFP4 panels (simd/mxfp4.h), whatever the vectors are and whatever they multiply with: blocks, their scales,
 * and what is fetched and kept along. A block's products are summed from zero, and that sum times the block's scale is
 * added to the element's accumulator by one FMA. Codes are decoded in registers; the first of several micro-panels of
 * rows keeps what it decodes for the others: per step the 16 scales as float and then the values that its products
 * take. Included after the lanes.h of an instruction set, and after mxfp4_scales(block, part): qm_lanes of a block's
 * scales.
 */
#ifndef QM_SIMD_MXFP4_TILES_H
#define QM_SIMD_MXFP4_TILES_H

#include "simd/inline.h"
#include "simd/mxfp4.h"
#include "simd/tile_tables.h"

enum { PARTS = QM_PANEL_ROWS / QM_LANES, LANE_BYTES = 4 * QM_LANES };

/* The constants that shape a tile's code. */
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

/* What a tile multiplies and where to: as a qm_tile is given it. */
struct mxfp4_tile {
    const char *a, *b;
    size_t stride;
    int64_t steps;
    float *c;
    int64_t ldc;
    int accumulate;
};

/* Adds the products of the eight k of one line of codes to sum. */
typedef void mxfp4_line(struct mxfp4_shape x, struct mxfp4_block o, int line, qm_lanes sum[][4]);

/* Fetches what lies `at` bytes ahead: in each panel, into L1; or what is read along, into L2. */
QM_INLINE void mxfp4_fetch(struct mxfp4_shape x, const char *ahead, size_t stride, int64_t at) {
    enum { READ, L1 = 3, L2 = 2 };
    if (x.taken != QM_FETCHED) {
        __builtin_prefetch(ahead + at, READ, L2);
        return;
    }
    QM_UNROLL
    for (int j = 0; j < x.panels; j++)
        __builtin_prefetch(ahead + (size_t)j * stride + at, READ, L1);
}

/* Adds the products of one block. A block of 272 bytes is on five lines: `ahead` is fetched in so many steps. */
QM_INLINE void mxfp4_block_sums(struct mxfp4_shape x, mxfp4_line *line_sums, struct mxfp4_block o, const char *ahead,
                                int64_t ahead_step, qm_lanes acc[][4]) {
    qm_lanes sum[QM_TILE_ROWS][4];
    QM_UNROLL
    for (int r = 0; r < x.rows; r++)
        QM_UNROLL
    for (int j = 0; j < PARTS * x.panels; j++)
        sum[r][j] = lanes_zero();
    for (int line = 0; line < QM_MXFP4_LINES; line++) {
        mxfp4_fetch(x, ahead, o.stride, line * ahead_step / QM_MXFP4_LINES);
        line_sums(x, o, line, sum);
    }
    mxfp4_fetch(x, ahead, o.stride, ahead_step - 1);
    QM_UNROLL
    for (int j = 0; j < PARTS * x.panels; j++) {
        const char *b = o.b + (size_t)(j / PARTS) * o.stride;
        qm_lanes scale = x.taken == QM_EXPANDED ? lanes_load(b + j % PARTS * LANE_BYTES) : mxfp4_scales(b, j % PARTS);
        if (x.taken == QM_EXPANDING)
            lanes_store(o.out + (size_t)(j / PARTS) * o.out_stride + j % PARTS * LANE_BYTES, scale);
        QM_UNROLL
        for (int r = 0; r < x.rows; r++)
            acc[r][j] = lanes_fma(sum[r][j], scale, acc[r][j]);
    }
}

QM_INLINE void mxfp4_tile(struct mxfp4_shape x, mxfp4_line *line_sums, struct mxfp4_tile t,
                          const struct qm_along *along) {
    struct mxfp4_block o = {t.a, t.b, t.stride, along->expanded, (size_t)(t.steps * x.expanded_step)};
    qm_lanes acc[QM_TILE_ROWS][4];
    float *c = t.c, *volatile kept = c; /* as in float_tiles.h */
    QM_UNROLL
    for (int r = 0; r < x.rows; r++)
        QM_UNROLL
    for (int j = 0; j < PARTS * x.panels; j++)
        acc[r][j] = t.accumulate ? lanes_read(c + r * t.ldc + j * QM_LANES) : lanes_zero();
    for (int64_t s = 0; s < t.steps; s++) {
        if (x.taken == QM_FETCHED)
            mxfp4_block_sums(x, line_sums, o, qm_mxfp4_ahead(o.b, along->next, s, t.steps), QM_MXFP4_BLOCK, acc);
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
    for (int j = 0; j < PARTS * x.panels; j++)
        lanes_write(c + r * t.ldc + j * QM_LANES, acc[r][j]);
}

/* The functions of a file's tiles: its A_STEP, EXPANDED_STEP and line_sums. */
#define TILE(rows, panels, name, taken)                                                                                \
    QM_TILE(name, rows, panels) {                                                                                      \
        mxfp4_tile((struct mxfp4_shape){taken, rows, panels, A_STEP, EXPANDED_STEP}, line_sums,                        \
                   (struct mxfp4_tile){a, b, stride, steps, c, ldc, accumulate}, along);                               \
    }

#endif
