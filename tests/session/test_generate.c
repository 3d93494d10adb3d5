/* Generation with the demonstration model (data/demo): its published greedy continuation, what must not change
 * with chunks, seeds, stop strings and interruptions, and a conversation of two turns. */
#include "session/generate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "engine/sequence.h"
#include "session/conversation.h"

enum { PROMPT_MAX = 64, REFERENCE_MAX = 64 };

struct demo {
    struct qm_model *model;
    struct qm_tokenizer *tokenizer;
    int32_t prompt[PROMPT_MAX], greedy[REFERENCE_MAX];
    int64_t n_prompt, n_greedy; /* as far as the references in two number formats agree */
    char text[1024];            /* of the reference */
    struct qm_engine *engine;
    struct qm_error err;
};

static struct qm_engine *open_engine(struct demo *d, int64_t context, int64_t chunk) {
    struct qm_engine_options o = {
        .threads = 1, .isa = qm_isa_best(), .context = context, .sequences = 1, .chunk = chunk, .kv_type = -1};
    struct qm_engine *e;
    if (qm_engine_open(d->model, &o, &e, &d->err))
        fail_msg("%s", d->err.message);
    return e;
}

static int set_up(void **state) {
    struct demo *d = calloc(1, sizeof *d);
    json_t *all;
    if (!d || qm_model_open("data/demo", NULL, &d->model, &d->err) ||
        qm_tokenizer_load("data/demo", &d->tokenizer, &d->err) ||
        qm_json_load("data/demo/reference/reference.json", 1 << 24, &all, &d->err)) {
        print_error("%s\n", d ? d->err.message : "out of memory");
        return -1;
    }
    const json_t *s = json_object_get(all, "short"), *ids = json_object_get(s, "ids");
    const json_t *bf16 = json_object_get(s, "greedy_bf16"), *fp32 = json_object_get(s, "greedy_fp32");
    d->n_prompt = (int64_t)json_array_size(ids);
    assert_true(d->n_prompt <= PROMPT_MAX && json_array_size(bf16) <= REFERENCE_MAX);
    for (int64_t i = 0; i < d->n_prompt; i++)
        d->prompt[i] = (int32_t)json_integer_value(json_array_get(ids, (size_t)i));
    for (size_t i = 0; i < json_array_size(bf16) && json_equal(json_array_get(bf16, i), json_array_get(fp32, i)); i++)
        d->greedy[d->n_greedy++] = (int32_t)json_integer_value(json_array_get(bf16, i));
    assert_true(d->n_greedy >= 16);
    strncpy(d->text, json_string_value(json_object_get(s, "text_fp32")), sizeof d->text - 1);
    json_decref(all);
    d->engine = open_engine(d, 512, 0);
    *state = d;
    return 0;
}

static int tear_down(void **state) {
    struct demo *d = *state;
    qm_engine_close(d->engine);
    qm_tokenizer_free(d->tokenizer);
    qm_model_close(d->model);
    free(d);
    return 0;
}

static struct qm_generate basis(struct demo *d) {
    return (struct qm_generate){.engine = d->engine,
                                .decoding.tokenizer = d->tokenizer,
                                .prompt = d->prompt,
                                .n_prompt = d->n_prompt,
                                .decoding.max_tokens = d->n_greedy,
                                .decoding.sampling = qm_sampling_default,
                                .decoding.skip_special = true,
                                .decoding.top_logprobs = -1};
}

/* Generates with a fresh sequence; returns the length it has afterwards. */
static int64_t generate(struct demo *d, struct qm_generate g, struct qm_generate_result *out) {
    assert_int_equal(qm_sequence_open(g.engine, &g.sequence, &d->err), QM_OK);
    if (qm_generate(&g, out, &d->err))
        fail_msg("%s", d->err.message);
    int64_t length = qm_sequence_length(g.sequence);
    qm_sequence_close(g.sequence);
    return length;
}

static void assert_greedy(const struct demo *d, const struct qm_generate_result *r) {
    assert_int_equal(r->ids.len, d->n_greedy);
    assert_memory_equal(r->ids.data, d->greedy, (size_t)d->n_greedy * sizeof *d->greedy);
}

static void test_greedy(void **state) {
    struct demo *d = *state;
    struct qm_generate_result r;
    int64_t length = generate(d, basis(d), &r);
    assert_greedy(d, &r);
    assert_int_equal(r.finish, QM_FINISH_LENGTH);
    assert_memory_equal(r.text.data, d->text, r.text.len);
    assert_int_equal(length, d->n_prompt + d->n_greedy - 1);
    assert_int_equal(r.decode_tokens, d->n_greedy - 1);
    assert_true(r.decode_bytes > 0);
    qm_generate_result_free(&r);
}

