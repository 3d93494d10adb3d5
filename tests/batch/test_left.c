/* The time left of a job, held against what came: jobs of many kinds over an engine that only counts, whose clock is
 * the work that it is given; from a tenth of the time on, every step's estimate is within a fifth of what was left, or
 * a fiftieth of the whole: which answer of a handful is the last to end is chance. */
#include "tests/session/counting_engine.h"

#include "batch/left.h"

enum { MOST = 800 };

struct kind {
    const char *name;
    int requests;
    int64_t sequences, chunk;
    int64_t prompt_least, prompt_most, answer_most;
    int every, long_prompt; /* every so many-th prompt is so long; 0: none */
    bool endless;           /* end tokens do not end it: answers are as long as they may be */
};

static struct left_state {
    struct qm_batch_left left;
    int64_t ended;
    uint64_t id[MOST];
} now;

static void count_end(void *arg, const struct qm_outcome *o) {
    (void)arg;
    assert_int_equal(o->rc, QM_OK);
    qm_batch_left_ended(&now.left, o->n_ids);
    now.ended++;
    for (int i = 0; i < MOST; i++)
        now.id[i] = now.id[i] == o->id ? 0 : now.id[i];
}

static int64_t prompt_of(const struct kind *k, int i) {
    uint64_t x = ((uint64_t)i + 1) * 0x9E3779B97F4A7C15u;
    if (k->every && i % k->every == 0)
        return k->long_prompt;
    return k->prompt_least + (int64_t)((x >> 33) % (uint64_t)(k->prompt_most - k->prompt_least + 1));
}

/* What is ahead: of sequences by where they are, of requests that were not given yet by their prompts. */
static double estimate(struct qm_scheduler *s, const struct kind *k, int given) {
    struct qm_batch_ahead a = {.answers = k->requests - given, .most = k->answer_most, .wide = (double)k->sequences};
    struct qm_scheduler_stats stats;
    qm_batch_left_begin(&now.left);
    for (int i = 0; i < given; i++) {
        struct qm_request_view v;
        if (!now.id[i] || qm_scheduler_view(s, now.id[i], &v))
            continue;
        a.prompts +=
            v.state == QM_REQUEST_DECODE ? 0 : (double)(v.n_prompt + v.n_generated - (v.sequence ? v.held : 0));
        if (v.sequence)
            qm_batch_left_running(&now.left, v.n_generated, k->answer_most);
        else
            a.answers++;
    }
    qm_batch_left_fit(&now.left);
    for (int i = given; i < k->requests; i++)
        a.prompts += (double)prompt_of(k, i);
    qm_scheduler_stats(s, &stats);
    return qm_batch_left_seconds(&now.left, &stats, &a);
}

static void give(struct qm_scheduler *s, const struct kind *k, int i) {
    static int32_t prompt[8192];
    struct qm_error err;
    int64_t n = prompt_of(k, i);
    for (int64_t t = 0; t < n; t++)
        prompt[t] = 8 + (int32_t)((i * 31 + t * 7) % (VOCAB - 8));
    struct qm_sampling sampling = qm_sampling_default;
    sampling.temperature = 1;
    sampling.seed = (uint64_t)i;
    struct qm_request r = {
        .prompt = prompt,
        .n_prompt = n,
        .decoding = {.sampling = sampling, .max_tokens = k->answer_most, .ignore_end = k->endless, .top_logprobs = -1},
        .on_done = count_end};
    assert_int_equal(qm_scheduler_submit(s, &r, &now.id[i], &err), QM_OK);
}

