/* The files of a batch job's output, both made from the journal's rows: OUT.partial, to which each finished row is
 * appended before its transaction, so that it can be read at any time, and OUT, which appears whole, by rename, when
 * the job is complete. Also the lock that keeps a second run off the same output (OUT.lock).
 *
 * A row is on disk because the journal says so; OUT.partial is cut to what the journal knows, or written anew, when a
 * job resumes. Errors: QM_SYSTEM for a disk that is full or fails, saying what to free; nothing is tried twice.
 * Not thread-safe. */
#ifndef QM_BATCH_OUTPUT_H
#define QM_BATCH_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "batch/journal.h"
#include "batch/paths.h"
#include "batch/ui.h"

/* Takes the lock, or QM_INPUT naming the process that has it. It ends with the process, whatever ends that. */
int qm_batch_lock(const char *path, int *fd, struct qm_error *err);
void qm_batch_unlock(const char *path, int fd);
/* The process that has the lock, or 0. */
long qm_batch_lock_holder(const char *path);

struct qm_batch_output;

/* Opens OUT.partial so that it holds the journal's rows, in the order in which they were completed, and no more. log:
 * the journal's log was there when it was opened; without it an OUT.partial that holds more than the journal knows is
 * moved aside first, and reported. */
int qm_batch_output_open(const struct qm_batch_paths *paths, struct qm_journal *journal, bool log,
                         const struct qm_batch_ui *ui, struct qm_batch_output **out, struct qm_error *err);
void qm_batch_output_close(struct qm_batch_output *o);
/* The lines of the journal's rows take `bytes` in all: an OUT.partial of another size is written anew when it is
 * opened. */
int qm_batch_output_expect(struct qm_journal *journal, int64_t bytes, struct qm_error *err);
/* Appends a line; its length enters the journal's transaction, which must follow. */
int qm_batch_output_add(struct qm_batch_output *o, const char *line, size_t len, struct qm_error *err);

/* What turns rows into the file's text; NULL below: each row's line as it is. Appends to *text; row NULL: the end. */
typedef int qm_batch_format_fn(void *arg, const struct qm_journal_row *row, struct qm_buf *text, struct qm_error *err);

/* *mine: OUT is not there, or the journal says that the job has written it. */
int qm_batch_output_mine(const struct qm_batch_paths *paths, struct qm_journal *journal, bool *mine,
                         struct qm_error *err);
/* Writes OUT from the journal: under a temporary name, fsync, rename, fsync of the folder. An OUT that appeared
 * meanwhile and is not this job's is moved aside, and reported. */
int qm_batch_output_finish(const struct qm_batch_paths *paths, struct qm_journal *journal, enum qm_journal_order order,
                           qm_batch_format_fn *format, void *arg, const struct qm_batch_ui *ui, struct qm_error *err);
/* The rows' lines, as far as there are any, to wherever `write` puts them, a piece at a time. */
typedef int qm_batch_write_fn(void *arg, const char *bytes, size_t n, struct qm_error *err);
int qm_batch_output_export(struct qm_journal *journal, enum qm_journal_order order, qm_batch_write_fn *write, void *arg,
                           struct qm_error *err);
/* Syncs the folder that `path` is in, so that names made or renamed there last. */
int qm_sync_folder(const char *path, struct qm_error *err);

#endif
