/* A request's answers as a stream of server-sent events, as far as they have come: the events of all its parts
 * (events.h) written in the form of the request's API. What is appended to *out is always whole: it can be sent at any
 * time. Chat and completions: chunks; role first, finish_reason null until the end, usage last where it was asked for,
 * "[DONE]". Anyone's who has tokens: no sockets here.
 * A stream belongs to one thread, and to one request, which must outlive it; embeddings have none. */
#ifndef QM_PROTOCOL_STREAM_H
#define QM_PROTOCOL_STREAM_H

#include "base/buf.h"
#include "protocol/request.h"

struct qm_event_stream;

/* id and created: of the response. Hears the request's events from now on (qm_openai_request_listen). */
int qm_event_stream_new(struct qm_openai_request *r, const char *id, int64_t created, struct qm_event_stream **out,
                        struct qm_error *err);
void qm_event_stream_free(struct qm_event_stream *s);

/* Before anything else. */
int qm_event_stream_begin(struct qm_event_stream *s, struct qm_buf *out, struct qm_error *err);
/* So many of a part's known tokens are computed. */
int qm_event_stream_prefill(struct qm_event_stream *s, int part, int64_t done, int64_t total, struct qm_buf *out,
                            struct qm_error *err);
/* As qm_openai_request_token and _done, which they call. The last part's end ends the stream. */
int qm_event_stream_token(struct qm_event_stream *s, int part, const struct qm_generate_token *t, struct qm_buf *out,
                          struct qm_error *err);
int qm_event_stream_done(struct qm_event_stream *s, int part, const struct qm_outcome *o, struct qm_buf *out,
                         struct qm_error *err);
/* Something that says that there is nothing to say. */
int qm_event_stream_ping(struct qm_event_stream *s, struct qm_buf *out, struct qm_error *err);
/* It could not be finished: the stream ends with an error event. */
int qm_event_stream_error(struct qm_event_stream *s, const struct qm_error *why, struct qm_buf *out,
                          struct qm_error *err);

#endif
