/* A comparison as one page: bars with their spread beside the prediction, tokens/s over depth, joules against speed,
 * which layers are on which device, and the numbers. One file, nothing loaded, nothing executed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/compare/compare.h"
#include "app/html.h"
#include "app/out.h"
#include "base/size.h"
#include "base/words.h"

enum {
    WIDTH = 720,
    HEIGHT = 260,
    LEFT = 70,
    RIGHT = 20,
    TOP = 20,
    BOTTOM = 40,
    ROW = 26,
    NAMES = 190,
    NAME_ROOM = 14,
    LEGEND = 18
};

static const struct qm_html_chart CHART = {WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM};
static const char *const COLOURS[] = {"#36a", "#2a8", "#c63", "#93b", "#a80", "#288", "#c36", "#777"};
_Static_assert(sizeof COLOURS / sizeof *COLOURS == QM_COMPARE_CONFIGS, "a configuration without a colour");
static const char STYLE[] = ".bar{opacity:.85}.spread{stroke:#000;stroke-width:2}.pred{stroke:#c33;stroke-width:3}\n"
                            "body{max-width:80em}svg{max-width:60em}\n"
                            ".line{fill:none;stroke-width:2}.dash{fill:none;stroke-width:2;stroke-dasharray:6 4}\n"
                            "@media(prefers-color-scheme:dark){.spread{stroke:#fff}}\n";

/* What a chart shows: x from its least to its greatest, y from 0. */
struct frame {
    double x0, x1, y1;
};

static double x_at(const struct frame *f, double x) {
    return LEFT + (WIDTH - LEFT - RIGHT) * (f->x1 > f->x0 ? (x - f->x0) / (f->x1 - f->x0) : 0.5);
}

static double y_at(const struct frame *f, double y) {
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - y / f->y1);
}

static double known(double x) {
    return isfinite(x) ? x : 0;
}

/* A name of more than `room` bytes is cut. */
static int labelled(const struct qm_compare_config *c, double x, double y, const char *anchor, size_t room,
                    struct qm_error *err) {
    size_t n = strlen(c->name);
    bool cut = n > room;
    for (n = cut ? room : n; cut && n > 0 && ((unsigned char)c->name[n] & 0xc0) == 0x80;)
        n--;
    char name[sizeof c->name];
    snprintf(name, sizeof name, "%.*s", (int)n, c->name);
    int rc = qm_out_printf(err, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    rc = rc ? rc : qm_html_text(name, err);
    return rc ? rc
              : qm_out_printf(err, "%s%s</text>\n", cut ? "…" : "",
                              c->why_not[0]                                         ? " (predicted)"
                              : c->failed[0]                                        ? " (failed)"
                              : c->emulated && strncmp(c->name, "emulated", 8) != 0 ? " (emulated)"
                                                                                    : "");
}

static const struct qm_compare_rate *rate_of(const struct qm_compare_config *c, bool decode) {
    return decode ? &c->decode : &c->prefill;
}

/* A bar a configuration: measured, from the lowest to the highest a line across its end, the prediction a red mark. */
static int bars(const struct qm_compare_report *r, bool decode, struct qm_error *err) {
    double most = 0, wide = WIDTH - NAMES - 90;
    for (int i = 0; i < r->configs; i++) {
        const struct qm_compare_rate *k = rate_of(&r->config[i], decode);
        most = fmax(most, fmax(known(k->measured.high), known(k->predicted)));
    }
    if (!(most > 0))
        return QM_OK;
    int rc = qm_out_printf(err, "<h2>%s, tokens/s</h2>\n<div class=\"wide\"><svg viewBox=\"0 0 %d %d\" role=\"img\">\n",
                           decode ? "Generation" : "Prompt", WIDTH, r->configs * ROW + 8);
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *c = &r->config[i];
        const struct qm_compare_rate *k = rate_of(c, decode);
        const struct qm_figure *f = &k->measured;
        double y = 4 + i * ROW, x = NAMES + wide * known(f->median) / most;
        rc = labelled(c, NAMES - 8, y + 16, "end", NAME_ROOM, err);
        if (!rc && f->n)
            rc = qm_out_printf(err,
                               "<rect class=\"bar\" fill=\"%s\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"/>"
                               "<path class=\"spread\" d=\"M%.1f %.1fH%.1f\"/>",
                               COLOURS[i], NAMES, y + 2, x - NAMES, ROW - 6, NAMES + wide * f->low / most,
                               y + ROW / 2.0 - 1, NAMES + wide * f->high / most);
        if (!rc && k->predicted > 0)
            rc = qm_out_printf(err, "<path class=\"pred\" d=\"M%.1f %.1fv%d\"/>", NAMES + wide * k->predicted / most, y,
                               ROW - 2);
        char number[32];
        if (!rc)
            rc =
                qm_out_printf(err, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s%s</text>\n", WIDTH - 4, y + 16,
                              qm_html_number(f->n ? f->median : known(k->predicted), number), f->n ? "" : " predicted");
    }
    return rc ? rc
              : qm_out_text("</svg></div>\n<p>Bars: the median of the rounds; the line across: lowest to highest; red: "
                            "predicted.</p>\n",
                            err);
}

