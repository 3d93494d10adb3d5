/* JSON from hostile files, on jansson: whole input one value, UTF-8 checked, duplicate keys refused,
 * at most 2048 levels deep (jansson's own limit), errors with file, line and what was expected.
 * Integers beyond 64 bits are refused. Key order is kept. Values are jansson's json_t; the caller owns
 * what the parse functions return (json_decref); getters lend. */
#ifndef QM_BASE_JSON_H
#define QM_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

int qm_json_parse(const char *text, size_t len, const char *name, json_t **out, struct qm_error *err);
int qm_json_load(const char *path, size_t limit, json_t **out, struct qm_error *err);

/* Typed fields of an object. `where` names the object in messages. An absent or null key leaves *out as
 * it was (the caller's default); a value of another type is QM_INPUT. */
int qm_json_int(const json_t *obj, const char *key, const char *where, int64_t min, int64_t max, int64_t *out,
                struct qm_error *err);
int qm_json_double(const json_t *obj, const char *key, const char *where, double *out, struct qm_error *err);
int qm_json_bool(const json_t *obj, const char *key, const char *where, bool *out, struct qm_error *err);
int qm_json_string(const json_t *obj, const char *key, const char *where, const char **out, struct qm_error *err);

/* "string", "integer", ... for messages. */
const char *qm_json_type_name(const json_t *v);

#endif
