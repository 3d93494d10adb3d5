/* The middle and the spread of a few measurements. */
#ifndef QM_BASE_STATS_H
#define QM_BASE_STATS_H

/* Few rounds have no meaningful deviation: the spread is from the lowest to the highest. */
struct qm_figure {
    double median, low, high; /* NaN where n is 0 */
    int n;
};

/* The figure of n values; those that are not finite are left out. */
struct qm_figure qm_figure_of(const double *values, int n);

#endif
