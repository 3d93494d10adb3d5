/* Fuzz target: machine profiles. What is accepted is written and read back the same. */
#include <stdlib.h>
#include <string.h>

#include "planner/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct qm_machine_profile p, back;
    struct qm_error err;
    if (qm_machine_profile_parse((const char *)data, size, "fuzz", &p, &err))
        return 0;
    json_t *root = qm_machine_profile_json(&p);
    char *text = root ? json_dumps(root, 0) : NULL;
    if (text && (qm_machine_profile_parse(text, strlen(text), "fuzz", &back, &err) || memcmp(&p, &back, sizeof p) != 0))
        abort();
    free(text);
    json_decref(root);
    return 0;
}
