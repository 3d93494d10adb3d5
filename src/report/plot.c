/* Pictures as SVG, their texts as HTML. */
#include "report/plot.h"

#include <math.h>
#include <stdio.h>

#include "report/numbers.h"

/* A picture's own width, stretched to the page's. */
enum { WIDE = 1000 };

const char qm_plot_style[] =
    "figure{margin:1.5em 0}figcaption{font-weight:600}.name{display:flex;justify-content:space-between;gap:1em;"
    "margin:.6em 0 .1em;font-size:13px}.name+p{margin-top:.5em}\n"
    ".plot{position:relative;margin:.8em 1.6em 0 4.2em}.strip{position:relative}\n"
    ".plot svg,.strip svg{display:block;width:100%;overflow:visible}.full{outline:1px solid #999}\n"
    ".plot span{position:absolute;font-size:12px;color:#555;white-space:nowrap;line-height:1}\n"
    ".y{right:100%;margin-right:.6em;transform:translateY(50%)}\n"
    ".on{transform:translate(-50%,-.3em)}.plot .in{color:#fff;transform:translate(-50%,1.3em)}\n"
    ".ticks{height:1.9em}.ticks span{top:.5em;transform:translateX(-50%)}\n"
    "rect,.area{fill:currentColor}.line,.dash,.dot{fill:none;stroke:currentColor;stroke-width:2;"
    "vector-effect:non-scaling-stroke}\n"
    ".dash{stroke-dasharray:6 4}.dot{stroke-width:7;stroke-linecap:round}.ring{stroke-width:11}\n"
    ".hole{stroke-width:7;stroke:#fff}.grid{stroke:#999;opacity:.35;fill:none;vector-effect:non-scaling-stroke}\n"
    ".c0{color:#36a}.c1{color:#2a8}.c2{color:#c63}.c3{color:#93b}.c4{color:#a80}.c5{color:#288}.c6{color:#c36}"
    ".c7{color:#777}.c8{color:#c33}.c9{color:#9ab}.c10{color:#888;opacity:.25}.c11{color:#000}\n"
    ".key{font-size:13px}.key i{display:inline-block;width:.8em;height:.8em;margin-left:.6em;background:currentColor}\n"
    ".key i:first-child{margin-left:0}\n"
    "@media(max-width:34em){.ticks:has(span:nth-child(5)) span:nth-child(even){display:none}.crowded{display:none}}\n"
    "@media(prefers-color-scheme:dark){.plot span{color:#aaa}.hole{stroke:#181818}.c11{color:#fff}}\n";

static double x_at(const struct qm_plot *p, double x) {
    return p->right > p->left ? WIDE * (x - p->left) / (p->right - p->left) : WIDE / 2.0;
}

static double y_at(const struct qm_plot *p, double y) {
    return p->top > 0 ? p->pixels * (1 - y / p->top) : p->pixels;
}

static void begin_svg(struct qm_plot *p, const char *class, const char *label) {
    qm_page_markup(p->page,
                   "<svg%s viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" style=\"height:%dpx\" role=\"img\" "
                   "aria-label=\"",
                   class, WIDE, p->pixels, p->pixels);
    qm_page_text(p->page, label);
    qm_page_markup(p->page, "\">\n");
}

void qm_plot_begin(struct qm_plot *p, struct qm_page *page, const char *caption, double left, double right, double top,
                   int pixels) {
    *p = (struct qm_plot){.page = page, .left = left, .right = right, .top = top, .pixels = pixels};
    p->labels.err = p->ticks.err = page->err;
    qm_page_markup(page, "<figure>");
    qm_page_element(page, "figcaption", caption);
    qm_page_markup(page, "<div class=\"plot\">");
    begin_svg(p, "", caption);
}

void qm_strip_begin(struct qm_plot *p, struct qm_page *page, const char *name, const char *value, double right,
                    int pixels, bool framed) {
    *p = (struct qm_plot){.page = page, .right = right, .top = 1, .pixels = pixels, .strip = true};
    p->labels.err = p->ticks.err = page->err;
    qm_page_markup(page, "<p class=\"name\">");
    qm_page_element(page, "span", name);
    qm_page_element(page, "span", value);
    qm_page_markup(page, "</p><div class=\"strip\">");
    begin_svg(p, framed ? " class=\"full\"" : "", name);
}

