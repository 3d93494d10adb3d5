/* Predicted beside measured: a small history of runs, in SQLite in the user's cache
 * ($XDG_CACHE_HOME or ~/.cache)/quietmind/history.db. Several programs may write to it at once. */
#ifndef QM_APP_HISTORY_H
#define QM_APP_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct qm_history_row {
    char when[32];     /* UTC, as 2026-01-15T12:00:00Z; written by qm_history_add */
    char machine[256]; /* processor */
    char model[256];
    char command[16]; /* run, chat, bench */
    char what[8];     /* prompt or writing */
    int64_t sequences, depth, tokens;
    int threads;
    double predicted, measured; /* tokens a second */
};

/* The path; "" where there is no cache directory. */
void qm_history_path(char *out, size_t size);
/* Adds a row; the file and its directory are made where missing. QM_SYSTEM or QM_INPUT with SQLite's reason. */
int qm_history_add(const char *path, const struct qm_history_row *row, struct qm_error *err);
/* The last n rows, the oldest first. *out is allocated, *found how many there are; 0 where there is no file. */
int qm_history_last(const char *path, int n, struct qm_history_row **out, int *found, struct qm_error *err);

#endif
