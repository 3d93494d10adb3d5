/* Looking at a job's journal from another process: quietmind batch --status OUT, --export OUT. */
#ifndef QM_APP_BATCH_LOOK_H
#define QM_APP_BATCH_LOOK_H

#include "base/error.h"

/* How the job stands, on standard output. */
int qm_batch_status(const char *output, struct qm_error *err);
/* The finished rows as lines, in the input's order, on standard output. */
int qm_batch_export(const char *output, struct qm_error *err);

#endif
