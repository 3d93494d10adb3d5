/* quietmind bench --kernel: the products alone, over shapes of published models. */
#include <stdlib.h>
#include <string.h>

#include "app/bench/bench.h"
#include "numa/machine.h"
#include "numa/memory.h"

enum { PASSES = 512, MIN_PASSES = 5, COLUMN_FLOATS = 65536, AHEAD = 2, LARGE_PAGE = 2 << 20 };
static const double SECONDS = 0.2;

/* Up and down of a 4B model, attention of a 30B one, an expert's. */
const struct qm_bench_shape qm_bench_shapes[] = {{9728, 2560}, {2560, 9728}, {4096, 2048},
                                                 {1536, 2048}, {2048, 768},  {0, 0}};
const int64_t qm_bench_m[QM_BENCH_M_COUNT] = {1, 8, 64, 512};
static const enum qm_dtype types[] = {QM_BF16, QM_F16, QM_F32, QM_MXFP4};

/* One product's operands: copies of the weight, more than caches hold, used round-robin. */
struct job {
    const struct qm_kernels *kernels;
    struct qm_team *team;
    enum qm_dtype type;
    int64_t m, n, k, panels, copies, copy;
    size_t stride; /* of a panel */
    char *weights;
    struct qm_memory scratch; /* in large pages, as the engine's is: */
    void *packed;             /* the rows, */
    float *c;                 /* and a block of columns for each thread */
    void *panel;
};

static void fill(void *arg, int thread, int threads) {
    const struct job *j = arg;
    int64_t begin, end;
    qm_team_range(j->panels, thread, threads, &begin, &end);
    for (int64_t copy = 0; copy < j->copies; copy++)
        for (int64_t p = begin; p < end; p++)
            memcpy(j->weights + (size_t)(copy * j->panels + p) * j->stride, j->panel, j->stride);
}

/* As the engine does, a thread computes as many columns at once as stay in its cache, two panels at least. */
static int64_t block_floats(int64_t m) {
    int64_t least = m * 2 * QM_PANEL_ROWS;
    return least > COLUMN_FLOATS ? least : COLUMN_FLOATS;
}

static void multiply(void *arg, int thread, int threads) {
    const struct job *j = arg;
    int64_t begin, end, block = block_floats(j->m) / (j->m * QM_PANEL_ROWS);
    qm_team_range(j->panels, thread, threads, &begin, &end);
    for (int64_t p = begin; p < end; p += block) {
        struct qm_product product = {.a = j->packed,
                                     .m = j->m,
                                     .k = j->k,
                                     .b = j->weights + (size_t)(j->copy * j->panels + p) * j->stride,
                                     .n_panels = end - p < block ? end - p : block,
                                     .panel_stride = j->stride,
                                     .c = j->c + thread * block_floats(j->m),
                                     .ldc = block * QM_PANEL_ROWS};
        j->kernels->type[j->type].product(&product);
    }
}

/* A panel of small random values; MXFP4's scales are 1. */
static int make_panel(struct job *j, struct qm_error *err) {
    size_t row = j->type == QM_MXFP4 ? (size_t)j->k / 2 : (size_t)j->k * qm_dtype_size(j->type);
    uint8_t *bytes = malloc(row * QM_PANEL_ROWS), *scales = malloc((size_t)j->k / QM_MXFP4_VALUES + 1);
    const void *rows[QM_PANEL_ROWS];
    const uint8_t *row_scales[QM_PANEL_ROWS];
    uint32_t state = 1;
    int rc = bytes && scales ? QM_OK : qm_fail_memory(err, row * QM_PANEL_ROWS, "a weight");
    for (size_t i = 0; !rc && i < row * QM_PANEL_ROWS; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24);
        size_t in = i % (j->type == QM_F32 ? 4 : 2); /* the byte of sign and exponent: magnitudes below 1 */
        if (j->type != QM_MXFP4 && in == (j->type == QM_F32 ? 3u : 1u))
            bytes[i] = (bytes[i] & 0x80) | (j->type == QM_F16 ? 0x34 : 0x3D);
    }
    for (int64_t i = 0; !rc && i < j->k / QM_MXFP4_VALUES; i++)
        scales[i] = 127;
    for (int r = 0; !rc && r < QM_PANEL_ROWS; r++) {
        rows[r] = bytes + row * (size_t)r;
        row_scales[r] = scales;
    }
    if (!rc)
        j->kernels->pack_panel(j->panel, j->type, rows, row_scales, j->k);
    free(bytes);
    free(scales);
    return rc;
}

