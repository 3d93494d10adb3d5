/* Fuzz target: machine profiles. What is accepted is written and read back the same. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "planner/profile.h"

static int parse(const char *text, size_t len, struct qm_machine_profile *out) {
    json_t *root = NULL;
    struct qm_error err;
    int rc = qm_json_parse(text, len, "fuzz", &root, &err);
    rc = rc ? rc : qm_machine_profile_from_json(root, "fuzz", out, &err);
    json_decref(root);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct qm_machine_profile p, back;
    if (parse((const char *)data, size, &p))
        return 0;
    json_t *root = qm_machine_profile_json(&p);
    char *text = root ? json_dumps(root, 0) : NULL;
    if (text && (parse(text, strlen(text), &back) || memcmp(&p, &back, sizeof p) != 0))
        abort();
    free(text);
    json_decref(root);
    return 0;
}
