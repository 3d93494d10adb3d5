/* The scheduler's own logic, over an engine that only counts. Many loads can be run in a moment, and what is promised
 * of them is checked step by step: nobody waits for more than a chunk, the first always proceeds, pages suffice, every
 * result is the one alone. (test_scheduler.c has real models.) */
#include "tests/session/counting_engine.h"

/* Every load, however little memory there is, ends with the results alone. */
static void test_loads(void **state) {
    (void)state;
    int64_t preemptions = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct qm_engine one = engine(400, 64, 1, 1000), many = engine(400, 4 + (int64_t)seed % 40, 2 + seed % 7, 50);
        struct load *l = fake_load_new(
            &one, NULL,
            &(struct load_shape){
                .requests = 30, .prompt_max = seed % 3 ? 60 : 300, .tokens_max = seed % 2 ? 60 : 90, .seed = seed});
        struct qm_scheduler_options o = options(&many);
        for (int course = 0; course < 4; course++) {
            struct qm_scheduler_stats stats;
            struct qm_prefix_cache cache = {.engine = &many, .idle = course == 3 ? 45 : 0};
            many.taken = cache.idle;
            o.cache = course == 3 ? &cache : NULL;
            struct load_course c = {.seed = seed + 100, .at_once = course == 0, .priorities = course == 2};
            c.cancels = course == 1 ? 50 : 0;
            c.resumed = course == 1 ? 50 : 0;
            fake_load_run(l, &o, &c, &stats);
            preemptions += stats.preemptions;
            assert_int_equal(many.open, 0);
            assert_int_equal(many.taken, cache.idle);
        }
        fake_load_free(l);
    }
    assert_true(preemptions > 100);
}

/* Several jobs that are resumed at once, with log-probabilities: there are logits for a few tokens a step only, and who
 * gets none waits; nobody gives way for that. */
static void test_resumed_together(void **state) {
    (void)state;
    struct qm_engine one = engine(400, 64, 1, 1000), many = engine(400, 64, 6, 1000);
    struct qm_scheduler_stats stats;
    struct load *l = fake_load_new(
        &one, NULL,
        &(struct load_shape){.requests = 30, .prompt_max = 20, .tokens_max = 100, .endless = true, .seed = 3});
    struct qm_scheduler_options o = options(&many);
    fake_load_run(l, &o, &(struct load_course){.seed = 1, .at_once = true, .resumed = 100}, &stats);
    assert_int_equal(stats.preemptions, 0);
    fake_load_free(l);
}

/* With drafts, right or wrong, every result is the one alone, and nobody gives way for a draft. */
static void test_drafts(void **state) {
    (void)state;
    static const int most[] = {1, 2, 3, 7, QM_DRAFT_MAX};
    struct qm_speculation_stats reported = {0};
    struct qm_error err;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct qm_engine one = engine(400, 64, 1, 1000), many = engine(400, 20 + (int64_t)seed, 2 + seed % 7, 50);
        struct load *l = fake_load_new(
            &one, NULL, &(struct load_shape){.requests = 20, .prompt_max = 60, .tokens_max = 90, .seed = seed});
        for (int right = 0; right <= 100; right += 50)
            for (size_t k = 0; k < 5; k++) {
                const struct qm_speculation_options so = {
                    .drafter = fake_load_drafter(l, right), .most = most[k], .always = k % 2 == 0};
                struct qm_scheduler_options o = options(&many);
                struct qm_scheduler_stats plain, stats;
                struct load_course c = {.seed = seed + 7, .at_once = k == 1, .cancels = k == 2 ? 40 : 0};
                c.resumed = k == 3 ? 50 : 0;
                fake_load_run(l, &o, &c, &plain);
                assert_int_equal(qm_speculation_new(&so, &o.speculation, &err), QM_OK);
                fake_load_run(l, &o, &c, &stats);
                qm_speculation_stats(o.speculation, &reported);
                assert_int_equal(many.open, 0);
                assert_int_equal(many.taken, 0);
                assert_true(reported.accepted <= reported.drafted);
                assert_true(!so.always || right == 0 || reported.accepted > 0);
                assert_int_equal(right == 0 ? reported.accepted : 0, 0);
                assert_true(right < 100 || k == 2 || stats.steps <= plain.steps);
                fake_load_run_alone(l, o.speculation);
                qm_speculation_free(o.speculation);
            }
        fake_load_free(l);
    }
}

