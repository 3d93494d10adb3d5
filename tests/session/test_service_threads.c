/* The service: many threads submit, read, cancel and go away; what each request gives is what qm_generate() makes of it
 * alone. Readers that don't read, full queues, stopping, a failing engine. Runs under ThreadSanitizer. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "session/generate.h"
#include "session/service.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { KINDS = 6, READERS = 5, EACH = 9, PROMPT_MAX = 40, TOP = 3, PATIENCE = 120 };

/* One request, and what comes of it alone. */
struct kind {
    struct qm_request r;
    int32_t prompt[PROMPT_MAX];
    struct qm_generate_result alone;
    struct qm_logprob *chosen; /* of each token */
    int64_t n;
};

static struct kind kinds[KINDS];
static const char dir[] = "tests/data/reference/qwen3";

static int note(void *arg, const struct qm_generate_token *t) {
    struct kind *k = arg;
    k->chosen[k->n++] = t->logprob;
    return 0;
}

static struct qm_engine_options engine_options(void) {
    return (struct qm_engine_options){
        .threads = 2, .isa = run_model_isa(), .context = 256, .sequences = 3, .chunk = 16, .kv_type = -1};
}

static int setup(void **state) {
    (void)state;
    struct run_model m;
    struct qm_error err;
    run_model_open(&m, dir, NULL, engine_options());
    for (int i = 0; i < KINDS; i++) {
        struct kind *k = &kinds[i];
        for (int j = 0; j < PROMPT_MAX; j++)
            k->prompt[j] = (j * 37 + i * 11) % 200;
        k->r = (struct qm_request){.prompt = k->prompt,
                                   .n_prompt = 5 + i * 7,
                                   .decoding.sampling = qm_sampling_default,
                                   .decoding.max_tokens = 4 + 9 * i,
                                   .decoding.ignore_end = true,
                                   .decoding.top_logprobs = i % 2 ? TOP : -1};
        k->r.decoding.sampling.temperature = i * 0.3;
        k->r.decoding.sampling.seed = 7 + (uint64_t)i;
        k->chosen = calloc(256, sizeof *k->chosen);
        struct qm_generate g = {.engine = m.engine,
                                .prompt = k->prompt,
                                .n_prompt = k->r.n_prompt,
                                .decoding = k->r.decoding,
                                .on_token = note,
                                .arg = k};
        assert_int_equal(qm_sequence_open(m.engine, &g.sequence, &err), QM_OK);
        assert_int_equal(qm_generate(&g, &k->alone, &err), QM_OK);
        qm_sequence_close(g.sequence);
    }
    run_model_close(&m);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        qm_generate_result_free(&kinds[i].alone);
        free(kinds[i].chosen);
    }
    return 0;
}

/* ---- a service of the model ---- */

struct world {
    struct run_model m;
    struct qm_engine_options engine;
    int refuse; /* opening fails with this */
    bool closed;
    pthread_t thread;
    struct qm_service *service;
};

static int open_engine(void *arg, struct qm_scheduler_options *out, struct qm_error *err) {
    struct world *w = arg;
    if (w->refuse)
        return qm_fail(err, (enum qm_code)w->refuse, "refused");
    w->thread = pthread_self();
    run_model_open(&w->m, dir, NULL, w->engine);
    out->engine = w->m.engine;
    return QM_OK;
}

static void close_engine(void *arg) {
    struct world *w = arg;
    assert_true(pthread_equal(w->thread, pthread_self()));
    run_model_close(&w->m);
    w->closed = true;
}

static void begin(struct world *w, int64_t max_requests, size_t queue_bytes) {
    struct qm_error err;
    const struct qm_service_options o = {
        .open = open_engine, .close = close_engine, .arg = w, .max_requests = max_requests, .queue_bytes = queue_bytes};
    if (qm_service_open(&o, &w->service, &err))
        fail_msg("%s", err.message);
    assert_false(pthread_equal(w->thread, pthread_self()));
}

static void finish(struct world *w) {
    qm_service_close(w->service);
    assert_true(w->closed);
}

/* Nothing here is timed; who would wait for ever fails instead. */
static void pause_a_little(double *waited) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    if ((*waited += 0.001) > PATIENCE)
        abort();
}

/* ---- a reader, in any thread: no assertions of CMocka's, which belong to the main one ---- */

