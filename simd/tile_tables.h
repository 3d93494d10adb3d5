/* The functions and tables of tiles (simd/tiling.h) of one file, from lists of their shapes. A file has
 *   a list SHAPES(MANY, ONE, ...)   micro-panels, by rows: MANY(rows, panels, ...) where a tile takes several panels,
 *                                   ONE(rows, 1, ...) where it takes one
 *   TILE(rows, panels, name, ...)   a tile's function, QM_TILE(name, rows, panels) { ... }
 * and gets QM_TILES(SHAPES, name, ...), the functions, and QM_TILE_TABLE(SHAPES, name), a `struct qm_tiles` initializer
 * by rows. */
#ifndef QM_SIMD_TILE_TABLES_H
#define QM_SIMD_TILE_TABLES_H

#include "simd/tiling.h"

/* How a tile takes its panels: from memory, for itself; from cache, keeping them expanded for other micro-panels; or so
 * expanded. */
enum qm_taken { QM_FETCHED, QM_EXPANDING, QM_EXPANDED };

/* The head of a qm_tile. */
#define QM_TILE(name, rows, panels)                                                                                    \
    static void name##_##rows##x##panels(const char *a, const char *b, size_t stride, int64_t steps, float *c,         \
                                         int64_t ldc, int accumulate, const struct qm_along *along)

#define QM_TILE_AND_ONE(rows, panels, ...) TILE(rows, panels, __VA_ARGS__) TILE(rows, 1, __VA_ARGS__)
#define QM_TILES(shapes, ...) shapes(QM_TILE_AND_ONE, TILE, __VA_ARGS__)

#define QM_TILE_ENTRY(rows, panels, name) [rows] = {name##_##rows##x##panels, name##_##rows##x1, panels},
#define QM_TILE_TABLE(shapes, name)                                                                                    \
    { shapes(QM_TILE_ENTRY, QM_TILE_ENTRY, name) }

/* Micro-panels of up to 6 rows by one panel: at most 12 accumulators of half a panel, which leaves room in 16
 * registers. */
#define QM_SHAPES_6_BY_1(MANY, ONE, ...)                                                                               \
    ONE(1, 1, __VA_ARGS__)                                                                                             \
    ONE(2, 1, __VA_ARGS__)                                                                                             \
    ONE(3, 1, __VA_ARGS__)                                                                                             \
    ONE(4, 1, __VA_ARGS__)                                                                                             \
    ONE(5, 1, __VA_ARGS__)                                                                                             \
    ONE(6, 1, __VA_ARGS__)

/* Micro-panels of up to 12 rows by two panels: at most 24 accumulators, which leaves room in 32 registers. */
#define QM_SHAPES_12_BY_2(MANY, ONE, ...)                                                                              \
    MANY(1, 2, __VA_ARGS__)                                                                                            \
    MANY(2, 2, __VA_ARGS__)                                                                                            \
    MANY(3, 2, __VA_ARGS__)                                                                                            \
    MANY(4, 2, __VA_ARGS__)                                                                                            \
    MANY(5, 2, __VA_ARGS__)                                                                                            \
    MANY(6, 2, __VA_ARGS__)                                                                                            \
    MANY(7, 2, __VA_ARGS__)                                                                                            \
    MANY(8, 2, __VA_ARGS__)                                                                                            \
    MANY(9, 2, __VA_ARGS__)                                                                                            \
    MANY(10, 2, __VA_ARGS__)                                                                                           \
    MANY(11, 2, __VA_ARGS__)                                                                                           \
    MANY(12, 2, __VA_ARGS__)

#endif
