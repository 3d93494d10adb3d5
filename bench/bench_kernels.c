/* Speed of the product kernels on one thread, each against what this machine can do in the same run:
 *   GEMV: panels read in GB/s, against a plain read of the same memory
 *   GEMM: GFLOP/s, against a loop of independent multiply-adds of the same kind in registers
 * Each figure is the median of several repetitions, measured and peak probe alternating, in processor time.
 * usage: bench_kernels [isa [repetitions]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bench/peak_probe.h"
#include "simd/kernels.h"

enum { MAX_REPETITIONS = 101, GEMM_ROWS = 512 };
static const size_t BIG = (size_t)1 << 29;

/* Processor time of this thread: what else runs here costs less of a figure. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, ascending);
    return x[n / 2];
}

/* Memory in huge pages where the system gives them, written with small finite values of any type. */
static void *allocate(size_t bytes) {
    size_t huge = (size_t)2 << 20;
    void *p = aligned_alloc(huge, (bytes + huge - 1) / huge * huge);
    if (!p) {
        fprintf(stderr, "out of memory: %zu bytes\n", bytes);
        exit(5);
    }
    madvise(p, bytes, MADV_HUGEPAGE);
    memset(p, 0x3C, bytes);
    return p;
}

static void bench_gemv(const struct qm_kernels *t, enum qm_dtype type, int64_t m, int64_t n, int64_t k, void *memory,
                       int repetitions) {
    double speed[MAX_REPETITIONS], ratio[MAX_REPETITIONS];
    size_t stride = qm_panel_bytes(type, k), matrix = (size_t)(n / 16) * stride;
    int64_t copies = (int64_t)(BIG / matrix);
    float *a = allocate((size_t)(m * k) * 4), *c = allocate((size_t)(m * n) * 4);
    void *packed = allocate(t->type[type].packed_bytes(m, k));
    t->type[type].pack(packed, a, k, NULL, m, k);
    struct qm_product p = {.a = packed, .m = m, .k = k, .n_panels = n / 16, .panel_stride = stride, .c = c, .ldc = n};
    double bytes = (double)matrix * (double)copies;
    for (int i = 0; i < repetitions; i++) {
        double t0 = now();
        read_memory(memory, matrix * (size_t)copies);
        double t1 = now();
        for (int64_t j = 0; j < copies; j++) {
            p.b = (char *)memory + (size_t)j * matrix;
            t->type[type].product(&p);
        }
        double t2 = now();
        speed[i] = bytes / (t2 - t1) / 1e9;
        ratio[i] = (t1 - t0) / (t2 - t1);
    }
    double r = median(ratio, repetitions);
    printf("gemv %-6s m=%lld n=%-5lld k=%-5lld  %6.2f GB/s  %5.1f %% of a plain read\n", qm_dtype_name(type),
           (long long)m, (long long)n, (long long)k, median(speed, repetitions), 100 * r);
    free(a), free(c), free(packed);
}

static void bench_gemm(const struct qm_kernels *t, enum qm_dtype type, int64_t m, int64_t n, int64_t k, void *memory,
                       int repetitions) {
    double speed[MAX_REPETITIONS], ratio[MAX_REPETITIONS];
    float *a = allocate((size_t)(m * k) * 4), *c = allocate((size_t)(m * n) * 4);
    void *packed = allocate(t->type[type].packed_bytes(m, k));
    t->type[type].pack(packed, a, k, NULL, m, k);
    struct qm_product p = {.a = packed,
                           .m = m,
                           .k = k,
                           .b = memory,
                           .n_panels = n / 16,
                           .panel_stride = qm_panel_bytes(type, k),
                           .c = c,
                           .ldc = n};
    double flops = 2.0 * (double)m * (double)n * (double)k;
    int tiles = t->isa == QM_ISA_AMX && type == QM_BF16;
    int pairs = t->isa >= QM_ISA_AVX512BF16 && (type == QM_BF16 || type == QM_MXFP4);
    float state[16] = {0};
    for (int i = 0; i < repetitions; i++) {
        double t0 = now();
        double most = tiles                     ? t->peak_bf16(1 << 20, state)
                      : pairs                   ? peak_pairs()
                      : t->isa >= QM_ISA_AVX512 ? peak_fma512()
                                                : peak_fma256();
        double t1 = now();
        t->type[type].product(&p);
        double t2 = now();
        speed[i] = flops / (t2 - t1) / 1e9;
        ratio[i] = speed[i] / (most / (t1 - t0) / 1e9);
    }
    double r = median(ratio, repetitions);
    printf("gemm %-6s m=%lld n=%-5lld k=%-5lld  %6.1f GFLOP/s  %5.1f %% of the peak loop\n", qm_dtype_name(type),
           (long long)m, (long long)n, (long long)k, median(speed, repetitions), 100 * r);
    free(a), free(c), free(packed);
}

int main(int argc, char **argv) {
    static const int64_t shapes[][2] = {{9728, 2560}, {2560, 9728}, {4096, 2048}, {1536, 2048}, {2048, 768}};
    static const enum qm_dtype types[] = {QM_BF16, QM_MXFP4, QM_F16, QM_F32};
    struct qm_error err;
    enum qm_isa isa = qm_isa_best();
    const struct qm_kernels *t;
    int repetitions = argc > 2 ? atoi(argv[2]) : 9;
    if ((argc > 1 && qm_isa_parse(argv[1], &isa, &err)) || qm_kernels_get(isa, &t, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return err.code;
    }
    if (isa == QM_ISA_SCALAR || repetitions < 1 || repetitions > MAX_REPETITIONS) {
        fprintf(stderr, "usage: bench_kernels [avx2|avx512|avx512bf16|amx [repetitions, at most %d]]\n",
                MAX_REPETITIONS);
        return QM_USAGE;
    }
    void *memory = allocate(BIG);
    printf("%s, medians of %d\n", qm_isa_name(isa), repetitions);
    for (size_t y = 0; y < sizeof types / sizeof *types; y++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            bench_gemv(t, types[y], 1, shapes[i][0], shapes[i][1], memory, repetitions);
    for (size_t y = 0; y < sizeof types / sizeof *types; y++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            bench_gemm(t, types[y], GEMM_ROWS, shapes[i][0], shapes[i][1], memory, repetitions);
    free(memory);
    return 0;
}
