/* What a batch job reports to people, separated from who runs it: functions of the caller's, who has a
 * terminal, a log or a page, and the caller's words for what it lets people set. Only the thread that runs the job
 * calls them. */
#ifndef QM_BATCH_UI_H
#define QM_BATCH_UI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/fingerprint.h"

/* Names of settings inside sentences, "--seed" say. Constant; none is NULL. */
struct qm_batch_words {
    const char *seed, *context, *kv_memory, *until, *questions;
    /* What sets a trait of what a job is, as " (--isa)", after the trait's own name; "" where nothing does. */
    const char *(*trait)(enum qm_trait t);
    /* Completes the message of an error that becomes a row's: qm_remedy says what helps. */
    void (*remedy)(struct qm_error *err);
};
/* "the seed" and the like. */
extern const struct qm_batch_words qm_batch_plain_words;

struct qm_batch_facts;

/* A function may be NULL: then nothing is reported. */
struct qm_batch_ui {
    void *arg;
    /* A line of its own, without newline. */
    void (*note)(void *arg, const char *line);
    /* Step `what` has come from 0 to done of total (0: not known), bytes or pieces; each that was begun is ended. */
    void (*progress)(void *arg, const char *what, uint64_t done, uint64_t total, bool bytes);
    void (*progress_end)(void *arg);
    /* Whether it is time to be shown how things stand, and how they stand (batch/facts.h): both or none. */
    bool (*facts_due)(void *arg);
    void (*facts)(void *arg, const struct qm_batch_facts *f);
    const struct qm_batch_words *words;
};
/* Tells nothing, in plain words. */
extern const struct qm_batch_ui qm_batch_silent;

void qm_batch_note(const struct qm_batch_ui *ui, const char *format, ...) __attribute__((format(printf, 2, 3)));
void qm_batch_progress(const struct qm_batch_ui *ui, const char *what, uint64_t done, uint64_t total, bool bytes);
void qm_batch_progress_end(const struct qm_batch_ui *ui);

#endif
