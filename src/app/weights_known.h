/* Which weights a model has (model/weights_hash.h), with what was hashed before kept in the user's cache,
 * ($XDG_CACHE_HOME or ~/.cache)/quietmind/weights.known, so that files are read once and not at each start. */
#ifndef QM_APP_WEIGHTS_KNOWN_H
#define QM_APP_WEIGHTS_KNOWN_H

#include "app/progress.h"
#include "model/model.h"
#include "model/weights_hash.h"

/* text: what a job's own journal knows, or NULL. *known is to be freed, for qm_weights_unchanged after the load. A
 * cache that can't be read or written is done without. QM_INTERRUPTED by Ctrl-C. */
int qm_weights_known(const struct qm_model *m, const char *text, struct qm_progress *progress, char out[QM_HASH_TEXT],
                     struct qm_files_known *known, struct qm_error *err);

#endif
