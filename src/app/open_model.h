/* From a model's name to an open model: where it is, what overrides it, its tokenizer, the engine loaded with progress
 * on standard error, and the settings of sampling. Shared by the commands, which decode their arguments (app/decode.h)
 * to the options here. */
#ifndef QM_APP_OPEN_MODEL_H
#define QM_APP_OPEN_MODEL_H

#include <stdbool.h>

#include "app/offload.h"
#include "app/predictor.h"
#include "app/progress.h"
#include "app/quiet.h"
#include "app/texts.h"
#include "base/buf.h"
#include "engine/engine.h"
#include "model/model.h"
#include "session/end_tokens.h"
#include "session/generation_config.h"
#include "session/sampler.h"
#include "text/template/chat.h"
#include "text/tokenizer/tokenizer.h"

/* Which model, and what overrides its files. Strings are lent. */
struct qm_model_options {
    const char *name; /* a directory, or a name of the hub's cache; NULL: the demonstration model */
    struct qm_overrides overrides;
    const char *chat_template; /* a file in place of the model's own; NULL */
    int64_t context;           /* that is wanted, in tokens; 0: none said */
    int64_t layers;            /* of a shape, so many only; 0: all */
    const char *dtype;         /* of a shape's weights; NULL: its config's */
};

/* How a model is loaded and executed. Strings are lent. */
struct qm_load_options {
    int threads;     /* 0: one a core */
    int64_t context; /* tokens of a sequence; 0: none said */
    enum qm_isa isa;
    int kv_type; /* enum qm_dtype, or -1: the model's */
    struct qm_numa numa;
    struct qm_quiet_options quiet;
    struct qm_offload_options offload;
    const char *routing; /* a file that counts of experts are added to; NULL */
};

/* A value that may be left out. */
struct qm_maybe_real {
    bool set;
    double value;
};
struct qm_maybe_int {
    bool set;
    int64_t value;
};

/* What is said of sampling; what is not said is the model's. Texts are lent. */
struct qm_sampling_options {
    struct qm_maybe_real temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
    struct qm_maybe_int top_k, seed;
    struct qm_texts bias; /* each "ID=X" */
};

/* The directory of the model that is named (allocated); NULL: the demonstration model's. */
int qm_app_find(const char *name, char **dir, struct qm_error *err);
/* The same, with a note where it is the demonstration model. */
int qm_app_locate(const char *name, struct qm_progress *progress, char **dir, struct qm_error *err);

/* Zero-initialise, then qm_app_close. */
struct qm_app_model {
    char *dir;
    struct qm_model *model;
    struct qm_tokenizer *tokenizer; /* NULL where none was asked for, or the directory has none */
    struct qm_chat *chat; /* the template, where a tokenizer was asked for; NULL: none that can be read (qm_app_chat) */
    struct qm_error chat_error; /* why */
    struct qm_engine *engine;
    struct qm_routing_profile routing;    /* what is counted of experts */
    char *routing_file;                   /* where that is kept; NULL: it is not counted */
    struct qm_predictor *predictor;       /* NULL where this machine's profile is not kept */
    char *plan;                           /* where units are (qm_offload_plan); NULL: all on the CPU */
    struct qm_generation_config defaults; /* of sampling, the publisher's */
    struct qm_end_tokens ends;            /* of an answer; the model's config has them */
};

enum qm_tokenizer_need { QM_TOKENIZER_NO, QM_TOKENIZER_IF_THERE, QM_TOKENIZER_YES };

/* The model's description and tokenizer; no weights yet. What the files contradict is found here, before
 * anything is allocated for weights. */
int qm_app_open(const struct qm_model_options *o, enum qm_tokenizer_need need, struct qm_progress *progress,
                struct qm_app_model *out, struct qm_error *err);
/* The chat template, borrowed; without one, the error of reading it. */
int qm_app_chat(const struct qm_app_model *m, const struct qm_chat **out, struct qm_error *err);
/* Lines about tokens that the files name and the model's vocabulary has not; empty where there are none. qm_app_open
 * notes them. */
void qm_app_vocabulary_notes(const struct qm_app_model *m, char *out, size_t size);
/* The same for commands that need no weights: a directory with config.json alone, or a file of that form, or the name
 * of a shape, is enough; model->shards is NULL then, and a note says so. What is
 * missing is asked for as `hf download NAME config.json`. */
int qm_app_describe(const struct qm_model_options *o, enum qm_tokenizer_need need, struct qm_progress *progress,
                    struct qm_app_model *out, struct qm_error *err);
/* "" unless a context of so many tokens is more than the model's own. */
void qm_app_context_note(const struct qm_model *m, int64_t wanted, char *out, size_t size);
/* Then the weights. chunk: tokens of one step, 0: the engine's own. */
int qm_app_load(const struct qm_load_options *o, int64_t chunk, struct qm_progress *progress, struct qm_app_model *m,
                struct qm_error *err);
/* The same for many sequences: 0 leaves the engine's own choice (engine.h). */
struct qm_app_engine {
    bool embeddings;                   /* a model without a head will do, which is QM_INPUT else */
    int64_t chunk, context, sequences; /* context: where the options say none */
    uint64_t kv_memory;
    const char *plan; /* a placement kept from before, for --offload auto; NULL */
    /* Called when it is known what the engine will be, before weights are read; may be NULL. */
    int (*check)(void *arg, const struct qm_engine_options *o, struct qm_error *err);
    void *arg;
};
int qm_app_load_engine(const struct qm_load_options *o, const struct qm_app_engine *wanted,
                       struct qm_progress *progress, struct qm_app_model *m, struct qm_error *err);
/* QM_INPUT where the model has no head: for what needs logits. */
int qm_app_check_head(const struct qm_app_model *m, struct qm_error *err);
/* Writes what was counted of experts, where it is counted, and notes what it shows. For a command that succeeded or was
 * interrupted. */
int qm_app_save_routing(const struct qm_app_model *m, struct qm_progress *progress, struct qm_error *err);
void qm_app_close(struct qm_app_model *m);

/* Sampling: generation_config.json's values (greedy without one), then what the options say. The settings lend
 * `biases`, which the caller frees. */
int qm_app_sampling(const struct qm_sampling_options *o, const struct qm_app_model *m, struct qm_sampling *out,
                    struct qm_logit_bias **biases, struct qm_error *err);
/* What the options say, besides biases, takes the place of what is there. */
void qm_app_sampling_change(const struct qm_sampling_options *o, struct qm_sampling *s);

/* Refuses ids outside the model's vocabulary; name: of where they come from. */
int qm_app_check_ids(const struct qm_app_model *m, const struct qm_ids *ids, const char *name, struct qm_error *err);

/* A text file of at most 1 GB ("-": standard input), UTF-8; QM_INPUT with the offset of the first byte that
 * is not. */
int qm_app_read_text(const char *path, struct qm_buf *out, struct qm_error *err);
/* The same of several, one after the other as they are. */
int qm_app_read_texts(const struct qm_texts *files, struct qm_buf *out, struct qm_error *err);
int qm_app_check_utf8(const char *text, size_t len, const char *name, struct qm_error *err);

#endif
