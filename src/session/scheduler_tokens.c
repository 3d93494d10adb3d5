/* What becomes of a step's results: new tokens are drawn and become text, by all threads at once; then each request is
 * told of its own, in order, and those that are done end. */
#include "session/scheduler_internal.h"

static bool draws(const struct scheduled *q) {
    return q->n_logits > 0 && q->r.n_prompt + q->told + q->n_logits - 1 == q->n_tokens;
}

static void take(struct scheduled *q) {
    q->rc = qm_decoding_take(q->decoding, &q->token, &q->last, &q->finish, &q->err);
}

static void draw(struct scheduled *q, struct qm_sampler_scratch *scratch, const float *logits) {
    q->rc = qm_decoding_draw(q->decoding, scratch, logits, &q->err);
    if (!q->rc)
        take(q);
}

static void redraw(struct scheduled *q, const float *logits) {
    qm_decoding_redraw(q->decoding, q->tokens[q->r.n_prompt + q->told], logits);
    take(q);
}

static void draw_region(void *arg, int thread, int threads) {
    const struct qm_scheduler *s = arg;
    int64_t begin, end;
    qm_team_share(s->n_drawing, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        draw(s->drawing[i], s->scratch[thread], s->drawing[i]->logits);
}

/* Tells of the token that was drawn, or drawn again. It may have been the last. */
static void tell(struct qm_scheduler *s, struct scheduled *q, bool replay) {
    if (q->rc) {
        scheduled_end(s, q, q->rc, &q->err, QM_FINISH_INTERRUPTED);
        return;
    }
    if (!replay) {
        q->tokens[q->n_tokens++] = q->token.id;
        s->stats.generated_tokens++;
    }
    if (!q->told++)
        q->first_token = scheduler_now(s);
    s->busy++;
    bool cancelled = q->r.on_token && q->r.on_token(q->r.arg, &q->token, replay);
    s->busy--;
    if (!q->ended && (q->last || cancelled)) /* the callback may have ended it */
        scheduled_end(s, q, QM_OK, NULL, q->last ? q->finish : QM_FINISH_INTERRUPTED);
}

void scheduler_replay(struct qm_scheduler *s, struct scheduled *q) {
    s->busy++;
    while (!q->ended && !q->r.embed && q->r.decoding.top_logprobs < 0 && q->r.n_prompt + q->told < q->n_tokens) {
        redraw(q, NULL);
        tell(s, q, true);
    }
    s->busy--;
    scheduled_collect(s);
}

/* The tokens that the logits of its piece belong to: known ones first; the last may be new. */
static void tell_piece(struct qm_scheduler *s, struct scheduled *q) {
    for (int64_t i = 0; i < q->n_logits && !q->ended; i++) {
        bool replay = q->r.n_prompt + q->told < q->n_tokens;
        if (replay)
            redraw(q, q->logits + i * s->vocab);
        else if (i > 0) /* not among those that were drawn at once */
            draw(q, s->scratch[0], q->logits + i * s->vocab);
        tell(s, q, replay);
    }
}

static void finish_piece(struct qm_scheduler *s, struct scheduled *q) {
    int64_t held = qm_sequence_length(q->sequence);
    bool whole = held == q->n_tokens;
    enum qm_finish finish = QM_FINISH_STOP;
    if (s->o.cache)
        qm_prefix_cache_add(s->o.cache, q->sequence, q->tokens, &q->n_cached);
    if (q->state == QM_REQUEST_PREFILL && q->r.on_prefill) {
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
    tell_piece(s, q);
}

void scheduler_tokens(struct qm_scheduler *s) {
    s->n_drawing = 0;
    for (int64_t i = 0; i < s->n_steps; i++)
        if (s->in_step[i]->n_logits == 1 && draws(s->in_step[i]))
            s->drawing[s->n_drawing++] = s->in_step[i];
    if (s->n_drawing > 1)
        qm_team_run(qm_engine_team(s->o.engine), draw_region, s);
    else if (s->n_drawing)
        draw(s->drawing[0], s->scratch[0], s->drawing[0]->logits);
    for (int64_t i = 0; i < s->n_steps; i++)
        if (!s->in_step[i]->ended)
            finish_piece(s, s->in_step[i]);
}
