/* The report as a page: one file, nothing loaded, nothing executed. Time is time at work: pauses, and what lies between
 * runs, are left out by what the journal says of the job's pace, which throughput is drawn from, too. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/batch/clock.h"
#include "app/batch/pace.h"
#include "app/batch/report.h"
#include "app/batch/show.h"
#include "app/html.h"
#include "base/file.h"

enum { WIDTH = 860, LEFT = 60, RIGHT = 20, CHART = 180, TOP = 10, FOOT = 30, BARS = 3000, LANES = 256, LANE = 10 };
/* A step of throughput is no shorter than this part of the job: else each chunk of a prompt is a tower of its own. */
static const double STEPS = 60;

static const char STYLE[] =
    "body{max-width:62em}td,th{text-align:left}\n"
    ".wide svg{min-width:640px}\n"
    ".axis{fill:none}.run{stroke:#999;stroke-dasharray:3 3}.p{fill:#36a}.a{fill:#2a8}\n"
    "b.p,b.a{display:inline-block;width:.8em;height:.8em}b.p{background:#36a}b.a{background:#2a8}\n";

/* A row: when it was at work, in seconds of work. */
struct bar {
    double started, first, finished;
    int64_t number, prompt, generated;
    int lane;
};

struct page {
    struct qm_batch_pace pace;
    double end; /* seconds of work */
    struct bar *bar;
    int64_t n_bars, rows, every; /* every so many-th row has a bar */
    int lanes;
};

static bool ran(const struct qm_journal_row *row) {
    return row->started > 0 && row->finished >= row->started;
}

static int count_row(void *arg, const struct qm_journal_row *row, struct qm_error *err) {
    (void)err;
    ((struct page *)arg)->rows += ran(row);
    return QM_OK;
}

static int take_row(void *arg, const struct qm_journal_row *row, struct qm_error *err) {
    struct page *p = arg;
    (void)err;
    if (ran(row) && p->rows++ % p->every == 0 && p->n_bars < BARS)
        p->bar[p->n_bars++] =
            (struct bar){.started = qm_batch_pace_worked(&p->pace, row->started),
                         .first = qm_batch_pace_worked(&p->pace, fmin(fmax(row->first, row->started), row->finished)),
                         .finished = qm_batch_pace_worked(&p->pace, row->finished),
                         .number = row->number,
                         .prompt = row->prompt,
                         .generated = row->generated};
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
    return LEFT + (WIDTH - LEFT - RIGHT) * t / p->end;
}

/* Times that people count in, at most eight of them. */
static double time_step(double seconds) {
    static const double steps[] = {.001, .002, .005, .01, .02, .05, .1,   .2,   .5,   1,    2,     5,     10,
                                   20,   30,   60,   120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600, 43200};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (seconds / steps[i] <= 8)
            return steps[i];
    return 86400 * ceil(seconds / 86400 / 8);
}

static int time_axis(const struct page *p, struct qm_buf *out, int y, struct qm_error *err) {
    double step = time_step(p->end);
    const char *unit = step < 60 ? "s" : step < 3600 ? "min" : step < 86400 ? "h" : "days";
    double size = step < 60 ? 1 : step < 3600 ? 60 : step < 86400 ? 3600 : 86400;
    int rc = qm_buf_printf(out, err, "<path class=\"axis\" d=\"M%d %dH%d\"/>\n", LEFT, y, WIDTH - RIGHT);
    for (int i = 0; i * step <= p->end && !rc; i++)
        rc = qm_buf_printf(out, err,
                           "<path class=\"axis\" d=\"M%.1f %dv4\"/><text x=\"%.1f\" y=\"%d\" "
                           "text-anchor=\"middle\">%.4g %s</text>\n",
                           x_of(p, i * step), y, x_of(p, i * step), y + 18, i * step / size, unit);
    /* where a later run went on */
    for (int64_t i = 1; i < p->pace.n && !rc; i++)
        if (p->pace.point[i].run != p->pace.point[i - 1].run)
            rc = qm_buf_printf(out, err, "<path class=\"run\" d=\"M%.1f 0V%d\"/>\n", x_of(p, p->pace.point[i].worked),
                               y);
    return rc;
}

/* A number that can be read, not below x. */
static double round_up(double x) {
    static const double nice[] = {1, 2, 3, 4, 5, 6, 8};
    double power = pow(10, floor(log10(x)));
    for (size_t i = 0; i < sizeof nice / sizeof *nice; i++)
        if (x <= nice[i] * power)
            return nice[i] * power;
    return 10 * power;
}

/* The point after `from` that ends a step. */
static int64_t next_point(const struct page *p, int64_t from) {
    int64_t to = from + 1;
    while (to < p->pace.n - 1 && p->pace.point[to].worked - p->pace.point[from].worked < p->end / STEPS)
        to++;
    return to;
}

