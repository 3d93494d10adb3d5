/* The prefix cache of a batch job, and its file on disk: checkpoints beside the output (removed when the job is
 * complete), or in a folder where it is kept. A store that can't be opened is reported, and the job goes on without. */
#ifndef QM_BATCH_STORE_H
#define QM_BATCH_STORE_H

#include "batch/checkpoint.h"
#include "batch/options.h"
#include "batch/output.h"
#include "engine/fingerprint.h"
#include "session/kv_store.h"
#include "session/prefix_cache.h"

struct qm_batch_store {
    struct qm_kv_store *store; /* NULL: none */
    struct qm_prefix_cache *cache;
    char *path;
    bool keep;
};

int qm_batch_store_open(struct qm_batch_store *s, const struct qm_batch_options *options,
                        const struct qm_batch_paths *paths, const struct qm_fingerprint *fingerprint,
                        struct qm_engine *engine, const struct qm_batch_ui *ui, struct qm_error *err);
/* The job is complete: checkpoints are not needed any more. */
void qm_batch_store_done(struct qm_batch_store *s);
void qm_batch_store_close(struct qm_batch_store *s);
/* Saving into it, as the options say. */
struct qm_batch_checkpoint qm_batch_store_checkpoint(const struct qm_batch_store *s,
                                                     const struct qm_batch_options *options,
                                                     const struct qm_engine *engine,
                                                     const struct qm_scheduler *scheduler,
                                                     const struct qm_batch_ui *ui);

#endif
