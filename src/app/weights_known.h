/* Which weights a model has (model/weights_known.h), by the user's cache,
 * ($XDG_CACHE_HOME or ~/.cache)/quietmind/weights.known, with progress. */
#ifndef QM_APP_WEIGHTS_KNOWN_H
#define QM_APP_WEIGHTS_KNOWN_H

#include "app/progress.h"
#include "model/weights_known.h"

/* The file, or "" where there is no cache directory. */
void qm_app_weights_cache(char *out, size_t size);
/* *known is to be freed. QM_INTERRUPTED by Ctrl-C. */
int qm_app_weights_known(const struct qm_model *m, struct qm_progress *progress, char out[QM_HASH_TEXT],
                         struct qm_files_known *known, struct qm_error *err);

#endif