static double rate(const struct page *p, int64_t from, int64_t to, bool prompts) {
    const struct qm_journal_pace *a = &p->pace.point[from], *b = &p->pace.point[to];
    double tokens = (double)(prompts ? b->prompt - a->prompt : b->generated - a->generated);
    return b->worked > a->worked ? tokens / (b->worked - a->worked) : 0;
}

static int draw_rate(const struct page *p, bool prompts, struct qm_buf *out, struct qm_error *err) {
    char number[32];
    double most = 0;
    for (int64_t i = 0, next; i < p->pace.n - 1; i = next)
        most = fmax(most, rate(p, i, next = next_point(p, i), prompts));
    if (!(most > 0))
        return QM_OK;
    most = round_up(most);
    int rc =
        qm_buf_printf(out, err, "<h2>%s, tokens/s</h2>\n<div class=\"wide\"><svg viewBox=\"0 0 %d %d\" role=\"img\">\n",
                      prompts ? "Prompts" : "Answers", WIDTH, TOP + CHART + FOOT);
    for (int i = 1; i <= 2 && !rc; i++) {
        double y = TOP + CHART - CHART * i / 2.0;
        rc = qm_buf_printf(out, err,
                           "<path class=\"axis\" d=\"M%d %.1fH%d\" opacity=\".3\"/><text x=\"%d\" y=\"%.1f\" "
                           "text-anchor=\"end\">%s</text>\n",
                           LEFT, y, WIDTH - RIGHT, LEFT - 8, y + 4, qm_html_number(most * i / 2, number));
    }
    rc = rc ? rc : qm_buf_printf(out, err, "<path class=\"%s\" d=\"M%d %d", prompts ? "p" : "a", LEFT, TOP + CHART);
    for (int64_t i = 0, next; i < p->pace.n - 1 && !rc; i = next) {
        next = next_point(p, i);
        rc = qm_buf_printf(out, err, "V%.1fH%.1f", TOP + CHART * (1 - rate(p, i, next, prompts) / most),
                           x_of(p, p->pace.point[next].worked));
    }
    rc = rc ? rc : qm_buf_printf(out, err, "V%dZ\"/>\n", TOP + CHART);
    rc = rc ? rc : time_axis(p, out, TOP + CHART, err);
    return rc ? rc : qm_buf_str(out, "</svg></div>\n", err);
}

static int draw_lanes(const struct page *p, struct qm_buf *out, struct qm_error *err) {
    int height = p->lanes * LANE;
    int rc =
        qm_buf_printf(out, err, "<h2>Sequences</h2>\n<div class=\"wide\"><svg viewBox=\"0 0 %d %d\" role=\"img\">\n",
                      WIDTH, height + FOOT);
    for (int64_t i = 0; i < p->n_bars && !rc; i++) {
        const struct bar *b = &p->bar[i];
        double a = x_of(p, b->started), m = x_of(p, b->first), z = x_of(p, b->finished);
        int y = b->lane * LANE;
        rc = qm_buf_printf(out, err,
                           "<g><title>row %lld: %.1f s, %lld and %lld tokens</title><rect class=\"p\" x=\"%.1f\" "
                           "y=\"%d\" width=\"%.1f\" height=\"%d\"/><rect class=\"a\" x=\"%.1f\" y=\"%d\" "
                           "width=\"%.1f\" height=\"%d\"/></g>\n",
                           (long long)b->number, b->finished - b->started, (long long)b->prompt,
                           (long long)b->generated, a, y, fmax(m - a, .3), LANE - 2, m, y, fmax(z - m, .3), LANE - 2);
    }
    rc = rc ? rc : time_axis(p, out, height, err);
    rc = rc ? rc
            : qm_buf_str(out,
                         "</svg></div>\n<p><b class=\"p\"></b> reading the prompt, or waiting for others that do; "
                         "<b class=\"a\"></b> writing the answer. A lane is a sequence that ran beside the others.",
                         err);
    if (!rc && p->every > 1)
        rc = qm_buf_printf(out, err, " One row in %lld is drawn.", (long long)p->every);
    if (!rc && p->pace.point[0].run != p->pace.point[p->pace.n - 1].run)
        rc = qm_buf_str(out, " Dashed: there the job was resumed.", err);
    return rc ? rc : qm_buf_str(out, " Time is time at work, without pauses.</p>\n", err);
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
    char text[64], begun[64];
    int64_t created;
    int rc = qm_journal_totals(j, &t, err);
    rc = rc ? rc : qm_journal_runs(j, &run, &runs, err);
    rc = rc ? rc : qm_journal_get_int(j, "created", 0, &created, err);
    rc = rc ? rc : qm_buf_str(out, "<p>", err);
    rc = rc ? rc : qm_html_add_text(out, output, err);
    if (rc)
        return rc;
    rc = qm_buf_printf(out, err,
                       "</p>\n<div class=\"wide\"><table><tr><th>begun</th><td>%s</td></tr>\n"
                       "<tr><th>rows</th><td>%lld, %lld failed</td></tr>\n"
                       "<tr><th>prompt tokens</th><td>%lld, %lld of them shared</td></tr>\n"
                       "<tr><th>tokens written</th><td>%lld</td></tr>\n"
                       "<tr><th>work</th><td>%s in %d run%s</td></tr>\n",
                       qm_batch_time_text(created, begun, sizeof begun), (long long)t.rows, (long long)t.failed,
                       (long long)t.prompt, (long long)t.cached, (long long)t.generated,
                       qm_duration_text(run.seconds, text, sizeof text), runs, runs == 1 ? "" : "s");
    if (!rc && run.seconds > 0)
        rc = qm_buf_printf(out, err, "<tr><th>speed</th><td>%.1f and %.1f tokens/s, computed and written</td></tr>\n",
                           (double)(t.prompt - t.cached) / run.seconds, (double)t.generated / run.seconds);
    if (!rc && run.joules >= 0)
        rc = qm_buf_printf(out, err, "<tr><th>energy</th><td>%.0f J</td></tr>\n", run.joules);
    rc = rc ? rc : qm_buf_str(out, "</table></div>\n", err);
    if (rc || !t.failed)
        return rc;
    rc = qm_buf_str(out, "<h2>Failures</h2>\n<div class=\"wide\"><table><tr><th>rows</th><th>reason</th></tr>\n", err);
    rc = rc ? rc : qm_journal_reasons(j, reason_row, out, err);
    return rc ? rc : qm_buf_str(out, "</table></div>\n", err);
}

