/* The report at the end of a job, as text. */
#include "app/batch/report.h"

#include <stdio.h>
#include <string.h>

#include "base/words.h"
#include "batch/facts.h"
#include "batch/forecast.h"
#include "batch/pace.h"
#include "report/numbers.h"

static int print_reason(void *arg, const char *reason, int64_t count, struct qm_error *err) {
    (void)err;
    qm_note(arg, "  %6lld  %s", (long long)count, reason);
    return QM_OK;
}

static void print_speed(const struct qm_journal_totals *t, const struct qm_journal_run *run, int runs,
                        struct qm_progress *p) {
    char text[64], energy[128] = "";
    double seconds = run->seconds > 0 ? run->seconds : 1e-9;
    if (run->joules >= 0 && t->generated > 0)
        snprintf(energy, sizeof energy, "; %.0f J, %.2f J a generated token", run->joules,
                 run->joules / (double)t->generated);
    qm_note(p,
            "%s of work in %d run%s: prompts %lld token%s (%lld cached), %.1f tokens/s; generated %lld token%s, "
            "%.1f tokens/s%s",
            qm_duration_text(run->seconds, text, sizeof text), runs, qm_s(runs), (long long)t->prompt, qm_s(t->prompt),
            (long long)t->cached, (double)(t->prompt - t->cached) / seconds, (long long)t->generated,
            qm_s(t->generated), (double)t->generated / seconds, energy);
}

static int print_prediction(struct qm_journal *j, const struct qm_journal_run *run, struct qm_progress *p,
                            struct qm_error *err) {
    struct qm_batch_prediction was;
    char about[64], low[64], high[64], took[64];
    bool found;
    int rc = qm_batch_prediction_load(j, &was, &found, err);
    if (!rc && found)
        qm_note(p, "predicted: about %s of work (%s to %s); it took %s",
                qm_duration_text(was.seconds, about, sizeof about), qm_duration_text(was.low, low, sizeof low),
                qm_duration_text(was.high, high, sizeof high), qm_duration_text(run->seconds, took, sizeof took));
    return rc;
}

/* Devices that failed, a line each. */
static int print_failures(struct qm_journal *j, struct qm_progress *p, struct qm_error *err) {
    struct qm_buf text = {0};
    bool found;
    int rc = qm_journal_get(j, "device_failures", &text, &found, err);
    for (char *rest, *line = !rc && found ? strtok_r(text.data, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest))
        qm_note(p, "a device failed, %s", line);
    qm_buf_free(&text);
    return rc;
}

int qm_batch_report(struct qm_journal *j, const char *output, struct qm_progress *p, struct qm_error *err) {
    struct qm_journal_totals t;
    struct qm_journal_run run;
    struct qm_batch_slow slow[QM_BATCH_SLOWEST];
    int runs, n;
    if (p->quiet)
        return QM_OK;
    int rc = qm_journal_totals(j, &t, err);
    if (!rc)
        rc = qm_journal_runs(j, &run, &runs, err);
    if (!rc)
        rc = qm_batch_slowest(j, slow, &n, err);
    if (rc)
        return rc;
    qm_note(p, "%s: %lld row%s, %lld failed, %lld cut%s", output, (long long)t.rows, qm_s(t.rows), (long long)t.failed,
            (long long)t.cut, t.cut ? " (at the limit of tokens)" : "");
    print_speed(&t, &run, runs, p);
    rc = print_prediction(j, &run, p, err);
    if (!rc)
        rc = print_failures(j, p, err);
    if (!rc && t.failed)
        rc = qm_journal_reasons(j, print_reason, p, err);
    for (int i = 0; i < n && t.rows > QM_BATCH_SLOWEST && !rc; i++) {
        char text[64];
        qm_note(p, "%s row %lld (%s): %s, prompt %lld, generated %lld token%s",
                i ? "            " : "the slowest:", (long long)slow[i].number, slow[i].custom_id,
                qm_duration_text(slow[i].seconds, text, sizeof text), (long long)slow[i].prompt,
                (long long)slow[i].generated, qm_s(slow[i].generated));
    }
    return rc;
}
