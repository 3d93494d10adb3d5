/* The engine's thread: mailbox, scheduler, events. Everything that crosses to it or from it is atomic, or handed over
 * by something that is; the two locks are never waited for while there is work. */
#include "session/service.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ring.h"

enum { DEFAULT_REQUESTS = 1024, DEFAULT_QUEUE = 256 << 10, LEAST_QUEUE = 8 << 10 };

struct message {
    struct message *next;
    struct qm_service_request *request;
    bool cancels; /* else it submits */
};

struct qm_service_request {
    struct qm_service *service;
    uint64_t id;
    double submitted;
    struct message submission, cancellation;
    atomic_bool cancelling; /* the cancellation was sent */
    atomic_int holders;     /* the reader, the engine's thread, and each message under way */

    struct qm_ring *ring;
    struct qm_wake wake;
    atomic_bool waiting; /* the reader wants to be woken */
    atomic_bool waking;  /* its function is running */
    atomic_bool left;    /* the reader has gone */
    atomic_bool ended;   /* outcome is there */
    struct qm_outcome outcome;
    struct qm_error error;
    void *results;           /* what the outcome points to */
    bool ended_seen, peeked; /* the reader's: it has QM_EVENT_DONE; it looks at a record of the queue */

    /* the engine's thread's */
    struct qm_scheduled *prepared; /* until it is entered */
    uint64_t entered;              /* the scheduler's number; 0: not, or not any more */
    double delay;                  /* from submitting to entering */
    bool cut;                      /* the queue was full */
    struct qm_service_request *before, *after;

    struct qm_service_request *previous, *next; /* the table's */
};

struct qm_service {
    struct qm_service_options o;
    pthread_t thread;
    sem_t opened, mail; /* mail: the thread may sleep when there is none */
    int rc;             /* of opening, and why: */
    struct qm_error error;
    struct qm_scheduler *scheduler;
    struct qm_engine *engine;
    struct message *_Atomic mailbox; /* the latest first */
    atomic_bool stopping, closing;
    atomic_int failed; /* the engine's code, once failure is there */
    struct qm_error failure;
    atomic_int_fast64_t requests;
    atomic_uint_fast64_t last_id;

    pthread_mutex_t table_lock; /* never taken by the engine's thread */
    struct qm_service_request *table;
    pthread_mutex_t stats_lock; /* which the engine's thread waits for only where it has nothing to do */
    struct qm_scheduler_stats stats;
    struct qm_pool_state pool;

    struct qm_service_request *entered; /* the engine's thread's: those in the scheduler */
};

/* ---- both sides ---- */

static void send(struct qm_service *s, struct message *m) {
    m->next = atomic_load(&s->mailbox);
    while (!atomic_compare_exchange_weak(&s->mailbox, &m->next, m))
        ;
    sem_post(&s->mail);
}

static void release(struct qm_service_request *q) {
    if (atomic_fetch_sub(&q->holders, 1) != 1)
        return;
    atomic_fetch_sub(&q->service->requests, 1);
    qm_scheduler_discard(q->prepared);
    qm_ring_free(q->ring);
    free(q->results);
    free(q);
}

/* ---- the engine's thread ---- */

/* qm_service_leave waits for a wake that has begun. */
static void wake(struct qm_service_request *q) {
    if (!q->wake.fn || !atomic_exchange(&q->waiting, false))
        return;
    atomic_store(&q->waking, true);
    if (!atomic_load(&q->left))
        q->wake.fn(q->wake.arg);
    atomic_store(&q->waking, false);
}

/* A token without its pointers. */
struct flat_token {
    int32_t id;
    int n_top;
    struct qm_logprob logprob;
    size_t text_len;
};

static int on_token(void *arg, const struct qm_generate_token *t, bool replay) {
    struct qm_service_request *q = arg;
    if (atomic_load(&q->left))
        return 1;
    if (replay)
        return 0;
    const struct flat_token flat = {.id = t->id, .n_top = t->n_top, .logprob = t->logprob, .text_len = t->text_len};
    const struct qm_ring_part parts[] = {
        {&flat, sizeof flat}, {t->top, (size_t)t->n_top * sizeof *t->top}, {t->text, t->text_len}, {"", 1}};
    q->cut = !qm_ring_put(q->ring, QM_EVENT_TOKEN, parts, 4);
    wake(q);
    return q->cut;
}

static void on_prefill(void *arg, int64_t done, int64_t total) {
    struct qm_service_request *q = arg;
    const int64_t so_far[] = {done, total};
    const struct qm_ring_part part = {so_far, sizeof so_far};
    if (qm_ring_put(q->ring, QM_EVENT_PREFILL, &part, 1))
        wake(q);
}

