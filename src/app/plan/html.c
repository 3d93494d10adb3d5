/* The answer as one page: bars of memory, a strip of layers by device, tokens/s over depth. One file, no network,
 * nothing executed. */
#include <stdio.h>
#include <string.h>

#include "app/html.h"
#include "app/out.h"
#include "app/plan/plan.h"
#include "base/size.h"

enum { WIDTH = 720, BAR = 26, STRIP = 34 };

static const char STYLE[] =
    ".full{display:block;width:100%;outline:1px solid #999}.name{margin:.6em 0 .1em;font-size:13px}\n"
    ".weights{fill:#36a}.kv{fill:#2a8}.activations{fill:#c83}.workspace{fill:#a5a}.slack{fill:#888}\n"
    ".d0{fill:#9ab}.d1{fill:#36a}.d2{fill:#2a8}.d3{fill:#c83}.d4{fill:#a5a}.d5{fill:#c33}.d6{fill:#583}.d7{fill:#068}"
    ".d8{fill:#860}\n";

/* A picture without texts, as wide as the page. */
static int begin_picture(int height, struct qm_error *err) {
    return qm_out_printf(err,
                         "<svg class=\"full\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" "
                         "style=\"height:%dpx\" role=\"img\">\n",
                         WIDTH, height, height);
}

static int memory_bar(const struct qm_plan_answer *a, int device, struct qm_error *err) {
    const struct qm_device_memory *m = &a->memory[device];
    const struct {
        const char *name;
        uint64_t bytes;
    } parts[] = {{"weights", m->weights},
                 {"kv", m->kv},
                 {"activations", m->activations + m->maps},
                 {"workspace", m->workspace},
                 {"slack", a->slack[device]}};
    double scale = a->available[device] ? WIDTH / (double)a->available[device] : 0, x = 0;
    int rc = begin_picture(BAR, err);
    for (size_t i = 0; i < sizeof parts / sizeof *parts && !rc; i++) {
        double width = scale * (double)parts[i].bytes;
        rc = qm_out_printf(err,
                           "<rect class=\"%s\" x=\"%.1f\" width=\"%.1f\" height=\"%d\"><title>%s: %.2f "
                           "GiB</title></rect>\n",
                           parts[i].name, x, width, BAR, parts[i].name, qm_gib(parts[i].bytes));
        x += width;
    }
    return rc ? rc : qm_out_text("</svg>\n", err);
}

static int memory_bars(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err) {
    int rc = qm_out_text("<h2>Memory</h2>\n", err);
    for (int d = 0; d < a->placement.devices && !rc; d++) {
        rc = qm_out_text("<p class=\"name\">", err);
        if (!rc)
            rc = qm_html_text(qm_plan_device_name(ask->speed, d), err);
        if (!rc)
            rc = qm_out_printf(err, ": %.2f of %.2f GiB</p>\n", qm_gib(a->memory[d].total + a->slack[d]),
                               qm_gib(a->available[d]));
        if (!rc)
            rc = memory_bar(a, d, err);
    }
    return rc ? rc
              : qm_out_text("<p>Weights (blue), keys and values (green), activations (orange), workspace "
                            "(purple), unused parts of memory pages (grey); the frame is what is available.</p>\n",
                            err);
}

/* The share of a layer's FFN or experts that each device has, from the top down. */
static int strip_ffn(const struct qm_plan_answer *a, int64_t l, double x, double width, struct qm_error *err) {
    const struct qm_placement *p = &a->placement;
    int rc = QM_OK;
    double y = 0;
    for (int d = 0; d < p->devices && !rc; d++) {
        bool moe = a->model->config.layer[l].moe;
        double share = moe ? (double)qm_placement_experts_on(p, l, d) / (double)p->experts
                           : (double)qm_placement_columns_on(p, a->model, l, d) / (double)a->model->config.ffn;
        if (share <= 0)
            continue;
        rc = qm_out_printf(err, "<rect class=\"d%d\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"/>\n", d, x, y,
                           width, share * STRIP);
        y += share * STRIP;
    }
    return rc;
}

