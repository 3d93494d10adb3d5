/* A reference model's vectors: reference.safetensors and reference.json of one folder, for tests. Failures end
 * the test (cmocka's fail_msg). */
#ifndef QM_TESTS_SUPPORT_REFERENCE_H
#define QM_TESTS_SUPPORT_REFERENCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct reference {
    char dir[512];
    json_t *note, *header;
    char *data;
};

extern const char *const reference_names[]; /* ends with NULL */

void reference_open(struct reference *r, const char *name);
void reference_close(struct reference *r);
/* The tensor's elements (int32 or float) and shape, or NULL where the folder has none of that name. */
const void *reference_tensor(const struct reference *r, const char *name, int64_t shape[4]);
double reference_number(const struct reference *r, const char *key, double otherwise);

/* ||a - b|| / ||b|| over n values; infinite where a value is not finite. */
double relative_error(const float *a, const float *b, int64_t n);

#endif