/* Copies what the outcome points to, which lives only now. */
static int keep_results(struct qm_service_request *q) {
    struct qm_outcome *o = &q->outcome;
    size_t vector = (size_t)o->n_embedding * sizeof *o->embedding, ids = (size_t)o->n_ids * sizeof *o->ids;
    char *to = q->results = malloc(vector + ids + o->text_len + 1);
    if (!to)
        return qm_fail_memory(&q->error, vector + ids + o->text_len, "a request's results");
    if (vector)
        o->embedding = memcpy(to, o->embedding, vector);
    if (ids)
        o->ids = memcpy(to + vector, o->ids, ids);
    to += vector + ids;
    memcpy(to, o->text, o->text_len);
    to[o->text_len] = 0;
    o->text = to;
    return QM_OK;
}

/* The last thing that the engine's thread does with it. */
static void end(struct qm_service_request *q, const struct qm_outcome *o, int rc) {
    q->outcome = *o;
    q->outcome.id = q->id;
    q->outcome.wait_seconds += q->delay;
    if (o->first_token_seconds > 0)
        q->outcome.first_token_seconds += q->delay;
    int kept = keep_results(q);
    q->outcome.rc = rc ? rc : kept;
    q->outcome.error = q->outcome.rc ? &q->error : NULL;
    if (kept) {
        q->outcome.ids = NULL;
        q->outcome.embedding = NULL;
        q->outcome.n_ids = q->outcome.n_embedding = 0;
        q->outcome.text = "";
        q->outcome.text_len = 0;
    }
    atomic_store(&q->ended, true);
    wake(q);
    release(q);
}

/* Why it ended, beside what the scheduler says; q->error has it. */
static int reason(struct qm_service_request *q, int rc, const struct qm_error *error) {
    int failed = atomic_load(&q->service->failed);
    if (q->cut)
        return qm_fail(&q->error, QM_BUSY, "what is generated was not read: the queue of %zu bytes is full",
                       q->service->o.queue_bytes);
    if (failed)
        error = &q->service->failure;
    if (failed || rc)
        q->error = *error;
    return failed ? failed : rc;
}

static void on_done(void *arg, const struct qm_outcome *o) {
    struct qm_service_request *q = arg;
    q->entered = 0;
    *(q->before ? &q->before->after : &q->service->entered) = q->after;
    if (q->after)
        q->after->before = q->before;
    end(q, o, reason(q, o->rc, o->error));
}

/* Ends one that is not in the scheduler. */
static void end_outside(struct qm_service_request *q, int rc, const struct qm_error *error) {
    const struct qm_outcome nothing = {.finish = QM_FINISH_INTERRUPTED, .text = ""};
    end(q, &nothing, reason(q, rc, error));
}

static bool is_over(const struct qm_service *s) {
    return atomic_load(&s->stopping) || atomic_load(&s->failed);
}

static void enter(struct qm_service *s, struct qm_service_request *q) {
    struct qm_error err;
    q->delay = qm_now() - q->submitted;
    if (is_over(s) || atomic_load(&q->left)) {
        end_outside(q, QM_OK, NULL);
        return;
    }
    int rc = qm_scheduler_enter(s->scheduler, q->prepared, &q->entered, &err);
    if (rc) {
        end_outside(q, rc, &err);
        return;
    }
    q->prepared = NULL;
    q->after = s->entered;
    if (q->after)
        q->after->before = q;
    s->entered = q;
}

/* In the order in which they were sent. */
static void read_mailbox(struct qm_service *s) {
    struct message *latest = atomic_exchange(&s->mailbox, NULL), *first = NULL;
    while (latest) {
        struct message *m = latest;
        latest = m->next;
        m->next = first;
        first = m;
    }
    while (first) {
        struct message *m = first;
        first = m->next;
        struct qm_service_request *q = m->request;
        if (!m->cancels)
            enter(s, q);
        else if (q->entered)
            qm_scheduler_cancel(s->scheduler, q->entered);
        release(q); /* m is gone with it */
    }
}

static void publish_stats(struct qm_service *s, bool idle) {
    if (idle)
        pthread_mutex_lock(&s->stats_lock);
    else if (pthread_mutex_trylock(&s->stats_lock))
        return;
    qm_scheduler_stats(s->scheduler, &s->stats);
    qm_engine_pool(s->engine, &s->pool);
    pthread_mutex_unlock(&s->stats_lock);
}

/* One step; false: there was nothing to do. */
static bool work(struct qm_service *s) {
    bool worked = false;
    if (!is_over(s)) {
        int rc = qm_scheduler_step(s->scheduler, &worked, &s->failure);
        if (rc)
            atomic_store(&s->failed, rc);
    }
    while (is_over(s) && s->entered)
        qm_scheduler_cancel(s->scheduler, s->entered->entered);
    return worked;
}

