/* Which kernels were built: what the Makefile says of their sources, compiler and flags. */
#include "simd/kernels.h"

const char *qm_kernels_build(void) {
    return QM_KERNELS;
}
