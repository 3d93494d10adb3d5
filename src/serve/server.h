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

#include <stdint.h>

#include "base/error.h"
#include "serve/options.h"

struct qm_server;

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
