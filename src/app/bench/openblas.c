/* OpenBLAS as a peer of the kernels: its F32 and BF16 products over the same shapes, with as many threads. It is looked
 * for at run time and never part of a forward pass, because its order of summation varies with rows and threads. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "app/bench/bench.h"

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };

typedef void sgemm_fn(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                      const float *b, int ldb, float beta, float *c, int ldc);
typedef void sbgemm_fn(int order, int ta, int tb, int m, int n, int k, float alpha, const uint16_t *a, int lda,
                       const uint16_t *b, int ldb, float beta, float *c, int ldc);

struct qm_openblas {
    void *library;
    sgemm_fn *sgemm;
    sbgemm_fn *sbgemm; /* NULL: not exported */
    void (*set_threads)(int n);
    char *(*core)(void);
};

/* ISO C has no conversion from an object's pointer to a function's; POSIX promises that their bytes are the same. */
static void find(void *library, const char *name, void *function, size_t size) {
    void *found = dlsym(library, name);
    memcpy(function, &found, size);
}

int qm_openblas_open(struct qm_openblas **out, struct qm_error *err) {
    *out = NULL;
    struct qm_openblas *b = calloc(1, sizeof *b);
    if (!b)
        return qm_fail_memory(err, sizeof *b, "OpenBLAS");
    b->library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!b->library) {
        free(b);
        return qm_fail(err, QM_SYSTEM, "OpenBLAS is not installed (libopenblas0): %s", dlerror());
    }
    find(b->library, "cblas_sgemm", &b->sgemm, sizeof b->sgemm);
    find(b->library, "cblas_sbgemm", &b->sbgemm, sizeof b->sbgemm);
    find(b->library, "openblas_set_num_threads", &b->set_threads, sizeof b->set_threads);
    find(b->library, "openblas_get_corename", &b->core, sizeof b->core);
    if (b->sgemm && b->set_threads) {
        *out = b;
        return QM_OK;
    }
    qm_openblas_close(b);
    return qm_fail(err, QM_SYSTEM, "libopenblas.so.0 has no cblas_sgemm or openblas_set_num_threads");
}

void qm_openblas_close(struct qm_openblas *b) {
    if (!b)
        return;
    dlclose(b->library);
    free(b);
}

struct call {
    const struct qm_openblas *blas;
    bool bf16;
    int m, n, k;
    char *weights; /* copies, used round-robin */
    size_t one, copies, copy;
    void *a;
    float *c;
};

static void multiply(void *arg) {
    struct call *q = arg;
    const void *b = q->weights + q->copy * q->one;
    q->copy = (q->copy + 1) % q->copies;
    if (q->bf16)
        q->blas->sbgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, q->m, q->n, q->k, 1, q->a, q->k, b, q->k, 0, q->c, q->n);
    else
        q->blas->sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, q->m, q->n, q->k, 1, q->a, q->k, b, q->k, 0, q->c, q->n);
}

/* The sign and exponent bytes that keep magnitudes below 1. */
static void fill(void *data, size_t bytes, size_t element) {
    unsigned char *p = data;
    uint32_t state = 1;
    for (size_t i = 0; i < bytes; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (unsigned char)(state >> 24);
        if (i % element == element - 1)
            p[i] = (p[i] & 0x80) | 0x3D;
    }
}

static int run_one(struct call *q, const struct qm_memory *memory, int threads, struct qm_limits_probe *limits,
                   struct qm_rows *rows, struct qm_error *err) {
    size_t element = q->bf16 ? 2 : 4, activations = (size_t)q->m * (size_t)q->k * element;
    q->one = (size_t)q->n * (size_t)q->k * element;
    q->weights = memory->data;
    q->copies = memory->bytes / q->one;
    q->a = malloc(activations);
    q->c = malloc((size_t)q->m * (size_t)q->n * sizeof *q->c);
    int rc = QM_OK;
    if (!q->a || !q->c || q->copies == 0)
        rc = qm_fail_memory(err, q->one + activations, "a product");
    if (!rc) {
        fill(q->a, activations, element);
        struct qm_limits around[2] = {qm_limits_measure(limits)};
        struct qm_bench_product p = {.kernel = q->bf16 ? "openblas_sbgemm" : "openblas_sgemm",
                                     .isa = q->blas->core ? q->blas->core() : "",
                                     .threads = threads,
                                     .m = q->m,
                                     .n = q->n,
                                     .k = q->k,
                                     .bytes = (double)q->one,
                                     .seconds = qm_bench_median(multiply, q),
                                     .wide = !q->bf16};
        around[1] = qm_limits_measure(limits);
        struct qm_limits mean = qm_limits_median(around, 2);
        rc = qm_rows_add(rows, qm_bench_kernel_row(&p, &mean), err);
    }
    free(q->a);
    free(q->c);
    return rc;
}

int qm_bench_openblas(const struct qm_openblas *b, struct qm_team *team, const struct qm_memory *memory,
                      struct qm_limits_probe *limits, struct qm_rows *rows, const volatile sig_atomic_t *stop,
                      struct qm_error *err) {
    int rc = QM_OK, threads = qm_team_threads(team), types = b->sbgemm ? 2 : 1;
    b->set_threads(threads);
    for (int bf16 = 0; bf16 < types && !rc; bf16++) {
        fill(memory->data, memory->bytes, bf16 ? 2 : 4);
        for (const struct qm_bench_shape *s = qm_bench_shapes; s->n && !rc; s++)
            for (int r = 0; r < QM_BENCH_M_COUNT && !rc; r++) {
                struct call q = {.blas = b, .bf16 = bf16, .m = (int)qm_bench_m[r], .n = (int)s->n, .k = (int)s->k};
                rc = *stop ? qm_fail(err, QM_INTERRUPTED, "interrupted")
                           : run_one(&q, memory, threads, limits, rows, err);
            }
    }
    return rc;
}
