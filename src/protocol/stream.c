/* Which form a stream has, and what all forms share. */
#include "protocol/stream.h"

#include <stdlib.h>

#include "protocol/failure.h"
#include "protocol/stream_internal.h"

static int on_event(void *arg, int part, const struct qm_answer_event *e, struct qm_error *err) {
    struct qm_event_stream *s = arg;
    return s->form->event(s, part, e, err);
}

int qm_event_stream_new(struct qm_openai_request *r, const char *id, int64_t created, struct qm_event_stream **out,
                        struct qm_error *err) {
    struct qm_event_stream *s = calloc(1, sizeof *s);
    *out = s;
    if (!s)
        return qm_fail_memory(err, sizeof *s, "a stream");
    *s = (struct qm_event_stream){
        .r = r, .form = &qm_event_stream_chunks, .created = created, .left = qm_openai_request_parts(r)};
    int rc = qm_buf_str(&s->id, id, err);
    if (rc) {
        qm_event_stream_free(s);
        *out = NULL;
        return rc;
    }
    qm_openai_request_listen(r, on_event, s);
    return QM_OK;
}

void qm_event_stream_free(struct qm_event_stream *s) {
    if (!s)
        return;
    qm_openai_request_listen(s->r, NULL, NULL);
    qm_buf_free(&s->id);
    free(s->sent);
    free(s);
}

int qm_event_stream_put(struct qm_event_stream *s, const char *event, json_t *data, struct qm_error *err) {
    int rc = data ? QM_OK : qm_fail_memory(err, 1024, "a chunk");
    if (!rc && event)
        rc = qm_buf_printf(s->out, err, "event: %s\n", event);
    if (!rc)
        rc = qm_buf_str(s->out, "data: ", err);
    if (!rc)
        rc = qm_openai_dump(data, s->out, err);
    json_decref(data);
    return rc ? rc : qm_buf_str(s->out, "\n\n", err);
}

int qm_event_stream_begin(struct qm_event_stream *s, struct qm_buf *out, struct qm_error *err) {
    s->out = out;
    return s->form->begin(s, err);
}

int qm_event_stream_prefill(struct qm_event_stream *s, int part, int64_t done, int64_t total, struct qm_buf *out,
                            struct qm_error *err) {
    s->out = out;
    return s->form->prefill(s, part, done, total, err);
}

int qm_event_stream_token(struct qm_event_stream *s, int part, const struct qm_generate_token *t, struct qm_buf *out,
                          struct qm_error *err) {
    s->out = out;
    return qm_openai_request_token(s->r, part, t, err);
}

int qm_event_stream_done(struct qm_event_stream *s, int part, const struct qm_outcome *o, struct qm_buf *out,
                         struct qm_error *err) {
    s->out = out;
    int rc = qm_openai_request_done(s->r, part, o, err);
    return rc || --s->left ? rc : s->form->end(s, err);
}

int qm_event_stream_ping(struct qm_event_stream *s, struct qm_buf *out, struct qm_error *err) {
    s->out = out;
    return s->form->ping(s, err);
}

int qm_event_stream_error(struct qm_event_stream *s, const struct qm_error *why, struct qm_buf *out,
                          struct qm_error *err) {
    s->out = out;
    return s->form->error(s, why, err);
}
