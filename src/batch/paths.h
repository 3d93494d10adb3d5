/* How the files of a batch job are called, all beside OUT. */
#ifndef QM_BATCH_PATHS_H
#define QM_BATCH_PATHS_H

#include "base/error.h"

/* Allocated. */
struct qm_batch_paths {
    char *out, *partial, *journal, *lock, *kv;
};
int qm_batch_paths(const char *out, struct qm_batch_paths *paths, struct qm_error *err);
void qm_batch_paths_free(struct qm_batch_paths *p);

#endif
