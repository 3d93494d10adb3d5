/* The one table of the fields that request bodies have, of which checks (here), /openapi.json (openapi.h) and the
 * documentation are made. A field is of one of three kinds: used; passed over, because the answer is the same without
 * it, which answers say (header quietmind-ignored); or refused by name, unless its value asks for nothing. What
 * is not in the table is refused by name too. Null is as if a field were not there. */
#ifndef QM_PROTOCOL_FIELDS_H
#define QM_PROTOCOL_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"
#include "protocol/endpoint.h"

enum qm_field_kind { QM_FIELD_USED, QM_FIELD_PASSED_OVER, QM_FIELD_REFUSED };

struct qm_field {
    const char *name;
    int endpoints; /* bits 1 << enum qm_endpoint */
    enum qm_field_kind kind;
    const char *neutral; /* of QM_FIELD_REFUSED: the values that ask for nothing, a JSON list */
    const char *schema;  /* of QM_FIELD_USED: a JSON schema, or the name of a type */
    const char *about;   /* the same: what it is, in a few words */
};

size_t qm_fields_count(void);
const struct qm_field *qm_fields_at(size_t i);
bool qm_field_is_of(const struct qm_field *f, enum qm_endpoint endpoint);

/* QM_INPUT naming the first field that is not known, or refused. Names of those that are passed over are added to
 * *ignored. */
int qm_fields_check(enum qm_endpoint endpoint, const json_t *body, struct qm_buf *ignored, struct qm_error *err);
/* Adds one to a list of names. */
int qm_ignored_add(struct qm_buf *ignored, const char *name, struct qm_error *err);

#endif
