/* Generation's own logic against a scripted engine and a tokenizer of bytes: chunks, stops, limits, context,
 * interruptions, callbacks. (test_generate.c has the real ones.) generate.c is compiled in here with the
 * names of what it calls exchanged, and so is decoding.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define qm_generate fake_generate
#define qm_generate_result_free fake_generate_result_free
#define qm_finish_name fake_finish_name
#define qm_decoding_check fake_decoding_check
#define qm_decoding_new fake_decoding_new
#define qm_decoding_free fake_decoding_free
#define qm_decoding_tokens fake_decoding_tokens
#define qm_decoding_begins fake_decoding_begins
#define qm_decoding_sample fake_decoding_sample
#define qm_decoding_replay fake_decoding_redraw
#define qm_decoding_take fake_decoding_take
#define qm_decoding_interrupt fake_decoding_interrupt
#define qm_decoding_text fake_decoding_text
#define qm_engine_model fake_engine_model
#define qm_engine_context fake_engine_context
#define qm_engine_chunk fake_engine_chunk
#define qm_engine_clock fake_engine_clock
#define qm_engine_decode_bytes fake_engine_decode_bytes
#define qm_engine_isa fake_engine_isa
#define qm_engine_step fake_engine_step
#define qm_feed fake_feed
#define qm_step_surely fake_step_surely
#define qm_engine_set_interrupt fake_engine_set_interrupt
#define qm_sequence_length fake_sequence_length
#define qm_tokenizer_size fake_tokenizer_size
#define qm_stream_new fake_stream_new
#define qm_stream_push fake_stream_push
#define qm_stream_flush fake_stream_flush
#define qm_stream_free fake_stream_free
#include "base/utf8.h"
#include "session/decoding.c"
#include "session/feed.c"
#include "session/generate.c"

enum { VOCAB = 300, KNOWN = 257, END = 256, CONTEXT = 64, CHUNK = 4 };

/* After n tokens the most probable next one is script[n], then its successor in the alphabet. */
struct qm_engine {
    struct qm_model model;
    int32_t script[CONTEXT + 1];
    int64_t longest_step;
    int steps, fail_at, interrupt_in; /* the step in whose midst the flag is raised */
    const volatile sig_atomic_t *interrupt;
    volatile sig_atomic_t *flag;
};

struct qm_sequence {
    int32_t held[CONTEXT];
    int64_t length;
};

struct qm_tokenizer {
    int unused;
};

struct qm_stream {
    char bytes[8];
    size_t n;
};

void fake_engine_set_interrupt(struct qm_engine *e, const volatile sig_atomic_t *flag) {
    e->interrupt = flag;
}

const struct qm_model *fake_engine_model(const struct qm_engine *e) {
    return &e->model;
}

int64_t fake_engine_context(const struct qm_engine *e) {
    (void)e;
    return CONTEXT;
}

int64_t fake_engine_chunk(const struct qm_engine *e) {
    (void)e;
    return CHUNK;
}

double fake_engine_clock(const struct qm_engine *e) {
    return e->steps;
}

enum qm_isa fake_engine_isa(const struct qm_engine *e) {
    (void)e;
    return QM_ISA_SCALAR;
}

uint64_t fake_engine_decode_bytes(const struct qm_engine *e, int64_t depth) {
    (void)e;
    return 1000 + (uint64_t)depth;
}

int64_t fake_sequence_length(const struct qm_sequence *s) {
    return s->length;
}

int fake_engine_step(struct qm_engine *e, const struct qm_step_rows *steps, int n_steps, struct qm_error *err) {
    struct qm_sequence *s = steps->sequence;
    assert_int_equal(n_steps, 1);
    assert_true(steps->n >= 1 && steps->n <= CHUNK && s->length + steps->n <= CONTEXT);
    if (++e->steps == e->fail_at)
        return qm_fail(err, QM_SYSTEM, "scripted failure");
    if (e->steps == e->interrupt_in)
        *e->flag = 1;
    if (e->interrupt && *e->interrupt && steps->n > 1)
        return qm_fail(err, QM_INTERRUPTED, "interrupted");
    memcpy(s->held + s->length, steps->tokens, (size_t)steps->n * sizeof *s->held);
    s->length += steps->n;
    if (steps->n > e->longest_step)
        e->longest_step = steps->n;
    if (steps->n_logits) {
        assert_int_equal(steps->n_logits, 1);
        memset(steps->logits, 0, VOCAB * sizeof(float));
        int32_t next = e->script[s->length];
        steps->logits[next] = 10;
        if (next < 255)
            steps->logits[next + 1] = 9;
    }
    return QM_OK;
}

int64_t fake_tokenizer_size(const struct qm_tokenizer *t) {
    (void)t;
    return KNOWN;
}