static int axes(const struct frame *f, const char *x_name, struct qm_error *err) {
    int rc = QM_OK;
    for (int i = 0; i <= 4 && !rc; i++) {
        char number[32];
        double at = f->x0 + (f->x1 - f->x0) * i / 4;
        rc = qm_html_line(&CHART, i / 4.0, qm_html_number(f->y1 * i / 4, number), err);
        rc = rc ? rc
                : qm_out_printf(err, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x_at(f, at),
                                HEIGHT - BOTTOM + 16, qm_html_number(at < 100 ? at : rint(at), number));
    }
    return rc ? rc
              : qm_out_printf(err, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", WIDTH - RIGHT, HEIGHT - 8,
                              x_name);
}

static int line(const struct qm_compare_point *at, int n, bool predicted, const char *colour, const struct frame *f,
                struct qm_error *err) {
    int rc = qm_out_printf(err, "<path class=\"%s\" stroke=\"%s\" d=\"", predicted ? "dash" : "line", colour);
    bool begun = false;
    for (int k = 0; k < n && !rc; k++) {
        double v = predicted ? at[k].predicted : at[k].measured;
        if (!isfinite(v))
            continue;
        rc = qm_out_printf(err, "%s%.1f %.1f", begun ? "L" : "M", x_at(f, at[k].depth), y_at(f, v));
        begun = true;
    }
    return rc ? rc : qm_out_text("\"/>\n", err);
}

/* Tokens/s over depth: measured a line, predicted a dashed one. */
static int curves(const struct qm_compare_report *r, bool decode, struct qm_error *err) {
    struct frame f = {INFINITY, 0, 0};
    int lines = 0;
    for (int i = 0; i < r->configs; i++) {
        const struct qm_compare_config *c = &r->config[i];
        lines += (decode ? c->n_decode_at : c->n_prefill_at) > 0;
        for (int k = 0; k < (decode ? c->n_decode_at : c->n_prefill_at); k++) {
            const struct qm_compare_point *at = decode ? &c->decode_at[k] : &c->prefill_at[k];
            f.x0 = fmin(f.x0, at->depth);
            f.x1 = fmax(f.x1, at->depth);
            f.y1 = fmax(f.y1, fmax(known(at->measured), known(at->predicted)));
        }
    }
    if (!(f.y1 > 0 && f.x1 > f.x0)) /* one depth is no curve */
        return QM_OK;
    f.y1 = qm_html_axis_end(f.y1);
    int legend = HEIGHT;
    int rc = qm_out_printf(
        err, "<h2>%s over depth, tokens/s</h2>\n<div class=\"wide\"><svg viewBox=\"0 0 %d %d\" role=\"img\">\n",
        decode ? "Generation" : "Prompt", WIDTH, HEIGHT + lines * LEGEND);
    rc = rc ? rc : axes(&f, "tokens before", err);
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *c = &r->config[i];
        const struct qm_compare_point *at = decode ? c->decode_at : c->prefill_at;
        int n = decode ? c->n_decode_at : c->n_prefill_at;
        if (n == 0)
            continue;
        rc = line(at, n, false, COLOURS[i], &f, err);
        rc = rc ? rc : line(at, n, true, COLOURS[i], &f, err);
        for (int k = 0; k < n && !rc; k++)
            rc = qm_out_printf(err, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>", x_at(&f, at[k].depth),
                               y_at(&f, known(at[k].measured)), COLOURS[i]);
        if (!rc)
            rc = qm_out_printf(err, "<rect x=\"%d\" y=\"%d\" width=\"10\" height=\"10\" fill=\"%s\"/>\n", LEFT, legend,
                               COLOURS[i]);
        rc = rc ? rc : labelled(c, LEFT + 16, legend + 10, "start", sizeof c->name, err);
        legend += LEGEND;
    }
    return rc ? rc : qm_out_text("</svg></div>\n<p>Lines: measured; dashed: predicted.</p>\n", err);
}

