/* Errors as the APIs' clients know them: the status of HTTP and the body. */
#ifndef QM_PROTOCOL_FAILURE_H
#define QM_PROTOCOL_FAILURE_H

#include <jansson.h>

#include "base/error.h"
#include "protocol/endpoint.h"

/* 400 for what was asked for wrongly, 429 where the same may be asked for again later (QM_BUSY), 503 where it may not
 * here (QM_GONE), 500. */
int qm_failure_status(const struct qm_error *e);
/* OpenAI's {error: {message, type, param, code}} (Anthropic's on its own endpoint). code: where it is not the one that
 * follows from the error and the status; NULL. A new reference; NULL where memory is short. */
json_t *qm_failure(const struct qm_error *e, int status, const char *code);

#endif
