/* Chat, completions and embeddings: a body becomes a request of the protocol, its parts go to the model's service, and
 * what comes of them is written as it comes, or once all is there. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "protocol/failure.h"
#include "serve/exchange.h"

enum { AT_ONCE = 32 }; /* parts of one request that are submitted and have not ended */

static void fail(struct qm_exchange *x, const struct qm_error *err) {
    qm_exchange_fail(x, err, qm_failure_status(err), NULL);
}

/* "chatcmpl-" and the request's own digits. */
static const char *answer_id(const struct qm_exchange *x, char out[QM_SERVE_ID + 16]) {
    const char *kind = strstr(x->path->name, "chat") ? "chatcmpl" : strstr(x->path->name, "emb") ? "embd" : "cmpl";
    snprintf(out, QM_SERVE_ID + 16, "%s%s", kind, x->id + 3);
    return out;
}

/* The next parts, as many as may run at once. */
static int submit(struct qm_exchange *x, struct qm_error *err) {
    int rc = QM_OK;
    while (!rc && x->submitted < x->n_parts && x->submitted - x->ended < AT_ONCE) {
        struct qm_request r;
        qm_openai_request_part(x->request, x->submitted, &r);
        r.priority = 1; /* somebody waits */
        rc = qm_service_submit(x->model->service, &r, x->wake, &x->parts[x->submitted].request, err);
        x->submitted += !rc;
    }
    return rc;
}

static int begin(struct qm_exchange *x, const json_t *body, struct qm_error *err) {
    const struct qm_served_model *m = x->model;
    struct qm_openai_context context = m->context;
    enum qm_endpoint endpoint;
    char url[64], id[QM_SERVE_ID + 16];
    time_t now = (time_t)x->created;
    struct tm local;
    context.now = localtime_r(&now, &local);
    snprintf(url, sizeof url, "/v1%s", x->path->name);
    int rc = qm_endpoint_parse(url, &endpoint, err);
    if (!rc)
        rc = qm_openai_request_new(&context, endpoint, body, x->shared->o->seed, &x->request, err);
    if (!rc)
        rc = qm_buf_str(&x->ignored, qm_openai_request_ignored(x->request), err);
    if (rc)
        return rc;
    x->n_parts = qm_openai_request_parts(x->request);
    x->parts = calloc((size_t)x->n_parts, sizeof *x->parts);
    if (!x->parts) {
        x->n_parts = 0;
        return qm_fail_memory(err, 64, "a request's parts");
    }
    rc = submit(x, err);
    if (rc)
        return rc;
    if (!qm_openai_request_streams(x->request))
        return QM_OK;
    rc = qm_event_stream_new(x->request, answer_id(x, id), x->created, &x->stream, err);
    if (!rc)
        rc = qm_event_stream_begin(x->stream, &x->out, err);
    x->streams = !rc;
    x->status = 200;
    x->type = "text/event-stream";
    return rc;
}

void qm_handle_generate(struct qm_exchange *x) {
    struct qm_error err;
    json_t *body = qm_exchange_body(x);
    if (body && qm_exchange_model(x, body) && begin(x, body, &err)) {
        x->out.len = 0;
        qm_event_stream_free(x->stream);
        x->stream = NULL;
        fail(x, &err);
    }
    json_decref(body);
}

static int token(struct qm_exchange *x, int part, const struct qm_generate_token *t, struct qm_error *err) {
    if (x->served.first_token_seconds <= 0)
        x->served.first_token_seconds = qm_now() - x->begun;
    x->served.generated_tokens++;
    return x->stream ? qm_event_stream_token(x->stream, part, t, &x->out, err)
                     : qm_openai_request_token(x->request, part, t, err);
}

static int done(struct qm_exchange *x, int part, const struct qm_outcome *o, struct qm_error *err) {
    int rc = o->rc;
    x->ended++;
    x->served.prompt_tokens += o->prompt_tokens;
    x->served.cached_tokens += o->prefix_tokens;
    qm_serve_metrics_outcome(x->shared->metrics, x->model, o);
    if (rc)
        *err = *o->error;
    else if (o->finish == QM_FINISH_INTERRUPTED) /* nobody but the end of the service cancels what is read */
        rc = qm_fail(err, QM_GONE, "the server is going down");
    if (!rc)
        rc = x->stream ? qm_event_stream_done(x->stream, part, o, &x->out, err)
                       : qm_openai_request_done(x->request, part, o, err);
    return rc;
}

static int pump_part(struct qm_exchange *x, int i, struct qm_error *err) {
    struct qm_event e;
    int rc = QM_OK;
    while (!rc && x->parts[i].request && qm_service_next(x->parts[i].request, &e)) {
        if (e.kind == QM_EVENT_PREFILL && x->stream)
            rc = qm_event_stream_prefill(x->stream, i, e.done, e.total, &x->out, err);
        else if (e.kind == QM_EVENT_TOKEN)
            rc = token(x, i, &e.token, err);
        else if (e.kind == QM_EVENT_DONE) {
            rc = done(x, i, &e.outcome, err);
            qm_service_leave(x->parts[i].request);
            x->parts[i].request = NULL;
        }
    }
    return rc;
}

/* All parts have ended. */
static int finish(struct qm_exchange *x, struct qm_error *err) {
    char id[QM_SERVE_ID + 16];
    json_t *answer = NULL;
    if (x->stream) {
        x->done = true;
        return QM_OK;
    }
    int rc = qm_openai_response_detailed(x->request, answer_id(x, id), x->created, &answer, err);
    if (!rc)
        qm_exchange_json(x, 200, answer);
    return rc;
}

void qm_exchange_pump(struct qm_exchange *x) {
    struct qm_error err;
    int rc = QM_OK;
    if (x->done || !x->request)
        return;
    for (int i = 0; i < x->submitted && !rc; i++)
        rc = pump_part(x, i, &err);
    if (!rc)
        rc = submit(x, &err);
    if (!rc && x->ended == x->n_parts)
        rc = finish(x, &err);
    if (rc)
        fail(x, &err);
}

void qm_exchange_ping(struct qm_exchange *x) {
    struct qm_error err;
    if (x->stream && !x->done && !x->out.len && qm_event_stream_ping(x->stream, &x->out, &err))
        fail(x, &err);
}
