/* The answer as one page: bars of memory, a strip of layers by device, tokens/s over depth. One file, no network,
 * nothing executed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/out.h"
#include "app/plan/plan.h"
#include "base/size.h"
#include "report/numbers.h"
#include "report/plot.h"

/* Pixels. */
enum { BAR = 26 };

_Static_assert((int)QM_MAX_DEVICES - 1 <= (int)QM_SERIES, "a device without a colour");

struct part {
    const char *name;
    enum qm_colour colour;
    uint64_t bytes;
};
enum { PARTS = 6 };

static void parts_of(const struct qm_plan_answer *a, int device, struct part out[PARTS]) {
    const struct qm_device_memory *m = &a->memory[device];
    const struct part parts[PARTS] = {{"weights", QM_BLUE, m->weights},
                                      {"keys and values", QM_GREEN, m->kv},
                                      {"activations", QM_ORANGE, m->activations + m->maps},
                                      {"drafts", QM_TEAL, m->drafts},
                                      {"workspace", QM_PURPLE, m->workspace},
                                      {"unused parts of memory pages", QM_GREY, a->slack[device]}};
    memcpy(out, parts, sizeof parts);
}

static void memory_bar(struct qm_page *page, const struct qm_plan_ask *ask, const struct qm_plan_answer *a, int d) {
    struct part part[PARTS];
    struct qm_plot plot;
    char value[64];
    double at = 0;
    parts_of(a, d, part);
    snprintf(value, sizeof value, "%.2f of %.2f GiB", qm_gib(a->memory[d].total + a->slack[d]),
             qm_gib(a->available[d]));
    qm_strip_begin(&plot, page, qm_plan_device_name(ask->speed, d), value, (double)a->available[d], BAR, true);
    for (int i = 0; i < PARTS && a->available[d]; i++) {
        char title[96];
        snprintf(title, sizeof title, "%s: %.2f GiB", part[i].name, qm_gib(part[i].bytes));
        qm_plot_group(&plot, title, NULL);
        qm_plot_bar(&plot, part[i].colour, at, 0, (double)part[i].bytes, 1);
        qm_plot_group_end(&plot);
        at += (double)part[i].bytes;
    }
    qm_plot_end(&plot);
}

static void memory_bars(struct qm_page *page, const struct qm_plan_ask *ask, const struct qm_plan_answer *a) {
    struct part part[PARTS];
    qm_page_markup(page, "<h2>Memory</h2>\n");
    for (int d = 0; d < a->placement.devices; d++)
        memory_bar(page, ask, a, d);
    parts_of(a, QM_DEVICE_CPU, part);
    qm_key_begin(page);
    for (int i = 0; i < PARTS; i++)
        qm_key(page, part[i].colour, part[i].name);
    qm_page_markup(page, " Framed: what is available.");
    qm_key_end(page);
}

/* The share of a layer's attention, or of its FFN or experts, that a device has. */
static double efficiency_of(const struct qm_plan_answer *a, bool ffn, int64_t l, int d) {
    const struct qm_placement *p = &a->placement;
    if (!ffn)
        return p->layer[l].attention == d;
    return a->model->config.layer[l].moe
               ? (double)qm_placement_experts_on(p, l, d) / (double)p->experts
               : (double)qm_placement_columns_on(p, a->model, l, d) / (double)a->model->config.ffn;
}

static enum qm_colour colour_of(int device) {
    return device == QM_DEVICE_CPU ? QM_PALE : (enum qm_colour)(device - 1);
}

static void strips(struct qm_page *page, const struct qm_plan_ask *ask, const struct qm_plan_answer *a) {
    static const char *const names[] = {"attention, keys and values", "FFN or experts"};
    int64_t n = a->placement.layers;
    int devices = a->placement.devices;
    const char *device[QM_MAX_DEVICES];
    enum qm_colour colour[QM_MAX_DEVICES];
    float *share = calloc((size_t)n * (size_t)devices, sizeof *share);
    if (!share) {
        page->rc = page->rc ? page->rc : qm_fail_memory(page->err, (uint64_t)n * sizeof *share, "the page");
        return;
    }
    for (int d = 0; d < devices; d++) {
        device[d] = qm_plan_device_name(ask->speed, d);
        colour[d] = colour_of(d);
    }
    for (int ffn = 0; ffn < 2; ffn++) {
        for (int64_t i = 0; i < n * devices; i++)
            share[i] = (float)efficiency_of(a, ffn, i / devices, (int)(i % devices));
        qm_plot_layers(page, &(struct qm_layers){.name = names[ffn],
                                                 .value = "",
                                                 .what = names[ffn],
                                                 .device = device,
                                                 .colour = colour,
                                                 .devices = devices,
                                                 .layers = (int)n,
                                                 .share = share});
    }
    qm_key_begin(page);
    for (int d = 0; d < devices; d++)
        qm_key(page, colour[d], device[d]);
    qm_key_end(page);
    free(share);
}

static void placement(struct qm_page *page, const struct qm_plan_ask *ask, const struct qm_plan_answer *a) {
    struct qm_buf lines = {0};
    qm_page_markup(page, "<h2>Layers by device</h2>\n");
    strips(page, ask, a);
    page->rc = page->rc ? page->rc : qm_plan_placement_text(ask, a, &lines, page->err);
    qm_page_element(page, "pre", lines.data ? lines.data : "");
    qm_buf_free(&lines);
}

static void speeds(struct qm_page *page, const struct qm_plan_ask *ask, const struct qm_plan_answer *a) {
    static const char *const headings[] = {"depth", "prefill", "decode", NULL};
    char time[32];
    qm_page_markup(page, "\n<h2>Predicted tokens/s</h2>\n");
    qm_page_table(page, headings);
    for (int i = 0; i < a->n_at; i++)
        qm_page_markup(page, "<tr><td>%lld</td><td>%.1f</td><td>%.2f</td></tr>\n", (long long)a->at[i].depth,
                       a->at[i].prefill_tps, a->at[i].decode_tps);
    qm_page_table_end(page);
    double seconds = a->scenario.prefill.seconds + a->scenario.decode.seconds;
    qm_page_markup(page, "<p>Prompts %lld x %lld tokens, generated %lld tokens each: %s.</p>\n",
                   (long long)ask->scenario.sequences, (long long)ask->scenario.prompt,
                   (long long)ask->scenario.generate, qm_calculated_duration_text(seconds, time, sizeof time));
}

int qm_plan_html(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err) {
    struct qm_page page;
    char basis[1000];
    qm_page_begin(&page, "quietmind plan", "", err);
    qm_page_markup(&page, "<p>");
    qm_page_textf(&page, "%s on %s", a->name, ask->speed->name);
    for (int d = 0; d < ask->speed->devices; d++)
        if (ask->speed->device[d].emulated)
            qm_page_text(&page, " with an emulated device");
    qm_page_markup(&page, "</p>\n<p>");
    qm_plan_basis(ask->speed, basis, sizeof basis);
    qm_page_textf(&page, "Predicted by %s.", basis);
    qm_page_markup(&page, "</p>\n");
    memory_bars(&page, ask, a);
    placement(&page, ask, a);
    speeds(&page, ask, a);
    return qm_out_page(&page);
}