static void check(bool holds, int line) {
    if (holds)
        return;
    fprintf(stderr, "test_service_threads.c:%d does not hold\n", line);
    abort();
}
#define CHECK(x) check(x, __LINE__)

struct reader {
    int fd;
    struct qm_wake wake;
};

static void knock(void *arg) {
    const struct reader *r = arg;
    uint64_t one = 1;
    CHECK(write(r->fd, &one, sizeof one) == sizeof one);
}

static void reader_open(struct reader *r) {
    r->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(r->fd >= 0);
    r->wake = (struct qm_wake){knock, r};
}

static void reader_wait(const struct reader *r) {
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    uint64_t n;
    CHECK(poll(&p, 1, PATIENCE * 1000) == 1);
    CHECK(read(r->fd, &n, sizeof n) == sizeof n);
}

static void next_event(const struct reader *r, struct qm_service_request *q, struct qm_event *e) {
    while (!qm_service_next(q, e))
        reader_wait(r);
}

/* What was read so far. */
struct reading {
    const struct kind *kind;
    int64_t n;
    struct qm_event last;
};

/* The next event, held to what the request gives alone. False: it was the last. */
static bool read_one(const struct reader *r, struct qm_service_request *q, struct reading *x) {
    const struct kind *k = x->kind;
    struct qm_event *e = &x->last;
    next_event(r, q, e);
    if (e->kind == QM_EVENT_PREFILL) {
        CHECK(e->done > 0 && e->done <= e->total && e->total >= k->r.n_prompt);
    } else if (e->kind == QM_EVENT_TOKEN) {
        CHECK(x->n < (int64_t)k->alone.ids.len && e->token.id == k->alone.ids.data[x->n]);
        CHECK(e->token.text_len == 0 && e->token.text[0] == 0);
        if (k->r.decoding.top_logprobs >= 0) {
            CHECK(e->token.n_top == TOP);
            CHECK(!memcmp(&e->token.logprob, &k->chosen[x->n], sizeof e->token.logprob));
            CHECK(e->token.top[0].logprob >= e->token.top[TOP - 1].logprob);
        }
        x->n++;
    }
    return e->kind != QM_EVENT_DONE;
}

static void check_end(const struct reading *x, bool cancelled) {
    const struct qm_outcome *o = &x->last.outcome;
    const struct kind *k = x->kind;
    CHECK(o->rc == QM_OK && !o->error && o->n_ids == x->n);
    CHECK(!o->n_ids || !memcmp(o->ids, k->alone.ids.data, (size_t)o->n_ids * sizeof *o->ids));
    CHECK(cancelled || o->n_ids == (int64_t)k->alone.ids.len);
    CHECK(o->finish == k->alone.finish || (cancelled && o->finish == QM_FINISH_INTERRUPTED));
    CHECK(o->wait_seconds >= 0);
}

struct course {
    struct world *world;
    int number;
    uint64_t random;
};

static int below(struct course *c, int n) {
    c->random = c->random * 6364136223846793005u + 1442695040888963407u;
    return (int)((c->random >> 33) % (uint64_t)n);
}

/* Reads some, then goes on to the end, or cancels, or leaves. */
static void one_request(struct course *c, const struct reader *r) {
    struct qm_service *s = c->world->service;
    struct reading x = {.kind = &kinds[below(c, KINDS)]};
    struct qm_request request = x.kind->r;
    struct qm_service_request *q;
    struct qm_error err;
    request.priority = below(c, 3);
    int rc = qm_service_submit(s, &request, r->wake, &q, &err);
    CHECK(rc == QM_OK);
    uint64_t id = qm_service_request_id(q);
    int what = below(c, 4);
    bool more = true;
    for (int k = below(c, 12); more && what && k > 0; k--)
        more = read_one(r, q, &x);
    if (what == 1) {
        qm_service_leave(q);
        return;
    }
    if (what == 2 && more)
        rc = qm_service_cancel(s, id);
    CHECK(rc == QM_OK || rc == QM_GONE);
    while (more)
        more = read_one(r, q, &x);
    check_end(&x, what == 2);
    CHECK(id == x.last.outcome.id && !qm_service_next(q, &x.last));
    CHECK(qm_service_cancel(s, id) == QM_GONE);
    qm_service_leave(q);
}

