/* Connections: libmicrohttpd's callbacks, the workers, and the thread that resumes. See server.h for who does what.
 *
 * A connection that waits is suspended, and `woken` by its worker or by the resuming thread; both happen under one
 * lock, so that a wake between the last look and the suspension is not lost. */
#include "serve/server.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocol/failure.h"
#include "serve/address.h"
#include "serve/exchange.h"

enum { WORKERS = 2, TICK_MS = 100, LOOKS = 4096, IDLE_SECONDS = 120, GONE = 499 };

/* A socket, for as long as it is open. */
struct link {
    struct link *before, *after;
    int fd;
    double since; /* when it was opened, or its last request was read */
    bool reading; /* a head or a body is to come */
};

/* A request on its way. */
struct call {
    struct call *before, *after; /* those that have an exchange */
    struct call *next;           /* of the workers' queue */
    struct qm_server *server;
    struct MHD_Connection *connection;
    struct link *link;
    struct qm_exchange *exchange;
    const struct qm_path *path;
    const char *method;
    bool too_large, begun, started; /* begun: it was answered at once; started: its handler has run */
    /* under the server's lock: */
    bool suspended, woken, working; /* working: a worker has it */
    bool gone;                      /* the client is */
    double silent;                  /* since when nothing was sent */
    bool ping;                      /* it is due */
    size_t sent;                    /* bytes of exchange->out */
    atomic_bool flag;               /* the engine's thread has something */
};

struct qm_server {
    struct qm_server_options o;
    struct qm_serve_shared shared;
    struct qm_address address;
    char url[96];
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct call *calls, *first, **last; /* first, last: the queue */
    struct link *links;
    int64_t active;
    bool draining, closing;
    int wake; /* an eventfd */
    pthread_t workers[WORKERS], resumer;
    int n_workers;
    bool resuming;
    atomic_bool flagged;
};

/* ---- waiting and waking ---- */

/* Under the lock. */
static void wake(struct call *c) {
    if (!c->suspended) {
        c->woken = true;
        return;
    }
    c->suspended = false;
    MHD_resume_connection(c->connection);
}

/* False: something has come meanwhile. */
static bool rest(struct call *c) {
    struct qm_server *s = c->server;
    pthread_mutex_lock(&s->lock);
    bool rests = !c->woken;
    c->woken = false;
    if (rests) {
        c->suspended = true;
        MHD_suspend_connection(c->connection);
    }
    pthread_mutex_unlock(&s->lock);
    return rests;
}

/* From an engine's thread: no lock, no socket. */
static void flag(void *arg) {
    struct call *c = arg;
    const uint64_t one = 1;
    atomic_store(&c->flag, true);
    if (!atomic_exchange(&c->server->flagged, true) && write(c->server->wake, &one, sizeof one) < 0)
        return; /* it is full: the other end will look */
}

/* ---- the workers ---- */

