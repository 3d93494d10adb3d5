/* The lines of a batch job's output, as OpenAI defines them: {"id", "custom_id", "response": {"status_code",
 * "request_id", "body"}, "error"}. Ids follow from the job's fingerprint and the row's number alone. */
#ifndef QM_BATCH_LINE_H
#define QM_BATCH_LINE_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "protocol/request.h"

/* "chatcmpl-...", "cmpl-..." or "embd-...", of the response's body. */
void qm_batch_body_id(const char *job, int64_t number, enum qm_endpoint endpoint, char out[64]);
/* Appends the line of a row that was answered; takes the reference to body. */
int qm_batch_line_answer(const char *job, int64_t number, const char *custom_id, json_t *body, struct qm_buf *out,
                         struct qm_error *err);
/* The line of one that was not: response is null, error {"code", "message"} and, where file_line is not 0, "line":
 * where in the file it is. custom_id NULL: it has none. */
int qm_batch_line_error(const char *job, int64_t number, int64_t file_line, const char *custom_id,
                        const struct qm_error *why, struct qm_buf *out, struct qm_error *err);
/* What a row is called in messages: "row 7", and its line where empty lines make that another number. */
void qm_batch_row_title(int64_t number, int64_t file_line, char out[64]);
/* A failure's message without what differs from row to row (numbers, quoted words), so that failures can be counted by
 * reason. */
void qm_batch_reason(const char *message, char out[160]);

#endif
