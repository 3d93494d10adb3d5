/* The functions and tables of tiles (simd/tiling.h) of one file, from one list of their shapes. A file defines
 *   SHAPES(MANY, ONE, ...)   its strips, by rows: MANY(rows, panels, ...) where a tile takes several panels at once,
 *                            ONE(rows, 1, ...) where it takes one
 *   TILE(rows, panels, name, ...)   a tile's function, QM_TILE(name, rows, panels) { ... }
 * and gets QM_TILES(name, ...), the functions, and QM_TILE_TABLE(name), a `struct qm_tiles` initializer by rows. */
#ifndef QM_SIMD_TILE_TABLES_H
#define QM_SIMD_TILE_TABLES_H

#include "simd/tiling.h"

/* The head of a qm_tile. */
#define QM_TILE(name, rows, panels)                                                                                    \
    static void name##_##rows##x##panels(const char *a, const char *b, size_t stride, int64_t steps, float *c,         \
                                         int64_t ldc, int accumulate, const char *ahead)

#define QM_TILE_AND_ONE(rows, panels, ...) TILE(rows, panels, __VA_ARGS__) TILE(rows, 1, __VA_ARGS__)
#define QM_TILES(...) SHAPES(QM_TILE_AND_ONE, TILE, __VA_ARGS__)

#define QM_TILE_ENTRY(rows, panels, name) [rows] = {name##_##rows##x##panels, name##_##rows##x1, panels},
#define QM_TILE_TABLE(name)                                                                                            \
    { SHAPES(QM_TILE_ENTRY, QM_TILE_ENTRY, name) }

#endif
