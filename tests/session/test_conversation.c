/* Conversations against a scripted generation, a template of one line and a tokenizer of bytes: what is stored,
 * what is computed again, files. conversation.c is compiled in here with the names of what it calls exchanged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define qm_conversation_new fake_conversation_new
#define qm_conversation_free fake_conversation_free
#define qm_conversation_messages fake_conversation_messages
#define qm_conversation_add fake_conversation_add
#define qm_conversation_cut fake_conversation_cut
#define qm_conversation_tokens fake_conversation_tokens
#define qm_conversation_reply fake_conversation_reply
#define qm_conversation_load fake_conversation_load
#define qm_conversation_save fake_conversation_save
#define qm_generate fake_generate
#define qm_generate_result_free fake_generate_result_free
#define qm_chat_prompt fake_chat_prompt
#define qm_chat_tokens fake_chat_tokens
#define qm_tokenizer_encode_until fake_tokenizer_encode_until
#define qm_tokenizer_id fake_tokenizer_id
#define qm_tokenizer_is_special fake_tokenizer_is_special
#define qm_ids_free fake_ids_free
#define qm_ids_push fake_ids_push
#define qm_sequence_open fake_sequence_open
#define qm_sequence_close fake_sequence_close
#define qm_sequence_length fake_sequence_length
#define qm_sequence_truncate fake_sequence_truncate
#define qm_reasoning_detect fake_reasoning_detect
#define qm_reasoning_opened fake_reasoning_opened
#define qm_reasoning_new fake_reasoning_new
#define qm_reasoning_free fake_reasoning_free
#define qm_reasoning_push fake_reasoning_push
#define qm_reasoning_flush fake_reasoning_flush
#define qm_reasoning_sum fake_reasoning_sum
#include "session/conversation.c"
#include "text/chat_prompt.c"
#include "text/reasoning.c"

struct qm_sequence {
    char held[4096];
    int64_t length;
};

struct qm_engine {
    struct qm_sequence sequence;
    const char *reply;
    size_t tokens_before_interrupt; /* 0: none */
    bool fail;
    int64_t history, computed; /* of the last generation */
    bool skip_special;
};

struct qm_tokenizer {
    bool harmony;
};

struct qm_chat {
    const char *opening;
};

void fake_ids_free(struct qm_ids *ids) {
    free(ids->data);
    *ids = (struct qm_ids){0};
}

int fake_ids_push(struct qm_ids *ids, int32_t id, struct qm_error *err) {
    (void)err;
    if (ids->len == ids->cap) {
        ids->cap = 2 * ids->cap + 8;
        ids->data = realloc(ids->data, ids->cap * sizeof *ids->data);
        assert_non_null(ids->data);
    }
    ids->data[ids->len++] = id;
    return QM_OK;
}

int fake_sequence_open(struct qm_engine *e, struct qm_sequence **out, struct qm_error *err) {
    (void)err;
    *out = &e->sequence;
    return QM_OK;
}

void fake_sequence_close(struct qm_sequence *s) {
    s->length = 0;
}

int64_t fake_sequence_length(const struct qm_sequence *s) {
    return s->length;
}

int64_t fake_sequence_truncate(struct qm_sequence *s, int64_t n) {
    assert_true(n <= s->length);
    return s->length = n;
}

int32_t fake_tokenizer_id(const struct qm_tokenizer *t, const char *content, size_t len) {
    (void)len;
    return t->harmony && content[1] == '|' ? 1 : -1;
}

bool fake_tokenizer_is_special(const struct qm_tokenizer *t, int32_t id) {
    (void)t;
    (void)id;
    return true;
}

int fake_tokenizer_encode_until(const struct qm_tokenizer *t, const char *text, size_t len, bool add_special,
                                bool parse_special, const volatile sig_atomic_t *interrupt, struct qm_ids *out,
                                struct qm_error *err) {
    (void)t;
    if (interrupt && *interrupt)
        return qm_fail(err, QM_INTERRUPTED, "interrupted");
    assert_true(!add_special && parse_special);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(fake_ids_push(out, (unsigned char)text[i], err), QM_OK);
    return QM_OK;
}

int fake_chat_prompt(const struct qm_chat *c, const json_t *body, const struct tm *now, struct qm_buf *out,
                     struct qm_error *err) {
    size_t i;
    json_t *m;
    assert_non_null(now);
    json_array_foreach(json_object_get(body, "messages"), i, m) {
        const char *role = json_string_value(json_object_get(m, "role"));
        if (strcmp(role, "bad") == 0)
            return qm_fail(err, QM_INPUT, "no such role");
        qm_buf_printf(out, err, "[%s]%s|", role, json_string_value(json_object_get(m, "content")));
    }
    return qm_buf_printf(out, err, "[assistant]%s", c->opening);
}

