/* Where the cache is, and showing how far it has come. */
#include "app/weights_known.h"

#include <stdio.h>

#include "app/cache.h"
#include "app/signals.h"

void qm_app_weights_cache(char *out, size_t size) {
    char folder[4096];
    int n = qm_app_cache_directory(folder, sizeof folder, NULL) ? -1 : snprintf(out, size, "%s/weights.known", folder);
    if (n < 0 || (size_t)n >= size)
        out[0] = 0;
}

static int show(void *arg, uint64_t done, uint64_t total) {
    qm_progress_update(arg, "hashing the weights", done, total, QM_PROGRESS_BYTES);
    return *qm_signals_flag() != 0;
}

int qm_app_weights_known(const struct qm_model *m, struct qm_progress *progress, char out[QM_HASH_TEXT],
                         struct qm_files_known *known, struct qm_error *err) {
    char path[4200];
    qm_app_weights_cache(path, sizeof path);
    int rc = qm_weights_known(m, *path ? path : NULL, NULL, show, progress, out, known, err);
    qm_progress_end(progress);
    return rc;
}
