/* What was measured before, in SQLite in the user's cache, ($XDG_CACHE_HOME or ~/.cache)/quietmind/history.db:
 * predicted beside measured of runs, and whole results of compare. Several programs may write to it at once.
 *
 * A file that is no database, or damaged, or of another form, is put aside: it is renamed to history.db.damaged. What
 * is to be written begins a new one then, and *aside says so (its code is 0 otherwise); what is to be read is not
 * there, and QM_INPUT says so. */
#ifndef QM_APP_HISTORY_H
#define QM_APP_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

enum { QM_HISTORY_RESULTS = 32, QM_HISTORY_BYTES = 16 << 20 }; /* of results: the newest stay */

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

/* A result of compare. */
struct qm_history_result {
    int64_t number; /* from 1 on, never given twice */
    char when[32], machine[256];
    char model[4096];  /* the folder, absolute */
    char work[256];    /* equal where the prompts, lengths and sampling were */
    char summary[256]; /* for people */
};

/* The path; "" where there is no cache directory. */
void qm_history_path(char *out, size_t size);
/* Adds a row; the file and its directory are made where missing. QM_SYSTEM or QM_INPUT with SQLite's reason. */
int qm_history_add(const char *path, const struct qm_history_row *row, struct qm_error *aside, struct qm_error *err);
/* The last n rows, the oldest first. *out is allocated, *found how many there are; 0 where there is no file. */
int qm_history_last(const char *path, int n, struct qm_history_row **out, int *found, struct qm_error *err);

/* Keeps a result, whose text is a report's JSON; its number is chosen here. The oldest ones give way. QM_INPUT also
 * where the text alone is more than QM_HISTORY_BYTES. */
int qm_history_keep(const char *path, const struct qm_history_result *result, const char *text, struct qm_error *aside,
                    struct qm_error *err);
/* All that are kept, the oldest first. *out is allocated, *found how many there are; 0 where there is no file. */
int qm_history_results(const char *path, struct qm_history_result **out, int *found, struct qm_error *err);
/* The text of a result. QM_INPUT where none has that number. */
int qm_history_text(const char *path, int64_t number, struct qm_buf *out, struct qm_error *err);

#endif
