/* What the command line gives a chat template: variables and the time. */
#ifndef QM_APP_TEMPLATE_ARGS_H
#define QM_APP_TEMPLATE_ARGS_H

#include <jansson.h>
#include <time.h>

#include "app/options.h"

/* Sets each --template-arg K=V in `into`: V as JSON where it is JSON, else as a string. */
int qm_template_args(const struct qm_args *args, json_t *into, struct qm_error *err);
/* --now as broken-down time, or the local time. */
int qm_template_now(const struct qm_args *args, struct tm *out, struct qm_error *err);

#endif
