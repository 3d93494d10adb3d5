/* What the forms of a stream share: each is a table of functions, which append to s->out by qm_event_stream_put. */
#ifndef QM_PROTOCOL_STREAM_INTERNAL_H
#define QM_PROTOCOL_STREAM_INTERNAL_H

#include "protocol/internal.h"
#include "protocol/stream.h"

struct qm_event_stream_form {
    int (*begin)(struct qm_event_stream *s, struct qm_error *err);
    int (*prefill)(struct qm_event_stream *s, int part, int64_t done, int64_t total, struct qm_error *err);
    /* The request has added it to its part's sum already. */
    int (*event)(struct qm_event_stream *s, int part, const struct qm_answer_event *e, struct qm_error *err);
    int (*end)(struct qm_event_stream *s, struct qm_error *err); /* every part has ended */
    int (*ping)(struct qm_event_stream *s, struct qm_error *err);
    int (*error)(struct qm_event_stream *s, const struct qm_error *why, struct qm_error *err);
};

extern const struct qm_event_stream_form qm_event_stream_chunks; /* of chat and of completions */

struct qm_event_stream {
    struct qm_openai_request *r;
    const struct qm_event_stream_form *form;
    struct qm_buf id;
    int64_t created;
    int left;           /* parts that have not ended */
    struct qm_buf *out; /* while a function runs */
    /* of chunks: how many log-probabilities of each part are sent, and the characters of their tokens */
    struct qm_event_stream_sent {
        size_t logprobs, offset;
    } * sent;
};

/* One event: its name (NULL: none) and its data, whose reference it takes; NULL: there was no memory. */
int qm_event_stream_put(struct qm_event_stream *s, const char *event, json_t *data, struct qm_error *err);

#endif
