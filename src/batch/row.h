/* One row of a batch file as OpenAI defines it: {"custom_id", "method", "url", "body"}; and what makes two rows
 * neighbours: how long a prefix their prompts share. The body itself is protocol/request.h's. */
#ifndef QM_BATCH_ROW_H
#define QM_BATCH_ROW_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "protocol/request.h"

enum { QM_BATCH_ID_LIMIT = 512, QM_BATCH_PREFIXES = 10 };

struct qm_batch_row {
    json_t *root;          /* the line */
    const char *custom_id; /* owned by root; NULL where the line has none */
    enum qm_endpoint endpoint;
    const json_t *body; /* owned by root */
};

/* Zero-initialise *out, then qm_batch_row_free. On QM_INPUT root and custom_id are there as far as they were found, so
 * that the error can be reported under the row's own name. name: the line, for messages. */
int qm_batch_row_parse(const char *text, size_t len, const char *name, struct qm_batch_row *out, struct qm_error *err);
void qm_batch_row_free(struct qm_batch_row *row);
/* Its body as a request, as qm_openai_request_new makes one; what asks for a stream is QM_INPUT. */
int qm_batch_row_request(const struct qm_batch_row *row, const struct qm_openai_context *c, uint64_t seed,
                         struct qm_openai_request **out, struct qm_error *err);
/* The custom_id of a line that is no JSON, or cut short: a string of that name before the fault, among the line's own
 * members. "" where there is none (or it is no custom_id). */
void qm_batch_row_name(const char *text, size_t len, char out[QM_BATCH_ID_LIMIT + 1]);

/* Fingerprints of the prompt's first 256 bytes, 1 kB, 4 kB, ... (four times as many each), as many as the prompt is
 * long enough for, and of nothing more: two rows that agree in n of them share at least the n-th length. */
struct qm_batch_prefix {
    int n;
    uint64_t hash[QM_BATCH_PREFIXES];
};
int qm_batch_row_prefix(const struct qm_batch_row *row, struct qm_batch_prefix *out, struct qm_error *err);
/* In how many of them a and b agree. */
int qm_batch_prefix_common(const struct qm_batch_prefix *a, const struct qm_batch_prefix *b);

#endif
