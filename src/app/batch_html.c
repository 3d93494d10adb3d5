/* The report as a page: one file, nothing loaded, nothing executed. Throughput is drawn from the rows themselves: a
 * row's prompt over the time until its first token, its answer over the time after. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/batch_report.h"
#include "app/batch_show.h"
#include "app/html.h"
#include "base/file.h"

enum { WIDTH = 860, LEFT = 60, RIGHT = 10, CHART = 180, BINS = 200, BARS = 3000, LANES = 256, LANE = 10 };

static const char STYLE[] = "body{max-width:62em}td,th{text-align:left}\n"
                            ".axis{fill:none}.p{fill:#36a}.a{fill:#2a8}.f{fill:#c33}\n";

struct bar {
    double started, first, finished;
    int64_t number;
    bool failed;
    int lane;
};

struct page {
    double begin, end;
    double prompt[BINS], answer[BINS]; /* tokens */
    struct bar *bar;
    int64_t n_bars, rows, every; /* every so many-th row has a bar */
    int lanes;
};

static int find_span(void *arg, const struct qm_journal_row *row, struct qm_error *err) {
    struct page *p = arg;
    (void)err;
    if (row->started <= 0 || !(row->finished >= row->started))
        return QM_OK;
    p->rows++;
    p->begin = p->begin <= 0 || row->started < p->begin ? row->started : p->begin;
    p->end = row->finished > p->end ? row->finished : p->end;
    return QM_OK;
}

/* Shares `tokens` out over the bins between two times. */
static void spread(const struct page *p, double *bins, double from, double to, double tokens) {
    double width = (p->end - p->begin) / BINS;
    from = (from - p->begin) / width;
    to = (to - p->begin) / width;
    if (!(from >= 0) || !(to <= BINS) || !(to > from)) {
        if (from >= 0 && from <= BINS)
            bins[from < BINS ? (int)from : BINS - 1] += tokens;
        return;
    }
    for (int i = (int)from; i < BINS && i < to; i++)
        bins[i] += tokens * (fmin(to, i + 1) - fmax(from, i)) / (to - from);
}

static int take_row(void *arg, const struct qm_journal_row *row, struct qm_error *err) {
    struct page *p = arg;
    (void)err;
    if (row->started <= 0 || !(row->finished >= row->started))
        return QM_OK;
    double first = fmin(fmax(row->first, row->started), row->finished);
    spread(p, p->prompt, row->started, first, (double)(row->prompt - row->cached));
    spread(p, p->answer, first, row->finished, (double)row->generated);
    if (p->rows++ % p->every == 0 && p->n_bars < BARS)
        p->bar[p->n_bars++] = (struct bar){row->started, first, row->finished, row->number, row->reason != NULL, 0};
    return QM_OK;
}

static int by_start(const void *a, const void *b) {
    double x = ((const struct bar *)a)->started, y = ((const struct bar *)b)->started;
    return (x > y) - (x < y);
}

/* Each bar in the first lane that is free. */
static void choose_lanes(struct page *p) {
    double busy[LANES];
    qsort(p->bar, (size_t)p->n_bars, sizeof *p->bar, by_start);
    for (int64_t i = 0; i < p->n_bars; i++) {
        int lane = 0;
        while (lane < p->lanes && busy[lane] > p->bar[i].started)
            lane++;
        lane = lane < LANES ? lane : LANES - 1;
        p->bar[i].lane = lane;
        busy[lane] = p->bar[i].finished;
        p->lanes = lane + 1 > p->lanes ? lane + 1 : p->lanes;
    }
}

static double x_of(const struct page *p, double t) {
    return LEFT + (WIDTH - LEFT - RIGHT) * (t - p->begin) / (p->end - p->begin);
}

static int time_axis(const struct page *p, struct qm_buf *out, int y, struct qm_error *err) {
    int rc = qm_buf_printf(out, err, "<path class=\"axis\" d=\"M%d %dH%d\"/>\n", LEFT, y, WIDTH - RIGHT);
    for (int i = 0; i <= 4 && !rc; i++) {
        double t = p->begin + (p->end - p->begin) * i / 4;
        char text[64];
        rc = qm_buf_printf(out, err, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%s</text>\n", x_of(p, t), y + 15,
                           i == 4 ? "end" : "middle", qm_duration_text(t - p->begin, text, sizeof text));
    }
    return rc;
}

