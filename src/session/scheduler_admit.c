/* Who joins: in order, while there are sequences and pages. One whose prefix is just being computed by another
 * waits for it, so that it is computed once; those behind it may go first. One that does not fit lets nobody pass, and
 * neither does one whose prefix is being read from the cache's store, a chunk's tokens a step. */
#include <string.h>

#include "session/scheduler_internal.h"

static const struct qm_scheduled *running_by_id(const struct qm_scheduler *s, uint64_t id) {
    for (int64_t i = 0; i < s->n_running; i++)
        if (s->running[i]->id == id)
            return s->running[i];
    return NULL;
}

static bool computes(const struct qm_scheduled *r, int64_t until) {
    return r && r->state == QM_REQUEST_PREFILL && qm_sequence_length(r->sequence) < until;
}

/* Tokens that q could take over from r, in whole blocks; one has to be left to compute. */
static int64_t common(const struct qm_scheduler *s, const struct qm_scheduled *q, const struct qm_scheduled *r) {
    int64_t most = q->n_tokens - 1 < r->n_tokens ? q->n_tokens - 1 : r->n_tokens, n = 0;
    while (n + s->block_tokens <= most &&
           memcmp(q->tokens + n, r->tokens + n, (size_t)s->block_tokens * sizeof *q->tokens) == 0)
        n += s->block_tokens;
    return n;
}

/* Whether another, ahead of it, is computing what it would compute next. */
static bool held_back(const struct qm_scheduler *s, struct qm_scheduled *q) {
    if (!s->o.cache)
        return false;
    if (q->behind && computes(running_by_id(s, q->behind), q->until))
        return true;
    q->behind = 0;
    int64_t found = -1;
    for (int64_t i = 0; i < s->n_running && scheduled_before(s->running[i], q); i++) {
        const struct qm_scheduled *r = s->running[i];
        int64_t n = r->state == QM_REQUEST_PREFILL ? common(s, q, r) : 0;
        if (!computes(r, n))
            continue;
        if (found < 0)
            found = qm_prefix_cache_find(s->o.cache, q->tokens, q->n_tokens);
        if (n > found) {
            q->behind = r->id;
            q->until = n;
            return true;
        }
    }
    return false;
}

/* Room for one that stands before what runs: those of lower priority give way. */
static bool displace(struct qm_scheduler *s, const struct qm_scheduled *q) {
    struct qm_scheduled *last = s->n_running ? s->running[s->n_running - 1] : NULL;
    if (!last || last->r.priority >= q->r.priority)
        return false;
    scheduled_preempt(s, last);
    return true;
}

/* False where it has to wait. */
static bool admit(struct qm_scheduler *s, struct qm_scheduled *q) {
    struct qm_error err;
    while (s->n_running == s->slots || q->too_big == s->n_closed) {
        if (!displace(s, q))
            return false;
    }
    if (scheduled_reads(s, q))
        return false;
    int rc = scheduled_prepare(s, q, &err);
    if (!rc && !scheduler_fits(s, q))
        rc = qm_fail(&err, QM_FIT, "the KV cache has no room for %lld tokens", (long long)q->n_tokens);
    if (!rc) {
        scheduled_start(s, q);
        scheduler_replay(s, q);
        return true;
    }
    qm_sequence_close(q->sequence);
    q->sequence = NULL;
    if (rc == QM_FIT && s->n_running) {
        q->too_big = s->n_closed;
        return admit(s, q);
    }
    scheduled_end(s, q, rc, &err, QM_FINISH_INTERRUPTED);
    return true;
}

void scheduler_admit(struct qm_scheduler *s) {
    struct qm_scheduled *q = s->first;
    s->may_read = s->chunk > s->block_tokens ? s->chunk / s->block_tokens : 1;
    while (q) {
        if (held_back(s, q))
            q = q->next;
        else if (admit(s, q))
            q = s->first; /* callbacks may have changed what waits */
        else
            break;
    }
}
