/* What a step computes: the next token of every sequence that generates, then prompts, in order, as many tokens as
 * the step has room for; where there are none, drafts behind the next tokens. */
#include "engine/report.h"
#include "session/scheduler_internal.h"

/* The piece's last tokens whose logits are needed: of the last known token when a new one is to be sampled, and of
 * tokens before those known from before whose log-probabilities are asked for. */
static int64_t wanted_logits(const struct qm_scheduled *q, int64_t piece) {
    enum qm_finish finish;
    if (q->r.embed || !qm_decoding_begins(q->decoding, &finish))
        return 0;
    int64_t first = q->r.n_prompt - 1 + q->reported, end = qm_sequence_length(q->sequence) + piece;
    return end > first ? end - first : 0;
}

static void compose_decodes(struct qm_scheduler *s, int64_t *n) {
    for (int64_t i = 0; i < s->n_running; i++) {
        struct qm_scheduled *q = s->running[i];
        q->piece = 0;
        qm_speculated_offer(q->speculated, 0, 0);
        if (q->state == QM_REQUEST_DECODE)
            *n += q->piece = scheduler_claim(s, q, 1);
    }
}

/* Returns how many tokens of prompts there are in it. */
static int64_t compose_prefills(struct qm_scheduler *s, int64_t decodes) {
    int64_t left = s->chunk - decodes, rows = s->n_logit_rows - decodes, composed = 0;
    if (decodes && scheduler_prefill_tokens(s) < left)
        left = scheduler_prefill_tokens(s);
    for (int64_t i = 0; i < s->n_running && left > 0; i++) {
        struct qm_scheduled *q = s->running[i];
        if (q->state != QM_REQUEST_PREFILL)
            continue;
        int64_t n = scheduled_missing(q) < left ? scheduled_missing(q) : left, excess = wanted_logits(q, n) - rows;
        if (excess > 0)
            n -= excess;
        if (n < 1) /* no room for the logits of its known tokens */
            continue;
        n = scheduler_claim(s, q, n);
        q->piece = n;
        left -= n;
        composed += n;
        rows -= wanted_logits(q, n);
    }
    return composed;
}

static bool speculates(const struct qm_scheduler *s) {
    struct qm_quiet_state quiet;
    /* while the engine looks for the fewest threads it compares steps of one token a sequence */
    return s->o.speculation && (!qm_engine_quiet(s->o.engine, &quiet) || quiet.found);
}

static void put_drafts(struct qm_scheduler *s, struct qm_scheduled *q) {
    int64_t n = qm_speculated_chosen(q->speculated);
    if (n)
        n = scheduler_claim_more(s, q, n);
    qm_speculated_choose_fewer(q->speculated, (int)n);
    for (int i = 0; i < n; i++)
        q->tokens[q->n_tokens + i] = qm_speculated_draft(q->speculated, i);
    q->piece += n;
}

/* Drafts behind the tokens of those that generate, in a step that computes no prompt. */
static void compose_drafts(struct qm_scheduler *s, int64_t decodes) {
    int64_t n = 0, most = s->chunk - decodes < SCHEDULER_MORE_LOGITS ? s->chunk - decodes : SCHEDULER_MORE_LOGITS;
    if (!speculates(s) || !qm_speculation_looks(s->o.speculation, decodes))
        return;
    for (int64_t i = 0; i < s->n_running; i++) {
        struct qm_scheduled *q = s->running[i];
        if (!q->piece)
            continue;
        int64_t left = q->most - q->reported, room = s->context - q->n_tokens;
        qm_speculated_follow(q->speculated, 0, q->tokens, q->n_tokens);
        qm_speculated_offer(q->speculated, decodes, left - 1 < room ? left - 1 : room);
        s->drafting[n++] = q->speculated;
    }
    qm_speculation_choose(s->o.speculation, s->drafting, n, most);
    for (int64_t i = 0; i < s->n_running; i++)
        if (s->running[i]->piece)
            put_drafts(s, s->running[i]);
}

void scheduler_compose(struct qm_scheduler *s) {
    int64_t decodes = 0;
    float *logits = s->logits;
    compose_decodes(s, &decodes);
    if (!compose_prefills(s, decodes))
        compose_drafts(s, decodes);
    s->n_steps = 0;
    for (int64_t i = 0; i < s->n_running; i++) {
        struct qm_scheduled *q = s->running[i];
        if (!q->piece)
            continue;
        q->n_logits = wanted_logits(q, q->piece);
        q->logits = logits;
        logits += q->n_logits * s->vocab;
        s->in_step[s->n_steps] = q;
        s->steps[s->n_steps++] = (struct qm_step_rows){.sequence = q->sequence,
                                                       .tokens = q->tokens + qm_sequence_length(q->sequence),
                                                       .n = q->piece,
                                                       .n_logits = q->n_logits,
                                                       .logits = q->logits,
                                                       .hidden = q->piece == scheduled_missing(q) ? q->hidden : NULL};
    }
}
