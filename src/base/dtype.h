/* Element types of weights and caches, and exact conversions of single values.
 * BF16: the upper half of an IEEE-754 binary32, rounded to nearest even (NaN stays NaN, made quiet).
 * F16: IEEE-754 binary16. MXFP4: OCP Microscaling v1.0, 32 E2M1 values sharing one E8M0 scale. */
#ifndef QM_BASE_DTYPE_H
#define QM_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The first four are types that weights are computed with; the others only occur in files, as codes of weights, their
 * scales and tables. */
enum qm_dtype {
    QM_BF16,
    QM_F16,
    QM_F32,
    QM_MXFP4,
    QM_U8,
    QM_F8_E4M3, /* OCP 8-bit floating point: no infinity, NaN 0x7F and 0xFF */
    QM_F8_E8M0, /* 2^(code - 127), NaN 0xFF */
    QM_I8,
    QM_I32,
    QM_I64,
    QM_DTYPE_COUNT
};

/* "BF16", ...; size in bytes of one element (0 for MXFP4, which has none of its own). */
const char *qm_dtype_name(enum qm_dtype t);
size_t qm_dtype_size(enum qm_dtype t);

/* Whether each element is a value by itself, of a type that weights are computed with. */
static inline int qm_is_float(enum qm_dtype t) {
    return t == QM_BF16 || t == QM_F16 || t == QM_F32;
}

/* MXFP4 (OCP Microscaling Formats): values of one block, that share a scale of one byte; bytes of the values. */
enum { QM_MXFP4_VALUES = 32, QM_MXFP4_BYTES = QM_MXFP4_VALUES / 2 };

static inline uint16_t qm_bf16_from_f32(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static inline float qm_f32_from_bf16(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, 4);
    return x;
}

float qm_f32_from_f16(uint16_t h);
uint16_t qm_f16_from_f32(float x);

#endif
