/* Saving what a batch job has not finished: keys and values of long prompts into the cache's store on disk, generated
 * tokens into the journal. By default that may cost one part in fifty of the time: it is done when the work since the
 * last time has taken fifty times as long as writing it takes. A row that resumes finds its prompt in the store as any
 * other prefix. Without a store only tokens are saved; the job goes on when the disk has no room for more. */
#ifndef QM_BATCH_CHECKPOINT_H
#define QM_BATCH_CHECKPOINT_H

#include <stdbool.h>

#include "batch/ui.h"
#include "batch/work.h"
#include "session/kv_store.h"
#include "session/prefix_cache.h"

struct qm_batch_checkpoint {
    struct qm_prefix_cache *cache;
    struct qm_kv_store *store; /* the cache's; NULL: only tokens are saved */
    const struct qm_batch_ui *ui;
    double every;                         /* seconds; 0: by cost */
    double bytes_per_token;               /* of keys and values */
    const struct qm_scheduler *scheduler; /* whose rate of prompts says what computing one again takes */
    /* its own */
    double last, cost;       /* monotonic: when it ended; seconds it took */
    double bytes_per_second; /* of writing, measured */
};

bool qm_batch_checkpoint_due(struct qm_batch_checkpoint *c, const struct qm_batch_work *w);
/* Seconds that saving now would take. */
double qm_batch_checkpoint_seconds(const struct qm_batch_checkpoint *c, const struct qm_batch_work *w);
/* Saves; the journal's part takes effect with the next commit. */
int qm_batch_checkpoint_save(struct qm_batch_checkpoint *c, struct qm_batch_work *w, struct qm_error *err);

#endif
