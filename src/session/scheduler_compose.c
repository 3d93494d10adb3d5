/* What a step computes: the next token of every sequence that generates, then prompts, in order, as many tokens as
 * the step has room for. */
#include "session/scheduler_internal.h"

/* The piece's last tokens whose logits are needed: of the last known token when a new one is to be drawn, and of
 * tokens before those known from before whose log-probabilities are asked for. */
static int64_t wanted_logits(const struct scheduled *q, int64_t piece) {
    enum qm_finish finish;
    if (q->r.embed || !qm_decoding_begins(q->decoding, &finish))
        return 0;
    int64_t first = q->r.n_prompt - 1 + q->told, end = qm_sequence_length(q->sequence) + piece;
    return end > first ? end - first : 0;
}

static void compose_decodes(struct qm_scheduler *s, int64_t *n) {
    for (int64_t i = 0; i < s->n_running; i++) {
        struct scheduled *q = s->running[i];
        q->piece = 0;
        if (q->state == QM_REQUEST_DECODE)
            *n += q->piece = scheduler_claim(s, q, 1);
    }
}

static void compose_prefills(struct qm_scheduler *s, int64_t decodes) {
    int64_t left = s->chunk - decodes, rows = s->n_logit_rows - decodes;
    if (decodes && scheduler_share(s) < left)
        left = scheduler_share(s);
    for (int64_t i = 0; i < s->n_running && left > 0; i++) {
        struct scheduled *q = s->running[i];
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
        rows -= wanted_logits(q, n);
    }
}

void scheduler_compose(struct qm_scheduler *s) {
    int64_t decodes = 0;
    float *logits = s->logits;
    compose_decodes(s, &decodes);
    compose_prefills(s, decodes);
    s->n_steps = 0;
    for (int64_t i = 0; i < s->n_running; i++) {
        struct scheduled *q = s->running[i];
        if (!q->piece)
            continue;
        q->n_logits = wanted_logits(q, q->piece);
        q->logits = logits;
        logits += q->n_logits * s->vocab;
        s->in_step[s->n_steps] = q;
        s->steps[s->n_steps++] = (struct qm_step){.sequence = q->sequence,
                                                  .tokens = q->tokens + qm_sequence_length(q->sequence),
                                                  .n = q->piece,
                                                  .n_logits = q->n_logits,
                                                  .logits = q->logits,
                                                  .hidden = q->piece == scheduled_missing(q) ? q->hidden : NULL};
    }
}
