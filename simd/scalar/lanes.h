/* Sums in 16 lanes, folded in the order that vectors fold: halves onto each other. */
#ifndef QM_SIMD_LANES_H
#define QM_SIMD_LANES_H

enum { QM_LANES = 16 };

static inline float fold_lanes(float lanes[QM_LANES]) {
    for (int half = QM_LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

#endif
