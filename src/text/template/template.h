/* Chat templates: the Jinja dialect of published templates (Jinja2 3.1 in transformers' sandboxed
 * environment: trim_blocks, lstrip_blocks, loop controls, the generation tag, tojson without escaping,
 * raise_exception, strftime_now).
 * A compiled template is const and may be rendered by many threads at once. A hostile template ends in
 * an error: steps, nesting, output and memory are limited (see value.h); the nesting needs up to 1 MiB of
 * the caller's stack. Not there: templates that need others (extends, include, import, block),
 * autoescape, and the filters random, striptags, urlize and wordwrap. */
#ifndef QM_TEXT_TEMPLATE_TEMPLATE_H
#define QM_TEXT_TEMPLATE_TEMPLATE_H

#include <jansson.h>
#include <stddef.h>
#include <time.h>

#include "base/buf.h"
#include "base/error.h"

struct qm_template;

/* source: UTF-8. A syntax error is QM_INPUT with its line. */
int qm_template_compile(const char *source, size_t len, const char *name, struct qm_template **out,
                        struct qm_error *err);
void qm_template_free(struct qm_template *t);
/* As given to qm_template_compile; failures that the template did not raise itself begin with it. */
const char *qm_template_name(const struct qm_template *t);

/* Renders with the members of the object `context` as variables (null is none); `now`: local broken-down
 * time for strftime_now. Appends to out; on failure out is as it was and the message is the template's
 * own (raise_exception, as far as struct qm_error holds it) or says what failed and at which line. QM_INPUT. */
int qm_template_render(const struct qm_template *t, const json_t *context, const struct tm *now, struct qm_buf *out,
                       struct qm_error *err);

#endif
