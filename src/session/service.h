/* The scheduler for many threads: one thread of the service's own steps it, any thread submits and cancels requests and
 * reads what becomes of them. Between the scheduler and whoever serves clients; it knows no sockets and no protocol.
 *
 * The engine's thread waits for nobody. Submitting prepares a request in the submitting thread and leaves it in a
 * mailbox that needs no lock; events go into a bounded queue for each request (base/ring.h); who reads is woken by a
 * function that must not wait. Between two steps the thread looks into the mailbox: so a request begins, and one that
 * is cancelled or whose reader has left ends and frees its pages, within one step (of at most qm_engine_chunk()
 * tokens).
 *
 * A request's results are those of the scheduler, bit-identical to qm_generate() alone.
 *
 * How a request ends, by its last event, QM_EVENT_DONE: as scheduler.h says; and rc is
 *   QM_BUSY where its reader was so far behind that its queue was full: it is cut off there. What is in the queue can
 *     still be read, the outcome is of what was generated until then;
 *   the engine's error where the engine failed: every request ends so, and every later one is refused with it;
 *   QM_OK with QM_FINISH_INTERRUPTED where it was cancelled, or the service was stopped.
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
#include "session/scheduler.h"

struct qm_service;
/* A request, as who submitted it holds it. */
struct qm_service_request;

struct qm_service_options {
    /* On the service's thread, which the engine's thread team then has as its own (numa/team.h): opens what the
     * scheduler needs. Its max_waiting is not looked at. */
    int (*open)(void *arg, struct qm_scheduler_options *out, struct qm_error *err);
    /* On that thread, after the scheduler is closed; not where open failed. May be NULL. */
    void (*close)(void *arg);
    void *arg;
    int64_t max_requests; /* that are not done and left; 0: 1024 */
    size_t queue_bytes;   /* of events that a request holds for its reader at most; 0: 256 KiB, at least 8 KiB */
};

/* Returns when open has returned and the scheduler is there, with the error of either. */
int qm_service_open(const struct qm_service_options *o, struct qm_service **out, struct qm_error *err);
/* Ends what runs within a step, refuses what comes later (QM_GONE). Returns at once. */
void qm_service_stop(struct qm_service *s);
/* Stops, and frees everything. Every request must have been left, and nobody may call anything any more. NULL: nothing.
 */
void qm_service_close(struct qm_service *s);

/* Tokens that a request may hold at most (qm_scheduler_context). */
int64_t qm_service_context(const struct qm_service *s);

/* How a reader is told that there is something new after qm_service_next said that there is nothing. Called by the
 * engine's thread, once each time: must only make known (write to an eventfd, say), and call nothing of the service. It
 * may come once more than needed, but never after qm_service_leave has returned. */
struct qm_wake {
    void (*fn)(void *arg); /* NULL: the reader looks by itself */
    void *arg;
};

/* Copies r; its callbacks are the service's to set. QM_USAGE, QM_INPUT, QM_SYSTEM as qm_scheduler_prepare; QM_BUSY: too
 * many requests; QM_GONE: stopped; an error of the engine where that has failed. */
int qm_service_submit(struct qm_service *s, const struct qm_request *r, struct qm_wake wake,
                      struct qm_service_request **out, struct qm_error *err);
/* Not used twice, never 0. */
uint64_t qm_service_request_id(const struct qm_service_request *q);

enum qm_event_kind {
    QM_EVENT_PREFILL, /* left out where the queue has no room */
    QM_EVENT_TOKEN, /* each one that is new: of tokens known before (qm_request's generated) who submitted them knows */
    QM_EVENT_DONE
};

struct qm_event {
    enum qm_event_kind kind;
    int64_t done, total;            /* of a prefill: tokens computed, of those known */
    struct qm_generate_token token; /* of a token */
    /* Of the end; its id is qm_service_request_id's, and its times begin with submitting. */
    struct qm_outcome outcome;
};
/* The next event; false: none now, or QM_EVENT_DONE was given. What it points to lives until the next call; the outcome
 * until the request is left. */
bool qm_service_next(struct qm_service_request *q, struct qm_event *out);
/* The reader goes away: what is not done is cancelled. May wait for a wake that is under way. */
void qm_service_leave(struct qm_service_request *q);

/* Ends a request; its reader gets QM_EVENT_DONE. QM_GONE for a number that is no request's, or of one that is done. */
int qm_service_cancel(struct qm_service *s, uint64_t id);

struct qm_service_stats {
    int64_t requests;                    /* that are not done and left */
    struct qm_scheduler_stats scheduler; /* of the last step, or of one before it while somebody reads them */
    struct qm_pool_state pool;           /* of keys and values, then */
};
void qm_service_stats(struct qm_service *s, struct qm_service_stats *out);

#endif
