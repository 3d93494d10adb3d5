/* The plain form of a batch job: every question on every document, as rows of chat requests. Questions are the lines of
 * a text file; documents are text files, or all that are in a folder, by name. Row d * questions + q asks question q
 * of document d; its custom_id is "DOCUMENT#q". Rows of one document begin alike, so it is computed once. */
#ifndef QM_APP_BATCH_DOCUMENT_H
#define QM_APP_BATCH_DOCUMENT_H

#include <jansson.h>

#include "app/batch/journal.h"
#include "app/batch/source.h"
#include "base/hash.h"

struct qm_batch_documents;

/* paths: files and folders. extra: members for each request's body (max_tokens, temperature, ...), of which a reference
 * is taken; system: before the document, or NULL. QM_INPUT for what is no UTF-8 text, an empty file of questions, two
 * documents of one name. */
int qm_batch_documents_open(const char *const *paths, size_t n_paths, const char *questions, const char *system,
                            json_t *extra, struct qm_batch_documents **out, struct qm_error *err);
void qm_batch_documents_close(struct qm_batch_documents *d);
/* Of documents, questions and extra members. */
void qm_batch_documents_hash(const struct qm_batch_documents *d, char out[QM_HASH_TEXT]);
struct qm_batch_source qm_batch_documents_source(struct qm_batch_documents *d);

/* Answers as Markdown, a chapter a document: a qm_batch_format_fn. arg is a struct qm_batch_markdown. */
struct qm_batch_markdown {
    const struct qm_batch_documents *documents; /* NULL: questions are not printed */
    int64_t document;                           /* of the row before; begins with -1 */
};
int qm_batch_markdown(void *arg, const struct qm_journal_row *row, struct qm_buf *text, struct qm_error *err);

#endif
