/* A comparison as one page: bars with their spread beside the prediction, tokens/s over depth, joules against speed,
 * which layers are on which device, and the numbers. One file, nothing loaded, nothing executed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/compare/compare.h"
#include "app/out.h"
#include "base/size.h"
#include "base/words.h"
#include "report/numbers.h"
#include "report/plot.h"

/* Pixels of a plot, and of a bar. */
enum { HIGH = 220, BAR = 20 };

_Static_assert((int)QM_COMPARE_CONFIGS <= (int)QM_SERIES, "a configuration without a colour");
static const char STYLE[] = "body{max-width:80em}figure,.name,.strip{max-width:56rem}\n";

static double known(double x) {
    return isfinite(x) ? x : 0;
}

/* The configuration's name, and what its numbers are where they are not plain measurements. */
static const char *label(const struct qm_compare_config *c, char *out, size_t size) {
    snprintf(out, size, "%s%s", c->name,
             c->why_not[0]                                         ? " (predicted)"
             : c->failed[0]                                        ? " (failed)"
             : c->emulated && strncmp(c->name, "emulated", 8) != 0 ? " (emulated)"
                                                                   : "");
    return out;
}

static const struct qm_compare_rate *rate_of(const struct qm_compare_config *c, bool decode) {
    return decode ? &c->decode : &c->prefill;
}

static void bar(struct qm_page *page, const struct qm_compare_config *c, const struct qm_compare_rate *k, double most,
                enum qm_colour colour) {
    const struct qm_figure *f = &k->measured;
    char name[sizeof c->name + 16], number[32], value[48];
    struct qm_plot plot;
    snprintf(value, sizeof value, "%s%s",
             qm_number_text(f->n               ? f->median
                            : k->predicted > 0 ? k->predicted
                                               : NAN,
                            4, number, sizeof number),
             !f->n && k->predicted > 0 ? " predicted" : "");
    qm_strip_begin(&plot, page, label(c, name, sizeof name), value, most, BAR, false);
    if (f->n) {
        qm_plot_bar(&plot, colour, 0, 0, known(f->median), 1);
        qm_plot_line(&plot, QM_INK, QM_STROKE_LINE, (double[]){f->low, f->high}, (double[]){0.5, 0.5}, 2);
    }
    if (k->predicted > 0)
        qm_plot_line(&plot, QM_RED, QM_STROKE_LINE, (double[]){k->predicted, k->predicted}, (double[]){-0.1, 1.1}, 2);
    qm_plot_end(&plot);
}

/* A bar a configuration: measured, from the lowest to the highest a line across its end, the prediction a red mark. */
static void bars(struct qm_page *page, const struct qm_compare_report *r, bool decode) {
    double most = 0;
    for (int i = 0; i < r->configs; i++) {
        const struct qm_compare_rate *k = rate_of(&r->config[i], decode);
        most = fmax(most, fmax(known(k->measured.high), known(k->predicted)));
    }
    if (!(most > 0))
        return;
    qm_page_element(page, "h2", decode ? "Generation, tokens/s" : "Prompt, tokens/s");
    for (int i = 0; i < r->configs; i++)
        bar(page, &r->config[i], rate_of(&r->config[i], decode), most, (enum qm_colour)i);
    qm_page_markup(page, "<p>Bars: the median of the rounds; the line across: lowest to highest; red: "
                         "predicted.</p>\n");
}

static void line(struct qm_plot *plot, const struct qm_compare_point *at, int n, enum qm_colour colour) {
    double depth[QM_COMPARE_POINTS], measured[QM_COMPARE_POINTS], predicted[QM_COMPARE_POINTS];
    for (int k = 0; k < n; k++) {
        depth[k] = at[k].depth;
        measured[k] = at[k].measured;
        predicted[k] = at[k].predicted;
        qm_plot_dot(plot, colour, at[k].depth, at[k].measured, false);
    }
    qm_plot_line(plot, colour, QM_STROKE_LINE, depth, measured, n);
    qm_plot_line(plot, colour, QM_STROKE_DASHED, depth, predicted, n);
}