/* A pool that just holds what all need: drafts take what is free, and nobody gives way for them. */
static void test_drafts_take_no_page(void **state) {
    (void)state;
    struct qm_error err;
    struct qm_engine one = engine(400, 64, 1, 1000), many = engine(400, 64, 4, 4 * 8);
    struct load *l = fake_load_new(
        &one, NULL, &(struct load_shape){.requests = 4, .prompt_max = 1, .tokens_max = 63, .endless = true, .seed = 4});
    struct qm_scheduler_options o = options(&many);
    struct qm_scheduler_stats stats;
    const struct qm_speculation_options so = {
        .drafter = fake_load_drafter(l, 80), .most = QM_DRAFT_MAX, .always = true};
    assert_int_equal(qm_speculation_new(&so, &o.speculation, &err), QM_OK);
    fake_load_run(l, &o, &(struct load_course){.seed = 1, .at_once = true}, &stats);
    assert_int_equal(stats.preemptions, 0);
    qm_speculation_free(o.speculation);
    fake_load_free(l);
}

/* ---- one request after the other, watched step by step ---- */

enum { MOST = 64 };

struct watched {
    const struct qm_engine *e;
    uint64_t id;
    int64_t tokens, preemptions;
    double last, longest_gap;
    bool done;
    enum qm_finish finish;
    int rc;
    float embedding[HIDDEN];
    int order; /* in which they were done */
};

static int done_so_far;

static int watch_token(void *arg, const struct qm_generate_token *t, bool replay) {
    struct watched *w = arg;
    (void)t, (void)replay;
    if (w->tokens++ && w->e->clock - w->last > w->longest_gap)
        w->longest_gap = w->e->clock - w->last;
    w->last = w->e->clock;
    return 0;
}

static void watch_done(void *arg, const struct qm_outcome *o) {
    struct watched *w = arg;
    assert_false(w->done);
    w->done = true;
    w->finish = o->finish;
    w->rc = o->rc;
    w->preemptions = o->preemptions;
    w->order = done_so_far++;
    if (o->embedding)
        memcpy(w->embedding, o->embedding, sizeof w->embedding);
}

static int32_t zeros[1 << 17];

static struct qm_request request(struct watched *w, const struct qm_engine *e, int64_t prompt, int64_t tokens) {
    *w = (struct watched){.e = e};
    return (struct qm_request){.prompt = zeros,
                               .n_prompt = prompt,
                               .decoding.max_tokens = tokens,
                               .decoding.sampling = qm_sampling_default,
                               .decoding.ignore_end = true,
                               .decoding.top_logprobs = -1,
                               .on_token = watch_token,
                               .on_done = watch_done,
                               .arg = w};
}

static struct qm_scheduler *open_scheduler(const struct qm_scheduler_options *o) {
    struct qm_scheduler *s;
    struct qm_error err;
    assert_int_equal(qm_scheduler_open(o, &s, &err), 0);
    done_so_far = 0;
    return s;
}

static void add(struct qm_scheduler *s, struct watched *w, const struct qm_request *r) {
    struct qm_error err;
    if (qm_scheduler_submit(s, r, &w->id, &err))
        fail_msg("%s", err.message);
}

static bool one_step(struct qm_scheduler *s) {
    struct qm_error err;
    bool worked;
    if (qm_scheduler_step(s, &worked, &err))
        fail_msg("%s", err.message);
    return worked;
}

/* A prompt of 128k tokens arrives beside four that generate: none of them waits for longer than one chunk takes, and
 * the prompt still gets most of the speed that it has alone. */
static void test_stall(void **state) {
    (void)state;
    struct qm_engine e = engine(140000, 512, 8, 20000), quiet = e;
    struct watched w[5], alone;
    struct qm_scheduler_options o = options(&e), lone = options(&quiet);
    struct qm_scheduler *s = open_scheduler(&o);
    for (int i = 0; i < 4; i++) {
        struct qm_request r = request(&w[i], &e, 20, 9000);
        add(s, &w[i], &r);
    }
    for (int i = 0; i < 20; i++)
        assert_true(one_step(s));
    struct qm_request r = request(&w[4], &e, 128000, 3);
    double begin = e.clock;
    add(s, &w[4], &r);
    while (!w[4].done)
        assert_true(one_step(s));
    for (int i = 0; i < 4; i++) {
        assert_false(w[i].done);
        assert_true(w[i].longest_gap <= e.longest);
    }
    qm_scheduler_close(s);
    s = open_scheduler(&lone);
    r = request(&alone, &quiet, 128000, 3);
    add(s, &alone, &r);
    while (one_step(s))
        ;
    assert_true(e.clock - begin < quiet.clock / 0.8);
    qm_scheduler_close(s);
}

