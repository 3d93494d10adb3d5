/* The tables of kernels by instruction set, built once. */
#include "simd/kernels.h"

#include <pthread.h>

#include "simd/tables.h"

static struct qm_kernels tables[QM_ISA_AVX512BF16 + 1];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

/* A folder's overlay is compiled with that folder's flags: one above what the CPU has must not run. */
static void build_tables(void) {
    static void (*const overlays[])(struct qm_kernels *) = {
        [QM_ISA_SCALAR] = qm_kernels_overlay_scalar,
        [QM_ISA_AVX2] = qm_kernels_overlay_avx2,
        [QM_ISA_AVX512] = qm_kernels_overlay_avx512,
        [QM_ISA_AVX512BF16] = qm_kernels_overlay_avx512bf16,
    };
    for (int isa = QM_ISA_SCALAR; isa <= (int)qm_isa_best(); isa++) {
        if (isa > QM_ISA_SCALAR)
            tables[isa] = tables[isa - 1];
        overlays[isa](&tables[isa]);
        tables[isa].isa = (enum qm_isa)isa;
    }
}

int qm_kernels_get(enum qm_isa isa, const struct qm_kernels **out, struct qm_error *err) {
    int rc = qm_isa_check(isa, err);
    if (rc)
        return rc;
    pthread_once(&tables_once, build_tables);
    *out = &tables[isa];
    return QM_OK;
}

static size_t panel_data_bytes(enum qm_dtype t, size_t k) {
    switch (t) {
    case QM_BF16: return (k + 1) / 2 * 64;
    case QM_F16: return k * 32;
    case QM_F32: return k * 64;
    case QM_MXFP4: return k / 32 * 272;
    default: return 0;
    }
}

size_t qm_panel_bytes(enum qm_dtype t, int64_t k) {
    return (panel_data_bytes(t, (size_t)k) + 63) & ~(size_t)63;
}