/* Tokens/s over depth: measured a line, predicted a dashed one. */
static void curves(struct qm_page *page, const struct qm_compare_report *r, bool decode) {
    double left = INFINITY, right = 0, top = 0;
    char name[sizeof r->config->name + 16];
    struct qm_plot plot;
    for (int i = 0; i < r->configs; i++) {
        const struct qm_compare_config *c = &r->config[i];
        for (int k = 0; k < (decode ? c->n_decode_at : c->n_prefill_at); k++) {
            const struct qm_compare_point *at = decode ? &c->decode_at[k] : &c->prefill_at[k];
            left = fmin(left, at->depth);
            right = fmax(right, at->depth);
            top = fmax(top, fmax(known(at->measured), known(at->predicted)));
        }
    }
    if (!(top > 0 && right > left)) /* one depth is no curve */
        return;
    qm_plot_begin(&plot, page, decode ? "Generation over depth, tokens/s" : "Prompt over depth, tokens/s", left, right,
                  qm_axis_end(top), HIGH);
    qm_plot_levels(&plot);
    qm_plot_ticks(&plot);
    for (int i = 0; i < r->configs; i++) {
        const struct qm_compare_config *c = &r->config[i];
        line(&plot, decode ? c->decode_at : c->prefill_at, decode ? c->n_decode_at : c->n_prefill_at,
             (enum qm_colour)i);
    }
    qm_plot_end(&plot);
    qm_key_begin(page);
    for (int i = 0; i < r->configs; i++)
        if ((decode ? r->config[i].n_decode_at : r->config[i].n_prefill_at) > 0)
            qm_key(page, (enum qm_colour)i, label(&r->config[i], name, sizeof name));
    qm_key_end(page);
    qm_page_markup(page, "<p>Across: tokens before. Lines: measured; dashed: predicted.</p>\n");
}

/* Where a configuration's dot is; false: nothing is known. What was not measured is a ring where the planner knows the
 * watts. */
static bool joules_at(const struct qm_compare_config *c, double *tps, double *joules, bool *measured) {
    *measured = isfinite(c->joules_per_token);
    *joules = *measured ? c->joules_per_token : c->predicted_joules;
    *tps = c->decode.measured.n ? c->decode.measured.median : c->decode.predicted;
    return isfinite(*joules) && isfinite(*tps);
}

/* A dot a configuration. */
static void joules(struct qm_page *page, const struct qm_compare_report *r) {
    double right = 0, top = 0, v, j;
    char name[sizeof r->config->name + 16];
    bool measured;
    struct qm_plot plot;
    for (int i = 0; i < r->configs; i++)
        if (joules_at(&r->config[i], &v, &j, &measured)) {
            right = fmax(right, v);
            top = fmax(top, j);
        }
    qm_page_element(page, "h2", "Joules/token by tokens/s");
    if (!(right > 0 && top > 0)) {
        qm_page_markup(page, "<p>No joules could be read or predicted on this machine.</p>\n");
        return;
    }
    qm_plot_begin(&plot, page, "Joules/token", 0, qm_axis_end(right), qm_axis_end(top), HIGH);
    qm_plot_levels(&plot);
    qm_plot_ticks(&plot);
    for (int i = 0; i < r->configs; i++)
        if (joules_at(&r->config[i], &v, &j, &measured)) {
            qm_plot_dot(&plot, (enum qm_colour)i, v, j, !measured);
            qm_plot_label(&plot, v, j, i % 2 ? QM_PLACE_NAME_BELOW : QM_PLACE_NAME,
                          label(&r->config[i], name, sizeof name));
        }
    qm_plot_end(&plot);
    qm_page_markup(page, "<p>Across: tokens/s, decode. Dots: measured; rings: predicted.</p>\n");
}