static void test_to_the_end(void **state) {
    struct demo *d = *state;
    struct qm_generate g = basis(d);
    struct qm_generate_result r;
    g.decoding.max_tokens = -1;
    generate(d, g, &r);
    assert_int_equal(r.finish, QM_FINISH_STOP);
    assert_int_equal(r.ids.data[r.ids.len - 1], d->model->config.end_tokens[0]);
    assert_null(strstr(r.text.data, "<|im_end|>"));
    assert_int_equal(strncmp(r.text.data, d->text, strlen(d->text)), 0);
    qm_generate_result_free(&r);
}

static void test_stop_string(void **state) {
    struct demo *d = *state;
    struct qm_generate g = basis(d);
    struct qm_generate_result r;
    const char *stop[] = {"ladder in"}; /* several tokens */
    g.decoding.stop = stop;
    g.decoding.n_stop = 1;
    generate(d, g, &r);
    assert_int_equal(r.finish, QM_FINISH_STOP);
    assert_int_equal(r.text.len, strstr(d->text, stop[0]) - d->text);
    assert_memory_equal(r.text.data, d->text, r.text.len);
    assert_true((int64_t)r.ids.len < d->n_greedy);
    qm_generate_result_free(&r);
}

static void test_chunks(void **state) {
    struct demo *d = *state;
    for (int64_t chunk = 1; chunk <= 5; chunk += 2) {
        struct qm_engine *e = open_engine(d, 128, chunk);
        struct qm_generate g = basis(d);
        struct qm_generate_result r;
        g.engine = e;
        generate(d, g, &r);
        assert_greedy(d, &r);
        qm_generate_result_free(&r);
        qm_engine_close(e);
    }
}

static void test_held_prefix(void **state) {
    struct demo *d = *state;
    struct qm_generate g = basis(d);
    struct qm_generate_result r;
    assert_int_equal(qm_sequence_open(g.engine, &g.sequence, &d->err), QM_OK);
    g.n_prompt = 5;
    g.decoding.max_tokens = 0;
    assert_int_equal(qm_generate(&g, &r, &d->err), QM_OK);
    qm_generate_result_free(&r);
    g.prompt = d->prompt + 5;
    g.n_prompt = d->n_prompt - 5;
    g.decoding.max_tokens = d->n_greedy;
    assert_int_equal(qm_generate(&g, &r, &d->err), QM_OK);
    assert_greedy(d, &r);
    assert_int_equal(r.prefix_tokens, 5);
    assert_int_equal(r.prompt_tokens, d->n_prompt);
    qm_generate_result_free(&r);
    qm_sequence_close(g.sequence);
}

static void test_context_full(void **state) {
    struct demo *d = *state;
    struct qm_engine *e = open_engine(d, d->n_prompt + 8, 0);
    struct qm_generate g = basis(d);
    struct qm_generate_result r;
    g.engine = e;
    g.decoding.max_tokens = -1;
    generate(d, g, &r);
    assert_int_equal(r.finish, QM_FINISH_CONTEXT);
    assert_int_equal(r.ids.len, 8);
    assert_memory_equal(r.ids.data, d->greedy, 8 * sizeof *d->greedy);
    qm_generate_result_free(&r);
    qm_engine_close(e);

    e = open_engine(d, d->n_prompt - 1, 0);
    g.engine = e;
    assert_int_equal(qm_sequence_open(e, &g.sequence, &d->err), QM_OK);
    assert_int_equal(qm_generate(&g, &r, &d->err), QM_INPUT);
    assert_int_equal(d->err.remedy, QM_REMEDY_SHORTER_PROMPT);
    assert_int_equal(qm_sequence_length(g.sequence), 0);
    qm_sequence_close(g.sequence);
    qm_engine_close(e);
}

struct watcher {
    int tokens, interrupt_at;
    volatile sig_atomic_t flag;
    int flag_at;
    double logprob_sum;
};