/* A prefix of 120,000 tokens comes from the store while others generate: read in one piece it would take 100 chunks'
 * time. Where nobody waits for a token it is read at once. */
static void test_read_beside(void **state) {
    (void)state;
    struct qm_engine e = engine(140000, 512, 8, 40000);
    struct qm_prefix_cache cache = {.engine = &e, .stored = 15000, .read_cost = 0.5 * BLOCK};
    struct qm_scheduler_options o = options(&e);
    struct watched w[4];
    struct qm_request_view v;
    o.cache = &cache;
    struct qm_scheduler *s = open_scheduler(&o);
    struct qm_request r = request(&w[3], &e, 128000, 3);
    add(s, &w[3], &r);
    assert_true(one_step(s));
    assert_int_equal(cache.stored, 0);
    assert_int_equal(qm_scheduler_cancel(s, w[3].id), QM_OK);
    for (int i = 0; i < 3; i++) {
        r = request(&w[i], &e, 20, 9000);
        add(s, &w[i], &r);
    }
    for (int i = 0; i < 20; i++)
        assert_true(one_step(s));
    cache.stored = 15000;
    e.longest = 0;
    r = request(&w[3], &e, 128000, 3);
    add(s, &w[3], &r);
    do
        assert_true(one_step(s));
    while (!qm_scheduler_view(s, w[3].id, &v) && v.state == QM_REQUEST_WAITING);
    assert_int_equal(v.state, QM_REQUEST_PREFILL);
    assert_int_equal(cache.stored, 0);
    for (int i = 0; i < 3; i++)
        assert_true(w[i].tokens > 200 && w[i].longest_gap <= 2 * e.longest);
    qm_scheduler_close(s);
}

/* The same for random loads with room for all: no gap between two tokens is over a chunk's time. */
static void test_gaps(void **state) {
    (void)state;
    uint64_t random = 5;
    for (int round = 0; round < 60; round++) {
        struct qm_engine e = engine(4000, 8 + below(&random, 200), 1 + below(&random, 12), 1 << 20);
        e.step_cost = (double)below(&random, 50);
        e.token_cost = 0.1 + (double)below(&random, 20) / 10;
        struct qm_scheduler_options o = options(&e);
        o.prefill_tokens = round % 3 ? 0 : 1 + below(&random, 300);
        struct qm_scheduler *s = open_scheduler(&o);
        struct watched w[MOST];
        int n = 0;
        for (bool worked = true; worked || n < MOST;) {
            if (n < MOST && below(&random, 4) == 0) {
                struct qm_request r =
                    request(&w[n], &e, 1 + below(&random, below(&random, 4) ? 40 : 3000), below(&random, 100));
                add(s, &w[n], &r);
                n++;
            }
            worked = one_step(s);
        }
        for (int i = 0; i < n; i++) {
            assert_true(w[i].done && w[i].rc == 0);
            assert_true(w[i].longest_gap <= e.longest);
        }
        qm_scheduler_close(s);
    }
}

/* With memory for hardly more than one, the first in order proceeds in every step, whatever else comes and goes. */
static void test_first_proceeds(void **state) {
    (void)state;
    uint64_t random = 11;
    for (int round = 0; round < 30; round++) {
        struct qm_engine e = engine(300, 16 + below(&random, 60), 2 + below(&random, 8), 40);
        struct qm_scheduler_options o = options(&e);
        struct qm_scheduler *s = open_scheduler(&o);
        struct watched w[MOST];
        struct qm_request_view before, after;
        int n = 0;
        for (bool worked = true; worked || n < MOST;) {
            for (int64_t more = below(&random, 3); more > 0 && n < MOST; more--, n++) {
                struct qm_request r = request(&w[n], &e, 1 + below(&random, 200), 1 + below(&random, 100));
                r.priority = round % 2 ? (int)below(&random, 3) : 0;
                add(s, &w[n], &r);
            }
            int first = -1; /* of those that ran */
            for (int i = 0; i < n; i++) {
                if (w[i].done || qm_scheduler_view(s, w[i].id, &before) || !before.sequence)
                    continue;
                if (first < 0 || scheduled_before(find(s, w[i].id), find(s, w[first].id)))
                    first = i;
            }
            if (first >= 0)
                assert_int_equal(qm_scheduler_view(s, w[first].id, &before), 0);
            int64_t arrived = first >= 0 ? find(s, w[first].id)->r.priority : 0, waiting = arrived;
            for (struct qm_scheduled *q = s->first; q; q = q->next)
                waiting = q->r.priority > waiting ? q->r.priority : waiting;
            worked = one_step(s);
            if (first >= 0 && !w[first].done && waiting == arrived) {
                assert_int_equal(qm_scheduler_view(s, w[first].id, &after), 0);
                assert_true(after.held > before.held);
            }
        }
        for (int i = 0; i < n; i++)
            assert_true(w[i].done && w[i].rc == 0 && w[i].finish == QM_FINISH_LENGTH);
        qm_scheduler_close(s);
    }
}

