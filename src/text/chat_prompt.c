/* Rendered, looked at, tokenized. */
#include "text/chat_prompt.h"

#include "base/buf.h"

static int render(const struct qm_chat_input *in, struct qm_buf *text, struct qm_error *err) {
    struct tm local;
    const struct tm *now = in->now;
    if (!now) {
        time_t t = time(NULL);
        now = localtime_r(&t, &local);
    }
    int rc = qm_chat_prompt(in->chat, in->body, now, text, err);
    return rc ? rc : qm_buf_reserve(text, 0, err);
}

int qm_chat_tokens(const struct qm_chat_input *in, struct qm_ids *ids, struct qm_answer_form *form,
                   struct qm_error *err) {
    struct qm_buf text = {0};
    int rc = render(in, &text, err);
    if (!rc) {
        form->format = qm_reasoning_detect(in->tokenizer, &form->keep_special);
        form->opened = qm_reasoning_opened(text.data, text.len);
        form->tools = qm_chat_has_tools(in->body);
        rc = qm_tokenizer_encode_until(in->tokenizer, text.data, text.len, in->add_special, true, in->interrupt, ids,
                                       err);
    }
    qm_buf_free(&text);
    return rc;
}
