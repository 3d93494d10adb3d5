/* Fuzzes the safetensors header parser: the first byte is the length of the data in units of 4 bytes, the rest is
 * the JSON text. What is accepted must keep what the header promises. */
#include <stdlib.h>
#include <string.h>

#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    uint64_t bytes = (uint64_t)data[0] * 4, sum = 0;
    struct qm_tensor *t;
    int64_t n;
    struct qm_error err;
    if (qm_safetensors_header((const char *)data + 1, size - 1, "fuzz", bytes, &t, &n, &err))
        return 0;
    for (int64_t i = 0; i < n; i++) {
        sum += t[i].bytes;
        if (t[i].offset + t[i].bytes > bytes || (i && strcmp(t[i - 1].name, t[i].name) >= 0))
            abort();
    }
    if (sum != bytes)
        abort();
    qm_tensors_free(t, n);
    return 0;
}
