/* What the measuring files of quietmind compare share: the engines at work, and the samples of each configuration. */
#ifndef QM_APP_COMPARE_PRIVATE_H
#define QM_APP_COMPARE_PRIVATE_H

#include "app/compare/run.h"
#include "base/hash.h"
#include "engine/work.h"
#include "numa/topology.h"
#include "planner/limits.h"
#include "session/draft/speculation.h"

enum { QM_COMPARE_LOGITS = QM_DRAFT_MAX + 1 }; /* of a step: the last token's, and drafts' */

/* One configuration at work. */
struct qm_compare_lane {
    struct qm_engine *engine;
    struct qm_sequence *sequence;
    bool warm;
};

/* Sums over the steps near one depth. */
struct qm_compare_curve {
    double depth[QM_COMPARE_POINTS], tokens[QM_COMPARE_POINTS], seconds[QM_COMPARE_POINTS];
};

struct qm_compare_samples {
    int rounds; /* that are complete */
    double prefill_tps[QM_COMPARE_ROUNDS], decode_tps[QM_COMPARE_ROUNDS], first[QM_COMPARE_ROUNDS];
    double prefill_now, decode_now,
        first_now;                          /* seconds of this round; first: from the last logits to the first token */
    double prefill_seconds, decode_seconds; /* of all rounds */
    double read_joules, decode_joules, write_metered, read_tokens, written;
    struct qm_work prefill_work, decode_work;
    struct qm_compare_curve prefill, decode;
};

struct qm_compare_runner {
    struct qm_compare_task *task;
    struct qm_compare_report *report;
    struct qm_compare_lane lane[QM_COMPARE_CONFIGS];
    struct qm_compare_samples samples[QM_COMPARE_CONFIGS];
    struct qm_compare_samples whole[QM_COMPARE_CONFIGS]; /* of the rounds that are complete */
    struct qm_topology topology;
    bool keep;                  /* engines stay open side by side */
    float *logits;              /* [QM_COMPARE_LOGITS][vocab] */
    char weights[QM_HASH_TEXT]; /* the hash of the model's files */
    struct qm_limits limits;
    int limits_read;                      /* times */
    struct qm_speculation *speculation;   /* of the configuration and round that is measured; NULL: none */
    struct qm_error failure;              /* the first configuration's that failed */
    float *reference[QM_COMPARE_PROMPTS]; /* [covered][vocab]: logits along the reference's answers */
    int64_t covered;
};

/* The logits after each of n more tokens. */
int qm_compare_step(struct qm_compare_runner *r, struct qm_compare_lane *l, const int32_t *tokens, int n, float *logits,
                    struct qm_error *err);
/* One prompt read and answered by a configuration, with the same seed every time. */
int qm_compare_answer(struct qm_compare_runner *r, int config, int prompt, int round, struct qm_error *err);

/* The sequence holds the first n tokens of the prompt. */
int qm_compare_settle(struct qm_compare_runner *r, struct qm_compare_lane *l, const struct qm_ids *prompt, int64_t n,
                      struct qm_error *err);

/* Once each configuration has answered: the reference's logits along its own answers are kept, those of the others
 * along the same tokens are held against them. */
int qm_compare_logits(struct qm_compare_runner *r, int config, struct qm_error *err);
void qm_compare_logits_free(struct qm_compare_runner *r);

#endif
