/* Random requests, alone and scheduled. */
#include "tests/support/load.h"

#include <stdlib.h>
#include <string.h>

#include "engine/sequence.h"
#include "tests/support/support.h"

enum { NEVER = -1, TOP = 3, TOKEN_FLOATS = 1 + TOP };

struct reported { /* of one token */
    int32_t id;
    size_t text_end; /* of the streamed text */
    struct qm_logprob chosen, top[TOP];
    int n_top;
};

struct load_request {
    struct load *load;
    bool shares;
    struct qm_request r;
    int32_t *prompt;
    int32_t stop_ids[2];
    char stop[16];
    const char *stops[1];
    /* alone */
    struct qm_generate_result alone;
    struct reported *tokens;
    struct qm_buf streamed;
    /* scheduled */
    uint64_t id;
    int64_t n_reported, n_replayed, prefilled;
    size_t streamed_at;
    bool done, cancelled;
    int64_t cancel_in; /* its own callback, after so many tokens */
};

struct load {
    struct qm_engine *alone;
    const struct qm_tokenizer *tokenizer;
    struct qm_scheduler *scheduler;
    struct load_request *requests;
    int n;
    uint64_t random;
    int right; /* of a hundred drafts */
};

static uint32_t next(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static int64_t below(uint64_t *state, int64_t n) {
    return (int64_t)(next(state) % (uint64_t)n);
}

static int note(void *arg, const struct qm_generate_token *t) {
    struct load_request *j = arg;
    struct reported *k = &j->tokens[j->n_reported++];
    struct qm_error err;
    *k = (struct reported){.id = t->id, .n_top = t->n_top};
    if (t->n_top) {
        k->chosen = t->logprob;
        memcpy(k->top, t->top, (size_t)t->n_top * sizeof *t->top);
    }
    assert_int_equal(qm_buf_add(&j->streamed, t->text, t->text_len, &err), 0);
    k->text_end = j->streamed.len;
    return 0;
}

static void generate(struct load_request *j, struct qm_speculation *speculation,
                     int (*each)(void *, const struct qm_generate_token *), struct qm_generate_result *out) {
    struct qm_error err;
    struct qm_generate g = {.engine = j->load->alone,
                            .prompt = j->prompt,
                            .n_prompt = j->r.n_prompt,
                            .decoding = j->r.decoding,
                            .speculation = speculation,
                            .on_token = each,
                            .arg = j};
    g.decoding.tokenizer = j->load->tokenizer;
    if (qm_sequence_open(g.engine, &g.sequence, &err) || qm_generate(&g, out, &err))
        fail_msg("%s", err.message);
    /* all tokens but the last one generated */
    int64_t held = j->r.n_prompt + (int64_t)out->ids.len - (out->ids.len > 0);
    assert_int_equal(qm_sequence_length(g.sequence), held);
    qm_sequence_close(g.sequence);
}

static void generate_alone(struct load_request *j) {
    qm_generate_result_free(&j->alone);
    j->n_reported = 0;
    j->streamed.len = 0;
    generate(j, NULL, note, &j->alone);
}

/* A stop string that will be met: some of the text that comes without it. */
static void choose_stop(struct load_request *j, uint64_t *random) {
    struct qm_buf *text = &j->alone.text;
    if (text->len < 12 || next(random) % 2)
        return;
    size_t at = 4 + (size_t)below(random, (int64_t)text->len - 10), n = 1 + next(random) % 5;
    while (at > 0 && ((unsigned char)text->data[at] & 0xC0) == 0x80)
        at--;
    while (at + n < text->len && ((unsigned char)text->data[at + n] & 0xC0) == 0x80)
        n++;
    if (at + n > text->len || n >= sizeof j->stop)
        return;
    memcpy(j->stop, text->data + at, n);
    j->stops[0] = j->stop;
    j->r.decoding.stop = j->stops;
    j->r.decoding.n_stop = 1;
    generate_alone(j);
}

static void vary(struct load_request *j, uint64_t *random) {
    struct qm_sampling *s = &j->r.decoding.sampling;
    if (next(random) % 3) {
        s->temperature = 0.5 + (double)(next(random) % 100) / 50;
        s->top_p = next(random) % 2 ? 0.9 : 1;
        s->top_k = next(random) % 2 ? 40 : 0;
        s->min_p = next(random) % 4 ? 0 : 0.02;
        s->seed = next(random);
    }
    if (next(random) % 2) {
        s->repetition_penalty = 1.2;
        s->presence_penalty = 0.5;
        s->frequency_penalty = 0.25;
    }
    if (next(random) % 3 == 0)
        j->r.decoding.top_logprobs = TOP;
    j->r.decoding.ignore_end = next(random) % 2;
    j->r.decoding.skip_special = next(random) % 2;
    j->r.decoding.include_stop = next(random) % 2;
    if (next(random) % 3 == 0)
        j->r.decoding.min_tokens = below(random, j->r.decoding.max_tokens + 1);
}

/* Two of the tokens that come without them. */
static void choose_stop_ids(struct load_request *j, uint64_t *random) {
    int64_t n = (int64_t)j->alone.ids.len;
    if (n < 8 || next(random) % 3)
        return;
    for (int i = 0; i < 2; i++)
        j->stop_ids[i] = j->alone.ids.data[below(random, n)];
    j->r.decoding.stop_ids = j->stop_ids;
    j->r.decoding.n_stop_ids = 2;
    generate_alone(j);
}

static void make(struct load *l, struct load_request *j, const struct load_shape *shape, const int32_t *head) {
    int64_t vocab = qm_engine_model(l->alone)->config.vocab, n = 1 + below(&l->random, shape->prompt_max);
    bool shares = shape->head && next(&l->random) % 2;
    j->load = l;
    j->shares = shares;
    j->r = (struct qm_request){.n_prompt = shares ? shape->head + n : n,
                               .decoding.max_tokens = below(&l->random, shape->tokens_max + 1),
                               .decoding.sampling = qm_sampling_default,
                               .decoding.top_logprobs = -1};
    j->prompt = malloc((size_t)j->r.n_prompt * sizeof *j->prompt);
    j->tokens = calloc((size_t)shape->tokens_max + 1, sizeof *j->tokens);
    if (shares)
        memcpy(j->prompt, head, (size_t)shape->head * sizeof *head);
    for (int64_t i = shares ? shape->head : 0; i < j->r.n_prompt; i++)
        j->prompt[i] = (int32_t)below(&l->random, vocab);
    j->r.prompt = j->prompt;
    vary(j, &l->random);
    j->r.decoding.ignore_end |= shape->endless;
    generate_alone(j);
    if (!shape->endless)
        choose_stop_ids(j, &l->random);
    if (l->tokenizer && !shape->endless)
        choose_stop(j, &l->random);
}

struct load *load_new(struct qm_engine *alone, const struct qm_tokenizer *tokenizer, const struct load_shape *shape) {
    struct load *l = calloc(1, sizeof *l);
    int32_t *head = calloc((size_t)shape->head + 1, sizeof *head);
    *l = (struct load){.alone = alone, .tokenizer = tokenizer, .n = shape->requests, .random = shape->seed};
    l->requests = calloc((size_t)shape->requests, sizeof *l->requests);
    for (int64_t i = 0; i < shape->head; i++)
        head[i] = (int32_t)below(&l->random, qm_engine_model(alone)->config.vocab);
    for (int i = 0; i < shape->requests; i++)
        make(l, &l->requests[i], shape, head);
    free(head);
    return l;
}

void load_free(struct load *l) {
    for (int i = 0; i < l->n; i++) {
        qm_generate_result_free(&l->requests[i].alone);
        qm_buf_free(&l->requests[i].streamed);
        free(l->requests[i].prompt);
        free(l->requests[i].tokens);
    }
    free(l->requests);
    free(l);
}

int load_sharing(const struct load *l) {
    int n = 0;
    for (int i = 0; i < l->n; i++)
        n += l->requests[i].shares;
    return n;
}

/* ---- scheduled ---- */

static int on_token(void *arg, const struct qm_generate_token *t, bool replay) {
    struct load_request *j = arg;
    assert_false(j->done);
    assert_true(j->n_reported < (int64_t)j->alone.ids.len);
    const struct reported *k = &j->tokens[j->n_reported];
    assert_int_equal(t->id, k->id);
    assert_int_equal(replay, j->n_reported < j->r.n_generated);
    assert_int_equal(t->text_len, k->text_end - j->streamed_at);
    assert_memory_equal(t->text, j->streamed.data + j->streamed_at, t->text_len);
    assert_int_equal(t->n_top, k->n_top);
    if (k->n_top) {
        assert_memory_equal(&t->logprob, &k->chosen, sizeof k->chosen);
        assert_memory_equal(t->top, k->top, (size_t)k->n_top * sizeof *k->top);
    }
    j->streamed_at = k->text_end;
    j->n_replayed += replay;
    if (++j->n_reported != j->cancel_in)
        return 0;
    j->cancelled = true;
    return 1;
}

static void on_prefill(void *arg, int64_t done, int64_t total) {
    struct load_request *j = arg;
    assert_false(j->done);
    assert_true(done > 0 && done <= total && total >= j->r.n_prompt);
    j->prefilled = done;
}

static void on_done(void *arg, const struct qm_outcome *o) {
    struct load_request *j = arg;
    assert_false(j->done);
    j->done = true;
    if (o->rc)
        fail_msg("%s", o->error->message);
    assert_int_equal(o->id, j->id);
    assert_int_equal(o->n_ids, j->n_reported);
    assert_memory_equal(o->ids, j->alone.ids.data, (size_t)o->n_ids * sizeof *o->ids);
    assert_int_equal(o->prompt_tokens, j->r.n_prompt);
    if (j->cancelled && o->finish == QM_FINISH_INTERRUPTED) {
        assert_true(o->n_ids < (int64_t)j->alone.ids.len || j->r.decoding.max_tokens == 0);
        return;
    }
    assert_int_equal(o->finish, j->alone.finish);
    assert_int_equal(o->n_ids, j->alone.ids.len);
    assert_int_equal(o->text_len, j->alone.text.len);
    assert_memory_equal(o->text, j->alone.text.data, o->text_len);
}

static void submit(struct load_request *j, const struct load_course *c, uint64_t *random) {
    struct qm_error err;
    struct qm_request r = j->r;
    int64_t n = (int64_t)j->alone.ids.len;
    j->n_reported = j->n_replayed = j->prefilled = 0;
    j->streamed_at = 0;
    j->done = j->cancelled = false;
    j->cancel_in = below(random, 100) < c->cancels / 2 ? 1 + below(random, 8) : NEVER;
    if (n && below(random, 100) < c->resumed)
        r.n_generated = below(random, n);
    r.generated = j->alone.ids.data;
    j->r.n_generated = r.n_generated;
    r.priority = c->priorities ? (int)below(random, 3) : 0;
    r.on_token = on_token;
    r.on_prefill = on_prefill;
    r.on_done = on_done;
    r.arg = j;
    if (qm_scheduler_submit(j->load->scheduler, &r, &j->id, &err))
        fail_msg("%s", err.message);
}

static void cancel_one(struct load *l, int submitted, const struct load_course *c, uint64_t *random) {
    if (!submitted || below(random, 100) >= c->cancels / 4)
        return;
    struct load_request *j = &l->requests[below(random, submitted)];
    if (j->done)
        return;
    j->cancelled = true;
    assert_int_equal(qm_scheduler_cancel(l->scheduler, j->id), 0);
    assert_true(j->done);
    assert_int_equal(qm_scheduler_cancel(l->scheduler, j->id), QM_GONE);
}

void load_run(struct load *l, const struct qm_scheduler_options *o, const struct load_course *c,
              struct qm_scheduler_stats *stats) {
    struct qm_error err;
    uint64_t random = c->seed;
    int submitted = 0;
    bool worked = true;
    if (qm_scheduler_open(o, &l->scheduler, &err))
        fail_msg("%s", err.message);
    while (submitted < l->n || worked) {
        int64_t more = c->at_once ? l->n : below(&random, 3);
        for (; more > 0 && submitted < l->n; more--)
            submit(&l->requests[submitted++], c, &random);
        if (qm_scheduler_step(l->scheduler, &worked, &err))
            fail_msg("%s", err.message);
        cancel_one(l, submitted, c, &random);
    }
    assert_true(qm_scheduler_idle(l->scheduler));
    for (int i = 0; i < l->n; i++) {
        assert_true(l->requests[i].done);
        assert_true(l->requests[i].cancelled || l->requests[i].n_replayed == l->requests[i].r.n_generated);
    }
    if (stats)
        qm_scheduler_stats(l->scheduler, stats);
    qm_scheduler_close(l->scheduler);
}

/* ---- with drafts ---- */

static int on_token_alone(void *arg, const struct qm_generate_token *t) {
    return on_token(arg, t, false);
}

void load_run_alone(struct load *l, struct qm_speculation *speculation) {
    for (int i = 0; i < l->n; i++) {
        struct load_request *j = &l->requests[i];
        struct qm_generate_result again;
        j->n_reported = j->r.n_generated = 0;
        j->streamed_at = 0;
        j->done = false;
        j->cancel_in = NEVER;
        generate(j, speculation, on_token_alone, &again);
        assert_int_equal(again.finish, j->alone.finish);
        assert_int_equal(again.ids.len, j->alone.ids.len);
        assert_int_equal(again.decode_tokens, j->alone.decode_tokens);
        assert_int_equal(again.text.len, j->alone.text.len);
        assert_memory_equal(again.text.data, j->alone.text.data, again.text.len);
        qm_generate_result_free(&again);
    }
}

struct text {
    int32_t *ids;
    int64_t n, room;
};

static int open_text(void *self, void **out, struct qm_error *err) {
    (void)self, (void)err;
    *out = calloc(1, sizeof(struct text));
    return QM_OK;
}

static void close_text(void *self, void *text) {
    (void)self;
    free(((struct text *)text)->ids);
    free(text);
}

static void append(void *self, void *text, const int32_t *ids, int64_t n) {
    struct text *t = text;
    (void)self;
    while (t->n + n > t->room) {
        t->room = 2 * t->room + n;
        t->ids = realloc(t->ids, (size_t)t->room * sizeof *t->ids);
    }
    memcpy(t->ids + t->n, ids, (size_t)n * sizeof *ids);
    t->n += n;
}

static bool is_of(const struct text *t, const struct load_request *j) {
    int64_t prompt = j->r.n_prompt, more = t->n - prompt;
    return more >= 0 && more <= (int64_t)j->alone.ids.len &&
           memcmp(t->ids, j->prompt, (size_t)prompt * sizeof *t->ids) == 0 &&
           memcmp(t->ids + prompt, j->alone.ids.data, (size_t)more * sizeof *t->ids) == 0;
}

static int propose(void *self, void *text, const struct qm_draft_limit *limit, struct qm_draft *out) {
    struct load *l = self;
    const struct text *t = text;
    const struct load_request *j = NULL;
    for (int i = 0; i < l->n && !j; i++)
        j = is_of(t, &l->requests[i]) ? &l->requests[i] : NULL;
    if (!j) /* only the text of a job is drafted for */
        fail_msg("a text of %d tokens is no job's", (int)t->n);
    int64_t vocab = qm_engine_model(l->alone)->config.vocab, known = (int64_t)j->alone.ids.len;
    int n = 0;
    for (int64_t at = t->n - j->r.n_prompt; n < limit->most; at++, n++) {
        int32_t id = at < known ? j->alone.ids.data[at] : 0;
        if (below(&l->random, 100) >= l->right)
            id = (int32_t)((id + 1) % vocab);
        out[n] = (struct qm_draft){.id = id, .confidence = (int)below(&l->random, QM_DRAFT_CLASSES)};
    }
    return n;
}

struct qm_drafter load_drafter(struct load *l, int right) {
    l->right = right;
    return (struct qm_drafter){.self = l, .open = open_text, .close = close_text, .append = append, .propose = propose};
}
