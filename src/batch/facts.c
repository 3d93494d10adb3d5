/* Taking them, and text. */
#include "batch/facts.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/words.h"
#include "batch/hours.h"
#include "report/numbers.h"

/* The longest prompt that is being computed. */
static int find_long(void *arg, int64_t row, const struct qm_request_view *v, struct qm_error *err) {
    struct qm_batch_facts *f = arg;
    (void)err;
    int64_t known = v->n_prompt + v->n_generated;
    if (v->state == QM_REQUEST_PREFILL && known > f->long_total) {
        f->long_row = row;
        f->long_done = v->sequence ? v->held : 0;
        f->long_total = known;
    }
    return QM_OK;
}

static double resident(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return -1;
    int n = fscanf(f, "%*s %ld", &pages);
    fclose(f);
    return n == 1 ? (double)pages * (double)sysconf(_SC_PAGESIZE) : -1;
}

void qm_batch_facts_take(struct qm_batch_facts *f, struct qm_batch_work *w, const struct qm_scheduler *s,
                         int64_t rows_known, double working, double joules) {
    struct qm_scheduler_stats st;
    qm_scheduler_stats(s, &st);
    *f = (struct qm_batch_facts){.counts = qm_batch_work_counts(w),
                                 .prefill_rate = st.prefill_rate,
                                 .decode_rate = st.decode_rate,
                                 .running = st.running,
                                 .waiting = st.waiting + st.preempted,
                                 .working = working,
                                 .joules = joules,
                                 .memory = resident()};
    f->prefill_overall = working > 0 ? (double)st.prompt_tokens / working : 0;
    f->decode_overall = working > 0 ? (double)st.generated_tokens / working : 0;
    const struct qm_batch_counts *c = &f->counts;
    f->rows_known = c->all_read || rows_known >= 0;
    f->rows = c->all_read ? c->read : rows_known;
    if (!f->rows_known)
        f->rows = c->read_bytes ? (int64_t)((double)c->read * (double)c->input_bytes / (double)c->read_bytes) : 0;
    f->left = qm_batch_work_left(w, (double)f->rows);
    qm_batch_work_each(w, find_long, f, NULL);
}

static int rows_text(const struct qm_batch_facts *f, struct qm_buf *out, struct qm_error *err) {
    const struct qm_batch_counts *c = &f->counts;
    int rc = qm_buf_printf(out, err, "%lld of %s%lld row%s", (long long)c->done, f->rows_known ? "" : "about ",
                           (long long)f->rows, qm_s(f->rows));
    if (!rc && f->rows > 0)
        rc = qm_buf_printf(out, err, " (%.0f %%)", 100.0 * (double)c->done / (double)f->rows);
    if (!rc && c->failed)
        rc = qm_buf_printf(out, err, ", %lld failed", (long long)c->failed);
    return rc;
}

static int left_text(const struct qm_batch_facts *f, struct qm_buf *out, struct qm_error *err) {
    char text[64], done[64];
    if (f->left < 0)
        return qm_buf_str(out, "not known yet", err);
    return qm_buf_printf(out, err, "about %s, done by %s%s", qm_duration_text(f->left, text, sizeof text),
                         qm_batch_soon_text((time_t)f->done_by, (time_t)f->now, done, sizeof done),
                         f->predicted ? " (predicted)" : "");
}

int qm_batch_facts_text(const struct qm_batch_facts *f, struct qm_buf *out, struct qm_error *err) {
    char text[64];
    int rc = qm_buf_str(out, "done     ", err);
    if (!rc)
        rc = rows_text(f, out, err);
    if (!rc)
        rc = qm_buf_printf(out, err, "\nrunning  %lld, waiting %lld\n", (long long)f->running, (long long)f->waiting);
    if (!rc && f->long_row)
        rc = qm_buf_printf(out, err, "prompt   row %lld: %.0f %% of %lld tokens\n", (long long)f->long_row,
                           100.0 * (double)f->long_done / (double)f->long_total, (long long)f->long_total);
    if (!rc)
        rc = qm_buf_printf(out, err,
                           "speed    prefill %.1f, decode %.1f tokens/s\n"
                           "overall  prefill %.1f, decode %.1f tokens/s\nleft     ",
                           f->prefill_rate, f->decode_rate, f->prefill_overall, f->decode_overall);
    if (!rc)
        rc = left_text(f, out, err);
    if (!rc)
        rc = qm_buf_printf(out, err, ", after %s of work\n", qm_duration_text(f->working, text, sizeof text));
    if (!rc && f->memory >= 0)
        rc = qm_buf_printf(out, err, "memory   %s", qm_bytes_text(f->memory, text, sizeof text));
    if (!rc && f->joules >= 0)
        rc = qm_buf_printf(out, err, ", energy %.0f J", f->joules);
    return rc ? rc : qm_buf_str(out, "\n", err);
}

int qm_batch_facts_line(const struct qm_batch_facts *f, struct qm_buf *out, struct qm_error *err) {
    int rc = rows_text(f, out, err);
    if (!rc && f->long_row)
        rc = qm_buf_printf(out, err, "; row %lld's prompt %.0f %% of %lld tokens", (long long)f->long_row,
                           100.0 * (double)f->long_done / (double)f->long_total, (long long)f->long_total);
    if (!rc)
        rc = qm_buf_printf(out, err, "; prefill %.1f, decode %.1f tokens/s; left: ", f->prefill_rate, f->decode_rate);
    return rc ? rc : left_text(f, out, err);
}

int qm_batch_left_keep(struct qm_journal *j, const struct qm_batch_facts *f, struct qm_error *err) {
    char text[96];
    if (f->left < 0)
        return QM_OK;
    snprintf(text, sizeof text, "%.6g %lld %lld", f->left, (long long)f->counts.done, (long long)f->rows);
    return qm_journal_set(j, "left", text, err);
}

int qm_batch_left_kept(struct qm_journal *j, double *left, struct qm_error *err) {
    struct qm_buf text = {0};
    struct qm_journal_totals t = {0};
    long long done = 0, rows = 0;
    bool found;
    *left = -1;
    int rc = qm_journal_get(j, "left", &text, &found, err);
    if (!rc)
        rc = qm_journal_totals(j, &t, err);
    if (!rc && found && (sscanf(text.data, "%lf %lld %lld", left, &done, &rows) != 3 || !isfinite(*left)))
        *left = -1;
    if (!rc && *left > 0 && rows > done && t.rows > done)
        *left *= rows > t.rows ? (double)(rows - t.rows) / (double)(rows - done) : 0;
    qm_buf_free(&text);
    return rc;
}
