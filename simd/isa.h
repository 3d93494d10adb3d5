/* Instruction sets this program has kernels for, in ascending order, and what this CPU and OS allow. */
#ifndef QM_SIMD_ISA_H
#define QM_SIMD_ISA_H

#include "base/error.h"

enum qm_isa { QM_ISA_SCALAR, QM_ISA_AVX2, QM_ISA_AVX512, QM_ISA_AVX512BF16, QM_ISA_AMX, QM_ISA_COUNT };

/* "scalar", "avx2", "avx512", "avx512bf16", "amx". */
const char *qm_isa_name(enum qm_isa isa);
/* Unknown names are QM_USAGE, listing the known ones. */
int qm_isa_parse(const char *name, enum qm_isa *out, struct qm_error *err);
/* The highest instruction set that CPUID reports and the OS enables (XCR0). Never amx, which
 * is used where it is asked for: it has been measured on one CPU only. */
enum qm_isa qm_isa_best(void);
/* 0 where `isa` can run here; else QM_FIT with what is missing. For amx it asks Linux for the tile registers, which
 * the process then has. */
int qm_isa_check(enum qm_isa isa, struct qm_error *err);

#endif