static size_t whole_lines(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static void close_job(struct job *j) {
    qm_memory_free(&j->scratch);
    free(j->panel);
    *j = (struct job){0};
}

/* The weights lie in `memory`, as many copies as it holds. */
static int open_job(struct job *j, const struct qm_memory *memory, struct qm_team *team, struct qm_error *err) {
    j->panels = (j->n + QM_PANEL_ROWS - 1) / QM_PANEL_ROWS;
    j->stride = qm_panel_bytes(j->type, j->k);
    size_t one = j->stride * (size_t)j->panels, floats = (size_t)(j->m * j->k);
    j->copies = (int64_t)(memory->bytes / one);
    j->weights = memory->data;
    if (j->copies == 0)
        return qm_fail(err, QM_FIT, "the weights of a product need %zu bytes, %zu are there", one, memory->bytes);
    size_t packed = whole_lines(j->kernels->type[j->type].packed_bytes(j->m, j->k));
    size_t blocks = (size_t)(qm_team_threads(team) * block_floats(j->m)) * sizeof *j->c;
    j->panel = aligned_alloc(64, j->stride);
    float *a = malloc(floats * sizeof *a);
    int rc = j->panel && a ? QM_OK : qm_fail_memory(err, floats * sizeof *a, "a product");
    if (!rc)
        rc = qm_memory_alloc(packed + blocks + LARGE_PAGE, "a product", &j->scratch, err);
    j->packed = j->scratch.data;
    j->c = rc ? NULL : (float *)(void *)((char *)j->scratch.data + packed);
    if (!rc)
        rc = make_panel(j, err);
    for (size_t i = 0; !rc && i < floats; i++)
        a[i] = (float)(i * 2654435761u % 1000) * 1e-3f - 0.5f;
    if (!rc) {
        j->kernels->type[j->type].pack(j->packed, a, j->k, NULL, j->m, j->k);
        qm_team_run(team, fill, j);
    }
    free(a);
    return rc;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double qm_bench_median(void (*once)(void *arg), void *arg) {
    double seconds[PASSES], begin = qm_now();
    int n = 0;
    once(arg);
    for (; n < PASSES && (n < MIN_PASSES || qm_now() - begin < SECONDS); n++) {
        double start = qm_now();
        once(arg);
        seconds[n] = qm_now() - start;
    }
    qsort(seconds, (size_t)n, sizeof *seconds, ascending);
    return seconds[n / 2];
}

static void multiply_once(void *arg) {
    struct job *j = arg;
    j->copy = (j->copy + 1) % j->copies;
    qm_team_run(j->team, multiply, j);
}

json_t *qm_bench_kernel_row(const struct qm_bench_product *p, const struct qm_limits *l) {
    double flops = 2.0 * (double)p->m * (double)p->n * (double)p->k;
    double peak = p->wide ? l->peak.f32 : l->peak.bf16;
    double reading = p->bytes / l->peak.read, computing = flops / peak;
    return json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:s, s:f}", "kernel", p->kernel, "isa",
                     p->isa, "n_threads", p->threads, "m", (json_int_t)p->m, "n", (json_int_t)p->n, "k",
                     (json_int_t)p->k, "median_us", p->seconds * 1e6, "gb_s", p->bytes / p->seconds * 1e-9, "gflop_s",
                     flops / p->seconds * 1e-9, "limit_gb_s", l->peak.read * 1e-9, "limit_gflop_s", peak * 1e-9,
                     "limit_by", reading >= computing ? "read" : "flops", "limit_share",
                     (reading >= computing ? reading : computing) / p->seconds);
}

static json_t *make_row(const struct job *j, double seconds, const struct qm_limits *l) {
    char name[32];
    snprintf(name, sizeof name, "product_%s", qm_dtype_name(j->type));
    struct qm_bench_product p = {.kernel = name,
                                 .isa = qm_isa_name(j->kernels->isa),
                                 .threads = qm_team_threads(j->team),
                                 .m = j->m,
                                 .n = j->n,
                                 .k = j->k,
                                 .bytes = (double)j->stride * (double)j->panels,
                                 .seconds = seconds,
                                 .wide = j->type == QM_F16 || j->type == QM_F32};
    return qm_bench_kernel_row(&p, l);
}

static int run_type(const struct qm_kernels *kernels, enum qm_dtype type, struct qm_team *team,
                    const struct qm_memory *memory, struct qm_limits_probe *limits, struct qm_rows *rows,
                    const volatile sig_atomic_t *stop, struct qm_error *err) {
    int rc = QM_OK;
    struct qm_limits around[2] = {qm_limits_measure(limits)};
    for (const struct qm_bench_shape *s = qm_bench_shapes; s->n && !rc; s++)
        for (int r = 0; r < QM_BENCH_M_COUNT && !rc; r++) {
            struct job j = {.kernels = kernels, .team = team, .type = type, .m = qm_bench_m[r], .n = s->n, .k = s->k};
            rc = *stop ? qm_fail(err, QM_INTERRUPTED, "interrupted") : open_job(&j, memory, team, err);
            if (!rc) {
                double seconds = qm_bench_median(multiply_once, &j);
                around[1] = qm_limits_measure(limits);
                struct qm_limits mean = qm_limits_median(around, 2);
                rc = qm_rows_add(rows, make_row(&j, seconds, &mean), err);
                around[0] = around[1]; /* what is after this row is before the next */
            }
            close_job(&j);
        }
    return rc;
}

