/* The rows of a bench as one page: a chart for each kind of case, tokens/s (or share of the limit) over what was
 * swept, drawn against the limit, and the table. One file, no network, nothing executed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/bench/bench.h"
#include "app/out.h"
#include "report/plot.h"

/* Pixels; so many bars are labelled, on a narrow screen and on a wide one. */
enum { HIGH = 240, LABELLED_NARROW = 6, LABELLED = 16 };

static const char STYLE[] = "body{max-width:80em}figure{max-width:56rem}td{white-space:nowrap}\n";

static double number(const json_t *row, const char *key) {
    return json_number_value(json_object_get(row, key));
}

static const char *text(const json_t *row, const char *key) {
    const char *s = json_string_value(json_object_get(row, key));
    return s ? s : "";
}

static void test_name(const json_t *row, bool kernels, char *out, size_t size) {
    if (kernels) {
        snprintf(out, size, "%s m=%.0f %.0f x %.0f, %.0f threads", text(row, "kernel"), number(row, "m"),
                 number(row, "n"), number(row, "k"), number(row, "n_threads"));
        return;
    }
    double gen = number(row, "n_gen");
    snprintf(out, size, "%s%.0f x %.0f @ d%.0f, %.0f threads", gen > 0 ? "tg" : "pp",
             gen > 0 ? gen : number(row, "n_prompt"), number(row, "n_seqs"), number(row, "n_depth"),
             number(row, "n_threads"));
}

/* What a row reached and what the limit would give, in tokens/s, or for kernels in the limit's own unit. */
static void reached(const json_t *row, bool kernels, double *value, double *limit) {
    bool read = !strcmp(text(row, "limit_by"), "read");
    *value = kernels ? number(row, read ? "gb_s" : "gflop_s") : number(row, "median_ts");
    double share = number(row, "limit_share");
    *limit = share > 0 ? *value / share : *value;
}

/* Whether the row belongs to the chart: prompts, generation; for kernels bound by reading, by multiply-adds. */
static bool in_chart(const json_t *row, bool kernels, int chart) {
    if (kernels)
        return !strcmp(text(row, "limit_by"), "read") == (chart == 0);
    return (number(row, "n_gen") > 0) == (chart == 1);
}

/* A bar a row, the limit as a dashed line above it; the share of the limit in the bar where it is high enough, so that
 * the limit's line does not cross it, else above. */
static void draw_rows(struct qm_plot *plot, const json_t *rows, bool kernels, int chart, int n) {
    int at = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double value, limit, x = at + 0.5;
        char name[128], title[192], text[32];
        if (!in_chart(row, kernels, chart))
            continue;
        reached(row, kernels, &value, &limit);
        test_name(row, kernels, name, sizeof name);
        snprintf(title, sizeof title, "%s: %.5g, limit %.5g", name, value, limit);
        qm_plot_group(plot, title, NULL);
        qm_plot_bar(plot, QM_BLUE, x - 0.35, 0, 0.7, value);
        qm_plot_line(plot, QM_RED, QM_STROKE_DASHED, (double[]){x - 0.45, x + 0.45}, (double[]){limit, limit}, 2);
        qm_plot_group_end(plot);
        at++;
        if (n > LABELLED)
            continue;
        snprintf(text, sizeof text, "%.0f %%", 100 * value / limit);
        qm_plot_label(plot, x, value, value / plot->top * HIGH >= 20 ? QM_PLACE_IN : QM_PLACE_ABOVE, text);
        snprintf(text, sizeof text, "%zu", i + 1);
        qm_plot_tick(plot, x, text);
    }
}

static void draw_chart(struct qm_page *page, const json_t *rows, bool kernels, int chart, const char *title) {
    int n = 0;
    double most = 0, value, limit;
    struct qm_plot plot;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (!in_chart(row, kernels, chart))
            continue;
        reached(row, kernels, &value, &limit);
        most = fmax(most, fmax(value, limit));
        n++;
    }
    if (n == 0 || !(most > 0))
        return;
    qm_plot_begin(&plot, page, title, 0, n, qm_axis_end(most), HIGH);
    plot.crowded = n > LABELLED_NARROW;
    qm_plot_levels(&plot);
    draw_rows(&plot, rows, kernels, chart, n);
    qm_plot_end(&plot);
    qm_page_markup(page, "<p>Bars: measured, by number of the row below; dashed: the limit measured just before and "
                         "after; in percent: the share of it.</p>\n");
}

static void table(struct qm_page *page, const json_t *rows, const struct qm_column *columns) {
    const char *headings[QM_BENCH_COLUMNS + 2] = {"row"};
    for (int i = 0; i < QM_BENCH_COLUMNS && columns[i].title; i++)
        headings[i + 1] = columns[i].title;
    qm_page_element(page, "h2", "Rows");
    qm_page_table(page, headings);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        qm_page_row(page);
        qm_page_cell_number(page, (double)(i + 1));
        for (const struct qm_column *c = columns; c->title; c++) {
            struct qm_buf cell = {0};
            page->rc = page->rc ? page->rc : c->cell(json_array_get(rows, i), &cell, page->err);
            qm_page_cell(page, cell.data ? cell.data : "");
            qm_buf_free(&cell);
        }
        qm_page_row_end(page);
    }
    qm_page_table_end(page);
}

int qm_bench_html(const json_t *rows, bool kernels, const struct qm_column *columns, struct qm_error *err) {
    static const char *const titles[2][2] = {{"Prompt, tokens/s", "Generation, tokens/s"},
                                             {"Bound by reading, GB/s", "Bound by multiply-adds, GFLOP/s"}};
    const json_t *first = json_array_get(rows, 0);
    struct qm_page page;
    qm_page_begin(&page, "quietmind bench", STYLE, err);
    if (first && !kernels) {
        qm_page_markup(&page, "<p>");
        qm_page_textf(&page, "%s, %s, quietmind %s, commit %s, %s", text(first, "cpu_info"), text(first, "isa"),
                      text(first, "build_version"), text(first, "build_commit"), text(first, "test_time"));
        qm_page_markup(&page, "</p>\n");
    }
    for (int chart = 0; chart < 2; chart++)
        draw_chart(&page, rows, kernels, chart, titles[kernels][chart]);
    table(&page, rows, columns);
    return qm_out_page(&page);
}
