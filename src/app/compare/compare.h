/* The insides of quietmind compare, shared by its files: what a comparison found, as one report, and its forms. The
 * report is what is printed, drawn, written as JSON and read back (--with); nothing in it points elsewhere.
 *
 * In the flow: cmd_compare.c reads the command line, compare/plan.c says what the planner expects of each
 * configuration, compare/run.c measures, the other files print. A number that is not known is NaN. */
#ifndef QM_APP_COMPARE_H
#define QM_APP_COMPARE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/compare/agree.h"
#include "app/progress.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/stats.h"
#include "engine/fingerprint.h"
#include "engine/placement.h"

enum {
    QM_COMPARE_CONFIGS = 8,
    QM_COMPARE_PROMPTS = 16,
    QM_COMPARE_ROUNDS = 100,
    QM_COMPARE_POINTS = 12, /* of a curve over depth */
    QM_COMPARE_LAYERS = 1024,
    QM_COMPARE_NODES = 64,
    QM_COMPARE_ANSWER = 65536, /* tokens of one answer */
    QM_COMPARE_VERSION = 1,
};

/* Median of the rounds beside the prediction. */
struct qm_compare_rate {
    struct qm_figure measured;
    double predicted;
};

/* One place on the curve of tokens/s over depth. */
struct qm_compare_point {
    double depth, measured, predicted;
};

struct qm_compare_memory {
    char device[64];
    uint64_t weights, kv, activations, workspace, total;
};

/* What one NUMA node's memory holds, as the engine allocated it; what an emulated device holds is there too. placed:
 * how much of it the system says is on that node, 0 to 1; NaN where the system does not distinguish nodes. */
struct qm_compare_node {
    int number; /* the system's; -1: not distinguished */
    uint64_t weights, kv;
    double placed;
};

/* Where the parts of a layer are, for the strip: the attention's device, and how much of its FFN or experts is not on
 * the CPU (0 to 1). */
struct qm_compare_layer {
    uint8_t attention;
    float away;
};

struct qm_compare_job {
    double seconds, low, high; /* expected, and its range; NaN: not known */
    double joules;
};

struct qm_compare_config {
    char name[128];
    char why_not[256]; /* why it was not run; "": it was */
    char failed[256];  /* in which round it failed, and why; what was measured is of the rounds before; "" */
    bool emulated;     /* a device is: its times are simulated */
    bool unsteady;     /* not every round gave the same answers */
    int threads, threads_used;
    int64_t drafted, accepted;                     /* tokens, of all rounds; drafted 0: none */
    struct qm_compare_rate prefill, decode, first; /* tokens/s; seconds to the first token */
    double gb_s, limit_gb_s;                       /* decode: bytes of weights, keys and values; NaN with devices */
    double prefill_efficiency, decode_efficiency;  /* of the time that the machine's limits allow at best; NaN */
    double joules_per_token, watts;                /* of decoding */
    double joules_per_prompt_token;                /* of prefill */
    double predicted_joules;                       /* a token that is written, the prompt's share included */
    double celsius, fan_rpm;                       /* the highest */
    struct qm_compare_point prefill_at[QM_COMPARE_POINTS], decode_at[QM_COMPARE_POINTS];
    int n_prefill_at, n_decode_at;
    struct qm_compare_memory memory[QM_MAX_DEVICES];
    int n_memory;
    struct qm_compare_node node[QM_COMPARE_NODES];
    int n_nodes;
    struct qm_compare_layer layer[QM_COMPARE_LAYERS]; /* with devices */
    int n_layers;
    char placement[1024];          /* in words; "" without devices */
    struct qm_agreement agreement; /* with the reference */
    struct qm_compare_job job;     /* with --job */
    struct qm_fingerprint traits;  /* what its answers' bits depend on; values "" where that is not known */
    int32_t *answer[QM_COMPARE_PROMPTS];
    int64_t n_answer[QM_COMPARE_PROMPTS];
};

struct qm_compare_report {
    char model[256], machine[256], isa[16], when[32], build[32];
    char text_hash[40];              /* of the prompts' tokens: two reports with the same one have the same prompts */
    int prompts, rounds;             /* rounds: that were measured */
    int64_t prompt_tokens, generate; /* of all prompts; of each answer */
    int64_t seed;
    double temperature, bound; /* bound: nats */
    bool reopened;             /* engines did not fit side by side */
    int reference;             /* number of the configuration that others are held against; -1: none was run */
    bool agree;
    char not_readable[1024]; /* sensors, and why; "" */
    char noise[1000];        /* what ran beside the runs and what predictions rest on, in words; "": nothing much */
    int64_t job_rows, job_prompt, job_shared, job_answers, job_open, job_bad, job_at_once;
    char job[256]; /* the file; "": none */
    struct qm_compare_config config[QM_COMPARE_CONFIGS];
    int configs;
};
void qm_compare_report_free(struct qm_compare_report *r);

/* The report as JSON (NULL: out of memory), and back. Untrusted: every number is checked and bounded; what a report
 * need not have to be compared with is passed over. QM_INPUT names what is not so. */
json_t *qm_compare_json(const struct qm_compare_report *r);
int qm_compare_parse(const char *text, size_t len, const char *name, struct qm_compare_report *out,
                     struct qm_error *err);

/* The forms for people; `before`: another day's or machine's report, or NULL. Lines of at most 100 columns. */
int qm_compare_text(const struct qm_compare_report *r, const struct qm_compare_report *before, struct qm_error *err);
int qm_compare_csv(const struct qm_compare_report *r, struct qm_error *err);
int qm_compare_html(const struct qm_compare_report *r, const struct qm_compare_report *before, struct qm_error *err);

/* qm_compare_json as text, with Jansson's flags; to be freed, NULL as above. */
char *qm_compare_json_text(const struct qm_compare_report *r, size_t flags);

/* Keeps the result in the history; what can't be kept is noted. */
void qm_compare_keep(const struct qm_compare_report *r, struct qm_progress *progress);
/* Lists what is kept. */
int qm_compare_history(bool json, struct qm_error *err);
/* The earlier result that --with names: "last" (of the model in that folder, the same work first), the number of a kept
 * one, or a file. QM_INPUT where there is none, or it is no report. */
int qm_compare_before(const char *which, const struct qm_compare_report *now, const char *directory,
                      struct qm_compare_report *out, struct qm_error *err);

/* false: what is known of it is predicted. */
static inline bool qm_compare_measured(const struct qm_compare_config *c) {
    return !c->why_not[0] && (!c->failed[0] || c->decode.measured.n > 0);
}
/* The configuration of that name, or NULL. */
const struct qm_compare_config *qm_compare_find(const struct qm_compare_report *r, const char *name);
/* The answers of one configuration of two reports about the same prompts. false where they can't be compared. */
bool qm_compare_answers(const struct qm_compare_report *r, const struct qm_compare_config *a,
                        const struct qm_compare_report *before, const struct qm_compare_config *b,
                        struct qm_agreement *out);

#endif