/* A dot a configuration. What was not measured is a ring where the planner knows the watts. */
static int joules(const struct qm_compare_report *r, struct qm_error *err) {
    struct frame f = {0, 0, 0};
    for (int i = 0; i < r->configs; i++) {
        const struct qm_compare_config *c = &r->config[i];
        double j = isfinite(c->joules_per_token) ? c->joules_per_token : c->predicted_joules;
        double v = c->decode.measured.n ? c->decode.measured.median : c->decode.predicted;
        if (!isfinite(j) || !isfinite(v))
            continue;
        f.x1 = fmax(f.x1, v);
        f.y1 = fmax(f.y1, j);
    }
    int rc = qm_out_text("<h2>Joules/token by tokens/s</h2>\n", err);
    if (rc || !(f.x1 > 0 && f.y1 > 0))
        return rc ? rc : qm_out_text("<p>No joules could be read or predicted on this machine.</p>\n", err);
    f.x1 = qm_html_axis_end(f.x1);
    f.y1 = qm_html_axis_end(f.y1);
    rc = qm_out_printf(err, "<div class=\"wide\"><svg viewBox=\"0 0 %d %d\" role=\"img\">\n", WIDTH, HEIGHT);
    rc = rc ? rc : axes(&f, "tokens/s, generation", err);
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *c = &r->config[i];
        bool measured = isfinite(c->joules_per_token);
        double j = measured ? c->joules_per_token : c->predicted_joules;
        double v = c->decode.measured.n ? c->decode.measured.median : c->decode.predicted;
        if (!isfinite(j) || !isfinite(v))
            continue;
        double x = x_at(&f, v), y = y_at(&f, j);
        rc = qm_out_printf(err, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"6\" fill=\"%s\" stroke=\"%s\"/>\n", x, y,
                           measured ? COLOURS[i] : "none", COLOURS[i]);
        const char *anchor = x < NAMES ? "start" : x > WIDTH - NAMES ? "end" : "middle";
        rc = rc ? rc : labelled(c, x, i % 2 ? y + 20 : y - 10, anchor, NAME_ROOM, err);
    }
    return rc ? rc : qm_out_text("</svg></div>\n<p>Dots: measured; rings: predicted.</p>\n", err);
}

/* Layers from left to right: above the attention's device, below how much of the FFN or the experts is on devices. */
static int strips(const struct qm_compare_report *r, struct qm_error *err) {
    bool any = false;
    int rc = QM_OK;
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *c = &r->config[i];
        double wide = c->n_layers ? (double)(WIDTH - NAMES - 10) / c->n_layers : 0;
        if (!c->n_layers)
            continue;
        rc = any ? QM_OK : qm_out_text("<h2>Where layers are</h2>\n", err);
        any = true;
        rc = rc ? rc : qm_out_printf(err, "<div class=\"wide\"><svg viewBox=\"0 0 %d 40\" role=\"img\">\n", WIDTH);
        rc = rc ? rc : labelled(c, NAMES - 8, 22, "end", NAME_ROOM, err);
        for (int l = 0; l < c->n_layers && !rc; l++) {
            const struct qm_compare_layer *at = &c->layer[l];
            double x = NAMES + wide * l, filled = 16 * (double)at->away;
            rc = qm_out_printf(err,
                               "<g><title>layer %d: attention on %s, %.0f %% of the rest on devices</title>"
                               "<rect x=\"%.2f\" y=\"2\" width=\"%.2f\" height=\"16\" fill=\"%s\"/>"
                               "<rect x=\"%.2f\" y=\"20\" width=\"%.2f\" height=\"16\" fill=\"#ccc\"/>"
                               "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\"/></g>\n",
                               l, at->attention ? "a device" : "the CPU", 100 * (double)at->away, x, wide * 0.92,
                               at->attention ? COLOURS[i] : "#ccc", x, wide * 0.92, x, 36 - filled, wide * 0.92, filled,
                               COLOURS[i]);
        }
        rc = rc ? rc : qm_out_text("</svg></div>\n<pre>", err);
        rc = rc ? rc : qm_html_text(c->placement, err);
        rc = rc ? rc : qm_out_text("</pre>\n", err);
    }
    return rc || !any ? rc : qm_out_text("<p>Above: attention; below: FFN or experts; grey: on the CPU.</p>\n", err);
}

