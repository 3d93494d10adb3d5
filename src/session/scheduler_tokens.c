/* What becomes of a step's results: new tokens are sampled and become text, by all threads at once; then each request's
 * own are reported to it, in order, and those that are done end. */
#include <assert.h>

#include "session/scheduler_internal.h"

/* Rows of its logits that belong to tokens known from before; what is behind them is new. */
static int64_t known_rows(const struct qm_scheduled *q) {
    return q->n_tokens - q->r.n_prompt - q->reported;
}

static int take(struct qm_scheduled *q, int32_t id, const float *logits) {
    return qm_decoding_take(q->decoding, id, logits, &q->token, &q->last, &q->finish, &q->err);
}

/* Samples from the logits of new tokens until what is sampled is not what was drafted, and takes the first. */
static void sample(const struct qm_scheduler *s, struct qm_scheduled *q, struct qm_sampler_scratch *scratch,
                   const float *logits) {
    int drafts = qm_speculated_chosen(q->speculated);
    bool same = true;
    q->rc = q->n_sampled = 0;
    for (int i = 0; i <= drafts && same && !q->rc; i++) {
        q->rc = qm_decoding_sample(q->decoding, scratch, logits + i * s->vocab, &q->sampled[i], &q->err);
        q->n_sampled += !q->rc;
        same = i < drafts && q->sampled[i] == qm_speculated_draft(q->speculated, i);
    }
    int rc = q->n_sampled ? take(q, q->sampled[0], logits) : QM_OK;
    if (rc) {
        q->rc = rc;
        q->n_sampled = 0;
    }
}

static int replay_token(struct qm_scheduled *q, const float *logits) {
    qm_decoding_replay(q->decoding);
    return take(q, q->tokens[q->r.n_prompt + q->reported], logits);
}

static void sample_item(void *arg, int thread, int64_t i) {
    const struct qm_scheduler *s = arg;
    sample(s, s->sampling[i], s->scratch[thread], s->sampling[i]->logits);
}

/* Reports the token that was taken, sampled or sampled again, or that it could not be. It may have been the last. */
static void report_token(struct qm_scheduler *s, struct qm_scheduled *q, bool replay, int rc) {
    if (rc) {
        scheduled_end(s, q, rc, &q->err, QM_FINISH_INTERRUPTED);
        return;
    }
    if (!replay) {
        q->tokens[q->n_tokens++] = q->token.id;
        s->stats.generated_tokens++;
    }
    if (!q->reported++)
        q->first_token = scheduler_now(s);
    s->busy++;
    bool cancelled = q->r.on_token && q->r.on_token(q->r.arg, &q->token, replay);
    s->busy--;
    if (!q->ended && (q->last || cancelled)) /* the callback may have ended it */
        scheduled_end(s, q, QM_OK, NULL, q->last ? q->finish : QM_FINISH_INTERRUPTED);
}

void scheduler_replay(struct qm_scheduler *s, struct qm_scheduled *q) {
    s->busy++;
    while (!q->ended && !q->r.embed && q->r.decoding.top_logprobs < 0 && q->r.n_prompt + q->reported < q->n_tokens)
        report_token(s, q, true, replay_token(q, NULL));
    s->busy--;
    scheduled_collect(s);
}

/* The tokens that the logits of its piece belong to: known ones first, then those sampled. */
static void report_piece(struct qm_scheduler *s, struct qm_scheduled *q) {
    const float *logits = q->logits;
    int64_t known = known_rows(q) < q->n_logits ? known_rows(q) : q->n_logits;
    for (int64_t i = 0; i < known && !q->ended; i++, logits += s->vocab)
        report_token(s, q, true, replay_token(q, logits));
    if (q->ended || known == q->n_logits)
        return;
    if (known) /* else it was sampled at once with the others' */
        sample(s, q, s->scratch[0], logits);
    for (int i = 0; i < q->n_sampled && !q->ended; i++, logits += s->vocab)
        report_token(s, q, false, i ? take(q, q->sampled[i], logits) : QM_OK);
    if (!q->ended && q->rc)
        report_token(s, q, false, q->rc);
}

/* What was computed behind a draft that is not what was sampled is no part of the text. */
static void cut_back(struct qm_scheduled *q) {
    int64_t keep = q->n_tokens + (q->n_sampled ? q->n_sampled - 1 : 0);
    qm_speculated_sampled(q->speculated, q->sampled, q->n_sampled);
    if (keep == qm_sequence_length(q->sequence))
        return;
    int64_t left = qm_sequence_truncate(q->sequence, keep);
    assert(left == keep); /* windows keep what a step's tokens need, and those are more */
    (void)left;
}

static void finish_piece(struct qm_scheduler *s, struct qm_scheduled *q) {
    bool generates = q->state == QM_REQUEST_DECODE;
    enum qm_finish finish = QM_FINISH_STOP;
    if (generates)
        cut_back(q);
    int64_t held = qm_sequence_length(q->sequence);
    bool whole = generates || held == q->n_tokens;
    qm_speculated_follow(q->speculated, 0, q->tokens, held);
    if (s->o.cache)
        qm_prefix_cache_add(s->o.cache, q->sequence, q->tokens, &q->n_cached);
    if (!generates && q->r.on_prefill) {
        s->busy++;
        q->r.on_prefill(q->r.arg, held, q->n_tokens);
        s->busy--;
    }
    if (q->ended)
        return;
    if (whole && (q->r.embed || !qm_decoding_begins(q->decoding, &finish))) {
        scheduled_end(s, q, QM_OK, NULL, finish);
        return;
    }
    if (whole)
        q->state = QM_REQUEST_DECODE;
    report_piece(s, q);
}

/* Learns from the step's time. Returns how many sequences generated, where it did nothing else. */
static int64_t measure(struct qm_scheduler *s) {
    int64_t known = 0, generated = 0, sequences = 0;
    for (int64_t i = 0; i < s->n_steps; i++) {
        const struct qm_scheduled *q = s->in_step[i];
        bool generates = q->state == QM_REQUEST_DECODE;
        sequences += generates;
        generated += generates ? q->n_sampled : 0;
        known += generates ? 0 : q->piece;
    }
    scheduler_measure(s, known, generated, s->step_seconds);
    return known ? 0 : sequences;
}

void scheduler_tokens(struct qm_scheduler *s) {
    s->n_sampling = 0;
    for (int64_t i = 0; i < s->n_steps; i++) {
        struct qm_scheduled *q = s->in_step[i];
        q->n_sampled = 0;
        if (q->n_logits && known_rows(q) == 0)
            s->sampling[s->n_sampling++] = q;
    }
    if (s->n_sampling > 1)
        qm_engine_run(s->o.engine, s->n_sampling, sample_item, s);
    else if (s->n_sampling)
        sample(s, s->sampling[0], s->scratch[0], s->sampling[0]->logits);
    int64_t alone = measure(s);
    for (int64_t i = 0; i < s->n_steps; i++)
        if (!s->in_step[i]->ended)
            finish_piece(s, s->in_step[i]);
    qm_speculation_took(s->o.speculation, alone, s->step_seconds);
}
