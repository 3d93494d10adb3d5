/* The middle and the spread of a few measurements. */
#include "base/stats.h"

#include <math.h>

struct qm_figure qm_figure_of(const double *values, int n) {
    struct qm_figure f = {NAN, NAN, NAN, 0};
    for (int i = 0; i < n; i++) {
        if (!isfinite(values[i]))
            continue;
        f.low = fmin(f.low, values[i]);
        f.high = fmax(f.high, values[i]);
        f.n++;
    }
    /* the k-th smallest by counting: rounds are few, and the caller's order stays */
    double middle[2] = {NAN, NAN};
    for (int i = 0; i < n; i++) {
        int below = 0, same = 0;
        for (int j = 0; j < n; j++) {
            below += isfinite(values[j]) && values[j] < values[i];
            same += isfinite(values[j]) && values[j] == values[i];
        }
        for (int k = 0; k < 2; k++) {
            int rank = (f.n - 1 + k) / 2;
            if (isfinite(values[i]) && rank >= below && rank < below + same)
                middle[k] = values[i];
        }
    }
    f.median = (middle[0] + middle[1]) / 2;
    return f;
}