/* One token a byte; the sequence then holds all but the last. */
int fake_generate(const struct qm_generate *g, struct qm_generate_result *out, struct qm_error *err) {
    struct qm_engine *e = g->engine;
    struct qm_sequence *s = g->sequence;
    *out = (struct qm_generate_result){.finish = QM_FINISH_STOP};
    assert_int_equal(s->length, g->n_history);
    for (int64_t i = 0; i < s->length; i++)
        assert_int_equal((unsigned char)s->held[i], g->history[i]);
    for (int64_t i = 0; i < g->n_prompt; i++)
        s->held[s->length++] = (char)g->prompt[i];
    e->history = g->n_history;
    e->computed = g->n_prompt;
    e->skip_special = g->decoding.skip_special;
    qm_buf_reserve(&out->text, 0, err);
    for (size_t i = 0; e->reply[i]; i++) {
        if (i)
            s->held[s->length++] = e->reply[i - 1];
        if (e->fail && i == 2) {
            fake_generate_result_free(out);
            return qm_fail(err, QM_SYSTEM, "scripted failure");
        }
        fake_ids_push(&out->ids, (unsigned char)e->reply[i], err);
        qm_buf_add(&out->text, e->reply + i, 1, err);
        struct qm_generate_token t = {.id = (unsigned char)e->reply[i], .text = e->reply + i, .text_len = 1};
        if (g->on_token(g->arg, &t) || i + 1 == e->tokens_before_interrupt) {
            out->finish = QM_FINISH_INTERRUPTED;
            return qm_buf_str(&out->text, "+", err); /* held back until here */
        }
    }
    return QM_OK;
}

void fake_generate_result_free(struct qm_generate_result *r) {
    fake_ids_free(&r->ids);
    qm_buf_free(&r->text);
}

struct scene {
    struct qm_engine engine;
    struct qm_tokenizer tokenizer;
    struct qm_chat chat;
    struct qm_conversation *c;
    struct qm_turn turn;
    struct qm_error err;
    char heard[256];
    int stop_after;
};

static int on_text(void *arg, enum qm_content part, const char *text, size_t len) {
    struct scene *s = arg;
    size_t n = strlen(s->heard);
    snprintf(s->heard + n, sizeof s->heard - n, "%c%.*s", part == QM_CONTENT_REASONING ? '~' : '=', (int)len, text);
    return s->stop_after && --s->stop_after == 0;
}

static void set_scene(struct scene *s) {
    *s = (struct scene){.chat.opening = "", .turn = {.max_tokens = -1, .on_text = on_text, .arg = s}};
    s->turn.sampling = qm_sampling_default;
    assert_int_equal(qm_conversation_new(&s->engine, &s->tokenizer, &s->chat, NULL, &s->c, &s->err), QM_OK);
}

static int say(struct scene *s, const char *text, const char *reply) {
    struct qm_generate_result r;
    s->engine.reply = reply;
    s->heard[0] = 0;
    assert_int_equal(qm_conversation_add(s->c, "user", text, strlen(text), &s->err), QM_OK);
    int rc = qm_conversation_reply(s->c, &s->turn, &r, &s->err);
    qm_generate_result_free(&r);
    return rc;
}

static void assert_last(const struct scene *s, const char *expected) {
    const json_t *all = qm_conversation_messages(s->c);
    char *text = json_dumps(json_array_get(all, json_array_size(all) - 1), JSON_COMPACT);
    assert_string_equal(text, expected);
    free(text);
}

static void test_turns(void **state) {
    (void)state;
    struct scene s;
    set_scene(&s);
    assert_int_equal(say(&s, "hi", "yo"), QM_OK);
    assert_last(&s, "{\"role\":\"assistant\",\"content\":\"yo\"}");
    assert_string_equal(s.heard, "=y=o");
    assert_int_equal(s.engine.computed, strlen("[user]hi|[assistant]"));
    assert_true(s.engine.skip_special);
    /* The second turn computes what follows "y": the last token of an answer was never read. */
    assert_int_equal(say(&s, "so", "ok"), QM_OK);
    assert_int_equal(s.engine.history, strlen("[user]hi|[assistant]y"));
    assert_int_equal(s.engine.computed, strlen("o|[user]so|[assistant]"));
    /* Going back: the prompt is then a prefix of what is held, and one token is computed. */
    qm_conversation_cut(s.c, 0);
    assert_int_equal(say(&s, "hi", "yo"), QM_OK);
    assert_int_equal(s.engine.computed, 1);
    assert_int_equal(json_array_size(qm_conversation_messages(s.c)), 2);
    qm_conversation_free(s.c);
}

