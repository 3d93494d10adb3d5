/* From an open model to one that is loaded: the engine with its devices, its threads and what is counted while it runs.
 * Progress and what came of it are said on standard error. After open_model.h. */
#ifndef QM_APP_LOAD_MODEL_H
#define QM_APP_LOAD_MODEL_H

#include <stdbool.h>

#include "app/offload.h"
#include "app/open_model.h"
#include "app/progress.h"
#include "app/quiet.h"
#include "engine/engine.h"

/* How a model is loaded and executed. Strings are borrowed. */
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

/* Reads the weights of a model that is open. chunk: tokens of one step, 0: the engine's own. */
int qm_app_load(const struct qm_load_options *o, int64_t chunk, struct qm_progress *progress, struct qm_app_model *m,
                struct qm_error *err);
/* The same for many sequences: 0 leaves the engine's own choice (engine.h). */
struct qm_app_engine {
    bool embeddings;                   /* a model without a head will do, which is QM_INPUT else */
    int64_t chunk, context, sequences; /* context: where the options say none */
    uint64_t kv_memory;
    struct qm_draft_memory drafts; /* left free for them */
    const char *plan;              /* a placement kept from before, for --offload auto; NULL */
    /* Called when it is known what the engine will be, before weights are read; may be NULL. */
    int (*check)(void *arg, const struct qm_engine_options *o, struct qm_error *err);
    void *arg;
};
int qm_app_load_engine(const struct qm_load_options *o, const struct qm_app_engine *wanted,
                       struct qm_progress *progress, struct qm_app_model *m, struct qm_error *err);
/* Writes what was counted of experts, where it is counted, and notes what it shows. For a command that succeeded or was
 * interrupted. */
int qm_app_save_routing(const struct qm_app_model *m, struct qm_progress *progress, struct qm_error *err);

#endif
