/* Pages and pictures: nothing that is text becomes markup, values come where they belong, errors stay. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "report/plot.h"

static const char HOSTILE[] = "<script>alert(\"1\")</script>&amp;'\xff";
static const char SAFE[] = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;amp;'\xff";

static struct qm_page page;
static struct qm_error err;

static int begin(void **state) {
    (void)state;
    qm_page_begin(&page, "a page", ".x{top:50%}\n", &err);
    return 0;
}

static int end(void **state) {
    (void)state;
    qm_page_free(&page);
    return 0;
}

static int count(const char *what) {
    int n = 0;
    for (const char *at = page.out.data; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

static void whole(void **state) {
    (void)state;
    qm_page_element(&page, "h2", "Rows");
    assert_int_equal(qm_page_end(&page), QM_OK);
    assert_memory_equal(page.out.data, "<!doctype html>\n<html", 21);
    assert_int_equal(count("<title>a page</title>"), 1);
    assert_int_equal(count("<h1>a page</h1>"), 1);
    assert_int_equal(count(".x{top:50%}"), 1);
    assert_int_equal(count("@media(prefers-color-scheme:dark)"), 2);
    assert_int_equal(count("<h2>Rows</h2></body></html>\n"), 1);
    assert_int_equal(count("http"), 0);
}

/* Names of models, files, processors and errors come from elsewhere: wherever one can be given, it is text. */
static void hostile(void **state) {
    (void)state;
    const char *headings[] = {HOSTILE, NULL}, *device[] = {HOSTILE};
    struct qm_plot p;
    int n = 0;
    qm_page_text(&page, HOSTILE), n++;
    qm_page_textf(&page, "%s", HOSTILE), n++;
    qm_page_element(&page, "p", HOSTILE), n++;
    qm_page_table(&page, headings), n++;
    qm_page_row(&page);
    qm_page_cell(&page, HOSTILE), n++;
    qm_page_row_end(&page);
    qm_page_table_end(&page);
    qm_plot_begin(&p, &page, HOSTILE, 0, 1, 1, 100), n += 2; /* the second is its label */
    qm_plot_group(&p, HOSTILE, HOSTILE), n += 2;
    qm_plot_group_end(&p);
    qm_plot_label(&p, 0.5, 0.5, QM_PLACE_NAME, HOSTILE), n++;
    qm_plot_tick(&p, 0.5, HOSTILE), n++;
    qm_plot_end(&p);
    qm_strip_begin(&p, &page, HOSTILE, HOSTILE, 1, 20, true), n += 3;
    qm_plot_end(&p);
    qm_key_begin(&page);
    qm_key(&page, QM_BLUE, HOSTILE), n++;
    qm_key_end(&page);
    qm_plot_layers(&page, &(struct qm_layers){.name = HOSTILE,
                                              .value = HOSTILE,
                                              .what = HOSTILE,
                                              .device = device,
                                              .colour = (enum qm_colour[]){QM_BLUE},
                                              .devices = 1,
                                              .layers = 1,
                                              .share = (float[]){1}});
    n += 3 + 2; /* name, value, label; the title has two */
    assert_int_equal(qm_page_end(&page), QM_OK);
    assert_int_equal(count("<script"), 0);
    assert_int_equal(count(SAFE), n);
}

static void cells(void **state) {
    (void)state;
    qm_page_row(&page);
    qm_page_cell_number(&page, 21390.4);
    qm_page_cell_number(&page, NAN);
    qm_page_row_end(&page);
    assert_int_equal(page.rc, QM_OK);
    assert_int_equal(count("<tr><td>21390</td><td>-</td></tr>\n"), 1);
}

/* After the first error nothing is added, and it is what the page ends with. */
static void first_error(void **state) {
    (void)state;
    size_t before = page.out.len;
    struct qm_plot p;
    page.rc = qm_fail(&err, QM_INPUT, "a journal: broken");
    qm_page_text(&page, "more");
    qm_plot_begin(&p, &page, "a plot", 0, 1, 1, 100);
    qm_plot_levels(&p);
    qm_plot_end(&p);
    assert_int_equal(qm_page_end(&page), QM_INPUT);
    assert_string_equal(err.message, "a journal: broken");
    assert_int_equal(page.out.len, before);
}

static void axis_ends(void **state) {
    (void)state;
    assert_true(qm_axis_end(3.7) == 4);
    assert_true(qm_axis_end(3.9) == 5);
    assert_true(qm_axis_end(100) == 120);
    assert_float_equal(qm_axis_end(0.0031), 0.004, 1e-12);
    for (double most = 1e-9; most < 1e15; most *= 1.37) {
        double top = qm_axis_end(most);
        assert_true(top >= most * 1.04 && top <= most * 2);
    }
}

