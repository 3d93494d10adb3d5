/* libFuzzer target: any bytes as tokenizer.json; what loads must encode and decode without a fault. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "text/tokenizer/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const texts[] = {"", " ", "Hello  World 12 \n", "caf\xC3\xA9 <s>ab</s> \xE4\xB8\xAD\xE6\x96\x87",
                                        "aaaaaaaaab\xF0\x9F\x98\x80\xE2\x96\x81x e\xCC\x81\xCC\xA3"};
    struct qm_tokenizer *t;
    struct qm_error err;
    if (qm_tokenizer_load_json((const char *)data, size, "fuzz", NULL, &t, &err))
        return 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct qm_ids ids = {0};
        struct qm_buf out = {0};
        struct qm_stream *s;
        if (qm_tokenizer_encode(t, texts[i], strlen(texts[i]), true, i % 2, &ids, &err) == QM_OK &&
            qm_tokenizer_decode(t, ids.data, ids.len, i % 2, &out, &err) == QM_OK &&
            qm_stream_new(t, i % 2, &s, &err) == QM_OK) {
            for (size_t k = 0; k < ids.len; k++)
                if (qm_stream_push(s, ids.data[k], &out, &err))
                    break;
            qm_stream_flush(s, &out, &err);
            qm_stream_free(s);
        }
        qm_ids_free(&ids);
        qm_buf_free(&out);
    }
    qm_tokenizer_free(t);
    return 0;
}
