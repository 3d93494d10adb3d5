/* Fuzz target: ids files. */
#include <stddef.h>
#include <stdint.h>

#include "text/ids_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct qm_ids ids = {0};
    struct qm_error err;
    qm_ids_parse((const char *)data, size, "fuzz", &ids, &err);
    qm_ids_free(&ids);
    return 0;
}
