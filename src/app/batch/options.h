/* The command line of `quietmind batch` as plain options (batch/options.h), checked. What is borrowed from the
 * arguments must outlive them. */
#ifndef QM_APP_BATCH_OPTIONS_H
#define QM_APP_BATCH_OPTIONS_H

#include <time.h>

#include "app/drafts.h"
#include "app/load_model.h"
#include "app/options.h"
#include "base/buf.h"
#include "batch/options.h"

struct qm_batch_command {
    struct qm_batch_options job;
    struct qm_model_options model;
    struct qm_load_options load;
    struct qm_draft_options drafts;
    bool check, strict;
    const char *on_done, *report;
    /* what the job's options point to */
    const char *others[3];
    json_t *body;
    struct qm_buf command; /* the command line as it was typed, for a shell; empty where the system does not show it */
    char weights_cache[4200];
};

/* QM_USAGE naming the option. To be freed whatever the result is. */
int qm_batch_options_take(const struct qm_args *args, time_t now, struct qm_batch_command *out, struct qm_error *err);
void qm_batch_command_free(struct qm_batch_command *c);

#endif