static void *work(void *arg) {
    struct qm_server *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->closing || s->first) {
        struct call *c = s->first;
        if (!c) {
            pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        s->first = c->next;
        if (!s->first)
            s->last = &s->first;
        pthread_mutex_unlock(&s->lock);
        qm_exchange_start(c->exchange);
        pthread_mutex_lock(&s->lock);
        c->working = false;
        wake(c);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void give_work(struct call *c) {
    struct qm_server *s = c->server;
    pthread_mutex_lock(&s->lock);
    c->working = true;
    c->next = NULL;
    *s->last = c;
    s->last = &c->next;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

/* ---- the thread that resumes ---- */

/* Clients that have gone while nothing is sent to them. Under the lock. */
static void look_for_gone(struct qm_server *s) {
    struct pollfd fds[LOOKS];
    struct call *of[LOOKS];
    nfds_t n = 0;
    for (struct call *c = s->calls; c && n < LOOKS; c = c->after)
        if (c->suspended && !c->gone) {
            fds[n] = (struct pollfd){.fd = c->link->fd, .events = POLLRDHUP};
            of[n++] = c;
        }
    if (!n || poll(fds, n, 0) <= 0)
        return;
    for (nfds_t i = 0; i < n; i++)
        if (fds[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) {
            of[i]->gone = true;
            if (!of[i]->working)
                wake(of[i]);
        }
}

/* Under the lock. */
static void look(struct qm_server *s, bool tick) {
    double now = qm_now();
    for (struct call *c = s->calls; c; c = c->after) {
        bool ping = tick && c->exchange->streams && c->suspended && now - c->silent >= s->o.ping;
        c->ping |= ping;
        if ((atomic_exchange(&c->flag, false) || ping) && !c->working)
            wake(c);
    }
    if (!tick)
        return;
    look_for_gone(s);
    for (struct link *l = s->links; l; l = l->after)
        if (l->reading && now - l->since > s->o.deadline)
            shutdown(l->fd, SHUT_RDWR); /* which libmicrohttpd then closes */
}

static void *resume(void *arg) {
    struct qm_server *s = arg;
    double ticked = 0;
    bool ends = false;
    while (!ends) {
        struct pollfd p = {.fd = s->wake, .events = POLLIN};
        uint64_t count;
        if (poll(&p, 1, TICK_MS) > 0 && read(s->wake, &count, sizeof count) < 0 && errno != EAGAIN)
            break;
        atomic_store(&s->flagged, false);
        bool tick = qm_now() - ticked >= TICK_MS * 1e-3;
        pthread_mutex_lock(&s->lock);
        look(s, tick);
        ends = s->closing;
        pthread_mutex_unlock(&s->lock);
        if (tick)
            ticked = qm_now();
    }
    return NULL;
}

/* ---- answers ---- */

static void add_headers(const struct call *c, struct MHD_Response *r) {
    const struct qm_server_options *o = &c->server->o;
    const struct qm_exchange *x = c->exchange;
    if (o->origin) {
        MHD_add_response_header(r, "Access-Control-Allow-Origin", o->origin);
        MHD_add_response_header(r, "Vary", "Origin");
    }
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    if (!x)
        return;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, x->type);
    MHD_add_response_header(r, "x-request-id", x->id);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (x->ignored.len)
        MHD_add_response_header(r, "quietmind-ignored", x->ignored.data);
    if (x->status == 429)
        MHD_add_response_header(r, "Retry-After", "1");
    if (x->streams)
        MHD_add_response_header(r, "X-Accel-Buffering", "no"); /* proxies pass it on as it comes */
}

static enum MHD_Result send_whole(struct call *c) {
    struct qm_exchange *x = c->exchange;
    struct MHD_Response *r = MHD_create_response_from_buffer(x->out.len, x->out.data, MHD_RESPMEM_MUST_COPY);
    if (!r)
        return MHD_NO;
    add_headers(c, r);
    enum MHD_Result queued = MHD_queue_response(c->connection, (unsigned)x->status, r);
    MHD_destroy_response(r);
    return queued;
}

/* What the stream has to send, as much as fits; suspended where there is nothing. */
static ssize_t read_stream(void *arg, uint64_t position, char *to, size_t most) {
    struct call *c = arg;
    struct qm_exchange *x = c->exchange;
    (void)position;
    for (;;) {
        pthread_mutex_lock(&c->server->lock);
        bool gone = c->gone, ping = c->ping;
        c->ping = false;
        pthread_mutex_unlock(&c->server->lock);
        if (gone)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (c->sent == x->out.len) {
            x->out.len = c->sent = 0;
            qm_exchange_pump(x);
            if (ping)
                qm_exchange_ping(x);
        }
        if (c->sent < x->out.len) {
            size_t n = x->out.len - c->sent < most ? x->out.len - c->sent : most;
            memcpy(to, x->out.data + c->sent, n);
            c->sent += n;
            pthread_mutex_lock(&c->server->lock);
            c->silent = qm_now();
            pthread_mutex_unlock(&c->server->lock);
            return (ssize_t)n;
        }
        if (x->done)
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (rest(c))
            return 0;
    }
}

static enum MHD_Result send_stream(struct call *c) {
    enum { PIECE = 32 << 10 };
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE, read_stream, c, NULL);
    if (!r)
        return MHD_NO;
    add_headers(c, r);
    c->silent = qm_now();
    enum MHD_Result queued = MHD_queue_response(c->connection, MHD_HTTP_OK, r);
    MHD_destroy_response(r);
    return queued;
}

/* An answer that needs no handler. */
static enum MHD_Result refuse(struct call *c, int status, const char *code, const char *format, const char *what) {
    struct qm_error err;
    qm_fail(&err, QM_INPUT, format, what);
    c->exchange->type = "application/json";
    qm_exchange_fail(c->exchange, &err, status, code);
    c->begun = true;
    return send_whole(c);
}

/* ---- requests ---- */

/* The body is there, or there was none. Whether it is answered at once, with *result. */
static bool start(struct call *c, enum MHD_Result *result) {
    c->started = true;
    pthread_mutex_lock(&c->server->lock);
    c->link->reading = false;
    pthread_mutex_unlock(&c->server->lock);
    if (c->too_large) {
        char most[32];
        snprintf(most, sizeof most, "%d", QM_SERVE_BODY >> 20);
        *result = refuse(c, 413, "body_too_large", "the request's body is longer than %s MiB", most);
        return true;
    }
    if (c->path->quick) {
        qm_exchange_start(c->exchange);
        *result = send_whole(c);
        return true;
    }
    give_work(c);
    return false;
}

/* Its handler has run, or there is more: until it is sent, or waits again. */
static enum MHD_Result go_on(struct call *c) {
    struct qm_exchange *x = c->exchange;
    for (;;) {
        pthread_mutex_lock(&c->server->lock);
        bool gone = c->gone, working = c->working;
        pthread_mutex_unlock(&c->server->lock);
        if (gone && !working)
            return MHD_NO;
        if (!working) {
            if (x->streams && !x->done)
                return send_stream(c);
            qm_exchange_pump(x);
            if (x->done)
                return x->streams ? send_stream(c) : send_whole(c);
        }
        if (rest(c))
            return MHD_YES;
    }
}

static const char *header(const struct call *c, const char *name) {
    return MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, name);
}

/* The head is there. */
static enum MHD_Result begin(struct call *c, const char *url, const char *method) {
    struct qm_server *s = c->server;
    const char *rest_of = "", *length = header(c, MHD_HTTP_HEADER_CONTENT_LENGTH);
    bool other = false;
    c->path = qm_path_find(url, method, &rest_of, &other);
    c->method = c->path ? c->path->method == QM_PATH_GET ? "GET" : "POST" : "-";
    c->exchange = qm_exchange_new(&s->shared, c->path, rest_of, (struct qm_wake){flag, c});
    if (!c->exchange)
        return MHD_NO;
    pthread_mutex_lock(&s->lock);
    c->after = s->calls;
    if (s->calls)
        s->calls->before = c;
    s->calls = c;
    s->active++;
    bool draining = s->draining;
    pthread_mutex_unlock(&s->lock);
    if (!qm_host_allowed(&s->o, &s->address, header(c, MHD_HTTP_HEADER_HOST)))
        return refuse(c, 403, "host_not_allowed", "this server was called \"%.100s\", which is none of its names",
                      header(c, MHD_HTTP_HEADER_HOST));
    if (s->o.origin && !strcmp(method, "OPTIONS")) {
        struct MHD_Response *r = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        MHD_add_response_header(r, "Access-Control-Allow-Origin", s->o.origin);
        MHD_add_response_header(r, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
        MHD_add_response_header(r, "Access-Control-Allow-Headers", "authorization, content-type, x-api-key");
        enum MHD_Result queued = MHD_queue_response(c->connection, MHD_HTTP_NO_CONTENT, r);
        MHD_destroy_response(r);
        c->begun = true;
        c->exchange->status = MHD_HTTP_NO_CONTENT;
        return queued;
    }
    if (!(c->path && c->path->open) &&
        !qm_key_allowed(&s->o, header(c, MHD_HTTP_HEADER_AUTHORIZATION), header(c, "x-api-key")))
        return refuse(c, 401, NULL, "a key is needed: %s", "\"Authorization: Bearer KEY\", one of the server's");
    if (!c->path)
        return other ? refuse(c, 405, "method_not_allowed", "the method %.20s is not one of this path's", method)
                     : refuse(c, 404, "not_found", "there is no path %.100s here", url);
    if (draining && !c->path->open)
        return refuse(c, 503, NULL, "%s", "the server is going down");
    if (length && strtoull(length, NULL, 10) > QM_SERVE_BODY) {
        char most[32];
        snprintf(most, sizeof most, "%d", QM_SERVE_BODY >> 20);
        return refuse(c, 413, "body_too_large", "the request's body is longer than %s MiB", most);
    }
    return MHD_YES;
}

static enum MHD_Result on_access(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                                 const char *version, const char *data, size_t *n, void **con_cls) {
    struct call *c = *con_cls;
    struct qm_error err;
    (void)version;
    if (!c) {
        c = calloc(1, sizeof *c);
        if (!c)
            return MHD_NO;
        *con_cls = c;
        c->server = arg;
        c->connection = connection;
        c->link = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
        return c->link ? begin(c, url, method) : MHD_NO;
    }
    if (c->begun) {
        *n = 0;
        return MHD_YES;
    }
    if (*n) {
        struct qm_buf *body = &c->exchange->body;
        c->too_large = c->too_large || body->len + *n > QM_SERVE_BODY;
        if (!c->too_large && qm_buf_add(body, data, *n, &err))
            return MHD_NO;
        *n = 0;
        return MHD_YES;
    }
    enum MHD_Result result;
    return !c->started && start(c, &result) ? result : go_on(c);
}

/* It was answered, or its connection is no more. */
static void on_completed(void *arg, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode how) {
    struct qm_server *s = arg;
    struct call *c = *con_cls;
    (void)connection;
    if (!c || !c->exchange) {
        free(c);
        *con_cls = NULL;
        return;
    }
    struct qm_exchange *x = c->exchange;
    bool sent = how == MHD_REQUEST_TERMINATED_COMPLETED_OK && !c->gone;
    struct qm_served *w = &x->served;
    w->id = x->id;
    w->method = c->method;
    w->path = c->path ? c->path->name : "-";
    w->model = x->model ? x->model->name[0] : "";
    w->ignored = x->ignored.len ? x->ignored.data : "";
    w->error = x->error;
    w->status = sent || x->done ? x->status : GONE;
    w->seconds = qm_now() - x->begun;
    qm_serve_metrics_status(s->shared.metrics, w->status);
    if (s->o.served)
        s->o.served(s->o.arg, w);
    pthread_mutex_lock(&s->lock);
    if (c->after)
        c->after->before = c->before;
    *(c->before ? &c->before->after : &s->calls) = c->after;
    s->active--;
    c->link->reading = true;
    c->link->since = qm_now();
    pthread_mutex_unlock(&s->lock);
    qm_exchange_free(x); /* no wake comes after it */
    free(c);
    *con_cls = NULL;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what) {
    struct qm_server *s = arg;
    struct link *l = *socket_context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        l = calloc(1, sizeof *l);
        *socket_context = l;
        if (!l)
            return;
        l->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        l->since = qm_now();
        l->reading = true;
        pthread_mutex_lock(&s->lock);
        l->after = s->links;
        if (s->links)
            s->links->before = l;
        s->links = l;
        pthread_mutex_unlock(&s->lock);
        return;
    }
    if (!l)
        return;
    pthread_mutex_lock(&s->lock);
    if (l->after)
        l->after->before = l->before;
    *(l->before ? &l->before->after : &s->links) = l->after;
    pthread_mutex_unlock(&s->lock);
    free(l);
    *socket_context = NULL;
}

/* ---- open and close ---- */

/* libmicrohttpd's own messages are about single clients. */
static void on_log(void *arg, const char *format, va_list args) {
    (void)arg, (void)format, (void)args;
}

static int listen_at(struct qm_server *s, struct qm_error *err) {
    int fd = socket(s->address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
    if (fd < 0)
        return qm_fail_errno(err, "%s", s->o.address);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&s->address.storage, s->address.len) || listen(fd, SOMAXCONN)) {
        qm_fail(err, QM_SYSTEM, "%s: cannot listen there: %s", s->o.address, strerror(errno));
        close(fd);
        return QM_SYSTEM;
    }
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    uint16_t port = 0;
    if (!getsockname(fd, (struct sockaddr *)&at, &len)) {
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        memcpy(&v4, &at, sizeof v4);
        memcpy(&v6, &at, sizeof v6);
        port = ntohs(at.ss_family == AF_INET ? v4.sin_port : v6.sin6_port);
    }
    snprintf(s->url, sizeof s->url, "http://%s:%u", s->address.host, port);
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_access, s,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)s->o.connections, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(QM_SERVE_HEAD + (32 << 10)), MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_END);
    if (s->daemon)
        return QM_OK;
    close(fd);
    return qm_fail(err, QM_SYSTEM, "%s: the server can't be started: %s", s->o.address, strerror(errno));
}

