/* A row's envelope, and the fingerprints of its prompt's prefix. */
#include "batch/row.h"

#include <string.h>

#include "base/hash.h"
#include "base/json.h"

static int take_text(const struct qm_batch_row *row, const char *key, const char *name, const char **out,
                     struct qm_error *err) {
    const json_t *v = json_object_get(row->root, key);
    *out = NULL;
    if (!json_is_string(v))
        return qm_fail(err, QM_INPUT, "%s: \"%s\" must be a string, found %s", name, key, qm_json_type_name(v));
    if (memchr(json_string_value(v), 0, json_string_length(v)))
        return qm_fail(err, QM_INPUT, "%s: \"%s\" must not hold a NUL character", name, key);
    *out = json_string_value(v);
    return QM_OK;
}

static size_t spaces(const char *text, size_t len) {
    size_t n = 0;
    while (n < len && (text[n] == ' ' || text[n] == '\t'))
        n++;
    return n;
}

/* Past a string that begins at *at. False: it does not end. */
static bool pass_string(const char *text, size_t len, size_t *at) {
    for (size_t i = *at + 1; i < len; i++) {
        if (text[i] == '"') {
            *at = i + 1;
            return true;
        }
        i += text[i] == '\\';
    }
    return false;
}

/* Past a value, to the comma or the end after it. */
static bool pass_value(const char *text, size_t len, size_t *at) {
    int depth = 0;
    while (*at < len) {
        char c = text[*at];
        if (c == '"') {
            if (!pass_string(text, len, at))
                return false;
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}'))
            return true;
        depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
        ++*at;
    }
    return false;
}

static void take_name(const char *text, size_t len, char out[QM_BATCH_ID_LIMIT + 1]) {
    json_t *name = json_loadb(text, len, JSON_DECODE_ANY, NULL); /* without NUL, which it would refuse */
    size_t n = json_string_length(name);
    if (json_is_string(name) && n <= QM_BATCH_ID_LIMIT) {
        memcpy(out, json_string_value(name), n);
        out[n] = 0;
    }
    json_decref(name);
}

void qm_batch_row_name(const char *text, size_t len, char out[QM_BATCH_ID_LIMIT + 1]) {
    static const char wanted[] = "\"custom_id\"";
    size_t at = 0;
    *out = 0;
    at += spaces(text, len);
    if (at == len || text[at] != '{')
        return;
    while (at < len) {
        at++; /* the brace or the comma */
        at += spaces(text + at, len - at);
        size_t key = at;
        if (at >= len || text[at] != '"' || !pass_string(text, len, &at))
            return;
        bool is_wanted = at - key == sizeof wanted - 1 && !memcmp(text + key, wanted, sizeof wanted - 1);
        at += spaces(text + at, len - at);
        if (at >= len || text[at] != ':')
            return;
        at++;
        at += spaces(text + at, len - at);
        size_t value = at;
        bool whole = at < len && text[at] == '"' && pass_string(text, len, &at);
        if (is_wanted && whole)
            take_name(text + value, at - value, out);
        if (!pass_value(text, len, &at) || text[at] != ',')
            return;
    }
}

static int parse(const char *text, size_t len, const char *name, struct qm_batch_row *out, struct qm_error *err) {
    char id[QM_BATCH_ID_LIMIT + 1];
    int rc = qm_json_parse(text, len, name, &out->root, err);
    if (rc != QM_INPUT)
        return rc;
    qm_batch_row_name(text, len, id);
    if (*id && (out->root = json_pack("{s:s}", "custom_id", id)))
        out->custom_id = json_string_value(json_object_get(out->root, "custom_id"));
    return rc;
}

int qm_batch_row_parse(const char *text, size_t len, const char *name, struct qm_batch_row *out, struct qm_error *err) {
    int rc = parse(text, len, name, out, err);
    if (rc)
        return rc;
    if (!qm_json_is_object(out->root))
        return qm_fail(err, QM_INPUT, "%s: expected an object with custom_id, method, url and body, found %s", name,
                       qm_json_type_name(out->root));
    const char *id, *method, *url;
    if ((rc = take_text(out, "custom_id", name, &id, err)))
        return rc;
    if (!*id || strlen(id) > QM_BATCH_ID_LIMIT)
        return qm_fail(err, QM_INPUT, "%s: \"custom_id\" must have 1 to %d bytes, found %zu", name, QM_BATCH_ID_LIMIT,
                       strlen(id));
    out->custom_id = id;
    if ((rc = take_text(out, "method", name, &method, err)) || (rc = take_text(out, "url", name, &url, err)))
        return rc;
    if (strcmp(method, "POST") != 0)
        return qm_fail(err, QM_INPUT, "%s: \"method\" must be \"POST\", found \"%s\"", name, method);
    if ((rc = qm_endpoint_parse(url, &out->endpoint, err)))
        return rc;
    out->body = json_object_get(out->root, "body");
    if (!qm_json_is_object(out->body))
        return qm_fail(err, QM_INPUT, "%s: \"body\" must be an object, found %s", name, qm_json_type_name(out->body));
    return QM_OK;
}

void qm_batch_row_free(struct qm_batch_row *row) {
    json_decref(row->root);
    *row = (struct qm_batch_row){0};
}

int qm_batch_row_request(const struct qm_batch_row *row, const struct qm_openai_context *c, uint64_t seed,
                         struct qm_openai_request **out, struct qm_error *err) {
    int rc = qm_openai_request_new(c, row->endpoint, row->body, seed, out, err);
    if (rc || !qm_openai_request_streams(*out))
        return rc;
    qm_openai_request_free(*out);
    *out = NULL;
    return qm_fail(err, QM_INPUT, "\"stream\": a batch has no streamed responses: leave it out");
}

struct prefix_writer {
    struct qm_hasher *hasher;
    struct qm_batch_prefix *out;
    uint64_t length, next;
};

static int prefix_write(const char *bytes, size_t n, void *arg) {
    struct prefix_writer *w = arg;
    while (n && w->out->n < QM_BATCH_PREFIXES) {
        uint64_t room = w->next - w->length;
        size_t now = n < room ? n : (size_t)room;
        qm_hasher_add(w->hasher, bytes, now);
        w->length += now;
        bytes += now;
        n -= now;
        if (w->length == w->next) {
            w->out->hash[w->out->n++] = qm_hasher_short(w->hasher);
            w->next *= 4;
        }
    }
    return w->out->n < QM_BATCH_PREFIXES ? 0 : -1; /* -1 ends the dump: enough */
}

int qm_batch_row_prefix(const struct qm_batch_row *row, struct qm_batch_prefix *out, struct qm_error *err) {
    /* in the order in which templates print them */
    static const char *const parts[] = {"tools", "messages", "prompt", "input"};
    struct prefix_writer w = {.out = out, .next = 256};
    *out = (struct qm_batch_prefix){0};
    int rc = qm_hasher_new(&w.hasher, err);
    for (size_t i = 0; i < sizeof parts / sizeof *parts && !rc; i++) {
        const json_t *part = json_object_get(row->body, parts[i]);
        if (part && qm_json_write(part, false, prefix_write, &w) && out->n < QM_BATCH_PREFIXES)
            rc = qm_fail_memory(err, 1024, "a row's fingerprint");
    }
    qm_hasher_free(w.hasher);
    return rc;
}

int qm_batch_prefix_common(const struct qm_batch_prefix *a, const struct qm_batch_prefix *b) {
    int n = 0;
    while (n < a->n && n < b->n && a->hash[n] == b->hash[n])
        n++;
    return n;
}