static int strip(const struct qm_plan_answer *a, bool ffn, struct qm_error *err) {
    int64_t layers = a->placement.layers;
    double each = WIDTH / (double)layers, width = each > 3 ? each - 1 : each;
    int rc = qm_out_printf(err, "<p class=\"name\">%s</p>\n", ffn ? "FFN or experts" : "attention, keys and values");
    if (!rc)
        rc = begin_picture(STRIP, err);
    for (int64_t l = 0; l < layers && !rc; l++)
        rc = ffn ? strip_ffn(a, l, each * (double)l, width, err)
                 : qm_out_printf(err, "<rect class=\"d%d\" x=\"%.2f\" width=\"%.2f\" height=\"%d\"/>\n",
                                 a->placement.layer[l].attention, each * (double)l, width, STRIP);
    return rc ? rc : qm_out_text("</svg>\n", err);
}

static int strips(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err) {
    int rc = qm_out_text("<h2>Layers by device</h2>\n", err);
    if (!rc)
        rc = strip(a, false, err);
    if (!rc)
        rc = strip(a, true, err);
    if (!rc)
        rc = qm_out_text("<p>", err);
    for (int d = 0; d < a->placement.devices && !rc; d++) {
        rc = qm_out_printf(err,
                           "%s<svg width=\"12\" height=\"12\"><rect class=\"d%d\" width=\"12\" height=\"12\"/></svg> ",
                           d ? ", " : "", d);
        if (!rc)
            rc = qm_html_text(qm_plan_device_name(ask->speed, d), err);
    }
    struct qm_buf lines = {0};
    rc = rc ? rc : qm_out_text("</p>\n<pre>", err);
    rc = rc ? rc : qm_plan_placement_text(ask, a, &lines, err);
    rc = rc ? rc : qm_html_text(lines.data ? lines.data : "", err);
    qm_buf_free(&lines);
    return rc ? rc : qm_out_text("</pre>\n", err);
}

static int speeds(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err) {
    int rc = qm_out_text(
        "<h2>Predicted tokens/s</h2>\n<table><tr><th>depth</th><th>prompt</th><th>generation</th></tr>\n", err);
    for (int i = 0; i < a->n_at && !rc; i++)
        rc = qm_out_printf(err, "<tr><td>%lld</td><td>%.1f</td><td>%.2f</td></tr>\n", (long long)a->at[i].depth,
                           a->at[i].prefill_tps, a->at[i].decode_tps);
    double seconds = a->job.prefill.seconds + a->job.decode.seconds;
    return rc ? rc
              : qm_out_printf(err, "</table>\n<p>Prompts %lld x %lld tokens, generated %lld tokens each: %.1f s.</p>\n",
                              (long long)ask->job.sequences, (long long)ask->job.prompt, (long long)ask->job.generate,
                              seconds);
}

int qm_plan_html(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err) {
    int rc = qm_html_head("quietmind plan", STYLE, err);
    if (!rc)
        rc = qm_out_text("<p>", err);
    if (!rc)
        rc = qm_html_text(a->name, err);
    if (!rc)
        rc = qm_out_text(" on ", err);
    if (!rc)
        rc = qm_html_text(ask->speed->name, err);
    for (int d = 0; d < ask->speed->devices && !rc; d++)
        if (ask->speed->device[d].emulated)
            rc = qm_out_text(" with an emulated device", err);
    if (!rc)
        rc = qm_out_text("</p>\n", err);
    char basis[1000];
    qm_plan_basis(ask->speed, basis, sizeof basis);
    rc = rc ? rc : qm_out_text("<p>Predicted by ", err);
    rc = rc ? rc : qm_html_text(basis, err);
    rc = rc ? rc : qm_out_text(".</p>\n", err);
    if (!rc)
        rc = memory_bars(ask, a, err);
    if (!rc)
        rc = strips(ask, a, err);
    if (!rc)
        rc = speeds(ask, a, err);
    return rc ? rc : qm_out_text("</body></html>\n", err);
}
