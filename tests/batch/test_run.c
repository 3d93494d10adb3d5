/* A job's pauses, with clocks of the test's own: hours that begin and end while it works and while it waits, midnight,
 * clocks put forward and back, a suspended machine, signals; and that a pause costs nothing that was computed. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "batch/input.h"
#include "batch/pace.h"
#include "batch/run.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { ROWS = 4, TOKENS = 20 };

/* As in test_hours.c. */
static const char ZONE[] = "CET-1CEST,M3.5.0,M10.5.0/3";

static struct run_model model;
static struct qm_tokenizer *tokenizer;
static char dir[TEST_PATH], input[TEST_PATH];

struct clocks {
    double real, steady;
    double tick;      /* that looking at the steady one takes */
    double rest;      /* that a rest takes; 0: 1 */
    int64_t rests;    /* so far */
    int64_t at;       /* with this rest */
    double jump;      /* the real one is put forward */
    int64_t looks;    /* at the steady one so far */
    int64_t at_look;  /* with this one, while it works */
    bool interrupted; /* or a signal comes */
    sig_atomic_t signal;
    int64_t steps_paused; /* of the engine by the last rest, to see that none is made meanwhile */
    const struct qm_scheduler *scheduler;
};

static double real(void *arg) {
    return ((struct clocks *)arg)->real;
}

static double steady(void *arg) {
    struct clocks *c = arg;
    c->real += c->tick;
    if (++c->looks == c->at_look)
        c->real += c->jump;
    return c->steady += c->tick;
}

static double passed(void *arg) {
    return ((struct clocks *)arg)->steady;
}

static void rest(void *arg) {
    struct clocks *c = arg;
    double seconds = c->rest > 0 ? c->rest : 1;
    struct qm_scheduler_stats s;
    c->steady += seconds;
    c->real += seconds;
    qm_scheduler_stats(c->scheduler, &s);
    if (c->rests++ == 0)
        c->steps_paused = s.steps;
    assert_int_equal(s.steps, c->steps_paused);
    if (c->rests != c->at)
        return;
    c->real += c->jump;
    c->signal = c->interrupted;
}

static double at(int year, int month, int day, int hour, int minute, int second, int dst) {
    struct tm t = {.tm_year = year - 1900,
                   .tm_mon = month - 1,
                   .tm_mday = day,
                   .tm_hour = hour,
                   .tm_min = minute,
                   .tm_sec = second,
                   .tm_isdst = dst};
    return (double)mktime(&t);
}

struct result {
    int rc;
    int64_t rests, prompt, rows;
    double paused;
    double span, worked, row_worked; /* seconds between the first and the last point of its pace; of work; of row 1 */
    int64_t paced;                   /* tokens of prompts at the last */
    char *lines;                     /* OUT.partial */
    char state[64];
    bool predicted; /* --status would tell the prediction, */
    double left;    /* and what is left of the job */
};

