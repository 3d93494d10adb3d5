/* How a vector instruction set walks a product: rows in micro-panels, panels a few at a time, k in blocks. The
 * tiles (the innermost loops) are the instruction set's; the walk is shared and compiled once, plainly.
 *
 * Packed activations: each block of QM_PACK_ROWS rows is cut into micro-panels of `rows` rows; the rows after the last
 * whole block into the fewest micro-panels of at most `rows`, as even as can be (the longer ones first). A micro-panel
 * of r rows is [k / a_step][r][a_step] elements, so that a tile reads it in one forward stream and m = 1 is the row
 * itself. A tile computes r rows by some panels over consecutive steps of k, each element in one accumulator, so no cut
 * of rows, panels or k changes a bit. */
#ifndef QM_SIMD_TILING_H
#define QM_SIMD_TILING_H

#include "simd/kernels.h"

enum { QM_TILE_ROWS = 12 };
_Static_assert(QM_PACK_ROWS % QM_TILE_ROWS == 0, "a block is whole micro-panels");

/* What a tile does along with its product. */
struct qm_along {
    /* Fetches what will be read later: `step` bytes from `ahead` on in each step, at most a step of one panel; less
     * than a line, only in every so many steps (less one: a mask) as a line is. (An address only: there may be nothing
     * there, and fetching does nothing then.) */
    const char *ahead;
    int64_t step, between;
    const char *next; /* of a tile that reads its panels from memory: the panels that are read after them */
    char *expanded;   /* where a tile that expands its panels puts them: a step of expanded_step, panel after panel */
};

/* r rows (fixed by the tile) by its number of panels, over `steps` steps of k from a and b. */
typedef void qm_tile(const char *a, const char *b, size_t panel_stride, int64_t steps, float *c, int64_t ldc,
                     int accumulate, const struct qm_along *along);

struct qm_tiles {
    qm_tile *many; /* `panels` at once */
    qm_tile *one;  /* one panel */
    int panels;
};

struct qm_tiling {
    int rows;          /* most rows of a micro-panel */
    int k_step;        /* k of one step of a tile */
    int a_step;        /* bytes of one row of packed activations in one step */
    int b_step;        /* bytes of a panel in one step */
    int block_steps;   /* steps that one walk over the micro-panels takes, so that its panels stay in L1 or L2 */
    int expanded_step; /* 0, or bytes of a step once the first of several micro-panels has decoded it for the others */
    /* By rows; [0] unused. */
    struct qm_tiles one_micro_panel[QM_TILE_ROWS + 1];
    struct qm_tiles expanding[QM_TILE_ROWS + 1]; /* the first of several, where there is something to expand */
    struct qm_tiles
        micro_panels[QM_TILE_ROWS + 1]; /* the others of several. Both take one panel or two, whatever the rows */
};

void qm_product_tiled(const struct qm_product *p, const struct qm_tiling *t);

/* The micro-panels of m rows: how many; micro-panel s is rows [*first, *first + returned). `rows` divides QM_PACK_ROWS.
 */
static inline int64_t qm_micro_panel_count(int64_t m, int rows) {
    int64_t whole = m / QM_PACK_ROWS, rest = m % QM_PACK_ROWS;
    return whole * (QM_PACK_ROWS / rows) + (rest + rows - 1) / rows;
}

static inline int64_t qm_micro_panel(int64_t m, int rows, int64_t s, int64_t *first) {
    int64_t each = QM_PACK_ROWS / rows, whole = m / QM_PACK_ROWS, rest = m % QM_PACK_ROWS;
    if (s < whole * each) {
        *first = s * rows;
        return rows;
    }
    int64_t micro_panels = (rest + rows - 1) / rows, i = s - whole * each, base = rest / micro_panels,
            longer = rest % micro_panels;
    *first = whole * QM_PACK_ROWS + i * base + (i < longer ? i : longer);
    return base + (i < longer);
}

#endif
