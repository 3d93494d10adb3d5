/* Which weights a model has (model/weights_hash.h), with what was hashed before kept in a file, so that weights are
 * read once and not at each start. */
#ifndef QM_MODEL_WEIGHTS_KNOWN_H
#define QM_MODEL_WEIGHTS_KNOWN_H

#include "model/model.h"
#include "model/weights_hash.h"

/* cache: the file, which is made and kept up to date, or NULL; one that can't be read or written is done without. text:
 * what the caller has kept for itself (qm_files_known_text), or NULL. *known is to be freed, for qm_weights_unchanged
 * after the load. progress: as in qm_weights_hash. */
int qm_weights_known(const struct qm_model *m, const char *cache, const char *text, qm_hash_progress_fn *progress,
                     void *arg, char out[QM_HASH_TEXT], struct qm_files_known *known, struct qm_error *err);

#endif
