/* Conversions of single values, bit-exact and without hardware help. */
#include "base/dtype.h"

const char *qm_dtype_name(enum qm_dtype t) {
    static const char *const names[] = {"BF16", "F16", "F32", "MXFP4", "U8", "F8_E4M3", "F8_E8M0", "I8", "I32", "I64"};
    _Static_assert(sizeof names / sizeof *names == QM_DTYPE_COUNT, "a type without a name");
    return t < QM_DTYPE_COUNT ? names[t] : "?";
}

size_t qm_dtype_size(enum qm_dtype t) {
    static const unsigned char sizes[] = {2, 2, 4, 0, 1, 1, 1, 1, 4, 8};
    _Static_assert(sizeof sizes / sizeof *sizes == QM_DTYPE_COUNT, "a type without a size");
    return t < QM_DTYPE_COUNT ? sizes[t] : 0;
}

float qm_f32_from_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023, u;
    if (exponent == 31) {
        u = sign | 0x7F800000u | fraction << 13;
    } else if (exponent) {
        u = sign | (exponent + 112) << 23 | fraction << 13;
    } else {
        float f = (float)fraction * 0x1p-24f; /* exact */
        return sign ? -f : f;
    }
    float x;
    memcpy(&x, &u, 4);
    return x;
}

uint16_t qm_f16_from_f32(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    uint32_t sign = u >> 16 & 0x8000, magnitude = u & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u)
        return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x477FF000u) /* rounds past 65504 */
        return (uint16_t)(sign | 0x7C00);
    if (magnitude >= 0x38800000u) /* normal */
        return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xFFF + (magnitude >> 13 & 1)) >> 13));
    if (magnitude < 0x33000000u) /* below half of the least subnormal */
        return (uint16_t)sign;
    uint32_t shift = 126 - (magnitude >> 23), fraction = (magnitude & 0x7FFFFFu) | 0x800000u;
    uint32_t kept = fraction >> shift, rest = fraction & ((1u << shift) - 1), half = 1u << (shift - 1);
    return (uint16_t)(sign | (kept + (rest > half || (rest == half && (kept & 1)))));
}