static int draw_rate(const struct page *p, const double *bins, const char *class, const char *title, struct qm_buf *out,
                     struct qm_error *err) {
    char number[32];
    double most = 0, width = (p->end - p->begin) / BINS, step = (double)(WIDTH - LEFT - RIGHT) / BINS;
    for (int i = 0; i < BINS; i++)
        most = fmax(most, bins[i] / width);
    if (!(most > 0))
        return QM_OK;
    int rc = qm_buf_printf(out, err,
                           "<h2>%s, tokens/s</h2>\n<svg viewBox=\"0 0 %d %d\" role=\"img\">\n"
                           "<text x=\"%d\" y=\"18\" text-anchor=\"end\">%s</text>\n",
                           title, WIDTH, CHART + 30, LEFT - 6, qm_html_number(most, number));
    for (int i = 0; i < BINS && !rc; i++) {
        double h = (CHART - 10) * bins[i] / width / most;
        if (h > 0)
            rc = qm_buf_printf(out, err, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                               class, LEFT + step * i, CHART - h, step, h);
    }
    rc = rc ? rc : time_axis(p, out, CHART, err);
    return rc ? rc : qm_buf_str(out, "</svg>\n", err);
}

static int draw_lanes(const struct page *p, struct qm_buf *out, struct qm_error *err) {
    int height = p->lanes * LANE;
    int rc =
        qm_buf_printf(out, err, "<h2>Sequences</h2>\n<svg viewBox=\"0 0 %d %d\" role=\"img\">\n", WIDTH, height + 30);
    for (int64_t i = 0; i < p->n_bars && !rc; i++) {
        const struct bar *b = &p->bar[i];
        double a = x_of(p, b->started), m = x_of(p, b->first), z = x_of(p, b->finished);
        int y = b->lane * LANE;
        rc = qm_buf_printf(out, err,
                           "<g><title>row %lld, %.1f s</title><rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" "
                           "height=\"%d\"/><rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/></g>\n",
                           (long long)b->number, b->finished - b->started, b->failed ? "f" : "p", a, y, fmax(m - a, .3),
                           LANE - 2, b->failed ? "f" : "a", m, y, fmax(z - m, .3), LANE - 2);
    }
    rc = rc ? rc : time_axis(p, out, height, err);
    rc = rc ? rc
            : qm_buf_str(out,
                         "</svg>\n<p>Blue: reading the prompt; green: writing the answer; red: failed. A lane is a "
                         "sequence that ran beside the others.",
                         err);
    if (!rc && p->every > 1)
        rc = qm_buf_printf(out, err, " One row in %lld is drawn.", (long long)p->every);
    return rc ? rc : qm_buf_str(out, "</p>\n", err);
}

static int reason_row(void *arg, const char *reason, int64_t count, struct qm_error *err) {
    int rc = qm_buf_printf(arg, err, "<tr><td>%lld</td><td>", (long long)count);
    rc = rc ? rc : qm_html_add_text(arg, reason, err);
    return rc ? rc : qm_buf_str(arg, "</td></tr>\n", err);
}

