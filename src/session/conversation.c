/* A conversation: messages to prompt, prompt to tokens, tokens to an answer, the answer to the messages. */
#include "session/conversation.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "engine/sequence.h"

enum { FILE_MAX = 256 << 20 };

struct qm_conversation {
    struct qm_engine *engine;
    const struct qm_tokenizer *tokenizer;
    const struct qm_chat *chat;
    json_t *kwargs, *messages;
    struct qm_sequence *sequence;
    struct qm_ids held; /* what the sequence holds */
};

int qm_conversation_new(struct qm_engine *engine, const struct qm_tokenizer *tokenizer, const struct qm_chat *chat,
                        json_t *template_kwargs, struct qm_conversation **out, struct qm_error *err) {
    *out = NULL;
    struct qm_conversation *c = calloc(1, sizeof *c);
    if (!c)
        return qm_fail_memory(err, sizeof *c, "a conversation");
    *c = (struct qm_conversation){.engine = engine,
                                  .tokenizer = tokenizer,
                                  .chat = chat,
                                  .kwargs = json_incref(template_kwargs),
                                  .messages = json_array()};
    int rc = c->messages ? QM_OK : qm_fail_memory(err, sizeof *c, "a conversation");
    if (!rc)
        rc = qm_sequence_open(engine, &c->sequence, err);
    if (rc)
        qm_conversation_free(c);
    else
        *out = c;
    return rc;
}

void qm_conversation_free(struct qm_conversation *c) {
    if (!c)
        return;
    if (c->sequence)
        qm_sequence_close(c->sequence);
    qm_ids_free(&c->held);
    json_decref(c->messages);
    json_decref(c->kwargs);
    free(c);
}

const json_t *qm_conversation_messages(const struct qm_conversation *c) {
    return c->messages;
}

int64_t qm_conversation_tokens(const struct qm_conversation *c) {
    return (int64_t)c->held.len;
}

int qm_conversation_add(struct qm_conversation *c, const char *role, const char *content, size_t len,
                        struct qm_error *err) {
    json_t *m = json_pack("{s:s, s:o?}", "role", role, "content", json_stringn(content, len));
    if (!m || !json_is_string(json_object_get(m, "content"))) {
        json_decref(m);
        return qm_fail(err, QM_INPUT, "the %s message is not valid UTF-8", role);
    }
    if (json_array_append_new(c->messages, m))
        return qm_fail_memory(err, len, "a message");
    return QM_OK;
}

void qm_conversation_cut(struct qm_conversation *c, size_t n) {
    for (size_t i = json_array_size(c->messages); i > n; i--)
        json_array_remove(c->messages, i - 1);
}

static int make_prompt(const struct qm_conversation *c, const struct qm_turn *turn, struct qm_ids *ids,
                       struct qm_answer_form *form, struct qm_error *err) {
    json_t *body = json_pack("{s:O, s:O*}", "messages", c->messages, "chat_template_kwargs", c->kwargs);
    const struct qm_chat_input in = {
        .chat = c->chat, .tokenizer = c->tokenizer, .body = body, .now = turn->now, .interrupt = turn->interrupt};
    int rc = body ? qm_chat_tokens(&in, ids, form, err) : qm_fail_memory(err, 0, "a request");
    json_decref(body);
    return rc;
}

/* Gives up what the sequence holds beyond the prompt's prefix; at least one token is left to compute. */
static int64_t keep_prefix(struct qm_conversation *c, const struct qm_ids *prompt) {
    size_t n = 0;
    while (n < c->held.len && n + 1 < prompt->len && c->held.data[n] == prompt->data[n])
        n++;
    int64_t left = qm_sequence_truncate(c->sequence, (int64_t)n);
    c->held.len = (size_t)left;
    return left;
}

/* Between generation and whoever shows the text. */
struct listener {
    const struct qm_turn *turn;
    struct qm_answer_form form;
    struct qm_reasoning *splitter;
    size_t seen; /* bytes of the result's text */
    int stop, rc;
    struct qm_error *err;
};

static void hear_part(void *arg, enum qm_content part, const char *text, size_t len) {
    struct listener *l = arg;
    if (l->turn->on_text)
        l->stop |= l->turn->on_text(l->turn->arg, part, text, len);
}

static int hear_token(void *arg, const struct qm_generate_token *t) {
    struct listener *l = arg;
    l->rc = qm_reasoning_push(l->splitter, t->text, t->text_len, hear_part, l, l->err);
    l->seen += t->text_len;
    return l->rc || l->stop;
}

static int hear_prefill(void *arg, int64_t done, int64_t total) {
    const struct listener *l = arg;
    return l->turn->on_prefill ? l->turn->on_prefill(l->turn->arg, done, total) : 0;
}

static int add_answer(struct qm_conversation *c, const struct listener *l, struct qm_error *err) {
    const struct qm_buf *reasoning = qm_reasoning_sum(l->splitter, QM_CONTENT_REASONING);
    const struct qm_buf *answer = qm_reasoning_sum(l->splitter, QM_CONTENT_ANSWER);
    const char *key = l->form.format == QM_REASONING_HARMONY ? "thinking" : "reasoning_content";
    json_t *thought = reasoning->len ? json_stringn(reasoning->data, reasoning->len) : NULL;
    json_t *m = json_pack("{s:s, s:s%, s:o*}", "role", "assistant", "content", answer->len ? answer->data : "",
                          answer->len, key, thought);
    if (!m || json_array_append_new(c->messages, m))
        return qm_fail_memory(err, answer->len + reasoning->len, "the answer");
    return QM_OK;
}

