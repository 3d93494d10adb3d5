/* The HTTP server: OpenAI's API on services of the scheduler (session/service.h). Between protocol, which knows the
 * forms of requests and answers, and the command, which opens models and listens to signals. HTTP/1.1 by libmicrohttpd.
 *
 * Threads. One of libmicrohttpd's speaks to all sockets. A few workers parse, render, tokenize and submit requests, so
 * that a long prompt delays nobody else. The engines' threads never wait for any of them: a token's event raises a flag
 * and writes an eventfd, on which one more thread resumes the connections that have something to send, notices clients
 * that have gone and heads and bodies that do not come to an end, and sends pings.
 *
 * An answer that nobody reads is bounded: by the service's queue (qm_service_options) and one piece of text here.
 * Everything from a socket is hostile: heads, bodies, connections, and the time for a whole request are limited.
 *
 * Thread-safety: one thread opens, asks and closes a server. */
#ifndef QM_SERVE_SERVER_H
#define QM_SERVE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "protocol/request.h"
#include "session/service.h"

enum {
    QM_SERVE_BODY = 64 << 20, /* bytes of a request's body, at most */
    QM_SERVE_HEAD = 64 << 10, /* of its head */
    QM_SERVE_KEY = 512,       /* of a key */
    QM_SERVE_NAMES = 64,      /* of a model */
    QM_SERVE_ID = 48,         /* bytes of a request's id, its end included */
};

/* A model that is served. Borrowed by the server while it is open. */
struct qm_served_model {
    const char *name[QM_SERVE_NAMES]; /* the first is its id in lists and answers */
    int n_names;
    struct qm_service *service;
    struct qm_openai_context context; /* of requests; its model is name[0], and it has no date */
    int64_t created;                  /* seconds since 1970 */
    int64_t trained_context, parameters;
    uint64_t bytes; /* of its weights */
};

/* What came of a request, for a log. Nothing of its text. */
struct qm_served {
    const char *id, *method, *path; /* of the table of paths, "-" where they are none of them */
    const char *model;              /* "" where none was asked */
    const char *ignored;            /* names of fields that were passed over; "" */
    const char *error;              /* ""; the message that the client got */
    int status;                     /* of HTTP; 499: the client went away first */
    int64_t prompt_tokens, cached_tokens, generated_tokens;
    double seconds, first_token_seconds; /* first: 0: there was none */
};
/* From the thread that speaks to sockets: must return soon. */
typedef void qm_served_fn(void *arg, const struct qm_served *what);

/* Strings, models and lists are borrowed. */
struct qm_server_options {
    const struct qm_served_model *const *models;
    int n_models;
    const char *address; /* "127.0.0.1:8080", "[::1]:0", "0.0.0.0:80"; port 0: any that is free */
    bool any_model;      /* a request for a model that is not there gets the first one */
    const char *const *keys;
    int n_keys;               /* 0: everybody may ask */
    const char *const *hosts; /* names beside loopback's and the address that a request may call the server by */
    int n_hosts;
    const char *origin; /* of pages elsewhere that may use it: an origin, or "*"; NULL: none */
    double ping;        /* seconds of silence of a stream, at most */
    double deadline;    /* seconds for the whole head and body of a request */
    int connections;    /* at most */
    uint64_t seed;      /* of requests that give none */
    qm_served_fn *served;
    void *arg;
};

struct qm_server;

/* Whether what listens there can be reached from this machine alone; QM_USAGE for what is no address. */
int qm_server_address_is_loopback(const char *address, bool *out, struct qm_error *err);
/* Listens. QM_SYSTEM where the address is in use or not to be had. */
int qm_server_open(const struct qm_server_options *o, struct qm_server **out, struct qm_error *err);
/* "http://127.0.0.1:8080". */
const char *qm_server_url(const struct qm_server *s);
/* From now on no connection is taken and no request begun (503); what is being answered goes on. */
void qm_server_drain(struct qm_server *s);
/* Requests that are being answered. */
int64_t qm_server_active(struct qm_server *s);
/* Ends what is left: connections are cut, requests cancelled. NULL: nothing. Before the services are closed. */
void qm_server_close(struct qm_server *s);

#endif
