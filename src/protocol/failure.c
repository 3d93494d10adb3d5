/* From an error to a status and a body. */
#include "protocol/failure.h"

#include <stdbool.h>

static bool is_too_long(const struct qm_error *e) {
    return e->remedy == QM_REMEDY_LARGER_CONTEXT || e->remedy == QM_REMEDY_SHORTER_PROMPT ||
           e->remedy == QM_REMEDY_SHORTER_REQUEST || e->remedy == QM_REMEDY_LARGER_KV_MEMORY;
}

int qm_failure_status(const struct qm_error *e) {
    switch (e->code) {
    case QM_INPUT:
    case QM_USAGE: return 400;
    case QM_FIT: return is_too_long(e) ? 400 : 500;
    case QM_BUSY: return 429;
    case QM_GONE: return 503;
    default: return 500;
    }
}

static const char *type_of(int status) {
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

static const char *code_of(const struct qm_error *e, int status) {
    switch (status) {
    case 400: return is_too_long(e) ? "context_length_exceeded" : NULL;
    case 401: return "invalid_api_key";
    case 404: return "not_found";
    case 429: return "rate_limit_exceeded";
    case 503: return "service_unavailable";
    default: return NULL;
    }
}

json_t *qm_failure(const struct qm_error *e, int status, const char *code) {
    return json_pack("{s:{s:s, s:s, s:s?, s:s?}}", "error", "message", e->message, "type", type_of(status), "param",
                     e->field[0] ? e->field : NULL, "code", code ? code : code_of(e, status));
}
