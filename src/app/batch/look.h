/* Looking at a job's journal from another process: quietmind batch --status OUT, --export OUT. */
#ifndef QM_APP_BATCH_LOOK_H
#define QM_APP_BATCH_LOOK_H

#include <stdbool.h>

#include "base/error.h"

/* How the job stands, on standard output; as JSON: counts and sums over all its runs. */
int qm_batch_status(const char *output, bool as_json, struct qm_error *err);
/* The finished rows as lines, in the input's order, on standard output. */
int qm_batch_export(const char *output, struct qm_error *err);

#endif
