/* The cache of hashes around qm_weights_hash. */
#include "model/weights_known.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

enum { FILE_LIMIT = 4 << 20 };

static void load(const char *path, struct qm_files_known *known) {
    struct qm_buf text = {0};
    if (path && !qm_read_file(path, FILE_LIMIT, &text, NULL) && text.len)
        qm_files_known_parse(known, text.data, text.len, NULL);
    qm_buf_free(&text);
}

/* Two programs that save at once lose what one of them adds: then it is hashed again. */
static void save(const char *path, const struct qm_files_known *known) {
    struct qm_buf text = {0};
    if (path && !qm_files_known_text(known, NULL, &text, NULL) && !qm_make_directories(path, NULL))
        qm_write_file(path, text.data, text.len, NULL);
    qm_buf_free(&text);
}

int qm_weights_known(const struct qm_model *m, const char *cache, const char *text, qm_hash_progress_fn *progress,
                     void *arg, char out[QM_HASH_TEXT], struct qm_files_known *known, struct qm_error *err) {
    int read = 0, rc = QM_OK;
    load(cache, known);
    if (text)
        rc = qm_files_known_parse(known, text, strlen(text), err);
    if (!rc)
        rc = qm_weights_hash(m->shards, known, progress, arg, out, &read, err);
    if (!rc && read)
        save(cache, known);
    return rc;
}
