/* The insides of quietmind bench, shared by its files: what is measured (a case), what came out (a result), and
 * how that becomes a row.
 *
 * A case is one prompt of n_prompt tokens, or n_gen tokens generated one by one, after n_depth tokens, by `batch`
 * sequences at once. Times are of the whole case, tokens those of all sequences. */
#ifndef QM_APP_BENCH_H
#define QM_APP_BENCH_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/meter.h"
#include "app/offload.h"
#include "app/progress.h"
#include "app/quiet.h"
#include "engine/engine.h"
#include "engine/profile.h"
#include "engine/quiet.h"
#include "engine/work.h"
#include "numa/memory.h"
#include "planner/limits.h"
#include "report/rows.h"
#include "session/draft/speculation.h"

enum { QM_BENCH_LIST = 64, QM_BENCH_REPETITIONS = 1000 };

struct qm_bench_list {
    int64_t value[QM_BENCH_LIST];
    int n;
};
/* "512,4096": integers from min to max, at least one. QM_USAGE naming the option. */
int qm_bench_list_parse(const char *option, const char *text, int64_t min, int64_t max, struct qm_bench_list *out,
                        struct qm_error *err);

struct qm_bench_plan {
    struct qm_bench_list prompt, gen, depth, batch, threads;
    int repetitions;
    bool fill_depth, profile;
    bool drafts;         /* generation is measured once more, with drafts */
    double acceptance;   /* that are so often right */
    bool progress_lines; /* a line for each case as it begins */
    int64_t chunk;
    enum qm_isa isa;
    int kv_type; /* enum qm_dtype or -1 */
    struct qm_quiet_options quiet;
    struct qm_numa numa;
    struct qm_offload_options offload;
};

struct qm_bench_case {
    int64_t n_prompt, n_gen, n_depth, batch; /* one of n_prompt and n_gen is 0 */
    bool drafts;                             /* generated with drafts */
};

enum { QM_BENCH_DRAFTED = QM_DRAFT_MAX + 1 };

/* What came of drafts. */
struct qm_bench_drafted {
    struct qm_speculation_stats stats; /* of all repetitions */
    double seconds[QM_BENCH_DRAFTED];  /* of a step that checks 0, 1, ... drafts of every sequence; NaN */
    double best_ts;                    /* tokens/s of the best fixed number, by these times and the acceptance */
};

struct qm_bench_result {
    struct qm_bench_case which;
    double seconds[QM_BENCH_REPETITIONS];
    int n;
    struct qm_work work, whole_work; /* of one repetition; of the whole model where only some layers were run */
    struct qm_limits limits;
    enum qm_dtype product;          /* the limit of multiply-adds is this type's */
    double joules, metered_seconds; /* of all repetitions; joules NaN: not readable */
    double celsius, fan_rpm;        /* the highest; NaN */
    bool quiet;
    struct qm_quiet_state quiet_state; /* of generation, where quiet */
    char when[32];
    struct qm_bench_drafted drafted; /* with which.drafts */
    bool profiled;
    struct qm_engine_profile profile; /* of one more repetition */
};

/* What is the same in every row. */
struct qm_bench_subject {
    const struct qm_model *model, *whole; /* whole: NULL where all layers were run */
    const char *name;
    char cpu[128];
    char not_readable[QM_SENSOR_COUNT][512]; /* why, or "" */
    bool random_weights, fill_depth;
    bool drafts;       /* are measured too, */
    double acceptance; /* so often right */
    enum qm_isa isa;
};

/* Runs every case with one number of threads; each result is handed on at once. *stop: ends early with
 * QM_INTERRUPTED. */
typedef int qm_bench_result_fn(void *arg, const struct qm_engine *e, const struct qm_bench_result *r,
                               struct qm_error *err);
struct qm_bench_run {
    const struct qm_bench_plan *plan;
    const struct qm_bench_subject *subject;
    struct qm_progress *progress;
    struct qm_meter *meter;
    const volatile sig_atomic_t *stop;
    qm_bench_result_fn *result;
    void *arg;
};
int qm_bench_run(const struct qm_bench_run *run, int threads, struct qm_error *err);

/* How a prompt case is cut into steps of at most `chunk` tokens: `together` sequences in a step, `piece` tokens of
 * each. */
void qm_bench_cut(const struct qm_bench_case *c, int64_t chunk, int64_t *together, int64_t *piece);
/* The work of a case, cut so. */
void qm_bench_work(const struct qm_model *m, enum qm_dtype kv_type, const struct qm_bench_case *c, int64_t chunk,
                   struct qm_work *out);

