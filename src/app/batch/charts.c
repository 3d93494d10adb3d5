/* The pictures of a job's report. */
#include "app/batch/charts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/batch/axis.h"
#include "app/batch/clock.h"
#include "app/batch/show.h"
#include "app/html.h"
#include "report/numbers.h"

/* A picture's own units, stretched to the width there is; bars drawn; sequences side by side. */
enum { WIDE = 1000, HIGH = 100, BARS = 3000, LANES = 256, LANE = 10 };
/* A step of throughput is no shorter than this part of the job: else each chunk of a prompt is a tower of its own. */
static const double STEPS = 60;
/* Labels of the clock are this far apart, as a share of the width; every other one is left out where it is narrow. */
static const double APART = 0.12;

const char qm_batch_charts_style[] =
    "figure{margin:1.5em 0}figcaption{font-weight:600}\n"
    ".plot{position:relative;margin:.8em 1.6em 0 4.2em}.plot svg{display:block;width:100%;overflow:visible}\n"
    ".plot span{position:absolute;font-size:12px;color:#555;white-space:nowrap;line-height:1}\n"
    ".y{right:100%;margin-right:.6em;transform:translateY(50%)}\n"
    ".clock{height:1.9em}.clock span{top:.5em;transform:translateX(-50%)}\n"
    ".plot path{vector-effect:non-scaling-stroke}.grid{stroke:#999;opacity:.35;fill:none}\n"
    ".pause{fill:#888;opacity:.25}.p{fill:#36a}.a{fill:#2a8}.f{fill:#c33}\n"
    ".key{font-size:13px}.key i{display:inline-block;width:.8em;height:.8em;margin-left:.6em}\n"
    ".key .p{background:#36a}.key .a{background:#2a8}.key .f{background:#c33}.key .pause{background:#888}\n"
    "@media(max-width:34em){.clock span:nth-child(even){display:none}}\n"
    "@media(prefers-color-scheme:dark){.plot span{color:#aaa}}\n";

/* A row's bar: when it worked. */
struct bar {
    double started, first, finished;
    int64_t number, prompt, generated;
    int lane;
    bool failed;
};

struct picture {
    struct qm_batch_pace pace;
    struct qm_batch_axis axis;
    struct bar *bar;
    int64_t n_bars, rows, every; /* every so many-th row has a bar */
    int lanes;
};

static bool ran(const struct qm_journal_row *row) {
    return row->started > 0 && row->finished >= row->started;
}

static int count_row(void *arg, const struct qm_journal_row *row, struct qm_error *err) {
    (void)err;
    ((struct picture *)arg)->rows += ran(row);
    return QM_OK;
}

static int take_row(void *arg, const struct qm_journal_row *row, struct qm_error *err) {
    struct picture *p = arg;
    (void)err;
    if (ran(row) && p->rows++ % p->every == 0 && p->n_bars < BARS)
        p->bar[p->n_bars++] = (struct bar){.started = row->started,
                                           .first = fmin(fmax(row->first, row->started), row->finished),
                                           .finished = row->finished,
                                           .number = row->number,
                                           .prompt = row->prompt,
                                           .generated = row->generated,
                                           .failed = row->reason != NULL};
    return QM_OK;
}

static int by_start(const void *a, const void *b) {
    double x = ((const struct bar *)a)->started, y = ((const struct bar *)b)->started;
    return (x > y) - (x < y);
}