static void test_reasoning_kept(void **state) {
    (void)state;
    struct scene s;
    set_scene(&s);
    assert_int_equal(say(&s, "hi", "<think>a</think>b"), QM_OK);
    assert_last(&s, "{\"role\":\"assistant\",\"content\":\"b\",\"reasoning_content\":\"a\"}");
    assert_string_equal(s.heard, "~a=b");
    s.chat.opening = "<think>\n";
    assert_int_equal(say(&s, "hi", "c</think>d"), QM_OK);
    assert_last(&s, "{\"role\":\"assistant\",\"content\":\"d\",\"reasoning_content\":\"c\"}");
    qm_conversation_free(s.c);

    set_scene(&s);
    qm_conversation_free(s.c);
    s.tokenizer.harmony = true;
    assert_int_equal(qm_conversation_new(&s.engine, &s.tokenizer, &s.chat, NULL, &s.c, &s.err), QM_OK);
    assert_int_equal(
        say(&s, "hi", "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b"), QM_OK);
    assert_last(&s, "{\"role\":\"assistant\",\"content\":\"b\",\"thinking\":\"a\"}");
    assert_false(s.engine.skip_special);
    qm_conversation_free(s.c);
}

static void test_interrupted(void **state) {
    (void)state;
    struct scene s;
    set_scene(&s);
    s.engine.tokens_before_interrupt = 2;
    assert_int_equal(say(&s, "hi", "hello"), QM_OK);
    assert_last(&s, "{\"role\":\"assistant\",\"content\":\"he+\"}");
    assert_string_equal(s.heard, "=h=e=+");
    s.engine.tokens_before_interrupt = 0;
    s.stop_after = 3;
    assert_int_equal(say(&s, "hi", "hello"), QM_OK);
    assert_last(&s, "{\"role\":\"assistant\",\"content\":\"hel+\"}");
    assert_int_equal(say(&s, "hi", ""), QM_OK); /* not one token */
    assert_last(&s, "{\"role\":\"user\",\"content\":\"hi\"}");
    volatile sig_atomic_t flag = 1; /* while the prompt is tokenized */
    struct qm_generate_result r;
    s.turn.interrupt = &flag;
    int64_t held = qm_conversation_tokens(s.c);
    assert_int_equal(qm_conversation_reply(s.c, &s.turn, &r, &s.err), QM_OK);
    assert_int_equal(r.finish, QM_FINISH_INTERRUPTED);
    assert_int_equal(r.prompt_tokens, 0);
    assert_int_equal(qm_conversation_tokens(s.c), held);
    qm_conversation_free(s.c);
}

static void test_failures(void **state) {
    (void)state;
    struct scene s;
    set_scene(&s);
    s.engine.fail = true;
    assert_int_equal(say(&s, "hi", "hello"), QM_SYSTEM);
    assert_last(&s, "{\"role\":\"user\",\"content\":\"hi\"}");
    s.engine.fail = false;
    qm_conversation_cut(s.c, 0);
    assert_int_equal(say(&s, "hi", "hello"), QM_OK); /* the prompt was computed before the failure */
    assert_int_equal(s.engine.computed, 1);
    assert_int_equal(qm_conversation_add(s.c, "user", "\xFF", 1, &s.err), QM_INPUT);
    assert_int_equal(qm_conversation_add(s.c, "bad", "x", 1, &s.err), QM_OK);
    assert_int_equal(say(&s, "hi", "hello"), QM_INPUT);
    qm_conversation_free(s.c);
}

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void test_files(void **state) {
    (void)state;
    struct scene s;
    char path[] = "/tmp/qm-conversation-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    set_scene(&s);
    assert_int_equal(say(&s, "caf\xC3\xA9", "<think>a</think>b"), QM_OK);
    json_t *before = json_deep_copy(qm_conversation_messages(s.c));
    assert_int_equal(qm_conversation_save(s.c, path, &s.err), QM_OK);
    qm_conversation_cut(s.c, 0);
    assert_int_equal(qm_conversation_load(s.c, path, &s.err), QM_OK);
    assert_true(json_equal(before, qm_conversation_messages(s.c)));
    static const char *const refused[] = {
        "", "{}", "{\"messages\": 1}", "[1]", "[{}]", "[{\"role\": 1}]", "{\"messages\": [{\"role\": \"user\"}, []]}"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        write_file(path, refused[i]);
        assert_int_equal(qm_conversation_load(s.c, path, &s.err), QM_INPUT);
        assert_true(json_equal(before, qm_conversation_messages(s.c)));
    }
    write_file(path, "[{\"role\": \"system\", \"content\": \"x\"}]");
    assert_int_equal(qm_conversation_load(s.c, path, &s.err), QM_OK);
    assert_last(&s, "{\"role\":\"system\",\"content\":\"x\"}");
    assert_int_equal(qm_conversation_save(s.c, "/nonexistent/x", &s.err), QM_INPUT);
    write_file(path, "notes of mine"); /* not to be lost */
    assert_int_equal(qm_conversation_save(s.c, path, &s.err), QM_INPUT);
    assert_non_null(strstr(s.err.message, "no conversation"));
    assert_int_equal(qm_conversation_load(s.c, path, &s.err), QM_INPUT);
    write_file(path, "");
    assert_int_equal(qm_conversation_save(s.c, path, &s.err), QM_OK);
    json_decref(before);
    unlink(path);
    qm_conversation_free(s.c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),    cmocka_unit_test(test_reasoning_kept), cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
