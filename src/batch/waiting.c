/* A list, as short as such rows are few. */
#include "batch/waiting.h"

#include <stdlib.h>
#include <string.h>

int qm_batch_waiting_add(struct qm_batch_waiting **list, const struct qm_batch_line *line, const char *custom_id,
                         struct qm_error *err) {
    struct qm_batch_waiting *q = calloc(1, sizeof *q);
    if (!q || !(q->custom_id = strdup(custom_id))) {
        free(q);
        return qm_fail_memory(err, sizeof *q, "a row that waits");
    }
    q->line = *line;
    q->next = *list;
    *list = q;
    return QM_OK;
}

void qm_batch_waiting_free(struct qm_batch_waiting **list) {
    while (*list) {
        struct qm_batch_waiting *q = *list;
        *list = q->next;
        free(q->custom_id);
        free(q);
    }
}

bool qm_batch_waiting_named(const struct qm_batch_waiting *list, const char *custom_id) {
    for (; list; list = list->next)
        if (!strcmp(list->custom_id, custom_id))
            return true;
    return false;
}

const struct qm_batch_line *qm_batch_waiting_first(const struct qm_batch_waiting *list,
                                                   const struct qm_batch_line *line) {
    for (; list; list = list->next)
        line = list->line.number < line->number ? &list->line : line;
    return line;
}
