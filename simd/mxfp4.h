/* Values of MXFP4 (OCP Microscaling v1.0): E2M1 codes and E8M0 scales, and a panel's block of 32 k. */
#ifndef QM_SIMD_MXFP4_H
#define QM_SIMD_MXFP4_H

#include <stdint.h>
#include <string.h>

enum { QM_MXFP4_K = 32, QM_MXFP4_BLOCK = 272 };

struct qm_mxfp4_block {
    uint8_t scale[16];
    uint8_t code[16][16];
};

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