static int number_cell(double x, struct qm_error *err) {
    char number[32];
    return isfinite(x) ? qm_out_printf(err, "<td>%s</td>", qm_html_number(x, number)) : qm_out_text("<td>-</td>", err);
}

static int table(const struct qm_compare_report *r, const struct qm_compare_report *before, struct qm_error *err) {
    int rc =
        qm_out_printf(err,
                      "<h2>Numbers</h2>\n<div class=\"wide\"><table><tr><th>configuration</th><th>prompt, "
                      "tokens/s</th><th>predicted</th>"
                      "<th>generation, tokens/s</th><th>predicted</th>%s<th>first token, s</th><th>GB/s</th>"
                      "<th>of limit, %%</th><th>J/token</th><th>W</th><th>°C</th><th>fan, rpm</th>"
                      "<th>max KL, nats</th><th>answers</th>%s</tr>\n",
                      before ? "<th>generation, before</th>" : "", r->job[0] ? "<th>job, s</th><th>job, J</th>" : "");
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *c = &r->config[i], *old = before ? qm_compare_find(before, c->name) : NULL;
        rc = qm_out_text("<tr><td>", err);
        rc = rc ? rc : qm_html_text(c->name, err);
        rc = rc ? rc
                : qm_out_printf(err, "%s</td>",
                                c->why_not[0]  ? " (not run)"
                                : c->failed[0] ? " (failed)"
                                : c->emulated  ? " (emulated)"
                                               : "");
        const double cells[] = {c->prefill.measured.median, c->prefill.predicted, c->decode.measured.median,
                                c->decode.predicted};
        const double more[] = {c->first.measured.median,
                               c->gb_s,
                               100 * c->decode_share,
                               c->joules_per_token,
                               c->watts,
                               c->celsius,
                               c->fan_rpm,
                               c->agreement.kl_max};
        for (size_t k = 0; k < sizeof cells / sizeof *cells && !rc; k++)
            rc = number_cell(cells[k], err);
        if (!rc && before)
            rc = number_cell(old ? old->decode.measured.median : NAN, err);
        for (size_t k = 0; k < sizeof more / sizeof *more && !rc; k++)
            rc = number_cell(more[k], err);
        if (!rc)
            rc = qm_out_printf(err, "<td>%s</td>",
                               !c->agreement.compared              ? (i == r->reference ? "reference" : "-")
                               : c->agreement.first_difference < 0 ? "identical"
                                                                   : "differ");
        if (!rc && r->job[0])
            rc = number_cell(c->job.seconds, err);
        if (!rc && r->job[0])
            rc = number_cell(c->job.joules, err);
        rc = rc ? rc : qm_out_text("</tr>\n", err);
    }
    return rc ? rc : qm_out_text("</table></div>\n", err);
}

static int memory_row(const struct qm_compare_config *c, const char *where, uint64_t weights, uint64_t kv, double rest,
                      double total, double placed, struct qm_error *err) {
    const double cells[] = {qm_gib(weights), qm_gib(kv), rest, total, 100 * placed};
    int rc = qm_out_text("<tr><td>", err);
    rc = rc ? rc : qm_html_text(c->name, err);
    rc = rc ? rc : qm_out_text(c->why_not[0] ? " (planned)</td><td>" : "</td><td>", err);
    rc = rc ? rc : qm_html_text(where, err);
    rc = rc ? rc : qm_out_text("</td>", err);
    for (size_t k = 0; k < sizeof cells / sizeof *cells && !rc; k++)
        rc = number_cell(cells[k], err);
    return rc ? rc : qm_out_text("</tr>\n", err);
}

