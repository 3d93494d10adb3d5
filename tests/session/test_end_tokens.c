/* Which tokens end an answer: each place that names some, what a template's end of a turn is, and what is no token of
 * the model's. */
#include "session/end_tokens.h"

#include <string.h>

#include "tests/support/model_files.h"
#include "tests/support/support.h"

static struct qm_tokenizer *tokenizer;
static int32_t im_start, im_end, end_of_text;

static int setup(void **state) {
    (void)state;
    struct qm_error err;
    if (qm_tokenizer_load("data/demo", &tokenizer, &err))
        fail_msg("%s", err.message);
    im_start = qm_tokenizer_id(tokenizer, "<|im_start|>", 12);
    im_end = qm_tokenizer_id(tokenizer, "<|im_end|>", 10);
    end_of_text = qm_tokenizer_id(tokenizer, "<|endoftext|>", 13);
    assert_true(im_start > 0 && im_end > 0 && end_of_text > 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    qm_tokenizer_free(tokenizer);
    return 0;
}

static struct qm_chat *chat_of(const char *template) {
    char *folder = test_folder();
    struct qm_chat *chat;
    struct qm_error err;
    test_write(folder, "chat_template.jinja", template, strlen(template));
    if (qm_chat_load(folder, NULL, &chat, &err))
        fail_msg("%s", err.message);
    test_folder_remove(folder);
    return chat;
}

#define USER "{% for m in messages %}{% if m.role == 'user' %}<|im_start|>user\n{{ m.content }}<|im_end|>\n{% else %}"
#define END "{% endif %}{% endfor %}"

/* The token that only the template names, or -1. */
static int32_t of_template(const char *template) {
    struct qm_config c = {.vocab = 1024};
    struct qm_generation_config g = {0};
    struct qm_end_tokens e;
    struct qm_error err;
    struct qm_chat *chat = chat_of(template);
    int32_t found = -1;
    assert_int_equal(qm_end_tokens_find(&c, &g, tokenizer, chat, &e, &err), QM_OK);
    for (int i = 0; i < e.n; i++)
        found = e.token[i].from & QM_END_TEMPLATE ? e.token[i].id : found;
    qm_chat_free(chat);
    return found;
}

static void templates(void **state) {
    (void)state;
    assert_int_equal(of_template(USER "<|im_start|>assistant\n{{ m.content }}<|im_end|>\n" END), im_end);
    /* not what only a user's turn ends with */
    assert_int_equal(of_template(USER "<|im_start|>assistant\n{{ m.content }}" END), -1);
    assert_int_equal(of_template(USER "<|im_start|>assistant\n{{ m.content }}\n\n" END), -1);
    /* the first one, after spaces or words */
    assert_int_equal(of_template(USER "{{ m.content }} \n<|im_end|><|endoftext|>" END), im_end);
    assert_int_equal(of_template(USER "{{ m.content }}\n### End<|endoftext|>" END), end_of_text);
    /* an answer in the middle of a conversation may end otherwise, as the parts of one do */
    assert_int_equal(of_template(USER "{{ m.content }}{{ '<|im_end|>' if loop.last else '<|im_start|>' }}" END),
                     im_end);
    assert_int_equal(of_template(USER "{{ m.content }}<|no token|>" END), -1);
    assert_int_equal(of_template("{{ raise_exception('no') }}"), -1);
    assert_int_equal(of_template("{{ messages[0].content }}<|im_end|>"), -1);
}

static void together(void **state) {
    (void)state;
    struct qm_config c = {.vocab = 1024, .end_tokens = {7, -1, 1024, 7}, .n_end_tokens = 4};
    struct qm_generation_config g = {.end_tokens = {9, 7, 1024, INT32_MAX}, .n_end_tokens = 4};
    struct qm_chat *chat = chat_of(USER "{{ m.content }}<|im_end|>" END);
    struct qm_end_tokens e;
    struct qm_error err;
    char from[120];
    int32_t eos = qm_tokenizer_eos(tokenizer);
    assert_int_equal(eos, im_end); /* data/demo's */
    assert_int_equal(qm_end_tokens_find(&c, &g, tokenizer, chat, &e, &err), QM_OK);
    assert_int_equal(e.n, 3);
    assert_true(e.token[0].id == 7 && e.token[0].from == (QM_END_CONFIG | QM_END_GENERATION));
    assert_true(e.token[1].id == 9 && e.token[1].from == QM_END_GENERATION);
    assert_true(e.token[2].id == im_end && e.token[2].from == (QM_END_TOKENIZER | QM_END_TEMPLATE));
    assert_int_equal(e.n_foreign, 3);
    assert_true(e.foreign[1].id == 1024 && e.foreign[1].from == (QM_END_CONFIG | QM_END_GENERATION));
    assert_string_equal(qm_end_token_sources(e.token[2].from, from, sizeof from),
                        "tokenizer's eos_token, chat template");
    qm_end_tokens_set(&e, &c);
    assert_true(c.n_end_tokens == 3 && c.end_tokens[0] == 7 && c.end_tokens[2] == im_end);
    qm_chat_free(chat);

    c.n_end_tokens = 0;
    g.n_end_tokens = 0;
    assert_int_equal(qm_end_tokens_find(&c, &g, NULL, NULL, &e, &err), QM_OK);
    assert_int_equal(e.n, 0);
    /* the tokenizer's own may be beyond the embedding */
    c.vocab = 5;
    assert_int_equal(qm_end_tokens_find(&c, &g, tokenizer, NULL, &e, &err), QM_OK);
    assert_true(e.n == 0 && e.n_foreign == 1 && e.foreign[0].id == im_end && e.foreign[0].from == QM_END_TOKENIZER);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(templates), cmocka_unit_test(together)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