int fake_stream_new(const struct qm_tokenizer *t, bool skip_special, struct qm_stream **out, struct qm_error *err) {
    (void)t;
    (void)skip_special;
    (void)err;
    *out = calloc(1, sizeof **out);
    return *out ? QM_OK : QM_SYSTEM;
}

int fake_stream_push(struct qm_stream *s, int32_t id, struct qm_buf *out, struct qm_error *err) {
    uint32_t cp;
    assert_true(id >= 0 && id < VOCAB);
    if (id >= KNOWN)
        return QM_OK;
    if (id == END)
        return qm_buf_str(out, "<end>", err);
    s->bytes[s->n++] = (char)id;
    if (!qm_utf8_decode(s->bytes, s->n, &cp))
        return QM_OK;
    size_t n = s->n;
    s->n = 0;
    return qm_buf_add(out, s->bytes, n, err);
}

int fake_stream_flush(struct qm_stream *s, struct qm_buf *out, struct qm_error *err) {
    return s->n ? qm_buf_str(out, "\xEF\xBF\xBD", err) : QM_OK;
}

void fake_stream_free(struct qm_stream *s) {
    free(s);
}

/* One run: prompt "abcdef" (6 tokens), then `text`, then end tokens. */
struct scene {
    struct qm_engine engine;
    struct qm_sequence sequence;
    struct qm_tokenizer tokenizer;
    struct qm_generate g;
    struct qm_generate_result result;
    struct qm_error err;
    struct qm_buf streamed;
    int tokens, interrupt_at;
    bool begun; /* on_prefill was called with 0 */
    int64_t prefilled, interrupt_prefill_at;
    int set_flag_at;
    volatile sig_atomic_t flag;
};

static const int32_t prompt[] = {'a', 'b', 'c', 'd', 'e', 'f'};

static int on_token(void *arg, const struct qm_generate_token *t) {
    struct scene *s = arg;
    assert_int_equal(strlen(t->text), t->text_len);
    assert_int_equal(qm_utf8_check(t->text, t->text_len), t->text_len);
    assert_int_equal(s->g.decoding.top_logprobs >= 0 ? s->g.decoding.top_logprobs : 0, t->n_top);
    if (t->n_top > 0) /* greedy */
        assert_true(t->top[0].id == t->id && t->logprob.id == t->id && t->top[0].logprob == t->logprob.logprob);
    assert_int_equal(qm_buf_add(&s->streamed, t->text, t->text_len, &s->err), QM_OK);
    if (++s->tokens == s->set_flag_at)
        s->flag = 1;
    return s->tokens == s->interrupt_at;
}

static int on_prefill(void *arg, int64_t done, int64_t total) {
    struct scene *s = arg;
    assert_true(done > s->prefilled || (done == 0 && !s->begun));
    assert_true(s->begun == (done > 0) && done <= total && total == s->g.n_prompt);
    s->begun = true;
    s->prefilled = done;
    return done == s->interrupt_prefill_at;
}

static void set_scene(struct scene *s, const char *text) {
    *s = (struct scene){.engine = {.model.config = {.vocab = VOCAB, .end_tokens = {299, END}, .n_end_tokens = 2}},
                        .interrupt_prefill_at = -1};
    size_t n = strlen(text);
    for (size_t i = 0; i <= CONTEXT; i++)
        s->engine.script[i] = i >= 6 && i - 6 < n ? (unsigned char)text[i - 6] : END;
    s->g = (struct qm_generate){.engine = &s->engine,
                                .sequence = &s->sequence,
                                .decoding.tokenizer = &s->tokenizer,
                                .prompt = prompt,
                                .n_prompt = 6,
                                .decoding.max_tokens = -1,
                                .decoding.sampling = qm_sampling_default,
                                .decoding.skip_special = true,
                                .decoding.top_logprobs = -1,
                                .on_token = on_token,
                                .on_prefill = on_prefill,
                                .arg = s,
                                .interrupt = &s->flag};
}

/* Runs and checks how it ended, how many tokens there are, the text, and what was streamed of it. */
static void expect(struct scene *s, enum qm_finish finish, size_t n_ids, const char *text, const char *streamed) {
    assert_int_equal(qm_generate(&s->g, &s->result, &s->err), QM_OK);
    assert_string_equal(qm_finish_name(s->result.finish), qm_finish_name(finish));
    assert_int_equal(s->result.ids.len, n_ids);
    assert_string_equal(s->result.text.data, text);
    assert_string_equal(s->streamed.data ? s->streamed.data : "", streamed);
    qm_generate_result_free(&s->result);
    qm_buf_free(&s->streamed);
}