/* A whole job under `name`, which may be there already; hours NULL: any time. */
static struct result run_job(const char *name, struct clocks *c, const char *hours, double until) {
    struct result out = {0};
    struct qm_error err = {0};
    struct qm_journal *journal;
    struct qm_batch_output *output;
    struct qm_batch_input *in;
    struct qm_scheduler *scheduler;
    struct qm_batch_work *work;
    struct qm_batch_paths paths;
    struct qm_batch_words words = qm_batch_plain_words;
    const struct qm_batch_ui ui = {.words = &words};
    words.until = "--until";
    struct qm_batch_checkpoint checkpoint = {.ui = &ui};
    struct qm_journal_totals totals;
    struct qm_scheduler_stats stats;
    struct qm_buf state = {0};
    char path[TEST_PATH];
    bool created, found;
    test_path(path, dir, name);
    assert_int_equal(qm_batch_paths(path, &paths, &err), 0);
    assert_int_equal(qm_journal_open(paths.journal, &journal, &created, &err), 0);
    assert_int_equal(qm_batch_output_open(&paths, journal, true, &ui, &output, &err), 0);
    assert_int_equal(qm_batch_input_open(input, QM_BATCH_LINE_LIMIT, &in, &err), 0);
    const struct qm_scheduler_options so = {.engine = model.engine, .tokenizer = tokenizer};
    assert_int_equal(qm_scheduler_open(&so, &scheduler, &err), 0);
    const struct qm_batch_clock clock = {.real = real, .steady = steady, .passed = passed, .rest = rest, .arg = c};
    const struct qm_batch_source source = qm_batch_input_source(in);
    const struct qm_openai_context openai = {.tokenizer = tokenizer,
                                             .vocab = model.model->config.vocab,
                                             .context = qm_scheduler_context(scheduler),
                                             .sampling = qm_sampling_default,
                                             .model = "demo"};
    const struct qm_batch_work_options wo = {.source = &source,
                                             .journal = journal,
                                             .output = output,
                                             .scheduler = scheduler,
                                             .openai = &openai,
                                             .look_ahead = 10,
                                             .sequences = 2,
                                             .in_flight = 2,
                                             .job = "job",
                                             .created = 1,
                                             .words = &words,
                                             .clock = &clock};
    assert_int_equal(qm_batch_work_new(&wo, &work, &err), 0);
    checkpoint.scheduler = c->scheduler = scheduler;
    struct qm_batch_run r = {.work = work,
                             .scheduler = scheduler,
                             .journal = journal,
                             .checkpoint = &checkpoint,
                             .times = {.has_hours = hours != NULL, .has_until = until > 0, .until = (time_t)until},
                             .ui = &ui,
                             .interrupt = &c->signal,
                             .clock = &clock,
                             .rows_known = -1,
                             .predicted = {.seconds = 1000}};
    if (hours)
        assert_int_equal(qm_hours_parse(hours, "--hours", &r.times.hours, &err), 0);
    out.rc = qm_batch_run(&r, &err);
    out.rests = c->rests;
    out.paused = r.paused;
    qm_scheduler_stats(scheduler, &stats);
    out.prompt = stats.prompt_tokens;
    assert_int_equal(qm_journal_totals(journal, &totals, &err), 0);
    out.rows = totals.rows;
    assert_int_equal(qm_journal_get(journal, "state", &state, &found, &err), 0);
    snprintf(out.state, sizeof out.state, "%s", found ? state.data : "");
    state.len = 0;
    assert_int_equal(qm_journal_get(journal, "status", &state, &found, &err), 0);
    out.predicted =
        strstr(state.data, "left     about 16 min 40 s, done by ") && strstr(state.data, " (predicted), after");
    assert_int_equal(qm_batch_left_kept(journal, &out.left, &err), 0);
    struct qm_batch_pace pace;
    struct qm_batch_slow slow[QM_BATCH_SLOWEST];
    int n_slow;
    assert_int_equal(qm_batch_pace_load(journal, &pace, &err), 0);
    assert_true(pace.n >= 2);
    const struct qm_journal_pace *last = &pace.point[pace.n - 1];
    out.span = last->time - pace.point[0].time;
    out.worked = last->worked;
    out.paced = last->prompt;
    qm_batch_pace_free(&pace);
    assert_int_equal(qm_batch_slowest(journal, slow, &n_slow, &err), 0);
    out.row_worked = n_slow ? slow[0].seconds : 0;
    qm_buf_free(&state);
    qm_batch_work_free(work);
    qm_scheduler_close(scheduler);
    qm_batch_input_close(in);
    qm_batch_output_close(output);
    qm_journal_close(journal);
    out.lines = test_read_file(paths.partial, &(size_t){0});
    qm_batch_paths_free(&paths);
    assert_non_null(out.lines);
    return out;
}

/* The whole job, paused for so many rests. */
static void waits(const char *name, struct clocks c, const char *hours, int64_t rests) {
    struct result r = run_job(name, &c, hours, 0);
    assert_int_equal(r.rc, QM_OK);
    assert_int_equal(r.rows, ROWS);
    assert_int_equal(r.rests, rests);
    free(r.lines);
}