static void append(struct qm_page *page, struct qm_page *part) {
    page->rc = page->rc ? page->rc : part->rc;
    if (!page->rc && part->out.len)
        page->rc = qm_buf_add(&page->out, part->out.data, part->out.len, page->err);
    qm_page_free(part);
}

void qm_plot_end(struct qm_plot *p) {
    qm_page_markup(p->page, "</svg>");
    append(p->page, &p->labels);
    qm_page_markup(p->page, p->strip ? "</div>\n" : "</div><div class=\"plot ticks\">");
    append(p->page, &p->ticks);
    qm_page_markup(p->page, p->strip ? "" : "</div></figure>\n");
}

double qm_axis_end(double most) {
    static const double parts[] = {1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8};
    double part = most * 1.05 / 4, ten = pow(10, floor(log10(part)));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (part <= parts[i] * ten)
            return 4 * parts[i] * ten;
    return 40 * ten;
}

void qm_plot_levels(struct qm_plot *p) {
    for (int i = 0; i <= 4; i++) {
        char number[32];
        qm_page_markup(p->page, "<path class=\"grid\" d=\"M0 %.1fH%d\"/>\n", p->pixels * (1 - i / 4.0), WIDE);
        qm_page_markup(&p->labels, "<span class=\"y\" style=\"bottom:%d%%\">%s</span>\n", 25 * i,
                       qm_number_text(p->top * i / 4, 4, number, sizeof number));
    }
}

void qm_plot_tick(struct qm_plot *p, double x, const char *label) {
    qm_page_markup(&p->ticks, "<span style=\"left:%.2f%%\">", 100 * x_at(p, x) / WIDE);
    qm_page_text(&p->ticks, label);
    qm_page_markup(&p->ticks, "</span>");
}

void qm_plot_ticks(struct qm_plot *p) {
    for (int i = 0; i <= 4; i++) {
        char number[32];
        double x = p->left + (p->right - p->left) * i / 4;
        qm_plot_tick(p, x, qm_number_text(x < 100 ? x : rint(x), 4, number, sizeof number));
    }
}

void qm_plot_group(struct qm_plot *p, const char *title, const char *link) {
    if (link) {
        qm_page_markup(p->page, "<a href=\"#");
        qm_page_text(p->page, link);
        qm_page_markup(p->page, "\">");
    }
    p->linked = link != NULL;
    qm_page_markup(p->page, "<g>");
    qm_page_element(p->page, "title", title);
}

void qm_plot_group_end(struct qm_plot *p) {
    qm_page_markup(p->page, p->linked ? "</g></a>\n" : "</g>\n");
}

void qm_plot_bar(struct qm_plot *p, enum qm_colour colour, double x, double y, double width, double height) {
    if (!isfinite(x) || !isfinite(y) || !(width > 0) || !(height > 0))
        return;
    double left = x_at(p, x), above = y_at(p, y + height);
    qm_page_markup(p->page, "<rect class=\"c%d\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"/>", colour, left,
                   above, x_at(p, x + width) - left, y_at(p, y) - above);
}

void qm_plot_line(struct qm_plot *p, enum qm_colour colour, enum qm_stroke stroke, const double *x, const double *y,
                  int n) {
    bool begun = false;
    for (int i = 0; i < n; i++) {
        if (!isfinite(x[i]) || !isfinite(y[i]))
            continue;
        if (!begun)
            qm_page_markup(p->page, "<path class=\"%s c%d\" d=\"", stroke == QM_STROKE_DASHED ? "dash" : "line",
                           colour);
        qm_page_markup(p->page, "%s%.2f %.2f", begun ? "L" : "M", x_at(p, x[i]), y_at(p, y[i]));
        begun = true;
    }
    if (begun)
        qm_page_markup(p->page, "\"/>\n");
}

