/* The line of a tile of MXFP4 (simd/mxfp4_tiles.h) by activations rounded to BF16 and kept as float, one FMA an element
 * and k, whatever the vectors are. Included once, after mxfp4_value(block, line, k, part): qm_lanes of k's values. */
#ifndef QM_SIMD_MXFP4_FLOAT_H
#define QM_SIMD_MXFP4_FLOAT_H

#include "simd/mxfp4_tiles.h"

enum { A_STEP = QM_MXFP4_K * 4, EXPANDED_STEP = 64 + QM_MXFP4_K * 64 };

QM_INLINE void line_sums(struct mxfp4_shape x, struct mxfp4_block o, int line, qm_lanes sum[][4]) {
    const float *a = (const float *)o.a;
    QM_UNROLL
    for (int i = 0; i < QM_MXFP4_LINE_K; i++) {
        const int k = line * QM_MXFP4_LINE_K + i;
        qm_lanes w[4];
        QM_UNROLL
        for (int j = 0; j < PARTS * x.panels; j++) {
            const char *b = o.b + (size_t)(j / PARTS) * o.stride;
            w[j] = x.taken == QM_EXPANDED ? lanes_load(b + 64 + k * 64 + j % PARTS * LANE_BYTES)
                                          : mxfp4_value(b, line, k, j % PARTS);
            if (x.taken == QM_EXPANDING)
                lanes_store(o.out + (size_t)(j / PARTS) * o.out_stride + 64 + k * 64 + j % PARTS * LANE_BYTES, w[j]);
        }
        QM_UNROLL
        for (int r = 0; r < x.rows; r++) {
            qm_lanes v = lanes_all(a[k * x.rows + r]);
            QM_UNROLL
            for (int j = 0; j < PARTS * x.panels; j++)
                sum[r][j] = lanes_fma(v, w[j], sum[r][j]);
        }
    }
}

#endif