static void test_end(void **state) {
    (void)state;
    struct scene s;
    set_scene(&s, "hello w\xC3\xB6rld");
    s.g.decoding.top_logprobs = 3;
    assert_int_equal(qm_generate(&s.g, &s.result, &s.err), QM_OK);
    assert_int_equal(s.result.finish, QM_FINISH_STOP);
    assert_int_equal(s.result.ids.len, 13);
    assert_int_equal(s.result.ids.data[12], END);
    assert_string_equal(s.result.text.data, "hello w\xC3\xB6rld");
    assert_string_equal(s.streamed.data, "hello w\xC3\xB6rld");
    assert_int_equal(s.tokens, 13);
    assert_int_equal(s.engine.longest_step, CHUNK);
    assert_int_equal(s.engine.steps, 2 + 12);
    assert_int_equal(s.prefilled, 6);
    assert_int_equal(s.result.prompt_tokens, 6);
    assert_int_equal(s.result.prefix_tokens, 0);
    assert_int_equal(s.result.decode_tokens, 12);
    assert_int_equal(s.result.decode_bytes, 12 * 1000 + (6 + 17) * 12 / 2);
    assert_int_equal(s.sequence.length, 6 + 12);
    assert_true(s.result.prefill_seconds >= 0 && s.result.decode_seconds >= 0);
    qm_generate_result_free(&s.result);
    qm_buf_free(&s.streamed);
}

static void test_end_ignored(void **state) {
    (void)state;
    struct scene s;
    set_scene(&s, "ab");
    s.g.decoding.ignore_end = true;
    s.g.decoding.max_tokens = 4;
    expect(&s, QM_FINISH_LENGTH, 4, "ab<end><end>", "ab<end><end>");
}

static void test_length(void **state) {
    (void)state;
    struct scene s;
    set_scene(&s, "hello");
    s.g.decoding.max_tokens = 3;
    expect(&s, QM_FINISH_LENGTH, 3, "hel", "hel");
    set_scene(&s, "he\xC3\xB6");
    s.g.decoding.max_tokens = 3; /* ends within a character */
    expect(&s, QM_FINISH_LENGTH, 3, "he\xEF\xBF\xBD", "he\xEF\xBF\xBD");
    set_scene(&s, "hello");
    s.g.decoding.max_tokens = 0;
    expect(&s, QM_FINISH_LENGTH, 0, "", "");
    assert_int_equal(s.sequence.length, 6);
    set_scene(&s, "hello");
    s.g.decoding.max_tokens = 6; /* the end token is the last that is allowed */
    expect(&s, QM_FINISH_STOP, 6, "hello", "hello");
}

static void test_stop_strings(void **state) {
    (void)state;
    struct scene s;
    const char *stop[] = {"never", "lo w"};
    set_scene(&s, "hello world");
    s.g.decoding.stop = stop;
    s.g.decoding.n_stop = 2;
    expect(&s, QM_FINISH_STOP, 7, "hel", "hel");
    /* What was held back comes when the text ends otherwise, streamed with the last token. */
    set_scene(&s, "hello");
    s.g.decoding.stop = stop;
    s.g.decoding.n_stop = 2;
    expect(&s, QM_FINISH_STOP, 6, "hello", "hello");
    set_scene(&s, "hello world");
    s.g.decoding.stop = stop;
    s.g.decoding.n_stop = 2;
    s.g.decoding.max_tokens = 5;
    expect(&s, QM_FINISH_LENGTH, 5, "hello", "hello");
    set_scene(&s, "hello world");
    s.g.decoding.stop = (const char *[]){""};
    s.g.decoding.n_stop = 1;
    assert_int_equal(qm_generate(&s.g, &s.result, &s.err), QM_USAGE);
    assert_int_equal(s.engine.steps, 0);
}

static void test_context(void **state) {
    (void)state;
    struct scene s;
    char text[CONTEXT], all[CONTEXT];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    set_scene(&s, text);
    memcpy(all, text, sizeof all);
    all[CONTEXT - 6] = 0;
    expect(&s, QM_FINISH_CONTEXT, CONTEXT - 6, all, all);
    /* Room for none, then a prompt that is one too long. */
    set_scene(&s, text);
    s.sequence.length = CONTEXT - 6;
    expect(&s, QM_FINISH_CONTEXT, 0, "", "");
    set_scene(&s, text);
    s.sequence.length = CONTEXT - 5;
    assert_int_equal(qm_generate(&s.g, &s.result, &s.err), QM_INPUT);
    assert_non_null(strstr(s.err.message, "6 tokens"));
    assert_non_null(strstr(s.err.message, "room for 5"));
    assert_int_equal(s.engine.steps, 0);
    assert_int_equal(s.sequence.length, CONTEXT - 5);
}

