/* What a server serves, to whom, and what it reports of each request. */
#ifndef QM_SERVE_OPTIONS_H
#define QM_SERVE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

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

#endif