static void *read_many(void *arg) {
    struct course *c = arg;
    struct reader r;
    reader_open(&r);
    for (int i = 0; i < EACH; i++)
        one_request(c, &r);
    close(r.fd);
    return NULL;
}

static void test_many_threads(void **state) {
    (void)state;
    struct world w = {.engine = engine_options()};
    struct course course[READERS];
    pthread_t thread[READERS];
    struct qm_service_stats stats;
    begin(&w, 0, 0);
    for (int i = 0; i < READERS; i++) {
        course[i] = (struct course){&w, i, (uint64_t)i + 3};
        assert_int_equal(pthread_create(&thread[i], NULL, read_many, &course[i]), 0);
    }
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    double waited = 0;
    for (qm_service_stats(w.service, &stats); stats.requests; qm_service_stats(w.service, &stats))
        pause_a_little(&waited);
    assert_true(stats.scheduler.submitted <= READERS * EACH);
    finish(&w);
}

/* ---- one at a time ---- */

static struct qm_request endless(int64_t tokens) {
    struct qm_request r = kinds[0].r;
    r.decoding.max_tokens = tokens;
    r.decoding.top_logprobs = TOP;
    return r;
}

static struct qm_service_request *submit(struct world *w, const struct qm_request *r, const struct reader *reader) {
    struct qm_service_request *q;
    struct qm_error err;
    if (qm_service_submit(w->service, r, reader ? reader->wake : (struct qm_wake){NULL, NULL}, &q, &err))
        fail_msg("%s", err.message);
    return q;
}

static void to_the_end(const struct reader *r, struct qm_service_request *q, struct qm_event *e, int64_t *tokens) {
    do {
        next_event(r, q, e);
        *tokens += e->kind == QM_EVENT_TOKEN;
    } while (e->kind != QM_EVENT_DONE);
}

static void wait_for_a_token(const struct reader *r, struct qm_service_request *q) {
    struct qm_event e;
    do
        next_event(r, q, &e);
    while (e.kind == QM_EVENT_PREFILL);
    assert_int_equal(e.kind, QM_EVENT_TOKEN);
}

/* Somebody who reads nothing is cut off, and is told of it behind all that fitted. */
static void test_slow_reader(void **state) {
    (void)state;
    struct world w = {.engine = engine_options()};
    struct reader r;
    struct qm_service_stats stats;
    struct qm_event e;
    int64_t tokens = 0;
    begin(&w, 0, 8 << 10);
    reader_open(&r);
    const struct qm_request request = endless(-1);
    struct qm_service_request *q = submit(&w, &request, NULL);
    double waited = 0;
    for (qm_service_stats(w.service, &stats); !stats.scheduler.finished; qm_service_stats(w.service, &stats))
        pause_a_little(&waited);
    to_the_end(&r, q, &e, &tokens);
    assert_int_equal(e.outcome.rc, QM_BUSY);
    assert_non_null(strstr(e.outcome.error->message, "8192"));
    assert_in_range(tokens, 20, 200);
    assert_int_equal(e.outcome.n_ids, tokens + 1); /* the one that had no place is part of the outcome */
    assert_false(qm_service_next(q, &e));
    qm_service_leave(q);
    close(r.fd);
    finish(&w);
}

static void test_too_many(void **state) {
    (void)state;
    struct world w = {.engine = engine_options()};
    struct qm_error err;
    struct qm_service_request *third;
    begin(&w, 2, 0);
    const struct qm_request request = endless(-1);
    struct qm_service_request *first = submit(&w, &request, NULL), *second = submit(&w, &request, NULL);
    assert_int_equal(qm_service_submit(w.service, &request, (struct qm_wake){NULL, NULL}, &third, &err), QM_BUSY);
    assert_null(third);
    assert_non_null(strstr(err.message, "2 requests"));
    qm_service_leave(first);
    double waited = 0;
    int rc;
    while ((rc = qm_service_submit(w.service, &request, (struct qm_wake){NULL, NULL}, &third, &err)) == QM_BUSY)
        pause_a_little(&waited); /* its place is free when the engine's thread has let go of it */
    assert_int_equal(rc, QM_OK);
    qm_service_leave(second);
    qm_service_leave(third);
    finish(&w);
}