static void layers(struct qm_page *page, const struct qm_compare_config *c, enum qm_colour colour) {
    enum { DEVICES = 2 };
    static const char *const devices[DEVICES] = {"the CPU", "a device"};
    const enum qm_colour colours[DEVICES] = {QM_PALE, colour};
    float share[QM_COMPARE_LAYERS * DEVICES];
    char name[sizeof c->name + 16];
    struct qm_layers l = {.name = label(c, name, sizeof name),
                          .value = "attention",
                          .what = "attention",
                          .device = devices,
                          .colour = colours,
                          .devices = DEVICES,
                          .layers = c->n_layers,
                          .share = share};
    for (int i = 0; i < c->n_layers; i++) {
        share[DEVICES * i] = c->layer[i].attention ? 0 : 1;
        share[DEVICES * i + 1] = c->layer[i].attention ? 1 : 0;
    }
    qm_plot_layers(page, &l);
    for (int i = 0; i < c->n_layers; i++) {
        share[DEVICES * i] = 1 - c->layer[i].away;
        share[DEVICES * i + 1] = c->layer[i].away;
    }
    l.name = "";
    l.value = l.what = "FFN or experts";
    qm_plot_layers(page, &l);
    qm_page_element(page, "pre", c->placement);
}

/* Layers from left to right: above the attention's device, below how much of the FFN or the experts is on devices. */
static void strips(struct qm_page *page, const struct qm_compare_report *r) {
    bool any = false;
    for (int i = 0; i < r->configs; i++) {
        if (!r->config[i].n_layers)
            continue;
        if (!any)
            qm_page_element(page, "h2", "Where layers are");
        any = true;
        layers(page, &r->config[i], (enum qm_colour)i);
    }
    if (any)
        qm_page_markup(page, "<p>Grey: on the CPU.</p>\n");
}

static void numbers(struct qm_page *page, const struct qm_compare_report *r, const struct qm_compare_config *c,
                    const struct qm_compare_report *before, bool reference) {
    const struct qm_compare_config *old = before ? qm_compare_find(before, c->name) : NULL;
    const double cells[] = {c->prefill.measured.median, c->prefill.predicted, c->decode.measured.median,
                            c->decode.predicted};
    const double more[] = {c->first.measured.median,
                           c->gb_s,
                           100 * c->decode_efficiency,
                           c->joules_per_token,
                           c->watts,
                           c->celsius,
                           c->fan_rpm,
                           c->agreement.kl_max};
    qm_page_row(page);
    qm_page_markup(page, "<td>");
    qm_page_textf(page, "%s%s", c->name,
                  c->why_not[0]  ? " (not run)"
                  : c->failed[0] ? " (failed)"
                  : c->emulated  ? " (emulated)"
                                 : "");
    if (c->drafted)
        qm_page_textf(page, " (%.0f %% of %lld right)", 100.0 * (double)c->accepted / (double)c->drafted,
                      (long long)c->drafted);
    qm_page_markup(page, "</td>");
    for (size_t k = 0; k < sizeof cells / sizeof *cells; k++)
        qm_page_cell_number(page, cells[k]);
    if (before)
        qm_page_cell_number(page, old ? old->decode.measured.median : NAN);
    for (size_t k = 0; k < sizeof more / sizeof *more; k++)
        qm_page_cell_number(page, more[k]);
    qm_page_cell(page, !c->agreement.compared              ? (reference ? "reference" : "-")
                       : c->agreement.first_difference < 0 ? "identical"
                                                           : "differ");
    if (r->job[0]) {
        qm_page_cell_number(page, c->job.seconds);
        qm_page_cell_number(page, c->job.joules);
    }
    qm_page_row_end(page);
}

static void table(struct qm_page *page, const struct qm_compare_report *r, const struct qm_compare_report *before) {
    const char *headings[20] = {"configuration", "prefill, tokens/s", "predicted", "decode, tokens/s", "predicted"};
    static const char *const more[] = {"first token, s", "GB/s",         "of limit, %", "J/token", "W", "°C",
                                       "fan, rpm",       "max KL, nats", "answers"};
    int n = 5;
    if (before)
        headings[n++] = "decode, before";
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        headings[n++] = more[i];
    if (r->job[0]) {
        headings[n++] = "job, s";
        headings[n] = "job, J";
    }
    qm_page_element(page, "h2", "Numbers");
    qm_page_table(page, headings);
    for (int i = 0; i < r->configs; i++)
        numbers(page, r, &r->config[i], before, i == r->reference);
    qm_page_table_end(page);
}

