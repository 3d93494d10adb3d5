/* Measurements of this machine as commands make them: kept in the user's cache directory, reported on standard error,
 * and ended by a signal with a line that says what stays. Between the commands and planner/find.h and calibrate.h. */
#ifndef QM_APP_MACHINE_MEASURING_H
#define QM_APP_MACHINE_MEASURING_H

#include <stdbool.h>

#include "app/progress.h"
#include "planner/measuring.h"

struct qm_app_measuring {
    struct qm_measuring with; /* for the planner's functions; points into this object, which is not moved */
    struct qm_progress *progress;
    const char *kept; /* what is said when a signal ends the program amid a measurement; a string literal */
    bool open;        /* a measurement is going on */
    char cache[4096];
};

/* Where nothing can be kept, that is noted. kept is the profile's at first. */
void qm_app_measuring_begin(struct qm_app_measuring *m, struct qm_progress *progress);
/* Also after a failure. */
void qm_app_measuring_end(struct qm_app_measuring *m);

#endif