static void serve(struct qm_service *s) {
    while (!atomic_load(&s->closing)) {
        while (!sem_trywait(&s->mail)) /* what was sent is about to be read */
            ;
        read_mailbox(s);
        bool worked = work(s);
        publish_stats(s, !worked);
        while (!worked && sem_wait(&s->mail) && errno == EINTR)
            ;
    }
    read_mailbox(s); /* of readers that have left */
    work(s);
}

static int open_scheduler(struct qm_service *s) {
    struct qm_scheduler_options o = {0};
    int rc = s->o.open(s->o.arg, &o, &s->error);
    if (rc)
        return rc;
    o.max_waiting = INT64_MAX; /* requests are counted when they are submitted */
    s->engine = o.engine;
    rc = qm_scheduler_open(&o, &s->scheduler, &s->error);
    if (rc && s->o.close)
        s->o.close(s->o.arg);
    return rc;
}

static void *run(void *arg) {
    struct qm_service *s = arg;
    s->rc = open_scheduler(s);
    int rc = s->rc;
    if (!rc)
        publish_stats(s, true);
    sem_post(&s->opened);
    if (rc)
        return NULL;
    serve(s);
    qm_scheduler_close(s->scheduler);
    if (s->o.close)
        s->o.close(s->o.arg);
    return NULL;
}

/* ---- other threads ---- */

static int start(struct qm_service *s, struct qm_error *err) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before); /* signals are others' */
    int failed = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return qm_fail(err, QM_SYSTEM, "the service's thread can't be started: %s", strerror(failed));
    while (sem_wait(&s->opened) && errno == EINTR)
        ;
    if (!s->rc)
        return QM_OK;
    pthread_join(s->thread, NULL);
    if (err)
        *err = s->error;
    return s->rc;
}

static void destroy(struct qm_service *s) {
    sem_destroy(&s->opened);
    sem_destroy(&s->mail);
    pthread_mutex_destroy(&s->table_lock);
    pthread_mutex_destroy(&s->stats_lock);
    free(s);
}

int qm_service_open(const struct qm_service_options *o, struct qm_service **out, struct qm_error *err) {
    *out = NULL;
    if (o->max_requests < 0 || (o->queue_bytes && o->queue_bytes < LEAST_QUEUE))
        return qm_fail(err, QM_USAGE, "max_requests must not be negative, queue_bytes not below %d", LEAST_QUEUE);
    struct qm_service *s = calloc(1, sizeof *s);
    if (!s)
        return qm_fail_memory(err, sizeof *s, "the service");
    s->o = *o;
    s->o.max_requests = o->max_requests ? o->max_requests : DEFAULT_REQUESTS;
    s->o.queue_bytes = o->queue_bytes ? o->queue_bytes : DEFAULT_QUEUE;
    sem_init(&s->opened, 0, 0);
    sem_init(&s->mail, 0, 0);
    pthread_mutex_init(&s->table_lock, NULL);
    pthread_mutex_init(&s->stats_lock, NULL);
    int rc = start(s, err);
    if (rc)
        destroy(s);
    else
        *out = s;
    return rc;
}

void qm_service_stop(struct qm_service *s) {
    atomic_store(&s->stopping, true);
    sem_post(&s->mail);
}

void qm_service_close(struct qm_service *s) {
    if (!s)
        return;
    atomic_store(&s->stopping, true);
    atomic_store(&s->closing, true);
    sem_post(&s->mail);
    pthread_join(s->thread, NULL);
    destroy(s);
}

int64_t qm_service_context(const struct qm_service *s) {
    return qm_scheduler_context(s->scheduler);
}

static int check_open(struct qm_service *s, struct qm_error *err) {
    int failed = atomic_load(&s->failed);
    if (failed && err)
        *err = s->failure;
    if (failed)
        return failed;
    return atomic_load(&s->stopping) ? qm_fail(err, QM_GONE, "the service has been stopped") : QM_OK;
}

/* Its callbacks are the service's. */
static int prepare(struct qm_service *s, const struct qm_request *r, struct qm_service_request *q,
                   struct qm_error *err) {
    struct qm_request own = *r;
    own.on_token = on_token;
    own.on_prefill = on_prefill;
    own.on_done = on_done;
    own.arg = q;
    int rc = qm_scheduler_prepare(s->scheduler, &own, &q->prepared, err);
    return rc ? rc : qm_ring_new(s->o.queue_bytes, &q->ring, err);
}

static void add_to_table(struct qm_service *s, struct qm_service_request *q) {
    pthread_mutex_lock(&s->table_lock);
    q->next = s->table;
    if (q->next)
        q->next->previous = q;
    s->table = q;
    pthread_mutex_unlock(&s->table_lock);
}

