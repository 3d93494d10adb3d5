/* libFuzzer: the first byte chooses the endpoint, the rest is a request body; one that is taken is answered. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "protocol/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer(struct qm_openai_request *r) {
    static const float hidden[] = {1, 2, 3};
    struct qm_outcome o = {.text = "<think>a</think>b<tool_call>{\"name\": \"c\"}",
                           .text_len = 41,
                           .n_ids = 2,
                           .embedding = hidden,
                           .n_embedding = 3};
    struct qm_generate_token t = {.id = 1};
    struct qm_buf line = {0};
    json_t *response = NULL;
    for (int i = 0; i < qm_openai_request_parts(r); i++) {
        struct qm_request part;
        qm_openai_request_part(r, i, &part);
        if (part.n_prompt < 1 || qm_openai_request_token(r, i, &t, NULL) || qm_openai_request_done(r, i, &o, NULL))
            abort();
    }
    if (qm_openai_response(r, "id", 0, &response, NULL) || qm_openai_dump(response, &line, NULL))
        abort();
    json_decref(response);
    qm_buf_free(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct tm now = {.tm_year = 125};
    static struct qm_tokenizer *tokenizer;
    static struct qm_chat *chat;
    json_t *body = NULL;
    struct qm_openai_request *r;
    if (!tokenizer &&
        (qm_tokenizer_load("data/demo", &tokenizer, NULL) || qm_chat_load("data/demo", NULL, &chat, NULL)))
        abort();
    struct qm_openai_context c = {.tokenizer = tokenizer,
                                  .chat = chat,
                                  .vocab = 1024,
                                  .context = 4096,
                                  .sampling = qm_sampling_default,
                                  .now = &now,
                                  .model = "demo"};
    if (!size || qm_json_parse((const char *)data + 1, size - 1, "body", &body, NULL))
        return 0;
    if (qm_openai_request_new(&c, (enum qm_endpoint)(data[0] % 3), body, 1, &r, NULL) == QM_OK)
        answer(r);
    qm_openai_request_free(r);
    json_decref(body);
    return 0;
}
