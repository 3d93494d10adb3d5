/* Feeding, and computing again what a device took with it. */
#include "session/feed.h"

#include "engine/report.h"
#include "engine/sequence.h"

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int recompute(struct qm_engine *e, struct qm_sequence *s, const struct qm_known_tokens *known, int parts,
                     int64_t n, struct qm_error *err) {
    int rc = QM_OK;
    if (qm_sequence_truncate(s, 0))
        return qm_fail(err, QM_SYSTEM, "a sequence could not be emptied");
    for (int i = 0; i < parts && n > 0 && !rc; i++) {
        struct qm_feed f = {.engine = e,
                            .step = {.sequence = s, .tokens = known[i].ids, .n = least(known[i].n, n)},
                            .device_needed = true};
        if (f.step.n && !f.step.tokens)
            return qm_fail(err, QM_SYSTEM, "%s; the tokens before are not known, to go on without the device",
                           qm_engine_failures(e));
        rc = qm_feed(&f, err);
        n -= f.step.n;
    }
    return rc;
}

int qm_step_surely(struct qm_engine *e, const struct qm_step_rows *step, const struct qm_known_tokens *known, int parts,
                   struct qm_error *err) {
    int64_t held = qm_sequence_length(step->sequence);
    int rc = qm_engine_step(e, step, 1, err);
    while (rc && qm_engine_device_failed(e)) { /* another may fail meanwhile */
        rc = qm_engine_fall_back(e, err);
        if (rc)
            return rc;
        rc = recompute(e, step->sequence, known, parts, held, err);
        if (!rc)
            rc = qm_engine_step(e, step, 1, err);
    }
    return rc;
}

int qm_feed(const struct qm_feed *f, struct qm_error *err) {
    const struct qm_step_rows *all = &f->step;
    int64_t before = qm_sequence_length(all->sequence), piece = f->piece ? f->piece : qm_engine_chunk(f->engine);
    for (int64_t done = 0, n; done < all->n; done += n) {
        if (f->interrupt && *f->interrupt)
            return qm_fail(err, QM_INTERRUPTED, "interrupted");
        n = least(piece, all->n - done);
        bool last = done + n == all->n;
        int64_t logits = done + n - (all->n - all->n_logits); /* of those until here */
        struct qm_step_rows step = *all;
        step.tokens += done;
        step.n = n;
        step.n_logits = logits < 0 ? 0 : least(n, logits);
        step.hidden = last ? all->hidden : NULL;
        const struct qm_known_tokens known[] = {{f->held, before}, {all->tokens, done}};
        double begin = qm_engine_clock(f->engine);
        int rc = f->device_needed ? qm_engine_step(f->engine, &step, 1, err)
                                  : qm_step_surely(f->engine, &step, known, 2, err);
        const struct qm_fed fed = {
            .done = done + n, .n = n, .n_logits = step.n_logits, .seconds = qm_engine_clock(f->engine) - begin};
        if (!rc && f->on_piece)
            rc = f->on_piece(f->arg, &fed, err);
        if (rc)
            return rc;
    }
    return QM_OK;
}
