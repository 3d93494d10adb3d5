/* What every exchange does: begin, end, fail. */
#include "serve/exchange.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "protocol/failure.h"

/* "req-" and 24 digits of chance. */
static void make_id(char out[QM_SERVE_ID]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char random[12];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        double now = qm_now();
        memset(random, 0, sizeof random);
        memcpy(random, &now, sizeof now);
    }
    memcpy(out, "req-", 4);
    for (size_t i = 0; i < sizeof random; i++) {
        out[4 + 2 * i] = digits[random[i] >> 4];
        out[5 + 2 * i] = digits[random[i] & 15];
    }
    out[4 + 2 * sizeof random] = 0;
}
_Static_assert(QM_SERVE_ID > 4 + 2 * 12, "an id has room");

struct qm_exchange *qm_exchange_new(const struct qm_serve_shared *shared, const struct qm_path *path, const char *rest,
                                    struct qm_wake wake) {
    struct qm_exchange *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->shared = shared;
    x->path = path;
    x->rest = rest;
    x->wake = wake;
    x->created = (int64_t)time(NULL);
    x->begun = qm_now();
    make_id(x->id);
    return x;
}

void qm_exchange_free(struct qm_exchange *x) {
    if (!x)
        return;
    for (int i = 0; i < x->n_parts; i++)
        if (x->parts[i].request)
            qm_service_leave(x->parts[i].request);
    free(x->parts);
    qm_event_stream_free(x->stream);
    qm_openai_request_free(x->request);
    qm_buf_free(&x->body);
    qm_buf_free(&x->out);
    qm_buf_free(&x->ignored);
    free(x);
}

void qm_exchange_start(struct qm_exchange *x) {
    x->type = "application/json";
    x->path->handle(x);
}

void qm_exchange_json(struct qm_exchange *x, int status, json_t *value) {
    struct qm_error err;
    int rc = value ? qm_openai_dump(value, &x->out, &err) : QM_SYSTEM;
    json_decref(value);
    if (rc) { /* what little memory there is says so */
        x->out.len = 0;
        status = 500;
    }
    x->status = status;
    x->done = true;
}

void qm_exchange_fail(struct qm_exchange *x, const struct qm_error *why, int status, const char *code) {
    struct qm_error err;
    snprintf(x->error, sizeof x->error, "%.*s", (int)sizeof x->error - 1, why->message);
    for (int i = 0; i < x->n_parts; i++)
        if (x->parts[i].request) {
            qm_service_leave(x->parts[i].request);
            x->parts[i].request = NULL;
        }
    if (!x->stream) {
        x->out.len = 0;
        x->type = "application/json";
        qm_exchange_json(x, status, qm_failure(why, status, code));
        return;
    }
    qm_event_stream_error(x->stream, why, &x->out, &err);
    x->done = true;
}
