/* An answer as the sum of its events (protocol/events.h). */
#ifndef QM_PROTOCOL_SUM_H
#define QM_PROTOCOL_SUM_H

#include "base/buf.h"
#include "protocol/events.h"

struct qm_answer_call {
    char *name, *id; /* id: where the model gave one, else NULL */
    struct qm_buf arguments;
};

/* Zero-initialise, then qm_answer_sum_free. */
struct qm_answer_sum {
    struct qm_buf reasoning, text;
    struct qm_answer_call *calls;
    int n_calls;
    bool done;
    enum qm_finish finish;
};

/* Adds an event; a token is nothing here. */
int qm_answer_sum_add(struct qm_answer_sum *s, const struct qm_answer_event *e, struct qm_error *err);
void qm_answer_sum_free(struct qm_answer_sum *s);

#endif
