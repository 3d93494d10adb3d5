/* --check: what batch/check.h finds, on standard output. */
#include <stdlib.h>

#include "app/batch/commands.h"
#include "app/out.h"
#include "base/words.h"
#include "batch/check.h"
#include "batch/fit.h"
#include "numa/memory.h"
#include "report/numbers.h"
#include "session/scheduler.h"

static int print_bad(void *arg, const char *title, const char *custom_id, const char *why, struct qm_error *err) {
    (void)arg;
    return custom_id ? qm_out_printf(err, "%s (%s): %s\n", title, custom_id, why)
                     : qm_out_printf(err, "%s: %s\n", title, why);
}

static int print_reason(void *arg, const char *reason, int64_t count, struct qm_error *err) {
    (void)arg;
    return qm_out_printf(err, "  %8lld  %s\n", (long long)count, reason);
}

static int print_memory(const struct qm_batch_options *o, const struct qm_batch_model *b, int64_t longest_row,
                        struct qm_error *err) {
    const struct qm_model *m = b->model;
    struct qm_workload w = {.context = longest_row,
                            .sequences = 1,
                            .chunk = o->chunk ? o->chunk : QM_DEFAULT_CHUNK,
                            .kv_type = qm_batch_kv_type(o, &m->config),
                            .threads = 64,
                            .drafts = b->drafts};
    struct qm_memory_table t;
    uint64_t available;
    char weights[32], working[32], drafts[32], longest[32], free[32];
    qm_memory_estimate(m, &w, &t);
    uint64_t running = qm_scheduler_bytes(m->config.vocab, o->sequences, w.threads);
    int rc = qm_memory_available(&available, err);
    return rc ? rc
              : qm_out_printf(err, "memory      weights %s, working %s, drafts %s, longest row %s; available %s\n",
                              qm_bytes_text((double)t.weights, weights, sizeof weights),
                              qm_bytes_text((double)(t.scratch + running), working, sizeof working),
                              qm_bytes_text((double)t.drafts, drafts, sizeof drafts),
                              qm_bytes_text((double)t.kv, longest, sizeof longest),
                              qm_bytes_text((double)available, free, sizeof free));
}

static int print_time(const struct qm_batch_prediction *p, const struct qm_batch_times *times, time_t begun,
                      struct qm_error *err) {
    struct qm_buf text = {0};
    char a[64], b[64];
    int rc = qm_batch_prediction_text(p, times, begun, &text, err);
    if (!rc)
        rc = qm_out_printf(err, "time        %s: prefill %s, decode %s\n", text.data,
                           qm_duration_text(p->prefill, a, sizeof a), qm_duration_text(p->decode, b, sizeof b));
    qm_buf_free(&text);
    return rc ? rc : qm_out_wrapped("           ", *p->basis ? p->basis : "measured on this machine", 12, err);
}

static int print_rows(const struct qm_batch_checked *c, struct qm_error *err) {
    int rc = qm_out_printf(err, "rows        %lld, ", (long long)c->rows);
    if (!rc)
        rc = c->bad ? qm_out_printf(err, "%lld of them invalid\n", (long long)c->bad) : qm_out_text("all valid\n", err);
    if (!rc && c->bad)
        rc = qm_journal_reasons(c->seen, print_reason, NULL, err);
    if (!rc)
        rc = qm_out_printf(err, "prompts     %lld token%s, %lld shared", (long long)c->prompt, qm_s(c->prompt),
                           (long long)c->shared);
    if (!rc && c->longest_row)
        rc = qm_out_printf(err, "; longest %lld (row %lld)", (long long)c->longest, (long long)c->longest_row);
    if (!rc)
        rc = qm_out_text("\n", err);
    if (!rc)
        rc = qm_out_printf(err, "answers     at most %lld token%s", (long long)c->answer, qm_s(c->answer));
    if (!rc && c->open)
        rc = qm_out_printf(err, "; %lld row%s without max_tokens counted as %d", (long long)c->open, qm_s(c->open),
                           QM_EXPECT_OPEN);
    return rc ? rc : qm_out_text("\n", err);
}

int qm_batch_check_command(const struct qm_batch_command *b, struct qm_progress *progress, struct qm_error *err) {
    struct qm_batch_terminal terminal = {.progress = progress};
    const struct qm_batch_ui ui = qm_batch_terminal_ui(&terminal);
    struct qm_batch_rows rows = {0};
    struct qm_app_model app = {0};
    struct qm_drafts drafts = {0};
    struct qm_batch_model m;
    struct qm_batch_checked found = {0};
    struct qm_machine_model *machine = NULL;
    time_t begun = time(NULL);
    int rc = qm_batch_rows_open(&b->job, &ui, &rows, err);
    if (!rc)
        rc = qm_batch_open_model(b, progress, &app, &drafts, &machine, &m, err);
    if (!rc)
        rc = qm_batch_check(&b->job, &ui, &rows, &m, print_bad, NULL, &found, err);
    if (!rc)
        rc = print_rows(&found, err);
    if (!rc)
        rc = print_memory(&b->job, &m, found.longest_all, err);
    if (!rc)
        rc = print_time(&found.prediction, &b->job.times, begun, err);
    bool bad = found.bad && (b->strict || found.bad == found.rows);
    qm_batch_checked_free(&found);
    free(machine);
    qm_drafts_close(&drafts);
    qm_app_close(&app);
    qm_batch_rows_close(&rows);
    return !rc && bad ? QM_DISAGREE : rc;
}
