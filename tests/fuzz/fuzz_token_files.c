/* libFuzzer target: any bytes as the small files beside a vocabulary, {"config": ..., "map": ..., "added": ...,
 * "of_model": ...}; what loads with a tiny tokenizer.json, and with a tiny tokenizer.model, must encode and decode. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "text/tokenizer/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char spm_like[] =
    "{\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true}],\"pre_tokenizer\":{\"type\":\"ByteLevel\","
    "\"add_prefix_space\":true},\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>"
    "\","
    "\"vocab\":{\"<unk>\":0,\"<s>\":1,\"</s>\":2,\"a\":3,\"b\":4,\"ab\":5,\"\\u2581\":6},\"merges\":[[\"a\",\"b\"]]}}";
/* pieces <unk>, <s>, </s>, a, U+2581 and a user's symbol <u>; BPE */
static const char model[] =
    "\x0A\x09\x0A\x05<unk>\x18\x02\x0A\x07\x0A\x03<s>\x18\x03\x0A\x08\x0A\x04</s>\x18\x03\x0A\x03\x0A\x01"
    "a\x0A\x05\x0A\x03\xE2\x96\x81\x0A\x07\x0A\x03<u>\x18\x04\x12\x02\x18\x02";

static void use(struct qm_tokenizer *t) {
    static const char *const texts[] = {"", " a", "<s>ab</s> <u> <|x|>\n<unk>", "a<|x|> <y>b<u>"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct qm_ids ids = {0};
        struct qm_buf out = {0};
        struct qm_error err;
        if (qm_tokenizer_encode(t, texts[i], strlen(texts[i]), true, i % 2 == 0, &ids, &err) == QM_OK)
            qm_tokenizer_decode(t, ids.data, ids.len, i % 2, &out, &err);
        for (size_t k = 0; k < ids.len; k++)
            qm_tokenizer_token_bytes(t, ids.data[k], &out, &err);
        qm_ids_free(&ids);
        qm_buf_free(&out);
    }
    qm_tokenizer_eos(t);
    qm_tokenizer_free(t);
}

static json_t *member(const json_t *root, const char *key) {
    json_t *v = json_object_get(root, key);
    return qm_json_is_object(v) ? json_incref(v) : NULL; /* others are refused where files are read */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct qm_tokenizer *t;
    struct qm_error err;
    json_t *root;
    if (qm_json_parse((const char *)data, size, "fuzz", &root, &err))
        return 0;
    struct qm_token_files files = {.config = member(root, "config"),
                                   .map = member(root, "map"),
                                   .added = member(root, "added"),
                                   .of_model = member(root, "of_model")};
    if (!qm_tokenizer_load_model(model, sizeof model - 1, "tokenizer.model", &files, &t, &err))
        use(t);
    if (!qm_tokenizer_load_json(spm_like, sizeof spm_like - 1, "tokenizer.json", &files, &t, &err))
        use(t);
    qm_token_files_free(&files);
    json_decref(root);
    return 0;
}
