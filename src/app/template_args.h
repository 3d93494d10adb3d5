/* What the command line gives a chat template: variables and the time. */
#ifndef QM_APP_TEMPLATE_ARGS_H
#define QM_APP_TEMPLATE_ARGS_H

#include <jansson.h>
#include <time.h>

#include "app/texts.h"
#include "base/error.h"

/* Sets each K=V in `into`: V as JSON where it is JSON, else as a string. */
int qm_template_args(const struct qm_texts *list, json_t *into, struct qm_error *err);
/* --now (NULL: not said) as broken-down time, or the local time. */
int qm_template_now(const char *text, struct tm *out, struct qm_error *err);

#endif
