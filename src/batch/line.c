/* Output lines. */
#include "batch/line.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"

/* 24 hexadecimal digits, another sequence for each kind. */
static void row_id(const char *job, int64_t number, const char *kind, char *out, size_t size) {
    char text[256], hash[QM_HASH_TEXT];
    int n = snprintf(text, sizeof text, "%.64s %lld %.32s", job, (long long)number, kind);
    qm_hash_text(text, (size_t)n, hash);
    snprintf(out, size, "%s%.24s", kind, hash);
}

void qm_batch_body_id(const char *job, int64_t number, enum qm_endpoint endpoint, char out[64]) {
    static const char *const kinds[] = {
        [QM_ENDPOINT_CHAT] = "chatcmpl-", [QM_ENDPOINT_COMPLETIONS] = "cmpl-", [QM_ENDPOINT_EMBEDDINGS] = "embd-"};
    row_id(job, number, kinds[endpoint], out, 64);
}

static int dump(json_t *line, struct qm_buf *out, struct qm_error *err) {
    int rc = line ? qm_openai_dump(line, out, err) : qm_fail_memory(err, 4096, "an output line");
    json_decref(line);
    return rc;
}

static json_t *name(const char *custom_id) {
    return custom_id ? json_string(custom_id) : json_null();
}

int qm_batch_line_answer(const char *job, int64_t number, const char *custom_id, json_t *body, struct qm_buf *out,
                         struct qm_error *err) {
    char id[64], request[64];
    row_id(job, number, "batch_req_", id, sizeof id);
    row_id(job, number, "req_", request, sizeof request);
    return dump(json_pack("{s:s, s:o, s:{s:i, s:s, s:o}, s:n}", "id", id, "custom_id", name(custom_id), "response",
                          "status_code", 200, "request_id", request, "body", body, "error"),
                out, err);
}

int qm_batch_line_error(const char *job, int64_t number, int64_t file_line, const char *custom_id,
                        const struct qm_error *why, struct qm_buf *out, struct qm_error *err) {
    char id[64];
    const char *code = why->code == QM_FIT      ? "does_not_fit"
                       : why->code == QM_SYSTEM ? "internal_error"
                                                : "invalid_request";
    row_id(job, number, "batch_req_", id, sizeof id);
    json_t *line = json_pack("{s:s, s:o, s:n, s:{s:s, s:s}}", "id", id, "custom_id", name(custom_id), "response",
                             "error", "code", code, "message", why->message);
    if (file_line > 0)
        json_object_set_new(json_object_get(line, "error"), "line", json_integer(file_line));
    return dump(line, out, err);
}

void qm_batch_row_title(int64_t number, int64_t file_line, char out[64]) {
    if (file_line > 0 && file_line != number)
        snprintf(out, 64, "row %lld (line %lld of the file)", (long long)number, (long long)file_line);
    else
        snprintf(out, 64, "row %lld", (long long)number);
}

void qm_batch_reason(const char *message, char out[160]) {
    size_t n = 0;
    /* "row 17: " goes; a number becomes N, a quoted value of more than a field's length stays out */
    if (!strncmp(message, "row ", 4)) {
        const char *colon = strstr(message, ": ");
        message = colon ? colon + 2 : message;
    }
    while (*message && n + 4 < 160) {
        size_t digits = strspn(message, "0123456789");
        if (!strncmp(message, "found \"", 7) || !strncmp(message, " at column ", 11)) {
            break;
        } else if (digits) {
            out[n++] = 'N';
            message += digits;
        } else {
            out[n++] = *message++;
        }
    }
    while (n && (out[n - 1] == ' ' || out[n - 1] == ',' || ((unsigned char)out[n - 1] & 0xC0) == 0x80))
        n--;
    out[n] = 0;
}
