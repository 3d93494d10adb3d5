/* Required fields of tokenizer.json and the files beside it, and text that is kept of them. */
#ifndef QM_TEXT_TOKENIZER_FIELDS_H
#define QM_TEXT_TOKENIZER_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "text/tokenizer/regex.h"

/* Owned text, which may hold any byte; one NUL follows it. */
struct qm_str {
    char *data;
    size_t len;
};
/* A copy of n bytes instead of what was there. */
int qm_str_copy(struct qm_str *s, const char *p, size_t n, struct qm_error *err);

/* Required fields: what is absent is QM_INPUT, named. */
int qm_field_string(const json_t *v, const char *key, const char *where, const char **out, size_t *len,
                    struct qm_error *err);
int qm_field_bool(const json_t *v, const char *key, const char *where, bool *out, struct qm_error *err);
/* {"String": ...} or {"Regex": ...} under "pattern". */
int qm_field_pattern(const json_t *v, const char *where, struct qm_regex **out, struct qm_error *err);

#endif