static int open_threads(struct qm_server *s, struct qm_error *err) {
    int failed = pthread_create(&s->resumer, NULL, resume, s);
    s->resuming = !failed;
    while (!failed && s->n_workers < WORKERS) {
        failed = pthread_create(&s->workers[s->n_workers], NULL, work, s);
        s->n_workers += !failed;
    }
    return failed ? qm_fail(err, QM_SYSTEM, "a thread of the server: %s", strerror(failed)) : QM_OK;
}

int qm_server_open(const struct qm_server_options *o, struct qm_server **out, struct qm_error *err) {
    struct qm_server *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return qm_fail_memory(err, sizeof *s, "the server");
    s->o = *o;
    s->shared = (struct qm_serve_shared){.o = &s->o};
    s->last = &s->first;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = s->wake < 0 ? qm_fail_errno(err, "an eventfd") : qm_address_parse(o->address, &s->address, err);
    if (!rc)
        rc = qm_serve_metrics_new(o->n_models, &s->shared.metrics, err);
    if (!rc)
        rc = open_threads(s, err);
    if (!rc)
        rc = listen_at(s, err);
    if (rc)
        qm_server_close(s);
    else
        *out = s;
    return rc;
}

const char *qm_server_url(const struct qm_server *s) {
    return s->url;
}

void qm_server_drain(struct qm_server *s) {
    pthread_mutex_lock(&s->lock);
    bool before = s->draining;
    s->draining = true;
    pthread_mutex_unlock(&s->lock);
    int fd = before ? -1 : MHD_quiesce_daemon(s->daemon);
    if (fd >= 0)
        close(fd);
}

int64_t qm_server_active(struct qm_server *s) {
    pthread_mutex_lock(&s->lock);
    int64_t n = s->active;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void qm_server_close(struct qm_server *s) {
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < s->n_workers; i++)
        pthread_join(s->workers[i], NULL);
    if (s->resuming)
        pthread_join(s->resumer, NULL);
    pthread_mutex_lock(&s->lock);
    for (struct call *c = s->calls; c; c = c->after) { /* a suspended connection can't be closed */
        c->gone = true;
        wake(c);
    }
    pthread_mutex_unlock(&s->lock);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    qm_serve_metrics_free(s->shared.metrics);
    if (s->wake >= 0)
        close(s->wake);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
