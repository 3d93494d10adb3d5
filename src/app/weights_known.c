/* The cache of hashes around qm_weights_hash. */
#include "app/weights_known.h"

#include <stdio.h>
#include <string.h>

#include "app/cache.h"
#include "app/signals.h"
#include "base/file.h"

enum { FILE_LIMIT = 4 << 20 };

/* "" where there is no cache directory. */
static void path_of(char *out, size_t size) {
    char folder[4096];
    int n = qm_app_cache_directory(folder, sizeof folder, NULL) ? -1 : snprintf(out, size, "%s/weights.known", folder);
    if (n < 0 || (size_t)n >= size)
        out[0] = 0;
}

static void load(const char *path, struct qm_files_known *known) {
    struct qm_buf text = {0};
    if (*path && !qm_read_file(path, FILE_LIMIT, &text, NULL) && text.len)
        qm_files_known_parse(known, text.data, text.len, NULL);
    qm_buf_free(&text);
}

/* Two programs that save at once lose what one of them adds: then it is hashed again. */
static void save(const char *path, const struct qm_files_known *known) {
    struct qm_buf text = {0};
    if (*path && !qm_files_known_text(known, NULL, &text, NULL) && !qm_make_directories(path, NULL))
        qm_write_file(path, text.data, text.len, NULL);
    qm_buf_free(&text);
}

static int show(void *arg, uint64_t done, uint64_t total) {
    qm_progress_update(arg, "hashing the weights", done, total, QM_UNIT_BYTES);
    return *qm_signals_flag() != 0;
}

int qm_weights_known(const struct qm_model *m, const char *text, struct qm_progress *progress, char out[QM_HASH_TEXT],
                     struct qm_files_known *known, struct qm_error *err) {
    char path[4200];
    int read = 0, rc = QM_OK;
    path_of(path, sizeof path);
    load(path, known);
    if (text)
        rc = qm_files_known_parse(known, text, strlen(text), err);
    rc = rc ? rc : qm_weights_hash(m->shards, known, show, progress, out, &read, err);
    qm_progress_end(progress);
    if (!rc && read)
        save(path, known);
    return rc;
}