/* Equal requests are done in the order of arrival, and before it in the order of priority. */
static void test_order(void **state) {
    (void)state;
    struct qm_engine e = engine(200, 32, 3, 1000);
    struct qm_scheduler_options o = options(&e);
    struct qm_scheduler *s = open_scheduler(&o);
    struct watched w[12];
    for (int i = 0; i < 12; i++) {
        struct qm_request r = request(&w[i], &e, 50, 10);
        r.priority = i >= 8 ? 1 : 0;
        add(s, &w[i], &r);
    }
    while (one_step(s))
        ;
    for (int i = 0; i < 12; i++)
        assert_int_equal(w[i].order, i >= 8 ? i - 8 : i + 4);
    qm_scheduler_close(s);
}

/* One of higher priority takes the place of one that runs, which is done later all the same. */
static void test_displaces(void **state) {
    (void)state;
    struct qm_engine e = engine(200, 32, 2, 1000);
    struct qm_scheduler_options o = options(&e);
    struct qm_scheduler *s = open_scheduler(&o);
    struct watched w[3];
    struct qm_request_view v;
    for (int i = 0; i < 3; i++) {
        struct qm_request r = request(&w[i], &e, 20, 30);
        r.priority = i == 2 ? 5 : 0;
        add(s, &w[i], &r);
        if (i)
            for (int k = 0; k < 4; k++)
                one_step(s);
    }
    assert_int_equal(qm_scheduler_view(s, w[1].id, &v), 0);
    assert_int_equal(v.state, QM_REQUEST_PREEMPTED);
    assert_null(v.sequence);
    assert_true(v.n_generated > 0 && w[2].tokens > 0);
    while (one_step(s))
        ;
    assert_true(w[1].done && w[1].tokens == 30 && w[1].preemptions == 1 && w[0].preemptions == 0);
    qm_scheduler_close(s);
}