static void test_interruptions(void **state) {
    (void)state;
    struct scene s;
    const char *stop[] = {"llx"};
    set_scene(&s, "hello");
    s.interrupt_at = 3;
    s.g.decoding.stop = stop;
    s.g.decoding.n_stop = 1; /* "l" is held back: only in the result */
    expect(&s, QM_FINISH_INTERRUPTED, 3, "hel", "he");
    assert_int_equal(s.sequence.length, 6 + 2);
    set_scene(&s, "hello");
    s.set_flag_at = 2;
    expect(&s, QM_FINISH_INTERRUPTED, 2, "he", "he");
    set_scene(&s, "hello");
    s.flag = 1;
    expect(&s, QM_FINISH_INTERRUPTED, 0, "", "");
    assert_int_equal(s.sequence.length, 0);
    set_scene(&s, "hello");
    s.interrupt_prefill_at = 4;
    expect(&s, QM_FINISH_INTERRUPTED, 0, "", "");
    assert_int_equal(s.sequence.length, 4);
    set_scene(&s, "hello"); /* in the midst of the prompt's second chunk: what was computed before it stays */
    s.engine.flag = &s.flag;
    s.engine.interrupt_in = 2;
    expect(&s, QM_FINISH_INTERRUPTED, 0, "", "");
    assert_int_equal(s.sequence.length, 4);
    assert_null(s.engine.interrupt);
    set_scene(&s, "hello"); /* before anything is computed */
    s.interrupt_prefill_at = 0;
    expect(&s, QM_FINISH_INTERRUPTED, 0, "", "");
    assert_int_equal(s.sequence.length, 0);
}

static void test_history(void **state) {
    (void)state;
    struct scene s;
    const int32_t history[] = {'h'};
    set_scene(&s, "h");
    s.g.decoding.sampling.repetition_penalty = 1.2; /* 10 / 1.2 < 9 */
    s.g.decoding.max_tokens = 1;
    expect(&s, QM_FINISH_LENGTH, 1, "h", "h");
    set_scene(&s, "h");
    s.g.decoding.sampling.repetition_penalty = 1.2;
    s.g.decoding.max_tokens = 1;
    s.g.history = history;
    s.g.n_history = 1;
    expect(&s, QM_FINISH_LENGTH, 1, "i", "i");
    set_scene(&s, "ab"); /* the prompt counts by itself: "a" would be next, "b" is in the prompt too */
    s.g.decoding.sampling.repetition_penalty = 1.2;
    s.engine.script[6] = 'f';
    s.g.decoding.max_tokens = 1;
    expect(&s, QM_FINISH_LENGTH, 1, "g", "g");
}

static void test_unknown_id(void **state) {
    (void)state;
    struct scene s;
    set_scene(&s, "abc");
    s.engine.script[7] = 298; /* in the model's vocabulary, not in the tokenizer's */
    expect(&s, QM_FINISH_STOP, 4, "ac", "ac");
}

static void test_no_tokenizer(void **state) {
    (void)state;
    struct scene s;
    set_scene(&s, "abc");
    s.g.decoding.tokenizer = NULL;
    expect(&s, QM_FINISH_STOP, 4, "", "");
    s.g.decoding.n_stop = 1;
    assert_int_equal(qm_generate(&s.g, &s.result, &s.err), QM_USAGE);
}

static void test_failures(void **state) {
    (void)state;
    struct scene s;
    for (int at = 1; at <= 4; at++) {
        set_scene(&s, "abc");
        s.engine.fail_at = at;
        assert_int_equal(qm_generate(&s.g, &s.result, &s.err), QM_SYSTEM);
        assert_null(s.result.ids.data);
        qm_buf_free(&s.streamed);
    }
    set_scene(&s, "abc");
    s.g.n_prompt = 0;
    assert_int_equal(qm_generate(&s.g, &s.result, &s.err), QM_INPUT);
    set_scene(&s, "abc");
    s.g.decoding.max_tokens = -2;
    assert_int_equal(qm_generate(&s.g, &s.result, &s.err), QM_USAGE);
    set_scene(&s, "abc");
    s.g.decoding.top_logprobs = 21;
    assert_int_equal(qm_generate(&s.g, &s.result, &s.err), QM_USAGE);
    set_scene(&s, "abc");
    s.g.decoding.sampling.top_p = 2;
    assert_int_equal(qm_generate(&s.g, &s.result, &s.err), QM_USAGE);
    assert_int_equal(s.engine.steps, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_end),          cmocka_unit_test(test_end_ignored), cmocka_unit_test(test_length),
        cmocka_unit_test(test_stop_strings), cmocka_unit_test(test_context),     cmocka_unit_test(test_interruptions),
        cmocka_unit_test(test_history),      cmocka_unit_test(test_unknown_id),  cmocka_unit_test(test_no_tokenizer),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
