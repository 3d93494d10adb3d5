/* The pictures of a job's report. */
#include "app/batch/charts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "batch/clock.h"
#include "batch/pace.h"
#include "report/clock_axis.h"
#include "report/numbers.h"
#include "report/plot.h"

/* Bars drawn; sequences side by side; pixels of throughput, and of a sequence. */
enum { BARS = 3000, LANES = 256, HIGH = 160, LANE = 10 };
/* A step of throughput is no shorter than this part of the job: else each chunk of a prompt is a tower of its own. */
static const double STEPS = 60;
/* Labels of the clock are this far apart, as a share of the width. */
static const double APART = 0.12;
/* What is shorter is drawn so long, as a share of the width. */
static const double PAUSE_LEAST = 0.002, BAR_LEAST = 0.0003;

/* A row's bar: when it worked. */
struct bar {
    double started, first, finished;
    int64_t number, prompt, generated;
    int lane;
    bool failed;
};

struct picture {
    struct qm_batch_pace pace;
    struct qm_clock_point *point; /* of the pace */
    struct qm_clock_axis axis;
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

/* The point after `from` that ends a step; a pause ends one too. */
static int64_t next_point(const struct picture *p, int64_t from) {
    const struct qm_journal_pace *point = p->pace.point;
    double length = (point[p->pace.n - 1].worked - point[0].worked) / STEPS;
    int64_t to = from + 1;
    if (qm_clock_axis_paused(&p->axis, from))
        return to;
    while (to < p->pace.n - 1 && point[to].worked - point[from].worked < length && !qm_clock_axis_paused(&p->axis, to))
        to++;
    /* what is left at the end is no step of its own */
    bool rest = point[p->pace.n - 1].worked - point[to].worked < length / 2;
    for (int64_t i = to; i < p->pace.n - 1 && rest; i++)
        rest = !qm_clock_axis_paused(&p->axis, i);
    return rest ? p->pace.n - 1 : to;
}

static double rate(const struct picture *p, int64_t from, int64_t to, bool prompts) {
    const struct qm_journal_pace *a = &p->pace.point[from], *b = &p->pace.point[to];
    double tokens = (double)(prompts ? b->prompt - a->prompt : b->generated - a->generated);
    return b->worked > a->worked ? tokens / (b->worked - a->worked) : 0;
}

/* The clock is the picture's width, 0 to 1. */
static double x_of(const struct picture *p, double time) {
    return qm_clock_axis_at(&p->axis, time);
}

/* The beginning of a picture: its caption, and its pauses as shades. */
static void begin_plot(const struct picture *p, struct qm_plot *plot, struct qm_page *page, const char *caption,
                       double top, int pixels) {
    qm_plot_begin(plot, page, caption, 0, 1, top, pixels);
    for (int64_t i = 0; i < p->axis.n_pauses; i++) {
        const struct qm_clock_pause *pause = &p->axis.pause[i];
        char from[64], to[64], length[64], title[256];
        double a = x_of(p, pause->from), b = x_of(p, pause->to);
        snprintf(title, sizeof title, "paused %s, from %s to %s%s",
                 qm_duration_text(pause->to - pause->from, length, sizeof length),
                 qm_batch_time_text((int64_t)pause->from, from, sizeof from),
                 qm_batch_time_text((int64_t)pause->to, to, sizeof to),
                 pause->resumed ? "; the same command resumed it" : "");
        qm_plot_group(plot, title, NULL);
        qm_plot_bar(plot, QM_SHADE, a, 0, fmax(b - a, PAUSE_LEAST), top);
        qm_plot_group_end(plot);
    }
}

/* The end of a picture: the clock's labels. */
static void end_plot(const struct picture *p, struct qm_plot *plot) {
    struct qm_clock_tick tick[QM_CLOCK_TICKS];
    int n = qm_clock_axis_ticks(&p->axis, APART, tick);
    for (int i = 0; i < n; i++)
        qm_plot_tick(plot, tick[i].at, tick[i].label);
    qm_plot_end(plot);
}

static int draw_rate(const struct picture *p, bool prompts, struct qm_page *page) {
    double most = 0;
    int64_t n = 0;
    for (int64_t i = 0, next; i < p->pace.n - 1; i = next) {
        most = fmax(most, rate(p, i, next = next_point(p, i), prompts));
        n++;
    }
    if (!(most > 0))
        return QM_OK;
    struct qm_plot_step *step = calloc((size_t)n, sizeof *step);
    if (!step)
        return qm_fail_memory(page->err, (uint64_t)n * sizeof *step, "the report");
    n = 0;
    for (int64_t i = 0, next; i < p->pace.n - 1; i = next) {
        next = next_point(p, i);
        const struct qm_journal_pace *a = &p->pace.point[i], *b = &p->pace.point[next];
        double end = p->axis.worked[next - 1] + b[-1].time;
        step[n++] = (struct qm_plot_step){x_of(p, a->time), x_of(p, fmin(end, b->time)), rate(p, i, next, prompts)};
    }
    struct qm_plot plot;
    begin_plot(p, &plot, page, prompts ? "Prompt, tokens/s" : "Generation, tokens/s", qm_axis_end(most), HIGH);
    qm_plot_levels(&plot);
    qm_plot_steps(&plot, prompts ? QM_BLUE : QM_GREEN, step, n);
    end_plot(p, &plot);
    free(step);
    return QM_OK;
}

static void draw_bar(const struct picture *p, struct qm_plot *plot, const struct bar *b) {
    double a = x_of(p, b->started), m = x_of(p, b->first), z = x_of(p, b->finished);
    double worked = qm_batch_pace_worked(&p->pace, b->finished) - qm_batch_pace_worked(&p->pace, b->started);
    double y = p->lanes - b->lane - 0.8;
    char length[64], link[32], title[256];
    snprintf(link, sizeof link, "row-%lld", (long long)b->number);
    snprintf(title, sizeof title, "row %lld: %s, prompt %lld tokens, %s %lld tokens", (long long)b->number,
             qm_duration_text(worked, length, sizeof length), (long long)b->prompt,
             b->failed ? "failed after" : "generated", (long long)b->generated);
    qm_plot_group(plot, title, b->failed ? link : NULL);
    qm_plot_bar(plot, b->failed ? QM_RED : QM_BLUE, a, y, fmax(m - a, BAR_LEAST), 0.8);
    qm_plot_bar(plot, b->failed ? QM_RED : QM_GREEN, m, y, fmax(z - m, BAR_LEAST), 0.8);
    qm_plot_group_end(plot);
}

static void draw_lanes(const struct picture *p, struct qm_page *page) {
    char caption[64];
    struct qm_plot plot;
    snprintf(caption, sizeof caption, "Sequences: %d at once", p->lanes);
    begin_plot(p, &plot, page, caption, p->lanes, p->lanes * LANE);
    for (int64_t i = 0; i < p->n_bars; i++)
        draw_bar(p, &plot, &p->bar[i]);
    end_plot(p, &plot);
    qm_key_begin(page);
    qm_page_markup(page, "A bar is a row: ");
    qm_key(page, QM_BLUE, "prompt, computed or waiting;");
    qm_key(page, QM_GREEN, "answer;");
    qm_key(page, QM_RED, "failed;");
    qm_key(page, QM_SHADE, "pause, not to scale.");
    if (p->every > 1)
        qm_page_markup(page, " One row in %lld is shown.", (long long)p->every);
    qm_key_end(page);
}

static int make_axis(struct picture *p, struct qm_error *err) {
    if (!(p->point = calloc((size_t)p->pace.n, sizeof *p->point)))
        return qm_fail_memory(err, (uint64_t)p->pace.n * sizeof *p->point, "the report");
    for (int64_t i = 0; i < p->pace.n; i++) {
        const struct qm_journal_pace *at = &p->pace.point[i];
        p->point[i] = (struct qm_clock_point){at->time, at->worked, at->run};
    }
    return qm_clock_axis_make(p->point, p->pace.n, &p->axis, err);
}

static int draw(struct qm_journal *j, struct picture *p, struct qm_page *page) {
    int rc = make_axis(p, page->err);
    if (!rc)
        rc = draw_rate(p, true, page);
    if (!rc)
        rc = draw_rate(p, false, page);
    if (!rc)
        rc = qm_journal_each(j, QM_JOURNAL_BY_INPUT, false, count_row, p, page->err);
    if (rc || p->rows == 0)
        return rc;
    p->every = (p->rows + BARS - 1) / BARS;
    p->rows = 0;
    if (!(p->bar = calloc(BARS, sizeof *p->bar)))
        return qm_fail_memory(page->err, BARS * sizeof *p->bar, "the report");
    rc = qm_journal_each(j, QM_JOURNAL_BY_INPUT, false, take_row, p, page->err);
    choose_lanes(p);
    if (!rc)
        draw_lanes(p, page);
    return rc;
}

void qm_batch_charts(struct qm_journal *j, struct qm_page *page) {
    struct picture p = {0};
    if (page->rc)
        return;
    int rc = qm_batch_pace_load(j, &p.pace, page->err);
    int64_t n = p.pace.n;
    if (!rc && n >= 2 && p.pace.point[n - 1].worked > p.pace.point[0].worked)
        rc = draw(j, &p, page);
    page->rc = page->rc ? page->rc : rc;
    qm_clock_axis_free(&p.axis);
    qm_batch_pace_free(&p.pace);
    free(p.point);
    free(p.bar);
}
