/* The rows of a bench as one page: a chart for each kind of case, tokens/s (or share of the limit) over what was
 * swept, drawn against the limit, and the table. One file, no network, nothing executed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/bench/bench.h"
#include "app/html.h"
#include "app/out.h"

enum { WIDTH = 720, HEIGHT = 300, LEFT = 70, RIGHT = 20, TOP = 20, BOTTOM = 40 };

static const struct qm_html_chart CHART = {WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM};

static const char STYLE[] = ".limit{stroke:#c33;stroke-dasharray:6 4;fill:none}.bar{fill:#36a}text.in{fill:#fff}\n"
                            "body{max-width:80em}svg{max-width:60em}td{white-space:nowrap}\n";

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

/* In the bar where it is high enough, so that the limit's line does not cross it; else above. */
static int share_text(double x, double top, double height, double percent, struct qm_error *err) {
    bool in = height >= 20;
    return qm_out_printf(err, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\"%s>%.0f %%</text>\n", x,
                         in ? top + 14 : top - 4, in ? " class=\"in\"" : "", percent);
}

/* A bar a row, the limit as a dashed line above it. */
static int draw_rows(const json_t *rows, bool kernels, int chart, int n, double most, struct qm_error *err) {
    double step = (double)(WIDTH - LEFT - RIGHT) / n, bar = step * 0.7, height = HEIGHT - TOP - BOTTOM;
    int at = 0, rc = QM_OK;
    for (size_t i = 0; i < json_array_size(rows) && !rc; i++) {
        const json_t *row = json_array_get(rows, i);
        double value, limit, x = LEFT + step * at + step * 0.15;
        char name[128];
        if (!in_chart(row, kernels, chart))
            continue;
        reached(row, kernels, &value, &limit);
        test_name(row, kernels, name, sizeof name);
        double y = TOP + height * (1 - value / most), top = TOP + height * (1 - limit / most);
        rc = qm_out_printf(err,
                           "<g><title>%s: %.5g, limit %.5g</title>"
                           "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>"
                           "<path class=\"limit\" d=\"M%.1f %.1fh%.1f\"/></g>\n",
                           name, value, limit, x, y, bar, TOP + height - y, x - step * 0.1, top, step * 0.9);
        if (!rc && n <= 16)
            rc = share_text(x + bar / 2, y, TOP + height - y, 100 * value / limit, err);
        if (!rc && n <= 16)
            rc = qm_out_printf(err, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d</text>\n", x + bar / 2,
                               HEIGHT - BOTTOM + 16, (int)i + 1);
        at++;
    }
    return rc;
}

static int draw_chart(const json_t *rows, bool kernels, int chart, const char *title, struct qm_error *err) {
    int n = 0;
    double most = 0, value, limit;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (!in_chart(row, kernels, chart))
            continue;
        reached(row, kernels, &value, &limit);
        most = fmax(most, fmax(value, limit));
        n++;
    }
    if (n == 0 || !(most > 0))
        return QM_OK;
    most = qm_html_axis_end(most);
    int rc = qm_out_printf(err, "<h2>%s</h2>\n<div class=\"wide\"><svg viewBox=\"0 0 %d %d\" role=\"img\">\n", title,
                           WIDTH, HEIGHT);
    for (int i = 0; i <= 4 && !rc; i++) {
        char number[32];
        rc = qm_html_line(&CHART, i / 4.0, qm_html_number(most * i / 4, number), err);
    }
    if (!rc)
        rc = draw_rows(rows, kernels, chart, n, most, err);
    return rc ? rc
              : qm_out_text("</svg></div>\n<p>Bars: measured, by number of the row below; dashed: the limit measured "
                            "just before and after; in percent: the share of it.</p>\n",
                            err);
}

static int table(const json_t *rows, const struct qm_column *columns, struct qm_error *err) {
    int rc = qm_out_text("<h2>Rows</h2>\n<div class=\"wide\"><table><tr><th>row</th>", err);
    for (const struct qm_column *c = columns; c->title && !rc; c++)
        rc = qm_out_printf(err, "<th>%s</th>", c->title);
    for (size_t i = 0; i < json_array_size(rows) && !rc; i++) {
        rc = qm_out_printf(err, "</tr>\n<tr><td>%zu</td>", i + 1);
        for (const struct qm_column *c = columns; c->title && !rc; c++) {
            struct qm_buf cell = {0};
            rc = c->cell(json_array_get(rows, i), &cell, err);
            if (!rc)
                rc = qm_out_text("<td>", err);
            if (!rc)
                rc = qm_html_text(cell.data ? cell.data : "", err);
            if (!rc)
                rc = qm_out_text("</td>", err);
            qm_buf_free(&cell);
        }
    }
    return rc ? rc : qm_out_text("</tr></table></div>\n", err);
}

int qm_bench_html(const json_t *rows, bool kernels, const struct qm_column *columns, struct qm_error *err) {
    static const char *const titles[2][2] = {{"Prompt, tokens/s", "Generation, tokens/s"},
                                             {"Bound by reading, GB/s", "Bound by multiply-adds, GFLOP/s"}};
    const json_t *first = json_array_get(rows, 0);
    int rc = qm_html_head("quietmind bench", STYLE, err);
    if (!rc && first && !kernels) {
        rc = qm_out_text("<p>", err);
        rc = rc ? rc : qm_html_text(text(first, "cpu_info"), err);
        rc = rc ? rc : qm_out_text(", ", err);
        rc = rc ? rc : qm_html_text(text(first, "isa"), err);
        rc = rc ? rc
                : qm_out_printf(err, ", quietmind %s, commit %s, ", text(first, "build_version"),
                                text(first, "build_commit"));
        rc = rc ? rc : qm_html_text(text(first, "test_time"), err);
        rc = rc ? rc : qm_out_text("</p>\n", err);
    }
    for (int chart = 0; chart < 2 && !rc; chart++)
        rc = draw_chart(rows, kernels, chart, titles[kernels][chart], err);
    if (!rc)
        rc = table(rows, columns, err);
    return rc ? rc : qm_out_text("</body></html>\n", err);
}
