/* The names beside OUT that a job takes as its own, and what to do where something else has one of them: it is refused
 * or moved aside, never emptied, overwritten or removed, and no symbolic link is followed. Under the job's lock. */
#ifndef QM_BATCH_NAMES_H
#define QM_BATCH_NAMES_H

#include <stdbool.h>

#include "base/error.h"
#include "batch/paths.h"
#include "batch/ui.h"

/* Whether the file is a journal of quietmind batch: a database with its mark. */
bool qm_batch_is_journal(const char *path);
/* Whether it is a store of keys and values, which need not lie beside OUT. */
bool qm_batch_is_store(const char *path);
/* The job that `path` belongs to by its name and by a journal that is there: OUT for OUT.partial and the like, and for
 * OUT itself; false where there is none. */
bool qm_batch_job_of(const char *path, char *out, size_t size);

/* Whether `path` is OUT, or one of the files that a job of it makes or has moved aside; both may be spelled in any
 * way. */
bool qm_batch_name_of(const char *path, const char *out);

/* Before the journal is opened. QM_INPUT where something that no journal knows has a name of the job's: it is left as
 * it is. *log: the journal's log (-wal) is there, as it is unless the last run ended well. */
int qm_batch_names_check(const struct qm_batch_paths *paths, bool *log, struct qm_error *err);
/* --restart: what is of the job goes; what is not is moved aside, and reported. */
int qm_batch_names_clear(const struct qm_batch_paths *paths, const struct qm_batch_ui *ui, struct qm_error *err);
/* Gives `path` a free name that begins with it, and reports it. */
int qm_batch_names_aside(const char *path, const char *why, const struct qm_batch_ui *ui, struct qm_error *err);

#endif