static int slow_table(struct qm_journal *j, struct qm_buf *out, struct qm_error *err) {
    struct qm_batch_slow slow[QM_BATCH_SLOWEST];
    int n, rc = qm_batch_slowest(j, slow, &n, err);
    if (rc || n == 0)
        return rc;
    rc = qm_buf_str(
        out,
        "<h2>Slowest rows</h2>\n<div class=\"wide\"><table><tr><th>row</th><th>custom_id</th><th>seconds</th>"
        "<th>prompt tokens</th><th>answer tokens</th></tr>\n",
        err);
    for (int i = 0; i < n && !rc; i++) {
        rc = qm_buf_printf(out, err, "<tr><td>%lld</td><td>", (long long)slow[i].number);
        rc = rc ? rc : qm_html_add_text(out, slow[i].custom_id, err);
        rc = rc ? rc
                : qm_buf_printf(out, err, "</td><td>%.1f</td><td>%lld</td><td>%lld</td></tr>\n", slow[i].seconds,
                                (long long)slow[i].prompt, (long long)slow[i].generated);
    }
    return rc ? rc : qm_buf_str(out, "</table></div>\n", err);
}

static int draw(struct qm_journal *j, struct page *p, struct qm_buf *out, struct qm_error *err) {
    int rc = qm_batch_pace_load(j, &p->pace, err);
    p->end = p->pace.n ? p->pace.point[p->pace.n - 1].worked : 0;
    if (rc || p->pace.n < 2 || !(p->end > 0))
        return rc;
    rc = draw_rate(p, true, out, err);
    rc = rc ? rc : draw_rate(p, false, out, err);
    rc = rc ? rc : qm_journal_each(j, QM_JOURNAL_BY_INPUT, false, count_row, p, err);
    if (rc || p->rows == 0)
        return rc;
    p->every = (p->rows + BARS - 1) / BARS;
    p->rows = 0;
    if (!(p->bar = calloc(BARS, sizeof *p->bar)))
        return qm_fail_memory(err, BARS * sizeof *p->bar, "the report");
    rc = qm_journal_each(j, QM_JOURNAL_BY_INPUT, false, take_row, p, err);
    choose_lanes(p);
    return rc ? rc : draw_lanes(p, out, err);
}

int qm_batch_report_html(struct qm_journal *j, const char *output, const char *path, struct qm_error *err) {
    struct qm_buf out = {0};
    struct page p = {0};
    int rc = qm_html_add_head(&out, "quietmind batch", STYLE, err);
    rc = rc ? rc : totals_table(j, output, &out, err);
    rc = rc ? rc : draw(j, &p, &out, err);
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
    qm_batch_pace_free(&p.pace);
    free(p.bar);
    qm_buf_free(&out);
    return rc;
}