static void memory_row(struct qm_page *page, const struct qm_compare_config *c, const char *where,
                       const double cells[5]) {
    qm_page_row(page);
    qm_page_markup(page, "<td>");
    qm_page_textf(page, "%s%s", c->name, c->why_not[0] ? " (planned)" : "");
    qm_page_markup(page, "</td>");
    qm_page_cell(page, where);
    for (int k = 0; k < 5; k++)
        qm_page_cell_number(page, cells[k]);
    qm_page_row_end(page);
}

/* A row a device, and below them a row a NUMA node. */
static void memory(struct qm_page *page, const struct qm_compare_report *r) {
    static const char *const headings[] = {"configuration",          "where", "weights",     "keys and values",
                                           "activations, workspace", "total", "in place, %", NULL};
    bool nodes = false;
    qm_page_element(page, "h2", "Memory, GiB");
    qm_page_table(page, headings);
    for (int i = 0; i < r->configs; i++) {
        const struct qm_compare_config *c = &r->config[i];
        for (int m = 0; m < c->n_memory; m++) {
            const struct qm_compare_memory *at = &c->memory[m];
            memory_row(page, c, at->device,
                       (double[]){qm_gib(at->weights), qm_gib(at->kv), qm_gib(at->activations + at->workspace),
                                  qm_gib(at->total), NAN});
        }
        for (int k = 0; k < c->n_nodes && c->n_nodes > 1; k++) {
            const struct qm_compare_node *at = &c->node[k];
            char name[32];
            nodes = true;
            snprintf(name, sizeof name, "node %d", at->number);
            memory_row(
                page, c, name,
                (double[]){qm_gib(at->weights), qm_gib(at->kv), NAN, qm_gib(at->weights + at->kv), 100 * at->placed});
        }
    }
    qm_page_table_end(page);
    if (nodes)
        qm_page_markup(page, "<p>Nodes: what was allocated on each, and how much of it is in place; an emulated "
                             "device's memory is part of this machine's.</p>\n");
}

static void head(struct qm_page *page, const struct qm_compare_report *r, const struct qm_compare_report *before) {
    qm_page_markup(page, "<p>");
    qm_page_textf(page, "%s; %s, %s; quietmind %s; %s", r->model, r->machine, r->isa, r->build, r->when);
    qm_page_markup(page,
                   "<br>%d prompt%s, %lld tokens together, each answered with %lld tokens; %d round%s; %s, within %g "
                   "nats%s</p>\n",
                   r->prompts, qm_s(r->prompts), (long long)r->prompt_tokens, (long long)r->generate, r->rounds,
                   qm_s(r->rounds), r->agree ? "the answers agree" : "the answers do not agree", r->bound,
                   r->reopened ? "; loaded one after the other, since they do not fit side by side" : "");
    if (!before)
        return;
    qm_page_markup(page, "<p>");
    qm_page_textf(page, "before: %s, %s", before->machine, before->when);
    qm_page_markup(page, "</p>\n");
}

int qm_compare_html(const struct qm_compare_report *r, const struct qm_compare_report *before, struct qm_error *err) {
    struct qm_page page;
    qm_page_begin(&page, "quietmind compare", STYLE, err);
    head(&page, r, before);
    bars(&page, r, true);
    bars(&page, r, false);
    curves(&page, r, true);
    curves(&page, r, false);
    joules(&page, r);
    strips(&page, r);
    table(&page, r, before);
    memory(&page, r);
    for (int i = 0; i < r->configs; i++) {
        const struct qm_compare_config *c = &r->config[i];
        if (!c->why_not[0] && !c->failed[0])
            continue;
        qm_page_markup(&page, "<p>");
        qm_page_textf(&page, "%s%s%s", c->name, c->why_not[0] ? " was not run: " : " failed in ",
                      c->why_not[0] ? c->why_not : c->failed);
        qm_page_markup(&page, "</p>\n");
    }
    return qm_out_page(&page);
}
