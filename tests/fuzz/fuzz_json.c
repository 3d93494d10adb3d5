/* Fuzz target: JSON. What is read is written on one line; that is read again and written the same. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *v, *again;
    if (qm_json_parse((const char *)data, size, "fuzz", &v, NULL))
        return 0;
    char *text = qm_json_text(v, false);
    if (!text || qm_json_parse(text, strlen(text), "fuzz", &again, NULL))
        abort();
    char *twice = qm_json_text(again, false);
    if (!twice || strcmp(text, twice) != 0)
        abort();
    free(text);
    free(twice);
    json_decref(again);
    json_decref(v);
    return 0;
}
