/* Shaping of inner loops: QM_INLINE, a function that is always inlined, so that its constant arguments shape
 * the code; QM_UNROLL, before a loop whose trip count is then a constant (16 at most), unrolls it whole. */
#ifndef QM_SIMD_INLINE_H
#define QM_SIMD_INLINE_H

#define QM_INLINE static inline __attribute__((always_inline))

#ifdef __clang__
#define QM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define QM_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
