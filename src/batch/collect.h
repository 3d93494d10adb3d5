/* The documents that paths stand for: text files, and those of folders and of the folders in them, PDFs by pdftotext
 * where it is installed. What is none is listed on standard error, all of it at once, with what to do about it. */
#ifndef QM_BATCH_COLLECT_H
#define QM_BATCH_COLLECT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"
#include "batch/ui.h"

struct qm_document {
    char *path;
    char *name;         /* of a path given: its last part; of a file in a folder given: the path below that */
    struct qm_buf text; /* where it is kept: of a PDF, and of what can be read once only */
    bool kept;
};

struct qm_documents {
    struct qm_document *document; /* by name */
    size_t n, cap;
};

struct qm_collect {
    const char *const *paths;
    size_t n_paths;
    /* Never documents where they are found in a folder: the output with all that a job makes beside it, and other files
     * by their identity; NULL: none. */
    const char *output;
    const char *const *others;
    size_t n_others;
    const char *search;   /* where pdftotext is looked for, as $PATH */
    bool skip_unreadable; /* else what is no text is QM_INPUT */
    const struct qm_batch_ui *ui;
};

/* QM_INPUT where nothing is left, two documents have one name, or a path is not there. To be freed either way. */
int qm_documents_collect(const struct qm_collect *c, struct qm_documents *out, struct qm_error *err);
/* Appends a document's text, without a byte order mark; QM_INPUT with the reason alone where it is no text. */
int qm_document_text(const struct qm_document *d, struct qm_buf *out, struct qm_error *err);
void qm_documents_free(struct qm_documents *d);

#endif
