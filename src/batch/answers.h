/* The answers of a job about documents as files for people and for spreadsheets, in the order of documents and
 * questions. OUT's name says which: .md Markdown, a chapter a document; .txt the same as plain text; .csv with the
 * columns document, question, answer, cut, error (RFC 4180, lines end with a newline); .json one array of objects with
 * these members; .jsonl, or no ending, the lines of a batch file. An answer that ended at its limit of tokens is
 * marked. */
#ifndef QM_BATCH_ANSWERS_H
#define QM_BATCH_ANSWERS_H

#include "batch/document.h"
#include "batch/journal.h"

enum qm_answer_format { QM_ANSWERS_LINES, QM_ANSWERS_MD, QM_ANSWERS_TXT, QM_ANSWERS_CSV, QM_ANSWERS_JSON };

/* By the ending of a file's name; lines where it has none. QM_USAGE where no format is called so, such as .docx. */
int qm_answer_format_of(const char *path, const char *option, enum qm_answer_format *out, struct qm_error *err);
/* By the format's name; QM_USAGE. option, here and above: what said it, for the message. */
int qm_answer_format_parse(const char *name, const char *option, enum qm_answer_format *out, struct qm_error *err);

/* The argument of qm_batch_answers, which is a qm_batch_format_fn (QM_ANSWERS_LINES needs none). */
struct qm_batch_answers {
    enum qm_answer_format format;
    const struct qm_batch_documents *documents;
    int64_t document; /* of the row before; begins with -1 */
};
int qm_batch_answers(void *arg, const struct qm_journal_row *row, struct qm_buf *text, struct qm_error *err);

#endif
