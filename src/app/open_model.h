/* From the command line to an open model: where it is, what overrides it, its tokenizer, the engine loaded with
 * progress on standard error, and the settings of sampling. Shared by the commands. */
#ifndef QM_APP_OPEN_MODEL_H
#define QM_APP_OPEN_MODEL_H

#include <stdbool.h>

#include "app/options.h"
#include "app/predictor.h"
#include "app/progress.h"
#include "base/buf.h"
#include "engine/engine.h"
#include "model/model.h"
#include "session/end_tokens.h"
#include "session/generation_config.h"
#include "session/sampler.h"
#include "text/tokenizer/tokenizer.h"

/* The options that override fields of config.json. */
struct qm_overrides qm_app_overrides(const struct qm_args *args);

/* The directory that the command line names (allocated), or the demonstration model's where the command allows
 * that. */
int qm_app_find(const struct qm_args *args, char **dir, struct qm_error *err);
/* The same, with a note where it is the demonstration model. */
int qm_app_locate(const struct qm_args *args, struct qm_progress *progress, char **dir, struct qm_error *err);

/* Zero-initialise, then qm_app_close. */
struct qm_app_model {
    char *dir;
    struct qm_model *model;
    struct qm_tokenizer *tokenizer; /* NULL where none was asked for, or the directory has none */
    struct qm_engine *engine;
    struct qm_routing_profile routing;    /* with --profile-experts */
    struct qm_predictor *predictor;       /* NULL where this machine's profile is not kept */
    char *plan;                           /* where units are (qm_offload_plan); NULL: all on the CPU */
    struct qm_generation_config defaults; /* of sampling, the publisher's */
    struct qm_end_tokens ends;            /* of an answer; the model's config has them */
};

enum qm_tokenizer_need { QM_TOKENIZER_NO, QM_TOKENIZER_IF_THERE, QM_TOKENIZER_YES };

/* The model's description and tokenizer; no weights yet. What the files contradict is found here, before
 * anything is allocated for weights. */
int qm_app_open(const struct qm_args *args, enum qm_tokenizer_need need, struct qm_progress *progress,
                struct qm_app_model *out, struct qm_error *err);
/* Lines about tokens that the files name and the model's vocabulary has not; empty where there are none. qm_app_open
 * notes them. */
void qm_app_vocabulary_notes(const struct qm_app_model *m, char *out, size_t size);
/* The same for commands that need no weights: a directory with config.json alone, or a file of that form, or the name
 * of a shape, is enough; model->shards is NULL then, and a note says so. layers, dtype: as qm_shape_open. What is
 * missing is asked for as `hf download NAME config.json`. */
int qm_app_describe(const struct qm_args *args, enum qm_tokenizer_need need, struct qm_progress *progress,
                    struct qm_app_model *out, struct qm_error *err);
/* "" unless a context of so many tokens is more than the model's own. */
void qm_app_context_note(const struct qm_model *m, int64_t wanted, char *out, size_t size);
/* Then the weights. chunk: tokens of one step, 0: the engine's own. */
int qm_app_load(const struct qm_args *args, int64_t chunk, struct qm_progress *progress, struct qm_app_model *m,
                struct qm_error *err);
/* The same for many sequences: 0 leaves the engine's own choice (engine.h). */
struct qm_app_engine {
    bool embeddings;                   /* a model without a head will do, which is QM_INPUT else */
    int64_t chunk, context, sequences; /* context: where --context is not given */
    uint64_t kv_memory;
    const char *plan; /* a placement kept from before, for --offload auto; NULL */
    /* Called when it is known what the engine will be, before weights are read; may be NULL. */
    int (*check)(void *arg, const struct qm_engine_options *o, struct qm_error *err);
    void *arg;
};
int qm_app_load_engine(const struct qm_args *args, const struct qm_app_engine *wanted, struct qm_progress *progress,
                       struct qm_app_model *m, struct qm_error *err);
/* QM_INPUT where the model has no head: for what needs logits. */
int qm_app_check_head(const struct qm_app_model *m, struct qm_error *err);
/* With --profile-experts: writes what was counted, and notes what it shows. For a command that succeeded or was
 * interrupted. */
int qm_app_save_routing(const struct qm_args *args, struct qm_progress *progress, const struct qm_app_model *m,
                        struct qm_error *err);
void qm_app_close(struct qm_app_model *m);

/* --isa, or what runs without it. QM_FIT: this CPU can't run it. */
int qm_app_isa(const struct qm_args *args, enum qm_isa *out, struct qm_error *err);
/* --numa. */
int qm_app_numa(const struct qm_args *args, struct qm_numa *out, struct qm_error *err);

/* --kv-type as enum qm_dtype, or -1. */
int qm_app_kv_type(const struct qm_args *args, int *out, struct qm_error *err);

/* Sampling: generation_config.json's values (greedy without one), then the command line's. The settings lend
 * `biases`, which the caller frees. */
int qm_app_sampling(const struct qm_args *args, const struct qm_app_model *m, struct qm_sampling *out,
                    struct qm_logit_bias **biases, struct qm_error *err);

/* Refuses ids outside the model's vocabulary; name: of where they come from. */
int qm_app_check_ids(const struct qm_app_model *m, const struct qm_ids *ids, const char *name, struct qm_error *err);

/* A text file of at most 1 GB ("-": standard input), UTF-8; QM_INPUT with the offset of the first byte that
 * is not. */
int qm_app_read_text(const char *path, struct qm_buf *out, struct qm_error *err);
/* The same of several, one after the other as they are. */
int qm_app_read_texts(const struct qm_arg *files, struct qm_buf *out, struct qm_error *err);
int qm_app_check_utf8(const char *text, size_t len, const char *name, struct qm_error *err);

#endif