static void test_begins(void **state) {
    (void)state;
    waits("evening", (struct clocks){.real = at(2026, 1, 15, 21, 59, 30, 0), .steady = 9}, "22:00-07:00", 30);
    waits("night", (struct clocks){.real = at(2026, 1, 15, 22, 0, 0, 0), .steady = 9}, "22:00-07:00", 0);
    waits("midnight", (struct clocks){.real = at(2026, 1, 15, 23, 59, 50, 0), .steady = 9}, "0:00-07:00", 10);
    /* at work when the day changes */
    waits("new year", (struct clocks){.real = at(2026, 12, 31, 23, 59, 58, 0), .steady = 9, .tick = 0.1}, "22:00-07:00",
          0);
    /* suspended for hours in the middle of a rest */
    waits("suspended", (struct clocks){.real = at(2026, 1, 15, 12, 0, 0, 0), .steady = 9, .rest = 11 * 3600.0},
          "22:00-07:00", 1);
}

static void test_clock_changes(void **state) {
    (void)state;
    const double ten_to = at(2026, 1, 15, 21, 59, 50, 0);
    waits("put back", (struct clocks){.real = ten_to, .steady = 9, .at = 5, .jump = -3600}, "22:00-07:00", 3610);
    waits("put forward", (struct clocks){.real = ten_to - 3600, .steady = 9, .at = 5, .jump = 3600}, "22:00-07:00", 10);
    /* 2:30 is left out: 3:00 comes after 1:59:59 */
    waits("spring", (struct clocks){.real = at(2026, 3, 29, 1, 59, 50, 0), .steady = 9}, "2:30-7:00", 10);
    /* 3:00 comes an hour later: the clock shows 2:00 twice */
    waits("autumn", (struct clocks){.real = at(2026, 10, 25, 2, 59, 50, 1), .steady = 9}, "3:00-7:00", 3610);
}

/* Its hours end while rows are at work; they go on where they were, with nothing computed again. */
static void test_pause_at_work(void **state) {
    (void)state;
    struct clocks whole = {.real = at(2026, 1, 15, 1, 0, 0, 0), .steady = 9, .tick = 0.1};
    struct clocks interrupted = {.real = at(2026, 1, 15, 6, 59, 58, 0), .steady = 9, .tick = 0.1, .rest = 60};
    struct result a = run_job("whole", &whole, NULL, 0), b = run_job("interrupted", &interrupted, "22:00-07:00", 0);
    assert_int_equal(a.rc, QM_OK);
    assert_int_equal(b.rc, QM_OK);
    assert_int_equal(a.rests, 0);
    assert_in_range(b.rests, 15 * 60 - 1, 15 * 60);
    assert_true(b.paused >= 60.0 * (double)b.rests && b.paused < 60.0 * (double)b.rests + 60);
    assert_true(interrupted.steps_paused > 0); /* it was at work */
    /* and the report knows: neither the job nor a row worked for 15 hours */
    assert_true(b.span > 15 * 3600.0 - 60);
    assert_true(b.worked > 1 && b.worked < 120);
    assert_true(b.row_worked >= 0 && b.row_worked <= b.worked);
    assert_int_equal(b.paced, b.prompt);
    assert_true(a.span <= a.worked + 1);
    assert_int_equal(a.prompt, b.prompt);
    assert_string_equal(a.lines, b.lines);
    assert_string_equal(b.state, "finishing");
    free(a.lines);
    free(b.lines);
}

