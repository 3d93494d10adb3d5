/* libFuzzer: an answer's text; what is taken for calls is a list of calls, and no byte that is no part of one is new.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "text/tool_calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct qm_buf rest = {0};
    struct qm_error err;
    json_t *calls;
    char *text = malloc(size + 1); /* as answers are: ended by a NUL */
    if (!text)
        return 0;
    for (size_t i = 0; i < size; i++)
        text[i] = (char)data[i];
    text[size] = 0;
    if (qm_tool_calls(text, size, "id", &calls, &rest, &err))
        abort();
    if (calls ? !json_array_size(calls) || json_array_size(calls) > QM_TOOL_CALLS || rest.len > size : rest.len > 0)
        abort();
    json_decref(calls);
    qm_buf_free(&rest);
    free(text);
    return 0;
}