static int totals_table(struct qm_journal *j, const char *output, struct qm_buf *out, struct qm_error *err) {
    struct qm_journal_totals t;
    struct qm_journal_run run;
    int runs;
    char text[64];
    int rc = qm_journal_totals(j, &t, err);
    rc = rc ? rc : qm_journal_runs(j, &run, &runs, err);
    rc = rc ? rc : qm_buf_str(out, "<p>", err);
    rc = rc ? rc : qm_html_add_text(out, output, err);
    if (rc)
        return rc;
    rc = qm_buf_printf(out, err,
                       "</p>\n<table><tr><th>rows</th><td>%lld, %lld failed</td></tr>\n"
                       "<tr><th>prompt tokens</th><td>%lld, %lld of them shared</td></tr>\n"
                       "<tr><th>tokens written</th><td>%lld</td></tr>\n"
                       "<tr><th>work</th><td>%s in %d run%s</td></tr>\n",
                       (long long)t.rows, (long long)t.failed, (long long)t.prompt, (long long)t.cached,
                       (long long)t.generated, qm_duration_text(run.seconds, text, sizeof text), runs,
                       runs == 1 ? "" : "s");
    if (!rc && run.joules >= 0)
        rc = qm_buf_printf(out, err, "<tr><th>energy</th><td>%.0f J</td></tr>\n", run.joules);
    rc = rc ? rc : qm_buf_str(out, "</table>\n", err);
    if (rc || !t.failed)
        return rc;
    rc = qm_buf_str(out, "<h2>Failures</h2>\n<table><tr><th>rows</th><th>reason</th></tr>\n", err);
    rc = rc ? rc : qm_journal_reasons(j, reason_row, out, err);
    return rc ? rc : qm_buf_str(out, "</table>\n", err);
}

static int slow_table(struct qm_journal *j, struct qm_buf *out, struct qm_error *err) {
    struct qm_batch_slow slow[QM_BATCH_SLOWEST];
    int n, rc = qm_batch_slowest(j, slow, &n, err);
    rc = rc ? rc
            : qm_buf_str(out,
                         "<h2>Slowest rows</h2>\n<table><tr><th>row</th><th>custom_id</th><th>seconds</th>"
                         "<th>prompt</th><th>answer</th></tr>\n",
                         err);
    for (int i = 0; i < n && !rc; i++) {
        rc = qm_buf_printf(out, err, "<tr><td>%lld</td><td>", (long long)slow[i].number);
        rc = rc ? rc : qm_html_add_text(out, slow[i].custom_id, err);
        rc = rc ? rc
                : qm_buf_printf(out, err, "</td><td>%.1f</td><td>%lld</td><td>%lld</td></tr>\n", slow[i].seconds,
                                (long long)slow[i].prompt, (long long)slow[i].generated);
    }
    return rc ? rc : qm_buf_str(out, "</table>\n", err);
}

static int draw(struct qm_journal *j, struct page *p, struct qm_buf *out, struct qm_error *err) {
    int rc = qm_journal_each(j, QM_JOURNAL_BY_INPUT, false, find_span, p, err);
    if (rc || p->rows == 0 || !(p->end > p->begin))
        return rc;
    p->every = (p->rows + BARS - 1) / BARS;
    p->rows = 0;
    if (!(p->bar = calloc(BARS, sizeof *p->bar)))
        return qm_fail_memory(err, BARS * sizeof *p->bar, "the report");
    rc = qm_journal_each(j, QM_JOURNAL_BY_INPUT, false, take_row, p, err);
    choose_lanes(p);
    rc = rc ? rc : draw_rate(p, p->prompt, "p", "Prompts", out, err);
    rc = rc ? rc : draw_rate(p, p->answer, "a", "Answers", out, err);
    return rc ? rc : draw_lanes(p, out, err);
}

int qm_batch_report_html(struct qm_journal *j, const char *output, const char *path, struct qm_error *err) {
    struct qm_buf out = {0};
    struct page *p = calloc(1, sizeof *p);
    int rc = p ? qm_html_add_head(&out, "quietmind batch", STYLE, err) : qm_fail_memory(err, sizeof *p, "the report");
    rc = rc ? rc : totals_table(j, output, &out, err);
    rc = rc ? rc : draw(j, p, &out, err);
    rc = rc ? rc : slow_table(j, &out, err);
    rc = rc ? rc : qm_buf_str(&out, "</body></html>\n", err);
    struct qm_out file;
    if (!rc && !(rc = qm_out_open(&file, path, err))) {
        if (fwrite(out.data, 1, out.len, file.file) != out.len) {
            rc = qm_fail_errno(err, "%s", path);
            qm_out_abort(&file);
        } else {
            rc = qm_out_commit(&file, err);
        }
    }
    if (p)
        free(p->bar);
    free(p);
    qm_buf_free(&out);
    return rc;
}
