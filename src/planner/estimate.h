/* How long a job of many rows takes: prompts, of which prefixes may be there already, and answers, worked off by
 * continuous batching. The one estimate of a job: for --check and a comparison before anything runs, and for what is
 * left of a running one. Where in the flow: above time.h, whose steps it counts; below whoever has rows.
 *
 * Prompts are computed in full chunks, several short ones in one; each token costs what a chunk at its depth does.
 * Answers are dealt out to `at_once` places in the rows' order, each row to the place that is free first: so one long
 * answer at the end is seen. A chunk of a prompt takes a token of every answer along. Not modelled: preemption, saving,
 * the order that looks ahead, clocks that fall. */
#ifndef QM_PLANNER_ESTIMATE_H
#define QM_PLANNER_ESTIMATE_H

#include <stdint.h>

#include "base/error.h"
#include "planner/time.h"

enum { QM_ESTIMATE_AT_ONCE = 65536 };

/* Tokens. shared: of the prompt, known before (computed for another row, or saved). answer: expected; least and most:
 * what it may turn out to be. 0 <= shared <= prompt, 0 <= least <= answer <= most. */
struct qm_estimate_row {
    int64_t prompt, shared;
    int64_t answer, least, most;
};

/* Seconds: as expected, with the shortest answers and the model of time as far off as `off` says to one side, with the
 * longest ones and to the other side. prefill and decode: of `seconds`. */
struct qm_estimate_time {
    double seconds, low, high;
    double prefill, decode;
};

struct qm_estimate;

/* What *setup points to must outlive it. at_once: sequences, 1 to QM_ESTIMATE_AT_ONCE. decode_threads: of steps that
 * only generate; 0: as many as of the others. */
int qm_estimate_open(const struct qm_time_setup *setup, int64_t at_once, int decode_threads, struct qm_estimate **out,
                     struct qm_error *err);
void qm_estimate_close(struct qm_estimate *e);
/* In the order of work. */
void qm_estimate_add(struct qm_estimate *e, const struct qm_estimate_row *row);
/* The estimate from the rows so far; more may be added afterwards. off: by how much the model of time may be wrong, to
 * both sides (0.2: it takes from 1/1.2 to 1.2 times as long). prefill_by, decode_by: what predictions are multiplied
 * by, where it is known how they held here; else 1. */
void qm_estimate_get(const struct qm_estimate *e, double off, double prefill_by, double decode_by,
                     struct qm_estimate_time *out);

#endif
