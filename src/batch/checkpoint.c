/* When to save, and what. */
#include "batch/checkpoint.h"

#include "base/clock.h"

/* Before anything was measured: a modest disk. */
static const double BYTES_PER_SECOND = 200e6;
static const double SHARE = 50, LEAST_SECONDS = 30;

struct saving {
    struct qm_batch_checkpoint *c;
    double tokens;  /* held by sequences that are worth it */
    uint64_t bytes; /* written */
};

/* By cost a sequence is worth saving where computing it again would take twice as long as writing it. */
static bool worth(const struct qm_batch_checkpoint *c, const struct qm_request_view *v) {
    if (!v->sequence || v->held == 0)
        return false;
    if (c->every > 0)
        return true;
    struct qm_scheduler_stats s;
    qm_scheduler_stats(c->scheduler, &s);
    double write = (double)v->held * c->bytes_per_token / c->bytes_per_second;
    return s.prefill_rate > 0 && (double)v->held / s.prefill_rate > 2 * write + 1;
}

static int count(void *arg, int64_t row, const struct qm_request_view *v, struct qm_error *err) {
    struct saving *s = arg;
    (void)row, (void)err;
    if (worth(s->c, v))
        s->tokens += (double)v->held;
    return QM_OK;
}

static int persist(void *arg, int64_t row, const struct qm_request_view *v, struct qm_error *err) {
    struct saving *s = arg;
    uint64_t bytes = 0;
    (void)row;
    if (!worth(s->c, v))
        return QM_OK;
    int rc = qm_prefix_cache_persist(s->c->cache, v->sequence, v->tokens, v->held, &bytes, err);
    s->bytes += bytes;
    return rc;
}

/* A disk that is full or fails costs the checkpoints, not the job. */
static int persist_all(struct saving *s, const struct qm_batch_work *w, struct qm_error *err) {
    struct qm_batch_checkpoint *c = s->c;
    struct qm_error why = {0};
    int rc = qm_batch_work_each(w, persist, s, &why);
    if (!rc && !qm_kv_store_off(c->store))
        return QM_OK;
    if (rc && why.code != QM_SYSTEM && why.code != QM_FIT) { /* QM_FIT: its disk is full */
        *err = why;
        return rc;
    }
    qm_batch_note(c->ui, "the job goes on without checkpoints of prompts: %s",
                  rc ? why.message : qm_kv_store_note(c->store));
    c->store = NULL;
    return QM_OK;
}

double qm_batch_checkpoint_seconds(const struct qm_batch_checkpoint *c, const struct qm_batch_work *w) {
    struct qm_batch_checkpoint copy = *c;
    struct saving s = {.c = &copy};
    if (copy.bytes_per_second <= 0)
        copy.bytes_per_second = BYTES_PER_SECOND;
    if (c->store)
        qm_batch_work_each(w, count, &s, NULL);
    return 1 + s.tokens * c->bytes_per_token / copy.bytes_per_second;
}

bool qm_batch_checkpoint_due(struct qm_batch_checkpoint *c, const struct qm_batch_work *w) {
    double now = qm_now();
    if (c->last == 0)
        c->last = now;
    double since = now - c->last;
    if (c->every > 0)
        return since >= c->every;
    if (since < LEAST_SECONDS || since < SHARE * c->cost)
        return false;
    return c->cost > 0 || since >= SHARE * (qm_batch_checkpoint_seconds(c, w) - 1);
}

int qm_batch_checkpoint_save(struct qm_batch_checkpoint *c, struct qm_batch_work *w, struct qm_error *err) {
    struct saving s = {.c = c};
    double start = qm_now();
    if (c->bytes_per_second <= 0)
        c->bytes_per_second = BYTES_PER_SECOND;
    int rc = qm_batch_work_save_tokens(w, err);
    if (!rc && c->store)
        rc = persist_all(&s, w, err);
    c->last = qm_now();
    c->cost = c->last - start;
    if (s.bytes > 1 << 20 && c->cost > 0)
        c->bytes_per_second = (double)s.bytes / c->cost;
    return rc;
}
