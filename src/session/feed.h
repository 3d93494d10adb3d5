/* Tokens for one sequence: whatever computes known tokens, a prompt or a text to be judged, feeds them by this, a piece
 * a step. Between the engine's steps and generation, perplexity, logits, compare, bench. (The scheduler, which has many
 * sequences in a step, composes its own: scheduler.h.)
 *
 * Where a device fails, what was on it goes to the CPU, what the sequence held is computed again, and the step too: the
 * same bits come out. Who wants to know is reported by the engine (qm_engine_on_fall_back). */
#ifndef QM_SESSION_FEED_H
#define QM_SESSION_FEED_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/engine.h"

/* Consecutive tokens of a sequence. */
struct qm_known_tokens {
    const int32_t *ids;
    int64_t n;
};

/* One step of one sequence, which a failing device does not end. known: what the sequence holds, in `parts` pieces, of
 * which the first that make up its length count; ids NULL where they are not known any more: then a failure is the
 * step's. QM_SYSTEM where the devices are required. */
int qm_step_surely(struct qm_engine *e, const struct qm_step_rows *step, const struct qm_known_tokens *known, int parts,
                   struct qm_error *err);

/* What was computed last. */
struct qm_fed {
    int64_t done, n;  /* tokens so far; of this piece, its last */
    int64_t n_logits; /* rows of step.logits that are written: of the piece's last tokens */
    double seconds;   /* of its step, by the engine's clock */
};

struct qm_feed {
    struct qm_engine *engine;
    /* As if all tokens were one step: step.n may be any number, and so may step.n_logits. But logits and attention hold
     * a piece at a time: logits [the lesser of n_logits and piece][vocab]. */
    struct qm_step_rows step;
    int64_t piece;       /* tokens of a step; 0: as many as it may have */
    const int32_t *held; /* what the sequence holds before; NULL: not known any more, or nothing */
    bool device_needed;  /* a device's failure ends it */
    /* After each piece. What is not QM_OK ends it, and is its result. May be NULL. */
    int (*on_piece)(void *arg, const struct qm_fed *f, struct qm_error *err);
    void *arg;
    const volatile sig_atomic_t *interrupt; /* looked at before each piece; may be NULL */
};

/* QM_INTERRUPTED by the flag, and as the engine's steps are (qm_engine_set_interrupt); what was computed before stays
 * in the sequence. Nothing to do where step.n is 0. Allocates nothing. */
int qm_feed(const struct qm_feed *f, struct qm_error *err);

#endif