static void test_refusals(void **state) {
    (void)state;
    struct world w = {.engine = engine_options()};
    struct qm_error err;
    struct qm_service_request *q;
    const struct qm_wake none = {NULL, NULL};
    begin(&w, 0, 0);
    assert_int_equal(qm_service_context(w.service), 256);
    struct qm_request r = kinds[0].r;
    r.n_prompt = 0;
    assert_int_equal(qm_service_submit(w.service, &r, none, &q, &err), QM_INPUT);
    r = endless(-2);
    assert_int_equal(qm_service_submit(w.service, &r, none, &q, &err), QM_USAGE);
    assert_int_equal(qm_service_cancel(w.service, 1), QM_GONE);
    struct qm_service_stats stats;
    qm_service_stats(w.service, &stats);
    assert_int_equal(stats.requests, 0);
    finish(&w);
    struct qm_service_options o = {.open = open_engine, .close = close_engine, .arg = &w, .queue_bytes = 100};
    assert_int_equal(qm_service_open(&o, &w.service, &err), QM_USAGE);
    o.queue_bytes = 0;
    w.refuse = QM_FIT;
    assert_int_equal(qm_service_open(&o, &w.service, &err), QM_FIT);
    assert_string_equal(err.message, "refused");
    assert_null(w.service);
    qm_service_close(NULL);
}

/* A reader that goes away gives its pages back while another goes on. */
static void test_leaving(void **state) {
    (void)state;
    struct world w = {.engine = engine_options()};
    struct reader r;
    struct qm_service_stats stats;
    begin(&w, 0, 0);
    reader_open(&r);
    const struct qm_request request = endless(-1), stays = endless(200);
    struct qm_service_request *other = submit(&w, &stays, NULL), *q = submit(&w, &request, &r);
    wait_for_a_token(&r, q);
    qm_service_leave(q);
    close(r.fd); /* nobody writes to it any more */
    double waited = 0;
    for (qm_service_stats(w.service, &stats); stats.requests == 2; qm_service_stats(w.service, &stats))
        pause_a_little(&waited);
    for (qm_service_stats(w.service, &stats); stats.scheduler.running; qm_service_stats(w.service, &stats))
        pause_a_little(&waited);
    assert_int_equal(stats.scheduler.finished, 2);
    assert_int_equal(stats.pool.free_blocks, stats.pool.blocks);
    struct qm_event e;
    while (qm_service_next(other, &e) && e.kind != QM_EVENT_DONE)
        ;
    assert_true(e.kind == QM_EVENT_DONE && e.outcome.rc == QM_OK && e.outcome.n_ids == 200);
    qm_service_leave(other);
    finish(&w);
}

/* One sequence: of two that wait, the later one of higher priority is admitted first. */
static void test_priorities(void **state) {
    (void)state;
    struct world w = {.engine = engine_options()};
    struct reader r;
    struct qm_event low, high, e;
    int64_t tokens = 0;
    w.engine.sequences = 1;
    begin(&w, 0, 0);
    reader_open(&r);
    struct qm_request request = endless(60);
    request.priority = 2;
    struct qm_service_request *first = submit(&w, &request, &r);
    wait_for_a_token(&r, first);
    request.priority = 0;
    struct qm_service_request *second = submit(&w, &request, &r);
    request.priority = 1;
    struct qm_service_request *third = submit(&w, &request, &r);
    to_the_end(&r, first, &e, &tokens);
    to_the_end(&r, second, &low, &tokens);
    to_the_end(&r, third, &high, &tokens);
    assert_int_equal(tokens, 3 * 60 - 1);
    assert_true(high.outcome.rc == QM_OK && low.outcome.rc == QM_OK);
    assert_true(low.outcome.wait_seconds > high.outcome.wait_seconds);
    qm_service_leave(first);
    qm_service_leave(second);
    qm_service_leave(third);
    close(r.fd);
    finish(&w);
}

static void test_embedding(void **state) {
    (void)state;
    struct world w = {.engine = engine_options()};
    struct reader r;
    struct qm_event e;
    int64_t tokens = 0;
    begin(&w, 0, 0);
    reader_open(&r);
    struct qm_request request = kinds[3].r;
    request.embed = true;
    struct qm_service_request *q = submit(&w, &request, &r);
    to_the_end(&r, q, &e, &tokens);
    assert_int_equal(e.outcome.rc, QM_OK);
    assert_int_equal(tokens, 0);
    double length = 0;
    for (int64_t i = 0; i < e.outcome.n_embedding; i++)
        length += (double)e.outcome.embedding[i] * (double)e.outcome.embedding[i];
    assert_true(e.outcome.n_embedding > 0 && length > 0);
    qm_service_leave(q);
    close(r.fd);
    finish(&w);
}

