/* What shapes a tile of products, and what it fetches ahead: shared by the instruction sets, whose vectors differ. */
#ifndef QM_SIMD_FETCHED_H
#define QM_SIMD_FETCHED_H

#include "base/dtype.h"
#include "simd/inline.h"
#include "simd/tile_tables.h"

/* Where the panels come from memory: how far ahead they are fetched, in bytes of each, into L1 and into L2. */
enum { QM_NEAR = 2048, QM_FAR = 6144 };

/* The constants that shape a tile's code. */
struct qm_shape {
    enum qm_dtype t;
    enum qm_taken taken;
    int rows, panels;
    int k_step, b_step; /* a step: so many k, in so many bytes of a panel */
};

QM_INLINE struct qm_shape qm_shape_of(enum qm_dtype t, enum qm_taken taken, int rows, int panels) {
    int k_step = t == QM_BF16 ? 2 : 1, b_step = taken == QM_EXPANDED ? 64 * k_step : t == QM_F16 ? 32 : 64;
    return (struct qm_shape){t, taken, rows, panels, k_step, b_step};
}

/* Steps [from, to) of a tile. Its step s fetches from near + s steps into L1 and from far + s steps into L2. */
struct qm_span {
    int64_t from, to;
    const char *near, *far;
};

/* The number of a tile's spans. Fetched, a tile has three: in the first both addresses lie in the tile's own panels; in
 * the second the far one lies in the panels that are read next; in the third both do. A tile that fetches nothing from
 * memory has one span. */
QM_INLINE int qm_spans(struct qm_shape x) {
    return x.taken == QM_FETCHED ? 3 : 1;
}

QM_INLINE struct qm_span qm_span_of(struct qm_shape x, int i, const char *b, int64_t steps,
                                    const struct qm_along *along) {
    const int64_t cut[] = {0, steps > QM_FAR / x.b_step ? steps - QM_FAR / x.b_step : 0,
                           steps > QM_NEAR / x.b_step ? steps - QM_NEAR / x.b_step : 0, steps};
    if (x.taken != QM_FETCHED)
        return (struct qm_span){0, steps, NULL, NULL};
    const char *next = along->next - steps * x.b_step;
    return (struct qm_span){cut[i], cut[i + 1], (i < 2 ? b : next) + QM_NEAR, (i < 1 ? b : next) + QM_FAR};
}

/* Fetches what step s is to fetch: what lies near and far ahead in each panel, or what is read along. */
QM_INLINE void qm_fetch(struct qm_shape x, struct qm_span span, size_t stride, int64_t s,
                        const struct qm_along *along) {
    enum { READ, L1 = 3, L2 = 2 };
    if (x.taken != QM_FETCHED) {
        if (!(s & along->between))
            __builtin_prefetch(along->ahead + s * along->step, READ, L2);
        return;
    }
    if (x.b_step < 64 && s % 2)
        return;
    QM_UNROLL
    for (int j = 0; j < x.panels; j++) {
        __builtin_prefetch(span.near + (size_t)j * stride + s * x.b_step, READ, L1);
        __builtin_prefetch(span.far + (size_t)j * stride + s * x.b_step, READ, L2);
    }
}

#endif