/* A row a device, and below them a row a NUMA node. */
static int memory(const struct qm_compare_report *r, struct qm_error *err) {
    bool nodes = false;
    int rc = qm_out_text("<h2>Memory, GiB</h2>\n<div "
                         "class=\"wide\"><table><tr><th>configuration</th><th>where</th><th>weights</th><th>keys "
                         "and values</th><th>activations, workspace</th><th>total</th><th>in place, %</th></tr>\n",
                         err);
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *c = &r->config[i];
        for (int m = 0; m < c->n_memory && !rc; m++) {
            const struct qm_compare_memory *at = &c->memory[m];
            rc = memory_row(c, at->device, at->weights, at->kv, qm_gib(at->activations + at->workspace),
                            qm_gib(at->total), NAN, err);
        }
        for (int k = 0; k < c->n_nodes && c->n_nodes > 1 && !rc; k++) {
            const struct qm_compare_node *at = &c->node[k];
            char name[32];
            nodes = true;
            snprintf(name, sizeof name, "node %d", at->number);
            rc = memory_row(c, name, at->weights, at->kv, NAN, qm_gib(at->weights + at->kv), at->placed, err);
        }
    }
    rc = rc ? rc : qm_out_text("</table></div>\n", err);
    return rc || !nodes
               ? rc
               : qm_out_text("<p>Nodes: what was allocated on each, and how much of it is in place; an emulated "
                             "device's memory is part of this machine's.</p>\n",
                             err);
}

static int head(const struct qm_compare_report *r, const struct qm_compare_report *before, struct qm_error *err) {
    int rc = qm_html_head("quietmind compare", STYLE, err);
    const char *texts[] = {"<p>", r->model, "; ", r->machine, ", ", r->isa, "; quietmind ", r->build, "; ", r->when};
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !rc; i++)
        rc = i ? qm_html_text(texts[i], err) : qm_out_text(texts[i], err);
    if (!rc)
        rc = qm_out_printf(
            err,
            "<br>%d prompt%s, %lld tokens together, each answered with %lld tokens; %d round%s; %s, within %g "
            "nats%s</p>\n",
            r->prompts, qm_s(r->prompts), (long long)r->prompt_tokens, (long long)r->generate, r->rounds,
            qm_s(r->rounds), r->agree ? "the answers agree" : "the answers do not agree", r->bound,
            r->reopened ? "; loaded in turn, since they do not fit side by side" : "");
    if (rc || !before)
        return rc;
    rc = qm_out_text("<p>before: ", err);
    rc = rc ? rc : qm_html_text(before->machine, err);
    rc = rc ? rc : qm_out_text(", ", err);
    rc = rc ? rc : qm_html_text(before->when, err);
    return rc ? rc : qm_out_text("</p>\n", err);
}

int qm_compare_html(const struct qm_compare_report *r, const struct qm_compare_report *before, struct qm_error *err) {
    int rc = head(r, before, err);
    rc = rc ? rc : bars(r, true, err);
    rc = rc ? rc : bars(r, false, err);
    rc = rc ? rc : curves(r, true, err);
    rc = rc ? rc : curves(r, false, err);
    rc = rc ? rc : joules(r, err);
    rc = rc ? rc : strips(r, err);
    rc = rc ? rc : table(r, before, err);
    rc = rc ? rc : memory(r, err);
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *c = &r->config[i];
        if (!c->why_not[0] && !c->failed[0])
            continue;
        rc = qm_out_text("<p>", err);
        rc = rc ? rc : qm_html_text(c->name, err);
        rc = rc ? rc : qm_out_text(c->why_not[0] ? " was not run: " : " failed in ", err);
        rc = rc ? rc : qm_html_text(c->why_not[0] ? c->why_not : c->failed, err);
        rc = rc ? rc : qm_out_text("</p>\n", err);
    }
    return rc ? rc : qm_out_text("</body></html>\n", err);
}