int qm_service_submit(struct qm_service *s, const struct qm_request *r, struct qm_wake wake,
                      struct qm_service_request **out, struct qm_error *err) {
    *out = NULL;
    int rc = check_open(s, err);
    if (rc)
        return rc;
    if (atomic_fetch_add(&s->requests, 1) >= s->o.max_requests) {
        atomic_fetch_sub(&s->requests, 1);
        return qm_fail(err, QM_BUSY, "%lld requests are there already, which is the limit; try again later",
                       (long long)s->o.max_requests);
    }
    struct qm_service_request *q = calloc(1, sizeof *q);
    if (!q) {
        atomic_fetch_sub(&s->requests, 1);
        return qm_fail_memory(err, sizeof *q, "a request");
    }
    q->service = s;
    q->wake = wake;
    q->submitted = qm_now();
    atomic_store(&q->holders, 1);
    if ((rc = prepare(s, r, q, err))) {
        release(q);
        return rc;
    }
    q->id = atomic_fetch_add(&s->last_id, 1) + 1;
    atomic_store(&q->holders, 3); /* the reader, the engine's thread, its submission */
    q->submission.request = q;
    add_to_table(s, q);
    send(s, &q->submission);
    *out = q;
    return QM_OK;
}

uint64_t qm_service_request_id(const struct qm_service_request *q) {
    return q->id;
}

static void read_event(uint32_t kind, const char *bytes, struct qm_event *out) {
    *out = (struct qm_event){.kind = (enum qm_event_kind)kind};
    if (kind == QM_EVENT_PREFILL) {
        memcpy(&out->done, bytes, sizeof out->done);
        memcpy(&out->total, bytes + sizeof out->done, sizeof out->total);
        return;
    }
    struct flat_token flat;
    memcpy(&flat, bytes, sizeof flat);
    bytes += sizeof flat;
    out->token = (struct qm_generate_token){.id = flat.id,
                                            .text = bytes + (size_t)flat.n_top * sizeof *out->token.top,
                                            .text_len = flat.text_len,
                                            .logprob = flat.logprob,
                                            .top = (const void *)bytes,
                                            .n_top = flat.n_top};
}

bool qm_service_next(struct qm_service_request *q, struct qm_event *out) {
    uint32_t kind;
    size_t n;
    if (q->peeked)
        qm_ring_drop(q->ring);
    q->peeked = false;
    for (int look = 0; look < 2; look++) {
        bool ended = atomic_load(&q->ended); /* and then all its events are there */
        const char *bytes = qm_ring_peek(q->ring, &kind, &n);
        if (bytes) {
            q->peeked = true;
            read_event(kind, bytes, out);
        } else if (ended && !q->ended_seen) {
            *out = (struct qm_event){.kind = QM_EVENT_DONE, .outcome = q->outcome};
        }
        if (bytes || ended) {
            bool given = bytes || !q->ended_seen;
            q->ended_seen |= !bytes;
            atomic_store(&q->waiting, false);
            return given;
        }
        atomic_store(&q->waiting, true); /* then once more: it may have come just now */
    }
    return false;
}

/* Once, if it has not ended. */
static void cancel(struct qm_service_request *q) {
    if (atomic_load(&q->ended) || atomic_exchange(&q->cancelling, true))
        return;
    atomic_fetch_add(&q->holders, 1);
    q->cancellation = (struct message){.request = q, .cancels = true};
    send(q->service, &q->cancellation);
}

void qm_service_leave(struct qm_service_request *q) {
    struct qm_service *s = q->service;
    atomic_store(&q->left, true);
    while (atomic_load(&q->waking))
        sched_yield();
    pthread_mutex_lock(&s->table_lock);
    *(q->previous ? &q->previous->next : &s->table) = q->next;
    if (q->next)
        q->next->previous = q->previous;
    cancel(q);
    pthread_mutex_unlock(&s->table_lock);
    release(q);
}

int qm_service_cancel(struct qm_service *s, uint64_t id) {
    int rc = QM_GONE;
    pthread_mutex_lock(&s->table_lock);
    for (struct qm_service_request *q = s->table; q && rc; q = q->next)
        if (q->id == id && !atomic_load(&q->ended)) {
            cancel(q);
            rc = QM_OK;
        }
    pthread_mutex_unlock(&s->table_lock);
    return rc;
}

void qm_service_stats(struct qm_service *s, struct qm_service_stats *out) {
    out->requests = atomic_load(&s->requests);
    pthread_mutex_lock(&s->stats_lock);
    out->scheduler = s->stats;
    out->pool = s->pool;
    pthread_mutex_unlock(&s->stats_lock);
}