/* The clock is put forward or back while rows are at work, and between two runs: no row is longer for it. */
static void test_jump_at_work(void **state) {
    (void)state;
    static const double jumps[] = {-7200, 7200, -86400 * 365.0 * 50};
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "jump %d", i);
        struct clocks c = {
            .real = at(2026, 1, 15, 1, 0, 0, 0), .steady = 9, .tick = 0.1, .at_look = 60, .jump = jumps[i]};
        struct result r = run_job(name, &c, NULL, 0);
        assert_int_equal(r.rc, QM_OK);
        assert_true(c.looks > 60);
        assert_true(r.span <= r.worked + 1);
        assert_true(r.row_worked > 0 && r.row_worked <= r.worked);
        free(r.lines);
        /* and between two runs */
        snprintf(name, sizeof name, "between %d", i);
        const double evening = at(2026, 1, 15, 21, 59, 30, 0);
        c = (struct clocks){.real = evening, .steady = 9, .tick = 0.1};
        r = run_job(name, &c, NULL, evening + 4);
        assert_int_equal(r.rc, QM_STOPPED);
        double before = r.worked;
        free(r.lines);
        c = (struct clocks){.real = evening + jumps[i], .steady = 9, .tick = 0.1};
        r = run_job(name, &c, NULL, 0);
        assert_int_equal(r.rc, QM_OK);
        assert_true(r.worked > before);
        assert_true(r.span >= r.worked - 1);
        assert_true(r.row_worked > 0 && r.row_worked <= r.worked);
        free(r.lines);
    }
}

static void test_ends_paused(void **state) {
    (void)state;
    const double evening = at(2026, 1, 15, 21, 59, 30, 0);
    struct clocks c = {.real = evening, .steady = 9};
    struct result r = run_job("until", &c, "22:00-07:00", evening + 20);
    assert_int_equal(r.rc, QM_STOPPED);
    assert_in_range(r.rests, 15, 20);
    assert_string_equal(r.state, "stopped by --until");
    assert_true(r.predicted && r.left == 1000); /* before the first step */
    free(r.lines);
    c = (struct clocks){.real = evening, .steady = 9, .at = 3, .interrupted = true};
    r = run_job("signal", &c, "22:00-07:00", 0);
    assert_int_equal(r.rc, QM_INTERRUPTED);
    assert_int_equal(r.rests, 3);
    assert_string_equal(r.state, "interrupted");
    free(r.lines);
    /* --until comes while it works */
    c = (struct clocks){.real = evening, .steady = 9, .tick = 0.1};
    r = run_job("until", &c, NULL, evening + 4);
    assert_int_equal(r.rc, QM_STOPPED);
    assert_true(r.rows < ROWS);
    assert_true(!r.predicted && r.left > 0 && r.left != 1000); /* what its own steps cost */
    free(r.lines);
    /* and the job is whole when it has run again */
    waits("until", (struct clocks){.real = evening, .steady = 9}, NULL, 0);
}

static int open_all(void **state) {
    (void)state;
    struct qm_error err;
    char rows[ROWS * 256];
    size_t n = 0;
    setenv("TZ", ZONE, 1);
    tzset();
    run_model_open(&model, "data/demo", NULL,
                   (struct qm_engine_options){
                       .threads = 1, .isa = qm_isa_best(), .context = 256, .sequences = 2, .chunk = 64, .kv_type = -1});
    test_temp_dir(dir);
    test_path(input, dir, "in.jsonl");
    for (int i = 0; i < ROWS; i++)
        n += (size_t)snprintf(rows + n, sizeof rows - n,
                              "{\"custom_id\": \"%d\", \"method\": \"POST\", \"url\": \"/v1/completions\", \"body\": "
                              "{\"prompt\": \"The bells rang\", \"max_tokens\": %d, \"ignore_eos\": true}}\n",
                              i, TOKENS);
    test_write_file(input, rows, n);
    return qm_tokenizer_load("data/demo", &tokenizer, &err);
}

static int close_all(void **state) {
    (void)state;
    test_remove_tree(dir);
    qm_tokenizer_free(tokenizer);
    run_model_close(&model);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_begins), cmocka_unit_test(test_clock_changes),
                                       cmocka_unit_test(test_pause_at_work), cmocka_unit_test(test_jump_at_work),
                                       cmocka_unit_test(test_ends_paused)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
