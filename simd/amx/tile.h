/* The configuration of the tile registers (LDTILECFG's operand, palette 1: eight tiles of at most 16 rows of 64
 * bytes), and what compilers must know of tiles' memory. */
#ifndef QM_SIMD_AMX_TILE_H
#define QM_SIMD_AMX_TILE_H

#include <stdint.h>

#include "simd/inline.h"

enum { QM_TILES = 8, QM_TILE_HEIGHT = 16, QM_TILE_LINE = 64, QM_TILE_BYTES = QM_TILE_HEIGHT * QM_TILE_LINE };

struct qm_tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t line_bytes[16];
    uint8_t rows[16];
};

/* GCC's intrinsics do not say that they read memory: what was written for a tile or a configuration by the same
 * function must be there first. */
QM_INLINE void qm_tile_memory(void) {
    __asm__ volatile("" ::: "memory");
}

#endif