/* Each bar in the first lane that is free. */
static void choose_lanes(struct picture *p) {
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

static double x_of(const struct picture *p, double time) {
    return WIDE * qm_batch_axis_at(&p->axis, time);
}

/* The beginning of a picture: its caption, and its pauses as shades. high: in its own units, as high in pixels. */
static int begin_plot(const struct picture *p, const char *caption, int high, int pixels, struct qm_buf *out,
                      struct qm_error *err) {
    int rc = qm_buf_printf(out, err,
                           "<figure><figcaption>%s</figcaption><div class=\"plot\"><svg viewBox=\"0 0 %d %d\" "
                           "preserveAspectRatio=\"none\" style=\"height:%dpx\" role=\"img\" aria-label=\"%s\">\n",
                           caption, WIDE, high, pixels, caption);
    for (int64_t i = 0; i < p->axis.n_pauses && !rc; i++) {
        const struct qm_batch_pause *pause = &p->axis.pause[i];
        char from[64], to[64], length[64];
        double a = x_of(p, pause->from), b = x_of(p, pause->to);
        rc = qm_buf_printf(
            out, err,
            "<rect class=\"pause\" x=\"%.2f\" width=\"%.2f\" height=\"%d\"><title>paused %s, from %s to %s%s</title>"
            "</rect>\n",
            a, fmax(b - a, 2), high, qm_duration_text(pause->to - pause->from, length, sizeof length),
            qm_batch_time_text((int64_t)pause->from, from, sizeof from),
            qm_batch_time_text((int64_t)pause->to, to, sizeof to),
            pause->resumed ? "; the same command resumed it" : "");
    }
    return rc;
}

/* A line across at a share of the height, and its number. */
static int add_level(double share, const char *number, struct qm_buf *lines, struct qm_buf *labels,
                     struct qm_error *err) {
    int rc = qm_buf_printf(lines, err, "<path class=\"grid\" d=\"M0 %.1fH%d\"/>\n", HIGH * (1 - share), WIDE);
    return rc ? rc
              : qm_buf_printf(labels, err, "<span class=\"y\" style=\"bottom:%.0f%%\">%s</span>\n", 100 * share,
                              number);
}

/* The end of a picture: the labels of its levels and of the clock. */
static int end_plot(const struct picture *p, const char *labels, struct qm_buf *out, struct qm_error *err) {
    struct qm_batch_tick tick[QM_BATCH_TICKS];
    int n = qm_batch_axis_ticks(&p->axis, APART, tick);
    int rc = qm_buf_printf(out, err, "</svg>%s</div><div class=\"plot clock\">", labels);
    for (int i = 0; i < n && !rc; i++)
        rc = qm_buf_printf(out, err, "<span style=\"left:%.2f%%\">%s</span>", 100 * tick[i].at, tick[i].label);
    return rc ? rc : qm_buf_str(out, "</div></figure>\n", err);
}

/* The point after `from` that ends a step; a pause ends one too. */
static int64_t next_point(const struct picture *p, int64_t from) {
    const struct qm_journal_pace *point = p->pace.point;
    double length = (point[p->pace.n - 1].worked - point[0].worked) / STEPS;
    int64_t to = from + 1;
    if (qm_batch_axis_paused(&p->axis, from))
        return to;
    while (to < p->pace.n - 1 && point[to].worked - point[from].worked < length && !qm_batch_axis_paused(&p->axis, to))
        to++;
    /* what is left at the end is no step of its own */
    bool rest = point[p->pace.n - 1].worked - point[to].worked < length / 2;
    for (int64_t i = to; i < p->pace.n - 1 && rest; i++)
        rest = !qm_batch_axis_paused(&p->axis, i);
    return rest ? p->pace.n - 1 : to;
}

static double rate(const struct picture *p, int64_t from, int64_t to, bool prompts) {
    const struct qm_journal_pace *a = &p->pace.point[from], *b = &p->pace.point[to];
    double tokens = (double)(prompts ? b->prompt - a->prompt : b->generated - a->generated);
    return b->worked > a->worked ? tokens / (b->worked - a->worked) : 0;
}

static int draw_rate(const struct picture *p, bool prompts, struct qm_buf *out, struct qm_error *err) {
    char number[32];
    double most = 0;
    struct qm_buf lines = {0}, labels = {0};
    for (int64_t i = 0, next; i < p->pace.n - 1; i = next)
        most = fmax(most, rate(p, i, next = next_point(p, i), prompts));
    if (!(most > 0))
        return QM_OK;
    most = qm_html_axis_end(most);
    int rc = begin_plot(p, prompts ? "Prompt, tokens/s" : "Generation, tokens/s", HIGH, 160, out, err);
    for (int i = 0; i <= 4 && !rc; i++)
        rc = add_level(i / 4.0, qm_html_number(most * i / 4, number), &lines, &labels, err);
    rc = rc ? rc : qm_buf_add(out, lines.data, lines.len, err);
    rc = rc ? rc : qm_buf_printf(out, err, "<path class=\"%s\" d=\"M0 %d", prompts ? "p" : "a", HIGH);
    for (int64_t i = 0, next; i < p->pace.n - 1 && !rc; i = next) {
        next = next_point(p, i);
        const struct qm_journal_pace *a = &p->pace.point[i], *b = &p->pace.point[next];
        double end = p->axis.worked[next - 1] + b[-1].time, high = HIGH * (1 - rate(p, i, next, prompts) / most);
        rc = qm_buf_printf(out, err, "H%.2fV%.2fH%.2fV%d", x_of(p, a->time), high, x_of(p, fmin(end, b->time)), HIGH);
    }
    rc = rc ? rc : qm_buf_str(out, "Z\"/>\n", err);
    rc = rc ? rc : end_plot(p, labels.data, out, err);
    qm_buf_free(&lines);
    qm_buf_free(&labels);
    return rc;
}

static int draw_bar(const struct picture *p, const struct bar *b, struct qm_buf *out, struct qm_error *err) {
    double a = x_of(p, b->started), m = x_of(p, b->first), z = x_of(p, b->finished);
    double worked = qm_batch_pace_worked(&p->pace, b->finished) - qm_batch_pace_worked(&p->pace, b->started);
    char length[64], link[48] = "";
    int y = b->lane * LANE;
    if (b->failed)
        snprintf(link, sizeof link, "<a href=\"#row-%lld\">", (long long)b->number);
    return qm_buf_printf(out, err,
                         "%s<g><title>row %lld: %s, prompt %lld tokens, %s %lld tokens</title><rect class=\"%s\" "
                         "x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\"/><rect class=\"%s\" x=\"%.2f\" y=\"%d\" "
                         "width=\"%.2f\" height=\"%d\"/></g>%s\n",
                         link, (long long)b->number, qm_duration_text(worked, length, sizeof length),
                         (long long)b->prompt, b->failed ? "failed after" : "generated", (long long)b->generated,
                         b->failed ? "f" : "p", a, y, fmax(m - a, .3), LANE - 2, b->failed ? "f" : "a", m, y,
                         fmax(z - m, .3), LANE - 2, b->failed ? "</a>" : "");
}

static int draw_lanes(const struct picture *p, struct qm_buf *out, struct qm_error *err) {
    char label[64];
    int high = p->lanes * LANE;
    snprintf(label, sizeof label, "Sequences: %d at once", p->lanes);
    int rc = begin_plot(p, label, high, high, out, err);
    for (int64_t i = 0; i < p->n_bars && !rc; i++)
        rc = draw_bar(p, &p->bar[i], out, err);
    rc = rc ? rc : end_plot(p, "", out, err);
    rc = rc ? rc
            : qm_buf_str(out,
                         "<p class=\"key\">A bar is a row: <i class=\"p\"></i> prompt, computed or waiting; "
                         "<i class=\"a\"></i> answer; <i class=\"f\"></i> failed; <i class=\"pause\"></i> pause, "
                         "not to scale.",
                         err);
    if (!rc && p->every > 1)
        rc = qm_buf_printf(out, err, " One row in %lld is shown.", (long long)p->every);
    return rc ? rc : qm_buf_str(out, "</p>\n", err);
}

static int draw(struct qm_journal *j, struct picture *p, struct qm_buf *out, struct qm_error *err) {
    int rc = qm_batch_axis_make(&p->pace, &p->axis, err);
    rc = rc ? rc : draw_rate(p, true, out, err);
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

int qm_batch_charts(struct qm_journal *j, struct qm_buf *out, struct qm_error *err) {
    struct picture p = {0};
    int rc = qm_batch_pace_load(j, &p.pace, err);
    int64_t n = p.pace.n;
    if (!rc && n >= 2 && p.pace.point[n - 1].worked > p.pace.point[0].worked)
        rc = draw(j, &p, out, err);
    qm_batch_axis_free(&p.axis);
    qm_batch_pace_free(&p.pace);
    free(p.bar);
    return rc;
}