void qm_plot_steps(struct qm_plot *p, enum qm_colour colour, const struct qm_plot_step *step, int64_t n) {
    qm_page_markup(p->page, "<path class=\"area c%d\" d=\"M0 %d", colour, p->pixels);
    for (int64_t i = 0; i < n; i++)
        qm_page_markup(p->page, "H%.2fV%.2fH%.2fV%d", x_at(p, step[i].from), y_at(p, step[i].value),
                       x_at(p, step[i].to), p->pixels);
    qm_page_markup(p->page, "Z\"/>\n");
}

/* A line of no length with round ends: a circle, however the picture is stretched. */
static void draw_dot(struct qm_plot *p, const char *class, double x, double y) {
    qm_page_markup(p->page, "<path class=\"%s\" d=\"M%.2f %.2fh.001\"/>", class, x_at(p, x), y_at(p, y));
}

void qm_plot_dot(struct qm_plot *p, enum qm_colour colour, double x, double y, bool ring) {
    char class[32];
    if (!isfinite(x) || !isfinite(y))
        return;
    snprintf(class, sizeof class, "dot%s c%d", ring ? " ring" : "", colour);
    draw_dot(p, class, x, y);
    if (ring)
        draw_dot(p, "dot hole", x, y);
}

void qm_plot_label(struct qm_plot *p, double x, double y, enum qm_plot_place place, const char *text) {
    if (!isfinite(x) || !isfinite(y))
        return;
    double left = 100 * x_at(p, x) / WIDE;
    qm_page_markup(&p->labels, "<span class=\"%s%s\" style=\"left:%.2f%%;bottom:%.2f%%",
                   place == QM_PLACE_IN ? "in" : "on", p->crowded ? " crowded" : "", left,
                   100 * (1 - y_at(p, y) / p->pixels));
    if (place == QM_PLACE_NAME || place == QM_PLACE_NAME_BELOW)
        qm_page_markup(&p->labels, ";transform:translate(%.0f%%,%s)", -left,
                       place == QM_PLACE_NAME ? "-.6em" : "1.6em");
    qm_page_markup(&p->labels, "\">");
    qm_page_text(&p->labels, text);
    qm_page_markup(&p->labels, "</span>\n");
}

void qm_key_begin(struct qm_page *page) {
    qm_page_markup(page, "<p class=\"key\">");
}

void qm_key(struct qm_page *page, enum qm_colour colour, const char *name) {
    qm_page_markup(page, "<i class=\"c%d\"></i> ", colour);
    qm_page_text(page, name);
    qm_page_markup(page, "\n");
}

void qm_key_end(struct qm_page *page) {
    qm_page_markup(page, "</p>\n");
}

/* "layer 3: attention on gpu", "layer 3: experts on cpu 60 %, gpu 40 %". */
static void layer_title(const struct qm_layers *l, int layer, char *out, size_t size) {
    const float *share = l->share + (size_t)layer * (size_t)l->devices;
    int n = snprintf(out, size, "layer %d: %s on", layer, l->what);
    const char *between = " ";
    for (int d = 0; d < l->devices && n >= 0 && (size_t)n < size; d++) {
        if (!(share[d] > 0))
            continue;
        n += share[d] < 1
                 ? snprintf(out + n, size - (size_t)n, "%s%s %.0f %%", between, l->device[d], 100 * (double)share[d])
                 : snprintf(out + n, size - (size_t)n, "%s%s", between, l->device[d]);
        between = ", ";
    }
}

void qm_plot_layers(struct qm_page *page, const struct qm_layers *l) {
    struct qm_plot p;
    qm_strip_begin(&p, page, l->name, l->value, l->layers, 34, false);
    double width = 1 - fmin(0.08, 0.002 * l->layers);
    for (int i = 0; i < l->layers; i++) {
        char title[512];
        double above = 1;
        layer_title(l, i, title, sizeof title);
        qm_plot_group(&p, title, NULL);
        for (int d = 0; d < l->devices; d++) {
            double share = (double)l->share[(size_t)i * (size_t)l->devices + (size_t)d];
            qm_plot_bar(&p, l->colour[d], i, above - share, width, share);
            above -= share > 0 ? share : 0;
        }
        qm_plot_group_end(&p);
    }
    qm_plot_end(&p);
}
