/* The tokens that end an answer; see end_tokens.h. */
#include "session/end_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const sources[] = {"config.json", "generation_config.json", "tokenizer's eos_token",
                                      "chat template"};

static void add(struct qm_end_token *list, int *n, int32_t id, unsigned from) {
    for (int i = 0; i < *n; i++)
        if (list[i].id == id) {
            list[i].from |= from;
            return;
        }
    if (*n < QM_MAX_ENDS)
        list[(*n)++] = (struct qm_end_token){id, from};
}

static void name(struct qm_end_tokens *e, int64_t vocab, int32_t id, unsigned from) {
    if (id >= 0 && id < vocab)
        add(e->token, &e->n, id, from);
    else
        add(e->foreign, &e->n_foreign, id, from);
}

static bool is_blank(const struct qm_tokenizer *t, int32_t id) {
    size_t len;
    const char *p = qm_tokenizer_piece(t, id, &len);
    return !p || strspn(p, " \t\r\n") >= len;
}

/* An assistant's turn that is the last is rendered, and the first added token after its words is taken: not a name from
 * a list, and nothing that only a user's turn or the middle of an answer ends with. */
static int end_of_turn(const struct qm_tokenizer *t, const struct qm_chat *chat, int32_t *out, struct qm_error *err) {
    static const char words[] = "quietmind's answer";
    const struct tm now = {.tm_year = 126, .tm_mday = 1, .tm_isdst = -1};
    struct qm_buf text = {0};
    struct qm_ids ids = {0};
    *out = -1;
    json_t *body = json_pack("{s:[{s:s, s:s}, {s:s, s:s}], s:b}", "messages", "role", "user", "content", "A question",
                             "role", "assistant", "content", words, "add_generation_prompt", 0);
    if (!body)
        return qm_fail_memory(err, 256, "a conversation");
    if (!qm_chat_prompt(chat, body, &now, &text, NULL)) {
        const char *tail = NULL, *from = text.data;
        while (from && (from = memmem(from, text.len - (size_t)(from - text.data), words, sizeof words - 1)))
            tail = from += sizeof words - 1;
        if (tail && qm_tokenizer_encode(t, tail, text.len - (size_t)(tail - text.data), false, true, &ids, NULL))
            ids.len = 0;
    }
    for (size_t i = 0; *out < 0 && i < ids.len; i++)
        if (qm_tokenizer_is_added(t, ids.data[i]) && !is_blank(t, ids.data[i]))
            *out = ids.data[i];
    json_decref(body);
    qm_buf_free(&text);
    qm_ids_free(&ids);
    return QM_OK;
}

int qm_end_tokens_find(const struct qm_config *c, const struct qm_generation_config *g,
                       const struct qm_tokenizer *tokenizer, const struct qm_chat *chat, struct qm_end_tokens *out,
                       struct qm_error *err) {
    int32_t id = -1;
    *out = (struct qm_end_tokens){0};
    for (int i = 0; i < c->n_end_tokens; i++)
        name(out, c->vocab, c->end_tokens[i], QM_END_CONFIG);
    for (int i = 0; i < g->n_end_tokens; i++)
        name(out, c->vocab, g->end_tokens[i], QM_END_GENERATION);
    if (tokenizer && (id = qm_tokenizer_eos(tokenizer)) >= 0)
        name(out, c->vocab, id, QM_END_TOKENIZER);
    int rc = tokenizer && chat ? end_of_turn(tokenizer, chat, &id, err) : QM_OK;
    if (!rc && tokenizer && chat && id >= 0)
        name(out, c->vocab, id, QM_END_TEMPLATE);
    return rc;
}

void qm_end_tokens_set(const struct qm_end_tokens *e, struct qm_config *c) {
    for (int i = 0; i < e->n; i++)
        c->end_tokens[i] = e->token[i].id;
    c->n_end_tokens = e->n;
}

const char *qm_end_token_sources(unsigned from, char *out, size_t size) {
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        if (from >> i & 1 && n < size)
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", sources[i]);
    return out;
}