static void hold(const struct kind *k) {
    static struct { double at, left; } estimates[200000];
    struct qm_engine e = engine(8192, k->chunk, k->sequences, 100000);
    struct qm_scheduler_options o = options(&e);
    struct qm_scheduler *s;
    struct qm_error err;
    int n = 0, given = 0, bad = 0;
    bool worked = true;
    now = (struct left_state){0};
    assert_int_equal(qm_scheduler_open(&o, &s, &err), QM_OK);
    while (now.ended < k->requests && n < (int)(sizeof estimates / sizeof *estimates)) {
        while (given < k->requests && given - now.ended < k->sequences + k->sequences / 4 + 1)
            give(s, k, given++);
        assert_int_equal(qm_scheduler_step(s, &worked, &err), QM_OK);
        estimates[n].at = e.clock;
        estimates[n++].left = estimate(s, k, given);
    }
    assert_int_equal(now.ended, k->requests);
    assert_true(estimates[0].left > 0); /* from the first chunk on */
    double worst = 0;
    for (int i = 0; i < n; i++) {
        double left = e.clock - estimates[i].at, wrong = fabs(estimates[i].left - left);
        if (estimates[i].at < e.clock / 10)
            continue;
        worst = left > e.clock / 20 ? fmax(worst, wrong / left) : worst;
        bad += wrong > fmax(0.2 * left, 0.02 * e.clock);
    }
    print_message("%-28s %5d steps, worst %.0f %%, outside a fifth: %d\n", k->name, n, 100 * worst, bad);
    assert_int_equal(bad, 0);
    qm_scheduler_close(s);
}

static void test_jobs(void **state) {
    (void)state;
    static const struct kind kinds[] = {
        {"prompts and answers", 300, 8, 64, 100, 700, 200, 0, 0, false},
        {"answers of one length", 200, 16, 64, 20, 60, 100, 0, 0, true},
        {"long prompts among short", 300, 8, 128, 20, 100, 100, 10, 4000, false},
        {"long answers", 800, 32, 128, 4, 10, 150, 0, 0, false},
        {"prompts only", 100, 4, 256, 1000, 3000, 1, 0, 0, false},
        {"one at a time", 40, 1, 64, 50, 500, 60, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        hold(&kinds[i]);
}

/* Expected lengths: of answers that end by chance, that all end at one length, that have no end yet. */
static void test_lengths(void **state) {
    (void)state;
    struct qm_batch_left l = {0};
    qm_batch_left_fit(&l);
    assert_true(qm_batch_left_more(&l, 0, -1) > 0);
    assert_float_equal(qm_batch_left_more(&l, 0, 10), 10, 1e-9);
    assert_float_equal(qm_batch_left_more(&l, 10, 10), 0, 1e-9);
    for (int i = 0; i < 1000; i++)
        qm_batch_left_ended(&l, 40);
    qm_batch_left_fit(&l);
    assert_float_equal(qm_batch_left_more(&l, 0, -1), 40, 1e-9);
    assert_float_equal(qm_batch_left_more(&l, 30, -1), 10, 1e-9);
    assert_float_equal(qm_batch_left_more(&l, 30, 35), 5, 1e-9);
    /* as many run at 20 as have ended at 10: a mean of those that ended would say 10 */
    l = (struct qm_batch_left){0};
    for (int i = 0; i < 100; i++) {
        qm_batch_left_ended(&l, 10);
        qm_batch_left_running(&l, 20, -1);
    }
    qm_batch_left_fit(&l);
    assert_true(qm_batch_left_more(&l, 0, -1) > 20);
    /* by chance: the same ahead of every one */
    l = (struct qm_batch_left){0};
    double share = 1000000;
    for (int64_t t = 1; t < 4000; t++) {
        for (int64_t i = 0; i < (int64_t)(share / 100 + 0.5); i++)
            qm_batch_left_ended(&l, t);
        share *= 0.99;
    }
    qm_batch_left_fit(&l);
    assert_float_equal(qm_batch_left_more(&l, 0, -1), 100, 5);
    assert_float_equal(qm_batch_left_more(&l, 50, -1), 100, 6);
    assert_float_equal(qm_batch_left_more(&l, 150, -1), 100, 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lengths), cmocka_unit_test(test_jobs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