/* What was generated before is not told, and is part of the outcome. */
static void test_resumed(void **state) {
    (void)state;
    struct world w = {.engine = engine_options()};
    struct reader r;
    struct qm_event e;
    int64_t tokens = 0;
    const struct kind *k = &kinds[5];
    begin(&w, 0, 0);
    reader_open(&r);
    struct qm_request request = k->r;
    request.generated = k->alone.ids.data;
    request.n_generated = 10;
    struct qm_service_request *q = submit(&w, &request, &r);
    to_the_end(&r, q, &e, &tokens);
    assert_int_equal(tokens, k->alone.ids.len - 10);
    assert_int_equal(e.outcome.n_ids, k->alone.ids.len);
    assert_memory_equal(e.outcome.ids, k->alone.ids.data, k->alone.ids.len * sizeof *k->alone.ids.data);
    qm_service_leave(q);
    close(r.fd);
    finish(&w);
}

/* With work in flight, and in the mailbox. */
static void test_stop(void **state) {
    (void)state;
    struct world w = {.engine = engine_options()};
    struct reader r;
    struct qm_service_request *q[6], *late;
    struct qm_event e;
    struct qm_error err;
    int64_t tokens = 0;
    begin(&w, 0, 0);
    reader_open(&r);
    const struct qm_request request = endless(-1);
    for (int i = 0; i < 6; i++)
        q[i] = submit(&w, &request, &r);
    wait_for_a_token(&r, q[0]);
    qm_service_stop(w.service);
    assert_int_equal(qm_service_submit(w.service, &request, r.wake, &late, &err), QM_GONE);
    for (int i = 0; i < 6; i++) {
        to_the_end(&r, q[i], &e, &tokens);
        assert_true(e.outcome.rc == QM_OK && e.outcome.finish == QM_FINISH_INTERRUPTED);
        qm_service_leave(q[i]);
    }
    close(r.fd);
    finish(&w);
}

/* Closed at once, while what was left is still on its way. */
static void test_close_at_once(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct world w = {.engine = engine_options()};
        begin(&w, 0, 0);
        const struct qm_request request = endless(-1);
        for (int k = 0; k < i; k++)
            qm_service_leave(submit(&w, &request, NULL));
        finish(&w);
    }
}

/* An engine that can't go on ends all requests with its error, and refuses those that come later with it. */
static void test_engine_fails(void **state) {
    (void)state;
    struct world w = {.engine = engine_options()};
    struct qm_emulated_config card = test_card;
    struct qm_device_setup device = test_device(&card);
    struct qm_placement p;
    struct qm_model *m;
    struct qm_error err;
    struct reader r;
    struct qm_service_request *q[4], *late;
    struct qm_event e;
    int64_t tokens = 0;
    assert_int_equal(qm_model_open(dir, NULL, &m, &err), QM_OK);
    assert_int_equal(qm_placement_open(m, 2, &p, &err), QM_OK);
    p.layer[0].attention = 1;
    qm_model_close(m);
    card.fail_after = 40;
    w.engine.placement = &p;
    w.engine.devices = &device;
    w.engine.devices_required = true;
    begin(&w, 0, 0);
    reader_open(&r);
    const struct qm_request request = endless(-1);
    int n = 0, rc = QM_OK;
    for (; n < 4 && !rc; n += !rc)
        rc = qm_service_submit(w.service, &request, r.wake, &q[n], &err); /* it may have failed already */
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        to_the_end(&r, q[i], &e, &tokens);
        assert_int_equal(e.outcome.rc, QM_SYSTEM);
        assert_non_null(strstr(e.outcome.error->message, "card"));
        qm_service_leave(q[i]);
    }
    assert_int_equal(qm_service_submit(w.service, &request, r.wake, &late, &err), QM_SYSTEM);
    assert_non_null(strstr(err.message, "card"));
    close(r.fd);
    finish(&w);
    qm_placement_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_threads),  cmocka_unit_test(test_slow_reader),  cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_leaving),      cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_embedding),     cmocka_unit_test(test_resumed),      cmocka_unit_test(test_stop),
        cmocka_unit_test(test_close_at_once), cmocka_unit_test(test_engine_fails),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
