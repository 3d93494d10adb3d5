/* The scheduler for many threads: one thread of the service's own steps it; any thread submits and cancels requests and
 * reads their events. Between the scheduler and whoever serves clients; it knows no sockets and no protocol.
 *
 * The engine's thread never waits for another one. Submitting prepares a request in the submitting thread and leaves it
 * in a mailbox without a lock; events go into a bounded queue for each request (base/ring.h); a reader is woken by a
 * function that must not wait. The thread reads the mailbox between two steps. So within one step, which is at most
 * qm_engine_chunk() tokens, a request begins, and one that was cancelled or whose reader has left ends and frees its
 * pages.
 *
 * A request's results are the scheduler's, bit-identical to qm_generate() alone. Its last event, QM_EVENT_DONE, has the
 * outcome as scheduler.h describes it, and beside that:
 *   QM_BUSY where its queue was full because the reader was too far behind: the request ends there. The events in the
 *     queue can still be read; the outcome holds all that was generated.
 *   The engine's error where the engine failed: it ends every request, and every later one is refused with it.
 *   QM_OK with QM_FINISH_INTERRUPTED where the request was cancelled or the service stopped.
 *
 * Memory. The submitting thread makes what the scheduler copies of a request, and its queue; when a request ends, its
 * results are copied once.
 *
 * Thread-safety: any thread may call what takes a qm_service, but qm_service_close; a qm_service_request belongs to one
 * thread at a time. */
#ifndef QM_SESSION_SERVICE_H
#define QM_SESSION_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/sequence.h"
#include "session/scheduler.h"

struct qm_service;
/* A submitted request, held by its reader. */
struct qm_service_request;

struct qm_service_options {
    /* Opens what the scheduler needs, on the service's thread, which so becomes thread 0 of the engine's team
     * (numa/team.h). max_waiting is ignored. */
    int (*open)(void *arg, struct qm_scheduler_options *out, struct qm_error *err);
    /* On the same thread, after the scheduler was closed; not called where open failed. May be NULL. */
    void (*close)(void *arg);
    void *arg;
    int64_t max_requests; /* at once, until they are done and left; 0: 1024 */
    size_t queue_bytes;   /* of unread events of a request; 0: 256 KiB; at least 8 KiB */
};

/* Returns when the scheduler is open, or with the error that open or the scheduler gave. */
int qm_service_open(const struct qm_service_options *o, struct qm_service **out, struct qm_error *err);
/* Ends all requests within a step and refuses later ones (QM_GONE). Returns at once. */
void qm_service_stop(struct qm_service *s);
/* Stops, and frees everything. By then every request must have been left, and no call may be running. NULL: nothing. */
void qm_service_close(struct qm_service *s);

/* Tokens that a request may hold at most (qm_scheduler_context). */
int64_t qm_service_context(const struct qm_service *s);

/* Notifies a reader: the engine's thread calls it once when there is an event again after qm_service_next returned
 * false. It must return at once (write to an eventfd, say) and call nothing of the service. It may be called once more
 * than needed, but never after qm_service_leave has returned. */
struct qm_wake {
    void (*fn)(void *arg); /* NULL: the reader polls */
    void *arg;
};

/* Copies r; its callbacks are ignored. QM_USAGE, QM_INPUT, QM_SYSTEM as qm_scheduler_prepare; QM_BUSY: too
 * many requests; QM_GONE: stopped; an error of the engine where that has failed. */
int qm_service_submit(struct qm_service *s, const struct qm_request *r, struct qm_wake wake,
                      struct qm_service_request **out, struct qm_error *err);
/* Unique in the service, never 0. */
uint64_t qm_service_request_id(const struct qm_service_request *q);

enum qm_event_kind {
    QM_EVENT_PREFILL, /* dropped where the queue has no room */
    QM_EVENT_TOKEN,   /* each new one; those that the request brought along (generated) are not repeated */
    QM_EVENT_DONE
};

struct qm_event {
    enum qm_event_kind kind;
    int64_t done, total;            /* PREFILL: tokens computed, of those known */
    struct qm_generate_token token; /* TOKEN */
    struct qm_outcome outcome;      /* DONE: id is qm_service_request_id(); times count from submitting */
};
/* The next event; false: there is none yet, or QM_EVENT_DONE was the last. What it points to lives until the next call;
 * what the outcome points to, until qm_service_leave. */
bool qm_service_next(struct qm_service_request *q, struct qm_event *out);
/* The reader goes away: a request that is not done is cancelled. Waits while its wake function runs. */
void qm_service_leave(struct qm_service_request *q);

/* Ends a request; its reader gets QM_EVENT_DONE. QM_GONE where no request has this number, or it is done. */
int qm_service_cancel(struct qm_service *s, uint64_t id);

struct qm_service_stats {
    int64_t requests;                    /* of max_requests */
    struct qm_scheduler_stats scheduler; /* after the last step, or one shortly before it */
    struct qm_pool_state pool;           /* of keys and values, then */
};
void qm_service_stats(struct qm_service *s, struct qm_service_stats *out);

#endif
