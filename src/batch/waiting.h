/* Rows of a batch job that wait for a run with more memory: read, not finished, and out of the way of others. */
#ifndef QM_BATCH_WAITING_H
#define QM_BATCH_WAITING_H

#include <stdbool.h>

#include "batch/source.h"

struct qm_batch_waiting {
    struct qm_batch_waiting *next;
    struct qm_batch_line line; /* its text is NULL */
    char *custom_id;
};

int qm_batch_waiting_add(struct qm_batch_waiting **list, const struct qm_batch_line *line, const char *custom_id,
                         struct qm_error *err);
void qm_batch_waiting_free(struct qm_batch_waiting **list);
bool qm_batch_waiting_named(const struct qm_batch_waiting *list, const char *custom_id);
/* The first of them and of `line`, in the input's order. */
const struct qm_batch_line *qm_batch_waiting_first(const struct qm_batch_waiting *list,
                                                   const struct qm_batch_line *line);

#endif