/* Many times the caches, which keep part of what is read again and again: of 256 MiB an L3 of 32 MiB was seen to keep
 * 12 %. At most an eighth of what is available for each that is allocated. */
static size_t weights_bytes(const struct qm_machine *m) {
    const uint64_t least = 16u << 20, typical = 32u << 20, times = 32;
    uint64_t caches = qm_machine_cache_bytes(m), most = m->available / 8 / AHEAD;
    uint64_t bytes = times * (caches < typical ? typical : caches);
    bytes = bytes > most ? most : bytes;
    return (size_t)(bytes < least ? least : bytes);
}

int qm_bench_kernels(const struct qm_bench_plan *plan, int threads, struct qm_progress *progress, struct qm_rows *rows,
                     const volatile sig_atomic_t *stop, struct qm_error *err) {
    const struct qm_kernels *kernels;
    struct qm_limits_probe *limits = NULL;
    struct qm_team *team = NULL;
    struct qm_machine *machine = calloc(1, sizeof *machine);
    struct qm_memory memory = {0};
    struct qm_openblas *openblas = NULL;
    struct qm_error no_openblas = {0};
    size_t buffer = 0;
    int rc = machine ? qm_kernels_get(plan->isa, &kernels, err) : qm_fail_memory(err, sizeof *machine, "the machine");
    if (!rc && !(rc = qm_machine_describe(machine, err))) {
        buffer = weights_bytes(machine);
        qm_machine_free(machine);
    }
    if (!rc)
        qm_openblas_open(&openblas, &no_openblas);
    if (!rc)
        rc = qm_team_create(threads, &team, err);
    if (!rc)
        rc = qm_memory_alloc(buffer, "the weights of products", &memory, err);
    if (!rc)
        rc = qm_limits_open(team, kernels, &limits, err);
    const size_t n = sizeof types / sizeof *types;
    for (size_t t = 0; t < n && !rc; t++) {
        qm_note(progress, "products of %s: type %zu of %zu", qm_dtype_name(types[t]), t + 1, n);
        rc = run_type(kernels, types[t], team, &memory, limits, rows, stop, err);
    }
    if (!rc)
        qm_note(progress, "%s", openblas ? "products of OpenBLAS" : no_openblas.message);
    if (!rc && openblas)
        rc = qm_bench_openblas(openblas, team, &memory, limits, rows, stop, err);
    qm_limits_close(limits);
    qm_memory_free(&memory);
    qm_openblas_close(openblas);
    qm_team_destroy(team);
    free(machine);
    return rc;
}

static int cell_text(const json_t *row, const char *key, struct qm_buf *out, struct qm_error *err) {
    return qm_buf_str(out, json_string_value(json_object_get(row, key)), err);
}

static int cell_number(const json_t *row, const char *key, struct qm_buf *out, struct qm_error *err) {
    const json_t *v = json_object_get(row, key);
    return json_is_integer(v) ? qm_buf_printf(out, err, "%lld", (long long)json_integer_value(v))
                              : qm_buf_printf(out, err, "%.1f", json_real_value(v));
}

static int cell_kernel(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return cell_text(row, "kernel", out, err);
}

static int cell_isa(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return cell_text(row, "isa", out, err);
}

static int cell_threads(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return cell_number(row, "n_threads", out, err);
}

static int cell_m(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return cell_number(row, "m", out, err);
}

static int cell_shape(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    int rc = cell_number(row, "n", out, err);
    if (!rc)
        rc = qm_buf_str(out, " x ", err);
    return rc ? rc : cell_number(row, "k", out, err);
}

static int cell_us(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return cell_number(row, "median_us", out, err);
}

static int cell_gb(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return cell_number(row, "gb_s", out, err);
}

static int cell_gflop(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return cell_number(row, "gflop_s", out, err);
}

static int cell_limit(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    bool read = !strcmp(json_string_value(json_object_get(row, "limit_by")), "read");
    return qm_buf_printf(out, err, "%.0f %% of %.1f %s", 100 * json_real_value(json_object_get(row, "limit_share")),
                         json_real_value(json_object_get(row, read ? "limit_gb_s" : "limit_gflop_s")),
                         read ? "GB/s" : "GFLOP/s");
}

const struct qm_column qm_bench_kernel_columns[] = {
    {"kernel", 15, false, cell_kernel},
    {"isa", 10, false, cell_isa},
    {"threads", 7, true, cell_threads},
    {"m", 4, true, cell_m},
    {"n x k", 12, true, cell_shape},
    {"us", 10, true, cell_us},
    {"GB/s", 7, true, cell_gb},
    {"GFLOP/s", 9, true, cell_gflop},
    {"limit (best)", 24, true, cell_limit},
    {NULL, 0, false, NULL},
};