/* Drafts that are right with a given chance (drafts.c). */
struct qm_bench_drafts;
/* What they are checked by: `sequences` of an engine, each at the depth where it begins. */
struct qm_bench_drafting {
    struct qm_engine *engine;
    struct qm_sequence *const *sequences;
    int64_t vocab, most_rows;
    const int32_t *tokens; /* [most_rows] of a step, as good as any */
    float *logits;         /* [most_rows][vocab] */
    int (*step)(void *arg, const struct qm_step_rows *steps, int64_t n, int64_t rows, struct qm_error *err);
    void *arg;
};
int qm_bench_drafts_open(double acceptance, int64_t sequences, struct qm_bench_drafts **out, struct qm_error *err);
void qm_bench_drafts_close(struct qm_bench_drafts *d);
/* Every sequence generates so many tokens. */
int qm_bench_drafts_generate(struct qm_bench_drafts *d, const struct qm_bench_drafting *r, int64_t tokens,
                             struct qm_error *err);
/* Seconds of steps that check so many drafts of each; the sequences are then where they were. */
int qm_bench_drafts_costs(struct qm_bench_drafts *d, const struct qm_bench_drafting *r,
                          double seconds[QM_BENCH_DRAFTED], struct qm_error *err);
double qm_bench_drafts_best(const struct qm_bench_drafts *d, const double seconds[QM_BENCH_DRAFTED]);
void qm_bench_drafts_stats(const struct qm_bench_drafts *d, struct qm_speculation_stats *out);

/* Statistics of a result. */
struct qm_bench_figures {
    double tokens; /* of a repetition */
    double avg_ns, stddev_ns, avg_ts, stddev_ts, median_ts;
    double gb_s, gflop_s; /* at the median */
    double limit_gb_s, limit_gflop_s, limit_share;
    bool limit_is_read;             /* else multiply-adds */
    double joules_per_token, watts; /* NaN: not readable */
    double whole_ts;                /* scaled to the whole model on paper; NaN: it was the whole model */
};
void qm_bench_figure(const struct qm_bench_result *r, struct qm_bench_figures *out);

/* The row of a result; NULL when out of memory. */
json_t *qm_bench_row(const struct qm_bench_subject *s, const struct qm_engine *e, const struct qm_bench_result *r);
extern const struct qm_column qm_bench_columns[];
/* Those of them that this machine and run have something for. */
enum { QM_BENCH_COLUMNS = 17 };
void qm_bench_columns_for(const struct qm_bench_subject *s, bool predicted, struct qm_column out[QM_BENCH_COLUMNS]);
/* The formula of the column "all layers", for Markdown. */
extern const char qm_bench_scaling[];

/* Every row as one self-contained page; rows of kernels, or of cases. */
int qm_bench_html(const json_t *rows, bool kernels, const struct qm_column *columns, struct qm_error *err);

/* quietmind bench --kernel */
int qm_bench_kernels(const struct qm_bench_plan *plan, int threads, struct qm_progress *progress, struct qm_rows *rows,
                     const volatile sig_atomic_t *stop, struct qm_error *err);
extern const struct qm_column qm_bench_kernel_columns[];

/* What the kernels and their peer share: outputs and inputs of matrices, ended by 0, and rows of activations. */
struct qm_bench_shape {
    int64_t n, k;
};
extern const struct qm_bench_shape qm_bench_shapes[];
enum { QM_BENCH_M_COUNT = 4 };
extern const int64_t qm_bench_m[QM_BENCH_M_COUNT];
/* Median seconds of once(arg), called for a fifth of a second. */
double qm_bench_median(void (*once)(void *arg), void *arg);
struct qm_bench_product {
    const char *kernel, *isa;
    int threads;
    int64_t m, n, k;
    double bytes, seconds; /* of weights read; median */
    bool wide;             /* the limit of multiply-adds is F32's */
};
json_t *qm_bench_kernel_row(const struct qm_bench_product *p, const struct qm_limits *l);

/* OpenBLAS where it is installed: open it before the team that it is measured beside, whose one core its threads would
 * inherit. QM_SYSTEM with the reason where it is not. */
struct qm_openblas;
int qm_openblas_open(struct qm_openblas **out, struct qm_error *err);
void qm_openblas_close(struct qm_openblas *b);
/* Its F32 products, and BF16 ones where it exports them, over the same shapes with as many threads as the team. The
 * weights lie in memory. */
int qm_bench_openblas(const struct qm_openblas *b, struct qm_team *team, const struct qm_memory *memory,
                      struct qm_limits_probe *limits, struct qm_rows *rows, const volatile sig_atomic_t *stop,
                      struct qm_error *err);

#endif
