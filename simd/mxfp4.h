/* Values of MXFP4 (OCP Microscaling v1.0): E2M1 codes and E8M0 scales, and a panel's block of 32 k. */
#ifndef QM_SIMD_MXFP4_H
#define QM_SIMD_MXFP4_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/dtype.h"
#include "simd/kernels.h"

enum { QM_MXFP4_K = QM_MXFP4_VALUES, QM_MXFP4_BLOCK = 272, QM_MXFP4_LINES = 4, QM_MXFP4_LINE_K = 8 };

/* code[j][r] holds row r's k = 8 j .. 8 j + 7: the even ones in its low half, the odd ones in its high half, four bits
 * each. A shift of 16 dwords brings a k's codes, and one of 32 words a pair's, to where a table look-up takes them; and
 * whole bytes of it are had by reading so many bytes later (the scales follow the codes, so all of it is the block's).
 */
struct qm_mxfp4_block {
    uint32_t code[QM_MXFP4_LINES][QM_PANEL_ROWS];
    uint8_t scale[QM_PANEL_ROWS];
};
_Static_assert(sizeof(struct qm_mxfp4_block) == QM_MXFP4_BLOCK, "bytes of a block");
_Static_assert((int)QM_MXFP4_LINES *QM_MXFP4_LINE_K == QM_MXFP4_K, "k of a block");

/* Where in its dword the code of k is. */
static inline int qm_mxfp4_shift(int k) {
    return k % 2 * 16 + k % QM_MXFP4_LINE_K / 2 * 4;
}

/* What a tile from memory fetches along with step s of its `steps`, at b: the block that follows some KiB later, in the
 * same panels or in those that are read next. */
static inline const char *qm_mxfp4_ahead(const char *b, const char *next, int64_t s, int64_t steps) {
    const int64_t ahead = 12;
    return s + ahead < steps ? b + ahead * QM_MXFP4_BLOCK : next + (s + ahead - steps) * QM_MXFP4_BLOCK;
}

/* The code of k of row r. */
static inline uint32_t qm_mxfp4_code(const struct qm_mxfp4_block *b, int64_t r, int k) {
    return b->code[k / QM_MXFP4_LINE_K][r] >> qm_mxfp4_shift(k) & 15;
}

/* The bits of the eight magnitudes 0, 0.5, 1, 1.5, 2, 3, 4, 6 as BF16; bit 3 of a code is the sign. */
#define QM_E2M1_BF16                                                                                                   \
    0x0000, 0x3F00, 0x3F80, 0x3FC0, 0x4000, 0x4040, 0x4080, 0x40C0, -0x8000, -0x4100, -0x4080, -0x4040, -0x4000,       \
        -0x3FC0, -0x3F80, -0x3F40

#define QM_E2M1_F32                                                                                                    \
    0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f

/* 2^(e - 127); e = 0 is the denormal 2^-127. e = 255 (NaN) is refused when weights are loaded. */
static inline float qm_e8m0_f32(uint8_t e) {
    uint32_t u = e ? (uint32_t)e << 23 : 0x00400000u;
    float x;
    memcpy(&x, &u, 4);
    return x;
}

#endif