static int watch(void *arg, const struct qm_generate_token *t) {
    struct watcher *w = arg;
    double sum = 0;
    for (int i = 0; i < t->n_top; i++) {
        sum += exp((double)t->top[i].logprob);
        if (i)
            assert_true(t->top[i - 1].logprob >= t->top[i].logprob);
    }
    assert_true(sum <= 1 + 1e-6);
    if (t->n_top) /* greedy: the chosen one is the first */
        assert_true(t->top[0].id == t->id && t->logprob.logprob == t->top[0].logprob);
    w->logprob_sum += (double)t->logprob.logprob;
    if (++w->tokens == w->flag_at)
        w->flag = 1;
    return w->tokens == w->interrupt_at;
}

static void test_interruptions(void **state) {
    struct demo *d = *state;
    for (int by_flag = 0; by_flag < 2; by_flag++) {
        struct watcher w = {.interrupt_at = by_flag ? 0 : 4, .flag_at = by_flag ? 4 : 0};
        struct qm_generate g = basis(d);
        struct qm_generate_result r;
        g.on_token = watch;
        g.arg = &w;
        g.interrupt = &w.flag;
        generate(d, g, &r);
        assert_int_equal(r.finish, QM_FINISH_INTERRUPTED);
        assert_int_equal(r.ids.len, 4);
        assert_memory_equal(r.ids.data, d->greedy, 4 * sizeof *d->greedy);
        qm_generate_result_free(&r);
    }
}

static void test_logprobs(void **state) {
    struct demo *d = *state;
    struct watcher w = {0};
    struct qm_generate g = basis(d);
    struct qm_generate_result r;
    g.decoding.top_logprobs = 20;
    g.on_token = watch;
    g.arg = &w;
    generate(d, g, &r);
    assert_int_equal(w.tokens, d->n_greedy);
    assert_true(w.logprob_sum < 0);
    qm_generate_result_free(&r);
}

static void test_seed(void **state) {
    struct demo *d = *state;
    struct qm_generate g = basis(d);
    struct qm_generate_result r[3];
    g.decoding.sampling.temperature = 1.5;
    for (int i = 0; i < 3; i++) {
        g.decoding.sampling.seed = i == 2 ? 2 : 1;
        generate(d, g, &r[i]);
    }
    assert_int_equal(r[0].ids.len, r[1].ids.len);
    assert_memory_equal(r[0].ids.data, r[1].ids.data, r[0].ids.len * sizeof(int32_t));
    assert_true(r[0].ids.len != r[2].ids.len ||
                memcmp(r[0].ids.data, r[2].ids.data, r[0].ids.len * sizeof(int32_t)) != 0);
    for (int i = 0; i < 3; i++)
        qm_generate_result_free(&r[i]);
}

static void test_conversation(void **state) {
    struct demo *d = *state;
    struct qm_chat *chat;
    struct qm_conversation *c;
    struct qm_generate_result r;
    const struct qm_turn turn = {.max_tokens = -1, .sampling = qm_sampling_default};
    static const char question[] = "Tell me a short story.", hello[] = "Hello.";
    assert_int_equal(qm_chat_load("data/demo", NULL, &chat, &d->err), QM_OK);
    assert_int_equal(qm_conversation_new(d->engine, d->tokenizer, chat, NULL, &c, &d->err), QM_OK);
    assert_int_equal(qm_conversation_add(c, "user", question, strlen(question), &d->err), QM_OK);
    assert_int_equal(qm_conversation_reply(c, &turn, &r, &d->err), QM_OK);
    assert_int_equal(r.prompt_tokens, d->n_prompt);
    assert_int_equal(r.prefix_tokens, 0);
    const json_t *answer = json_array_get(qm_conversation_messages(c), 1);
    assert_int_equal(strncmp(json_string_value(json_object_get(answer, "content")), d->text, strlen(d->text)), 0);
    qm_generate_result_free(&r);
    /* The second turn computes at most the first answer again (its text may have other tokens), no question. */
    assert_int_equal(qm_conversation_add(c, "user", hello, strlen(hello), &d->err), QM_OK);
    assert_int_equal(qm_conversation_reply(c, &turn, &r, &d->err), QM_OK);
    assert_true(r.prefix_tokens >= d->n_prompt);
    assert_int_equal(json_array_size(qm_conversation_messages(c)), 4);
    qm_generate_result_free(&r);
    qm_conversation_free(c);
    qm_chat_free(chat);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),        cmocka_unit_test(test_to_the_end),  cmocka_unit_test(test_stop_string),
        cmocka_unit_test(test_chunks),        cmocka_unit_test(test_held_prefix), cmocka_unit_test(test_context_full),
        cmocka_unit_test(test_interruptions), cmocka_unit_test(test_logprobs),    cmocka_unit_test(test_seed),
        cmocka_unit_test(test_conversation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
