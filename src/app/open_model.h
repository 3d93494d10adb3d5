/* From a model's name to an open model: where it is, what overrides it, its tokenizer, and what is to be said about it.
 * Shared by the commands, which decode their arguments to the options here (app/decode.h). load_model.h reads its
 * weights, sampling.h its publisher's settings. */
#ifndef QM_APP_OPEN_MODEL_H
#define QM_APP_OPEN_MODEL_H

#include <stdbool.h>

#include "app/predictor.h"
#include "app/progress.h"
#include "app/texts.h"
#include "base/plain_text.h"
#include "engine/engine.h"
#include "model/model.h"
#include "session/end_tokens.h"
#include "session/generation_config.h"
#include "text/template/chat.h"
#include "text/tokenizer/tokenizer.h"

/* Which model, and what overrides its files. Strings are borrowed. */
struct qm_model_options {
    const char *name; /* a directory, or a name of the hub's cache; NULL: the demonstration model */
    struct qm_overrides overrides;
    const char *chat_template; /* a file in place of the model's own; NULL */
    int64_t context;           /* that is wanted, in tokens; 0: none said */
    int64_t layers;            /* of a shape, so many only; 0: all */
    const char *dtype;         /* of a shape's weights; NULL: its config's */
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
 * of a shape, is enough; model->shards is NULL then, and a note says so. What is missing is asked for as `hf download
 * NAME config.json`. */
int qm_app_describe(const struct qm_model_options *o, enum qm_tokenizer_need need, struct qm_progress *progress,
                    struct qm_app_model *out, struct qm_error *err);
/* "" unless a context of so many tokens is more than the model's own. */
void qm_app_context_note(const struct qm_model *m, int64_t wanted, char *out, size_t size);
/* QM_INPUT where the model has no head: for what needs logits. */
int qm_app_check_head(const struct qm_app_model *m, struct qm_error *err);
void qm_app_close(struct qm_app_model *m);

/* Refuses ids outside the model's vocabulary; name: of where they come from. */
int qm_app_check_ids(const struct qm_app_model *m, const struct qm_ids *ids, const char *name, struct qm_error *err);

/* Texts (base/plain_text.h) one after the other as they are. */
int qm_app_read_texts(const struct qm_texts *files, struct qm_buf *out, struct qm_error *err);

#endif
