/* Telling, or not. */
#include "batch/ui.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

static const char *no_trait(enum qm_trait t) {
    (void)t;
    return "";
}

static void no_remedy(struct qm_error *err) {
    err->remedy = QM_REMEDY_NONE;
}

const struct qm_batch_words qm_batch_plain_words = {.seed = "the seed",
                                                    .context = "the context",
                                                    .kv_memory = "the memory for keys and values",
                                                    .until = "the time to stop",
                                                    .questions = "questions",
                                                    .trait = no_trait,
                                                    .remedy = no_remedy};

const struct qm_batch_ui qm_batch_silent = {.words = &qm_batch_plain_words};

void qm_batch_note(const struct qm_batch_ui *ui, const char *format, ...) {
    char line[8192];
    va_list args;
    if (!ui->note)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    ui->note(ui->arg, line);
}

void qm_batch_progress(const struct qm_batch_ui *ui, const char *what, uint64_t done, uint64_t total, bool bytes) {
    if (ui->progress)
        ui->progress(ui->arg, what, done, total, bytes);
}

void qm_batch_progress_end(const struct qm_batch_ui *ui) {
    if (ui->progress_end)
        ui->progress_end(ui->arg);
}
