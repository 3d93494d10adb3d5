/* Pictures on a page: plots with axes, and strips, which are a bar with a name. Each fills the width there is, from a
 * phone's to a desk's: shapes are SVG that is stretched, texts stand beside or over them as HTML and keep their size.
 *
 * Everything is placed by its values: x from `left` to `right`, y from 0 below to `top` above. What is not finite is
 * not drawn. A picture is begun, drawn on and ended; meanwhile nothing else is added to its page, whose rules on errors
 * and on text hold here too. Needs qm_page_begin's style. */
#ifndef QM_REPORT_PLOT_H
#define QM_REPORT_PLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "report/page.h"

/* The same on every page. */
enum qm_colour {
    QM_BLUE,
    QM_GREEN,
    QM_ORANGE,
    QM_PURPLE,
    QM_OCHRE,
    QM_TEAL,
    QM_PINK,
    QM_GREY,
    QM_SERIES,          /* so many to tell series apart by */
    QM_RED = QM_SERIES, /* limits, predictions, failures */
    QM_PALE,            /* what stands behind: the CPU, where devices are shown */
    QM_SHADE,           /* pauses */
    QM_INK,             /* as text */
};
extern const char qm_plot_style[];

struct qm_plot {
    struct qm_page *page;
    double left, right, top;
    int pixels; /* its height */
    bool strip, linked;
    bool crowded; /* set by the caller: labels over the picture are left out where the screen is narrow */
    struct qm_page labels, ticks; /* beside and over the picture; below it */
};

/* A plot with room for numbers at its left; caption is its heading, and what is read aloud of it. */
void qm_plot_begin(struct qm_plot *p, struct qm_page *page, const char *caption, double left, double right, double top,
                   int pixels);
/* A strip as wide as the page from 0 to `right`, `top` 1; above it its name at the left and a value at the right ("":
 * none). framed: an outline shows all that it could be. */
void qm_strip_begin(struct qm_plot *p, struct qm_page *page, const char *name, const char *value, double right,
                    int pixels, bool framed);
/* Both. */
void qm_plot_end(struct qm_plot *p);

/* Where an axis of four parts ends that shows `most` (above 0) with some room: its parts are short numbers, and
 * at least half of it is used. */
double qm_axis_end(double most);
/* Five lines across, with their values, from 0 to the top. */
void qm_plot_levels(struct qm_plot *p);
/* A label below the picture. Where the screen is narrow every other one of five or
 * more is left out. */
void qm_plot_tick(struct qm_plot *p, double x, const char *label);
/* Ticks at five values from left to right. */
void qm_plot_ticks(struct qm_plot *p);

/* What is drawn between group and group_end has a title, shown when it is pointed at; link: a place on the page such as
 * "row-7", or NULL. */
void qm_plot_group(struct qm_plot *p, const char *title, const char *link);
void qm_plot_group_end(struct qm_plot *p);

void qm_plot_bar(struct qm_plot *p, enum qm_colour colour, double x, double y, double width, double height);
/* Through n points. */
enum qm_stroke { QM_STROKE_LINE, QM_STROKE_DASHED };
void qm_plot_line(struct qm_plot *p, enum qm_colour colour, enum qm_stroke stroke, const double *x, const double *y,
                  int n);
/* Bars from 0 side by side, as one shape: values over spans of x, ascending. */
struct qm_plot_step {
    double from, to, value;
};
void qm_plot_steps(struct qm_plot *p, enum qm_colour colour, const struct qm_plot_step *step, int64_t n);
/* ring: not filled. */
void qm_plot_dot(struct qm_plot *p, enum qm_colour colour, double x, double y, bool ring);
/* A text over the picture: above the point; in white below it, as in a bar whose end it is; or, so that long names stay
 * on the page, above or below it, beginning there at the left end and ending there at the right one. */
enum qm_plot_place { QM_PLACE_ABOVE, QM_PLACE_IN, QM_PLACE_NAME, QM_PLACE_NAME_BELOW };
void qm_plot_label(struct qm_plot *p, double x, double y, enum qm_plot_place place, const char *text);

/* The names of colours, as a line below: qm_key for each, between qm_key_begin and qm_key_end. */
void qm_key_begin(struct qm_page *page);
void qm_key(struct qm_page *page, enum qm_colour colour, const char *name);
void qm_key_end(struct qm_page *page);

/* Layers from left to right, each divided from the top down among devices. */
struct qm_layers {
    const char *name, *value; /* above it */
    const char *what;         /* what is divided, for the titles: "attention" */
    const char *const *device;
    const enum qm_colour *colour; /* of each device */
    int devices, layers;
    const float *share; /* [layer][device], 0 to 1 */
};
void qm_plot_layers(struct qm_page *page, const struct qm_layers *l);

#endif
