/* The rows that a batch job has read and not yet finished: at most as many as it may look ahead, finished ones not
 * counted, so that one long row keeps nothing from being read. Which of them is next is decided here: the one whose
 * prompt shares the longest prefix with the one taken before it, the first of those in the input; but a row that
 * `capacity` rows were read after is next before all others, so that none waits for ever.
 * Not thread-safe. */
#ifndef QM_BATCH_WINDOW_H
#define QM_BATCH_WINDOW_H

#include <stdbool.h>

#include "batch/row.h"
#include "batch/source.h"

struct qm_batch_pending {
    struct qm_batch_line line; /* its text is NULL */
    struct qm_batch_prefix prefix;
    char *custom_id;
    bool follows; /* its prompt begins as that of a row before it */
    bool taken;
};

struct qm_batch_window;

int qm_batch_window_new(int64_t capacity, struct qm_batch_window **out, struct qm_error *err);
void qm_batch_window_free(struct qm_batch_window *w);

/* Whether a row may be read: fewer than `capacity` are there. */
bool qm_batch_window_room(const struct qm_batch_window *w);
/* Rows come in ascending order. */
int qm_batch_window_add(struct qm_batch_window *w, const struct qm_batch_line *line, const char *custom_id,
                        const struct qm_batch_prefix *prefix, bool follows, struct qm_error *err);
/* The row of the window with this name, or NULL. */
const struct qm_batch_pending *qm_batch_window_named(const struct qm_batch_window *w, const char *custom_id);
/* The next row to work on, marked as taken; NULL: none waits. It lives until it is removed. */
struct qm_batch_pending *qm_batch_window_take(struct qm_batch_window *w);
void qm_batch_window_remove(struct qm_batch_window *w, int64_t number);
/* The first row in it, or NULL. */
const struct qm_batch_pending *qm_batch_window_first(const struct qm_batch_window *w);

#endif