/* Generates from prompt, of which the sequence holds the first `left` tokens; prompt grows by what the sequence
 * has taken up. */
static int generate(struct qm_conversation *c, struct qm_ids *prompt, int64_t left, struct listener *l,
                    struct qm_generate_result *out, struct qm_error *err) {
    const struct qm_turn *t = l->turn;
    struct qm_generate g = {.engine = c->engine,
                            .sequence = c->sequence,
                            .history = prompt->data,
                            .n_history = left,
                            .prompt = prompt->data + left,
                            .n_prompt = (int64_t)prompt->len - left,
                            .decoding = {.tokenizer = c->tokenizer,
                                         .max_tokens = t->max_tokens,
                                         .sampling = t->sampling,
                                         .stop = t->stop,
                                         .n_stop = t->n_stop,
                                         .skip_special = !l->form.keep_special,
                                         .top_logprobs = -1},
                            .speculation = t->speculation,
                            .on_token = hear_token,
                            .on_prefill = hear_prefill,
                            .arg = l,
                            .interrupt = t->interrupt};
    int rc = qm_generate(&g, out, err);
    for (size_t i = 0; i < out->ids.len && !rc; i++)
        rc = qm_ids_push(prompt, out->ids.data[i], err);
    if (!rc)
        rc = l->rc;
    if (!rc) /* held back when it was interrupted */
        rc = qm_reasoning_push(l->splitter, out->text.data + l->seen, out->text.len - l->seen, hear_part, l, err);
    return rc ? rc : qm_reasoning_flush(l->splitter, hear_part, l, err);
}

int qm_conversation_reply(struct qm_conversation *c, const struct qm_turn *turn, struct qm_generate_result *out,
                          struct qm_error *err) {
    struct qm_ids prompt = {0};
    struct listener l = {.turn = turn, .err = err};
    *out = (struct qm_generate_result){0};
    int rc = make_prompt(c, turn, &prompt, &l.form, err);
    if (rc == QM_INTERRUPTED) { /* before anything was computed */
        qm_ids_free(&prompt);
        out->finish = QM_FINISH_INTERRUPTED;
        return QM_OK;
    }
    if (!rc && !prompt.len)
        rc = qm_fail(err, QM_INPUT, "the chat template gives an empty prompt for these messages");
    if (!rc)
        rc = qm_reasoning_new(l.form.format, l.form.opened, &l.splitter, err);
    if (!rc) {
        int64_t left = keep_prefix(c, &prompt);
        rc = generate(c, &prompt, left, &l, out, err);
        int64_t length = qm_sequence_length(c->sequence);
        if (length > (int64_t)prompt.len) /* an error took the generated tokens' names away */
            length = qm_sequence_truncate(c->sequence, (int64_t)prompt.len);
        prompt.len = (size_t)length;
        struct qm_ids before = c->held;
        c->held = prompt;
        prompt = before;
    }
    if (!rc && out->ids.len)
        rc = add_answer(c, &l, err);
    if (rc)
        qm_generate_result_free(out);
    qm_reasoning_free(l.splitter);
    qm_ids_free(&prompt);
    return rc;
}

static int check_messages(const json_t *messages, const char *path, struct qm_error *err) {
    if (!json_is_array(messages))
        return qm_fail(err, QM_INPUT, "%s: expected {\"messages\": [...]} or a list of messages, found %s", path,
                       messages ? qm_json_type_name(messages) : "no \"messages\"");
    size_t i;
    json_t *m;
    json_array_foreach(messages, i, m) {
        if (!qm_json_is_object(m))
            return qm_fail(err, QM_INPUT, "%s: message %zu must be an object, found %s", path, i, qm_json_type_name(m));
        if (!json_is_string(json_object_get(m, "role")))
            return qm_fail(err, QM_INPUT, "%s: message %zu must have a \"role\" that is a string", path, i);
    }
    return QM_OK;
}

int qm_conversation_load(struct qm_conversation *c, const char *path, struct qm_error *err) {
    json_t *root;
    int rc = qm_json_load(path, FILE_MAX, &root, err);
    if (rc)
        return rc;
    json_t *messages = qm_json_is_object(root) ? json_object_get(root, "messages") : root;
    rc = check_messages(messages, path, err);
    if (!rc) {
        json_decref(c->messages);
        c->messages = json_incref(messages);
    }
    json_decref(root);
    return rc;
}

/* Only another conversation is written over, or an empty file. */
static int check_place(const char *path, struct qm_error *err) {
    struct stat st;
    json_t *root = NULL;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return QM_OK;
    int rc = qm_json_load(path, FILE_MAX, &root, NULL);
    if (!rc)
        rc = check_messages(qm_json_is_object(root) ? json_object_get(root, "messages") : root, path, NULL);
    json_decref(root);
    return rc ? qm_fail(err, QM_INPUT, "%s: a file is there that is no conversation: name another", path) : QM_OK;
}

int qm_conversation_save(const struct qm_conversation *c, const char *path, struct qm_error *err) {
    if (check_place(path, err))
        return QM_INPUT;
    return qm_json_save(path, json_pack("{s:O}", "messages", c->messages), 2, err);
}
