/* The tables of kernels by instruction set, each built once, when it is first asked for. */
#include "simd/kernels.h"

#include <float.h>
#include <pthread.h>

#include "base/clock.h"
#include "simd/mxfp4.h"
#include "simd/tables.h"

static struct qm_kernels tables[QM_ISA_COUNT];
static int tables_built; /* tables[0, tables_built) are there, for good */
static pthread_mutex_t tables_lock = PTHREAD_MUTEX_INITIALIZER;

/* Up to isa and no further: a folder's code, its overlay too, is of instructions that only its CPUs have. */
static void build_tables(enum qm_isa isa) {
    static void (*const overlays[])(struct qm_kernels *) = {
        [QM_ISA_SCALAR] = qm_kernels_overlay_scalar, [QM_ISA_AVX2] = qm_kernels_overlay_avx2,
        [QM_ISA_AVX512] = qm_kernels_overlay_avx512, [QM_ISA_AVX512BF16] = qm_kernels_overlay_avx512bf16,
        [QM_ISA_AMX] = qm_kernels_overlay_amx,
    };
    _Static_assert(sizeof overlays / sizeof *overlays == QM_ISA_COUNT, "an instruction set without kernels");
    for (; tables_built <= (int)isa; tables_built++) {
        if (tables_built > 0)
            tables[tables_built] = tables[tables_built - 1];
        overlays[tables_built](&tables[tables_built]);
        tables[tables_built].isa = (enum qm_isa)tables_built;
    }
}

int qm_kernels_get(enum qm_isa isa, const struct qm_kernels **out, struct qm_error *err) {
    int rc = qm_isa_check(isa, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&tables_lock);
    build_tables(isa);
    pthread_mutex_unlock(&tables_lock);
    *out = &tables[isa];
    return QM_OK;
}

static void keep_least(double *least, double (*peak)(int64_t n, float *state)) {
    enum { ROUNDS = 1000 };
    float state[16] = {0};
    double begin = qm_now(), operations = peak(ROUNDS, state), each = (qm_now() - begin) / operations;
    *least = each < *least ? each : *least;
}

/* The least of several times of each, alternately, so that neither an interruption nor a core that is still
 * waking its wide units decides. */
static enum qm_isa choose_isa(void) {
    const struct qm_kernels *k;
    enum qm_isa best = qm_isa_best();
    if (best != QM_ISA_AVX512BF16 || qm_kernels_get(best, &k, NULL))
        return best;
    double bf16 = DBL_MAX, f32 = DBL_MAX;
    for (int i = 0; i < 16; i++) {
        keep_least(&bf16, k->peak_bf16);
        keep_least(&f32, k->peak_f32);
    }
    return f32 < bf16 ? QM_ISA_AVX512 : best;
}

static enum qm_isa chosen;
static void choose_once(void) {
    chosen = choose_isa();
}

enum qm_isa qm_isa_auto(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose_once);
    return chosen;
}

static size_t panel_data_bytes(enum qm_dtype t, size_t k) {
    switch (t) {
    case QM_BF16: return (k + 1) / 2 * 4 * QM_PANEL_ROWS;
    case QM_F16: return k * 2 * QM_PANEL_ROWS;
    case QM_F32: return k * 4 * QM_PANEL_ROWS;
    case QM_MXFP4: return k / QM_MXFP4_K * QM_MXFP4_BLOCK;
    default: return 0;
    }
}

size_t qm_panel_bytes(enum qm_dtype t, int64_t k) {
    return (panel_data_bytes(t, (size_t)k) + 63) & ~(size_t)63;
}
