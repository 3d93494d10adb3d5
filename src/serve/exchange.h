/* One request and its answer, without a socket: what came is put in, what is to be sent comes out. Between the
 * connections (server.c) and what the paths do (paths.c and the files of their handlers).
 * An exchange belongs to one thread at a time; only its wake is called by others. */
#ifndef QM_SERVE_EXCHANGE_H
#define QM_SERVE_EXCHANGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "protocol/stream.h"
#include "serve/metrics.h"
#include "serve/options.h"

/* What all exchanges of a server share. */
struct qm_serve_shared {
    const struct qm_server_options *o;
    struct qm_serve_metrics *metrics;
};

struct qm_exchange_part {
    struct qm_service_request *request; /* NULL: not submitted, or left */
};

struct qm_exchange {
    const struct qm_serve_shared *shared;
    struct qm_wake wake; /* when there may be more to send */
    const struct qm_path *path;
    char id[QM_SERVE_ID]; /* of the request */
    const char *rest;     /* of the path, behind what the table has: an id; borrowed */
    struct qm_buf body;

    /* the answer, from qm_exchange_start on: */
    int status;
    const char *type;   /* of content */
    struct qm_buf out;  /* to be sent; of a stream, what has come since it was taken last */
    bool streams, done; /* done: `out` is the rest */
    char error[256];    /* the message of an error; "" */
    struct qm_buf ignored;

    /* of what is generated */
    const struct qm_served_model *model;
    struct qm_openai_request *request;
    struct qm_event_stream *stream;
    struct qm_exchange_part *parts;
    int n_parts, submitted, ended;
    int64_t created;
    struct qm_served served;
    double begun; /* qm_now */
};

struct qm_exchange *qm_exchange_new(const struct qm_serve_shared *shared, const struct qm_path *path, const char *rest,
                                    struct qm_wake wake);
/* Leaves what is still being generated. */
void qm_exchange_free(struct qm_exchange *x);

/* The whole body is there: the path's handler. May take long. Then `done`, or streams, or neither: pump it. */
void qm_exchange_start(struct qm_exchange *x);
/* Takes what has been generated since. Of what is no stream, `out` is written when it is done. */
void qm_exchange_pump(struct qm_exchange *x);
/* It is silent: something that says so, where there is such a thing. */
void qm_exchange_ping(struct qm_exchange *x);
/* It cannot go on: an answer that was not begun becomes this error, a stream ends with it. */
void qm_exchange_fail(struct qm_exchange *x, const struct qm_error *why, int status, const char *code);
/* The answer is this JSON, whose reference is taken (NULL: memory is short). */
void qm_exchange_json(struct qm_exchange *x, int status, json_t *value);

/* ---- paths ---- */

enum qm_path_method { QM_PATH_GET, QM_PATH_POST };

struct qm_path {
    const char *name; /* without "/v1"; with a '/' at its end: an id follows */
    enum qm_path_method method;
    bool of_v1; /* is there with "/v1" before it too */
    bool open;  /* needs no key */
    bool quick; /* needs no worker */
    void (*handle)(struct qm_exchange *x);
};

/* *path: NULL where there is none; *other: there is one with another method. *rest: see struct qm_exchange. */
const struct qm_path *qm_path_find(const char *url, const char *method, const char **rest, bool *other);
/* All of them, ended by one without a name. */
extern const struct qm_path qm_paths[];

/* The model that a body asks for: its name, or the first; NULL: the exchange has failed. */
const struct qm_served_model *qm_exchange_model(struct qm_exchange *x, const json_t *body);
/* The body as an object, NULL: the exchange has failed. A new reference. */
json_t *qm_exchange_body(struct qm_exchange *x);

void qm_handle_generate(struct qm_exchange *x); /* chat, completions, embeddings */
void qm_handle_tokenize(struct qm_exchange *x);
void qm_handle_detokenize(struct qm_exchange *x);
void qm_handle_template(struct qm_exchange *x);
void qm_handle_models(struct qm_exchange *x);
void qm_handle_model(struct qm_exchange *x);
void qm_handle_health(struct qm_exchange *x);
void qm_handle_metrics(struct qm_exchange *x);

#endif
