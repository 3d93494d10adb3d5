/* The plain form of a batch job: every question on every document, as rows of chat requests. Questions are the lines of
 * a text file; documents are text files, or all that are in a folder, by name (batch/collect.h). Row d * questions + q
 * asks question q of document d; its custom_id is "DOCUMENT#q". Rows of one document begin alike, so it is computed
 * once. */
#ifndef QM_BATCH_DOCUMENT_H
#define QM_BATCH_DOCUMENT_H

#include <jansson.h>

#include "base/hash.h"
#include "batch/collect.h"
#include "batch/source.h"

struct qm_batch_documents;

/* extra: members for each request's body (max_tokens, temperature, ...), of which a reference
 * is taken; system: before the document, or NULL. QM_INPUT for what is no UTF-8 text, an empty file of questions, two
 * documents of one name. */
int qm_batch_documents_open(const struct qm_collect *from, const char *questions, const char *system,
                            const json_t *extra, struct qm_batch_documents **out, struct qm_error *err);
void qm_batch_documents_close(struct qm_batch_documents *d);
/* A hash of the documents, the questions and the extra members. */
void qm_batch_documents_hash(const struct qm_batch_documents *d, char out[QM_HASH_TEXT]);
/* How many, and how many questions. */
int64_t qm_batch_documents_count(const struct qm_batch_documents *d, int64_t *questions);
/* A row's document, by its place among them, and the names of both, which belong to the documents. number: from 1. */
int64_t qm_batch_documents_row(const struct qm_batch_documents *d, int64_t number, const char **document,
                               const char **question);
struct qm_batch_source qm_batch_documents_source(struct qm_batch_documents *d);

#endif
