/* The kernels of simd/amx/, compiled against the model of the tile instructions. */
#ifndef QM_TESTS_SUPPORT_AMX_KERNELS_H
#define QM_TESTS_SUPPORT_AMX_KERNELS_H

#include "simd/kernels.h"

/* The scalar table with amx's entries over it. One thread at a time. */
void test_amx_kernels(struct qm_kernels *t);
/* True where a kernel left the tiles configured. */
int test_amx_configured(void);

#endif
