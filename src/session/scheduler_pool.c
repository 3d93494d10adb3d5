/* Who gets pages of keys and values: what is free, then what the prefix cache gives up, then what requests behind have
 * that are preempted for it. */
#include "session/scheduler_internal.h"

static int64_t free_blocks(const struct qm_scheduler *s) {
    struct qm_pool_state pool;
    qm_engine_pool(s->o.engine, &pool);
    return pool.free_blocks - s->claimed;
}

static bool shrink_cache(struct qm_scheduler *s, int64_t n) {
    return s->o.cache && qm_prefix_cache_shrink(s->o.cache, n) > 0;
}

/* The last that runs, has pages, and stands behind q; or NULL. */
static struct qm_scheduled *last_behind(const struct qm_scheduler *s, const struct qm_scheduled *q) {
    for (int64_t i = s->n_running - 1; s->running[i] != q; i--)
        if (qm_sequence_length(s->running[i]->sequence) > 0)
            return s->running[i];
    return NULL;
}

/* The tokens, at most n, that fit into so many more blocks. */
static int64_t fitting(const struct qm_scheduler *s, const struct qm_scheduled *q, int64_t n, int64_t blocks) {
    while (n > 0 && qm_sequence_needs(q->sequence, n) > blocks) {
        int64_t over = (qm_sequence_length(q->sequence) + n) % s->block_tokens;
        n -= over ? over : s->block_tokens;
    }
    return n > 0 ? n : 0;
}

int64_t scheduler_claim(struct qm_scheduler *s, struct qm_scheduled *q, int64_t n) {
    for (;;) {
        int64_t need = qm_sequence_needs(q->sequence, n), blocks = free_blocks(s);
        if (need > blocks && shrink_cache(s, need - blocks))
            continue;
        int64_t fits = fitting(s, q, n, blocks);
        if (fits > 0) {
            q->claim = qm_sequence_needs(q->sequence, fits);
            s->claimed += q->claim;
            return fits;
        }
        struct qm_scheduled *behind = last_behind(s, q);
        if (!behind)
            return 0;
        scheduled_preempt(s, behind);
    }
}

int64_t scheduler_claim_more(struct qm_scheduler *s, struct qm_scheduled *q, int64_t n) {
    int64_t fits = fitting(s, q, q->piece + n, free_blocks(s) + q->claim);
    if (fits <= q->piece)
        return 0;
    s->claimed -= q->claim;
    q->claim = qm_sequence_needs(q->sequence, fits);
    s->claimed += q->claim;
    return fits - q->piece;
}

bool scheduler_fits(const struct qm_scheduler *s, const struct qm_scheduled *q) {
    int64_t room = s->context - q->n_tokens, more = room < s->block_tokens ? room : s->block_tokens;
    int64_t need = qm_sequence_needs(q->sequence, scheduled_missing(q) + more);
    for (int64_t i = 0; i < s->n_running; i++)
        need += qm_sequence_needs(s->running[i]->sequence, scheduled_missing(s->running[i]));
    int64_t missing = need - free_blocks(s);
    if (missing > 0 && s->o.cache)
        missing -= qm_prefix_cache_idle(s->o.cache);
    return missing <= 0;
}