/* What the cache holds and nobody uses goes before any sequence does; then the youngest. */
static void test_short_pool(void **state) {
    (void)state;
    struct qm_engine e = engine(240, 32, 3, 30);
    struct qm_prefix_cache cache = {.engine = &e, .idle = 12};
    struct qm_scheduler_options o = options(&e);
    struct watched w[3];
    e.taken = cache.idle;
    o.cache = &cache;
    struct qm_scheduler *s = open_scheduler(&o);
    for (int i = 0; i < 3; i++) {
        struct qm_request r = request(&w[i], &e, 24, 100);
        add(s, &w[i], &r);
    }
    while (!w[0].preemptions && !w[1].preemptions && one_step(s)) {
        struct qm_request_view v;
        if (!w[2].done && qm_scheduler_view(s, w[2].id, &v) == 0 && v.state == QM_REQUEST_PREEMPTED)
            assert_int_equal(cache.idle, 0);
    }
    while (one_step(s))
        ;
    assert_int_equal(cache.shrunk, 12);
    assert_true(w[2].preemptions > 0 && w[0].preemptions == 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(w[i].tokens, 100);
    qm_scheduler_close(s);
}

static void test_refusals(void **state) {
    (void)state;
    struct qm_engine e = engine(200, 32, 2, 20); /* 20 blocks of 8: the pool holds less than the context */
    struct qm_scheduler_options o = options(&e);
    struct qm_error err;
    struct watched w;
    uint64_t id;
    const char *stop[QM_MAX_STOPS + 1] = {0};
    const int32_t wrong[] = {3, VOCAB};
    o.max_waiting = 2;
    struct qm_scheduler *s = open_scheduler(&o);
    assert_int_equal(qm_scheduler_context(s), 160);
    struct qm_request r = request(&w, &e, 161, 1);
    assert_int_equal(qm_scheduler_submit(s, &r, &id, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "161"));
    assert_non_null(strstr(err.message, "160"));
    assert_int_equal(err.remedy, QM_REMEDY_SHORTER_REQUEST);
    r = request(&w, &e, 0, 1);
    assert_int_equal(qm_scheduler_submit(s, &r, &id, &err), QM_INPUT);
    r = request(&w, &e, 2, 1);
    r.prompt = wrong;
    assert_int_equal(qm_scheduler_submit(s, &r, &id, &err), QM_INPUT);
    r = request(&w, &e, 2, -2);
    assert_int_equal(qm_scheduler_submit(s, &r, &id, &err), QM_USAGE);
    r = request(&w, &e, 2, 1);
    r.decoding.stop = stop;
    r.decoding.n_stop = 1;
    assert_int_equal(qm_scheduler_submit(s, &r, &id, &err), QM_USAGE); /* no tokenizer */
    r = request(&w, &e, 2, 1);
    r.generated = wrong;
    r.n_generated = 2;
    assert_int_equal(qm_scheduler_submit(s, &r, &id, &err), QM_INPUT);
    r.n_generated = 159;
    assert_int_equal(qm_scheduler_submit(s, &r, &id, &err), QM_INPUT);
    r.n_generated = 1;
    r.embed = true;
    assert_int_equal(qm_scheduler_submit(s, &r, &id, &err), QM_USAGE);
    struct watched a, b;
    r = request(&a, &e, 160, -1);
    add(s, &a, &r);
    r = request(&b, &e, 150, -1);
    add(s, &b, &r);
    assert_int_equal(qm_scheduler_submit(s, &r, &id, &err), QM_BUSY);
    assert_false(w.done);
    while (one_step(s))
        ;
    assert_true(a.done && a.tokens == 0 && a.finish == QM_FINISH_CONTEXT);
    assert_true(b.done && b.tokens == 10 && b.finish == QM_FINISH_CONTEXT);
    assert_true(qm_scheduler_idle(s));
    qm_scheduler_close(s);
}

/* Pages are free when a cancellation returns, in whatever state the request was; closing cancels the rest. */
static void test_cancel(void **state) {
    (void)state;
    struct qm_engine e = engine(200, 32, 2, 100);
    struct qm_scheduler_options o = options(&e);
    struct watched w[4];
    struct qm_scheduler *s = open_scheduler(&o);
    for (int i = 0; i < 4; i++) {
        struct qm_request r = request(&w[i], &e, i == 1 ? 150 : 10, 20);
        add(s, &w[i], &r);
    }
    for (int i = 0; i < 3; i++)
        one_step(s);
    int64_t taken = e.taken;
    assert_int_equal(qm_scheduler_cancel(s, w[1].id), 0); /* within its prompt */
    assert_true(w[1].done && w[1].finish == QM_FINISH_INTERRUPTED && w[1].tokens == 0 && e.taken < taken);
    taken = e.taken;
    assert_int_equal(qm_scheduler_cancel(s, w[0].id), 0); /* while it generates */
    assert_true(w[0].done && w[0].tokens > 0 && e.taken < taken && e.taken == 0);
    assert_int_equal(qm_scheduler_cancel(s, w[0].id), QM_GONE);
    assert_int_equal(qm_scheduler_cancel(s, w[2].id), 0); /* while it waits */
    assert_true(w[2].done && !w[3].done);
    qm_scheduler_close(s);
    assert_true(w[3].done && w[3].finish == QM_FINISH_INTERRUPTED);
    assert_int_equal(e.open, 0);
}

struct chain {
    struct qm_scheduler *s;
    struct qm_engine *e;
    struct watched w[6];
    uint64_t to_cancel;
    int submitted;
    bool closing;
};

static struct chain chain;

static void next_of_chain(void *arg, const struct qm_outcome *o) {
    watch_done(arg, o);
    if (chain.to_cancel) {
        uint64_t id = chain.to_cancel;
        chain.to_cancel = 0;
        assert_int_equal(qm_scheduler_cancel(chain.s, id), 0);
    }
    struct qm_error err;
    if (chain.submitted == 6)
        return;
    struct watched *w = &chain.w[chain.submitted++];
    struct qm_request r = request(w, chain.e, 12, 3);
    r.on_done = next_of_chain;
    int rc = qm_scheduler_submit(chain.s, &r, &w->id, &err);
    assert_int_equal(rc, chain.closing ? QM_GONE : QM_OK);
}

static int cancels_itself(void *arg, const struct qm_generate_token *t, bool replay) {
    struct watched *w = arg;
    watch_token(arg, t, replay);
    return w->tokens == 2 ? qm_scheduler_cancel(chain.s, w->id) : 0;
}

/* Callbacks submit, and cancel others of the same step and themselves. */
static void test_from_callbacks(void **state) {
    (void)state;
    struct qm_engine e = engine(200, 32, 4, 100);
    struct qm_scheduler_options o = options(&e);
    chain = (struct chain){.s = open_scheduler(&o), .e = &e, .submitted = 3};
    for (int i = 0; i < 3; i++) {
        struct qm_request r = request(&chain.w[i], &e, 8, i == 0 ? 3 : 20);
        r.on_done = i == 0 ? next_of_chain : watch_done;
        if (i == 1)
            r.on_token = cancels_itself;
        add(chain.s, &chain.w[i], &r);
    }
    chain.to_cancel = chain.w[2].id;
    while (one_step(chain.s))
        ;
    for (int i = 0; i < 6; i++)
        assert_true(chain.w[i].done);
    assert_true(chain.w[1].tokens == 2 && chain.w[1].finish == QM_FINISH_INTERRUPTED);
    assert_true(chain.w[2].tokens < 20 && chain.w[2].finish == QM_FINISH_INTERRUPTED);
    assert_true(chain.w[5].tokens == 3 && e.open == 0);
    /* one that submits when it is cancelled by the closing is refused */
    chain.submitted = 5;
    chain.closing = true;
    struct qm_request r = request(&chain.w[0], &e, 8, 3);
    r.on_done = next_of_chain;
    add(chain.s, &chain.w[0], &r);
    qm_scheduler_close(chain.s);
    assert_true(chain.w[0].done);
}

/* What is prepared waits outside until it is entered, keeps nothing of what it was made from, and may be thrown away.
 */
static void test_halves(void **state) {
    (void)state;
    struct qm_engine e = engine(200, 32, 4, 100);
    struct qm_scheduler_options o = options(&e);
    o.max_waiting = 1;
    struct watched a, b;
    struct qm_error err;
    struct qm_scheduler *s = open_scheduler(&o);
    struct qm_scheduled *first, *second, *third;
    struct qm_request r = request(&a, &e, 20, 3), other = request(&b, &e, 20, 3);
    int32_t ids[20];
    memcpy(ids, r.prompt, sizeof ids);
    r.prompt = ids;
    assert_int_equal(qm_scheduler_prepare(s, &r, &first, &err), QM_OK);
    memset(ids, 0x7f, sizeof ids);
    assert_int_equal(qm_scheduler_prepare(s, &r, &second, &err), QM_INPUT); /* not in the vocabulary */
    assert_int_equal(qm_scheduler_prepare(s, &other, &second, &err), QM_OK);
    assert_int_equal(qm_scheduler_prepare(s, &other, &third, &err), QM_OK);
    qm_scheduler_discard(third);
    qm_scheduler_discard(NULL);
    assert_true(qm_scheduler_idle(s));
    e.clock = 5;
    assert_int_equal(qm_scheduler_enter(s, first, &a.id, &err), QM_OK);
    assert_int_equal(qm_scheduler_enter(s, second, &b.id, &err), QM_BUSY);
    while (one_step(s))
        ;
    assert_int_equal(qm_scheduler_enter(s, second, &b.id, &err), QM_OK);
    while (one_step(s))
        ;
    assert_true(a.done && b.done && a.tokens == 3 && b.tokens == 3);
    qm_scheduler_close(s);
}

static void test_embedding(void **state) {
    (void)state;
    struct qm_engine e = engine(200, 32, 4, 100);
    struct qm_scheduler_options o = options(&e);
    struct watched a, b;
    struct qm_scheduler *s = open_scheduler(&o);
    struct qm_request r = request(&a, &e, 90, 5);
    add(s, &a, &r);
    r = request(&b, &e, 90, 5);
    r.embed = true;
    add(s, &b, &r);
    struct qm_sequence *q;
    struct qm_error err;
    float hidden[HIDDEN];
    while (one_step(s))
        ;
    qm_scheduler_close(s);
    assert_true(b.done && b.tokens == 0 && b.finish == QM_FINISH_STOP && a.tokens == 5);
    e.chunk = 90;
    assert_int_equal(qm_sequence_open(&e, &q, &err), 0);
    struct qm_step_rows step = {.sequence = q, .tokens = zeros, .n = 90, .hidden = hidden};
    assert_int_equal(qm_engine_step(&e, &step, 1, &err), 0);
    assert_memory_equal(b.embedding, hidden, sizeof hidden);
    qm_sequence_close(q);
}

/* An engine's error is returned; closing then still reports everything. */
static void test_engine_fails(void **state) {
    (void)state;
    struct qm_engine e = engine(200, 32, 4, 100);
    struct qm_scheduler_options o = options(&e);
    struct qm_error err;
    bool worked;
    struct watched w;
    e.fail_at = 3;
    struct qm_scheduler *s = open_scheduler(&o);
    struct qm_request r = request(&w, &e, 8, 20);
    add(s, &w, &r);
    one_step(s);
    one_step(s);
    assert_int_equal(qm_scheduler_step(s, &worked, &err), QM_SYSTEM);
    assert_false(w.done);
    qm_scheduler_close(s);
    assert_true(w.done && w.tokens == 2);
}

/* A request whose logits are not finite ends with an error; the others go on. */
static void test_one_fails(void **state) {
    (void)state;
    struct qm_engine e = engine(200, 32, 4, 100);
    struct qm_scheduler_options o = options(&e);
    struct watched w[3];
    const int32_t poison[] = {9};
    e.poison = 9;
    struct qm_scheduler *s = open_scheduler(&o);
    for (int i = 0; i < 3; i++) {
        struct qm_request r = request(&w[i], &e, i == 1 ? 1 : 8, 10);
        if (i == 1)
            r.prompt = poison;
        add(s, &w[i], &r);
    }
    while (one_step(s))
        ;
    qm_scheduler_close(s);
    for (int i = 0; i < 3; i++) {
        assert_true(w[i].done);
        assert_int_equal(w[i].rc, i == 1 ? QM_SYSTEM : QM_OK);
        assert_int_equal(w[i].tokens, i == 1 ? 0 : 10);
    }
    assert_int_equal(e.open, 0);
}

/* The share of a mixed step follows the measured rates, within its bounds. */
static void test_share(void **state) {
    (void)state;
    struct qm_engine e = engine(200, 512, 4, 100);
    struct qm_scheduler_options o = options(&e);
    struct qm_scheduler *s = open_scheduler(&o);
    assert_int_equal(scheduler_prefill_tokens(s), 128);
    scheduler_measure(s, 0, 4, 1.0); /* a step costs 1 s, a token 0.1 s: 0.9 * 512 / (1 + 0.1 * 51.2) = 75.3 */
    scheduler_measure(s, 512, 0, 52.2);
    assert_int_equal(scheduler_prefill_tokens(s), 75);
    for (int i = 0; i < 100; i++)
        scheduler_measure(s, 0, 4, 1e-6);
    assert_int_equal(scheduler_prefill_tokens(s), 16);
    for (int i = 0; i < 200; i++) {
        scheduler_measure(s, 0, 4, 10);
        scheduler_measure(s, 512, 0, 10.0001);
    }
    assert_true(scheduler_prefill_tokens(s) > 400 && scheduler_prefill_tokens(s) <= 512);
    struct qm_scheduler_stats stats;
    qm_scheduler_stats(s, &stats);
    assert_int_equal(stats.steps, 502);
    assert_int_equal(stats.decode_steps, 301);
    assert_int_equal(stats.prefill_steps, 201);
    assert_true(stats.decode_rate > 0.39 && stats.decode_rate < 0.41);
    qm_scheduler_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads),
        cmocka_unit_test(test_resumed_together),
        cmocka_unit_test(test_stall),
        cmocka_unit_test(test_read_beside),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_first_proceeds),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_displaces),
        cmocka_unit_test(test_short_pool),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_from_callbacks),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_engine_fails),
        cmocka_unit_test(test_one_fails),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_drafts),
        cmocka_unit_test(test_drafts_take_no_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
