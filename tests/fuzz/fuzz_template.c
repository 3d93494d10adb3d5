/* libFuzzer: a template, then after a line of "====" the JSON of its context (a fixed one if absent). */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "text/template/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char mark[] = "\n====\n";
    static const char fixed[] =
        "{\"xs\": [3, 1, 2], \"d\": {\"b\": 2, \"a\": [1.5, null, true]}, \"s\": \"Gr\\u00fc\\u00dfe x\","
        "\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}";
    const struct tm now = {.tm_year = 125, .tm_mon = 6, .tm_mday = 15, .tm_wday = 2, .tm_yday = 195};
    const char *text = (const char *)data, *split = size ? memmem(text, size, mark, sizeof mark - 1) : NULL;
    size_t n = split ? (size_t)(split - text) : size;
    struct qm_template *t;
    struct qm_buf out = {0};
    json_t *context = NULL;
    if (split)
        qm_json_parse(split + sizeof mark - 1, size - n - (sizeof mark - 1), "context", &context, NULL);
    else
        qm_json_parse(fixed, sizeof fixed - 1, "context", &context, NULL);
    if (qm_template_compile(text, n, "fuzz", &t, NULL) == 0) {
        qm_template_render(t, context, &now, &out, NULL);
        qm_template_free(t);
    }
    qm_buf_free(&out);
    json_decref(context);
    return 0;
}