static void plot(void **state) {
    (void)state;
    struct qm_plot p;
    qm_plot_begin(&p, &page, "a plot", 10, 20, 8, 200);
    qm_plot_levels(&p);
    qm_plot_ticks(&p);
    qm_plot_bar(&p, QM_GREEN, 12, 2, 1, 4);
    qm_plot_line(&p, QM_BLUE, QM_STROKE_DASHED, (double[]){10, 12, 15, 20}, (double[]){0, NAN, 4, 8}, 4);
    qm_plot_steps(&p, QM_RED, (struct qm_plot_step[]){{10, 12, 4}, {15, 20, 8}}, 2);
    qm_plot_dot(&p, QM_TEAL, 15, 4, false);
    qm_plot_label(&p, 15, 4, QM_PLACE_ABOVE, "half");
    qm_plot_end(&p);
    assert_int_equal(page.rc, QM_OK);
    assert_int_equal(count("viewBox=\"0 0 1000 200\""), 1);
    assert_int_equal(count("<span class=\"y\" style=\"bottom:25%\">2</span>"), 1);
    assert_int_equal(count("<span class=\"y\""), 5);
    assert_int_equal(count("<span style=\"left:50.00%\">15</span>"), 1);
    assert_int_equal(count("<rect class=\"c1\" x=\"200.00\" y=\"50.00\" width=\"100.00\" height=\"100.00\"/>"), 1);
    assert_int_equal(count("<path class=\"dash c0\" d=\"M0.00 200.00L500.00 100.00L1000.00 0.00\"/>"), 1);
    assert_int_equal(count("d=\"M0 200H0.00V100.00H200.00V200H500.00V0.00H1000.00V200Z\""), 1);
    assert_int_equal(count("<path class=\"dot c5\" d=\"M500.00 100.00h.001\"/>"), 1);
    assert_int_equal(count("<span class=\"on\" style=\"left:50.00%;bottom:50.00%\">half</span>"), 1);
}

/* What is not known is not drawn, and nothing is divided by nothing. */
static void not_finite(void **state) {
    (void)state;
    struct qm_plot p;
    qm_plot_begin(&p, &page, "a plot", 5, 5, 0, 200);
    size_t before = page.out.len;
    qm_plot_bar(&p, QM_GREEN, 5, 0, NAN, 1);
    qm_plot_bar(&p, QM_GREEN, 5, 0, 0, 1);
    qm_plot_line(&p, QM_BLUE, QM_STROKE_LINE, (double[]){5, NAN}, (double[]){INFINITY, 1}, 2);
    qm_plot_dot(&p, QM_BLUE, 5, NAN, true);
    qm_plot_label(&p, NAN, 1, QM_PLACE_IN, "x");
    assert_int_equal(page.out.len, before);
    qm_plot_dot(&p, QM_BLUE, 5, 1, false);
    qm_plot_end(&p);
    assert_int_equal(count("M500.00 200.00h"), 1);
    assert_int_equal(count("nan") + count("inf\""), 0);
}

static void groups(void **state) {
    (void)state;
    struct qm_plot p;
    qm_strip_begin(&p, &page, "cpu", "1 of 2 GiB", 2, 20, true);
    qm_plot_group(&p, "row 7", "row-7");
    qm_plot_bar(&p, QM_BLUE, 0, 0, 1, 1);
    qm_plot_group_end(&p);
    qm_plot_end(&p);
    assert_int_equal(count("<p class=\"name\"><span>cpu</span><span>1 of 2 GiB</span></p>"), 1);
    assert_int_equal(count("<svg class=\"full\""), 1);
    assert_int_equal(count("<a href=\"#row-7\"><g><title>row 7</title><rect class=\"c0\" x=\"0.00\" y=\"0.00\" "
                           "width=\"500.00\" height=\"20.00\"/></g></a>\n</svg></div>\n"),
                     1);
}

static void layers(void **state) {
    (void)state;
    const char *device[] = {"cpu", "gpu"};
    qm_plot_layers(&page, &(struct qm_layers){.name = "a model",
                                              .value = "",
                                              .what = "experts",
                                              .device = device,
                                              .colour = (enum qm_colour[]){QM_PALE, QM_BLUE},
                                              .devices = 2,
                                              .layers = 2,
                                              .share = (float[]){0.75f, 0.25f, 0, 1}});
    assert_int_equal(count("<title>layer 0: experts on cpu 75 %, gpu 25 %</title>"), 1);
    assert_int_equal(count("<title>layer 1: experts on gpu</title>"), 1);
    assert_int_equal(count("<rect class=\"c9\" x=\"0.00\" y=\"0.00\" width=\"498.00\" height=\"25.50\"/>"), 1);
    assert_int_equal(count("<rect class=\"c0\" x=\"0.00\" y=\"25.50\" width=\"498.00\" height=\"8.50\"/>"), 1);
    assert_int_equal(count("<rect"), 3);
}

#define ON_A_PAGE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_A_PAGE(whole), ON_A_PAGE(hostile),    ON_A_PAGE(cells),  ON_A_PAGE(first_error), cmocka_unit_test(axis_ends),
        ON_A_PAGE(plot),  ON_A_PAGE(not_finite), ON_A_PAGE(groups), ON_A_PAGE(layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
