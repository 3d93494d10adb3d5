/* What a job is expected to take before it begins: the rows that are looked at, and those that are not. No time is
 * asserted, only how they compare: what this machine's profile says is the same for all. */
#include "tests/support/run_model.h"
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "batch/document.h"
#include "batch/forecast.h"
#include "batch/input.h"
#include "numa/machine.h"
#include "planner/find.h"

enum { ROWS = 400 };

static char dir[TEST_PATH];
static struct qm_model *model;
static struct qm_tokenizer *tokenizer;
static struct qm_batch_flight flight;

static void write_rows(const char *path, int rows) {
    struct qm_buf text = {0};
    struct qm_error err;
    for (int i = 0; i < rows; i++)
        assert_int_equal(qm_buf_printf(&text, &err,
                                       "{\"custom_id\": \"%03d\", \"method\": \"POST\", \"url\": \"/v1/completions\", "
                                       "\"body\": {\"prompt\": \"%03d: The bells rang\", \"max_tokens\": 80}}\n",
                                       i, i),
                         0);
    test_write_file(path, text.data, text.len);
    qm_buf_free(&text);
}

static struct qm_batch_prediction predict(const struct qm_batch_source *source, struct qm_journal *j, double seconds) {
    struct qm_batch_options o = qm_batch_options_default;
    struct qm_machine machine;
    struct qm_machine_model speed;
    const struct qm_openai_context openai = {.tokenizer = tokenizer,
                                             .vocab = model->config.vocab,
                                             .context = 512,
                                             .sampling = qm_sampling_default,
                                             .model = "demo"};
    const struct qm_batch_forecast_of of = {source, j, &openai, &flight, seconds};
    struct qm_batch_forecast *f;
    struct qm_batch_prediction p;
    struct qm_error err;
    o.sequences = 8;
    o.kv_type = QM_F32;
    assert_int_equal(qm_machine_describe(&machine, &err), 0);
    qm_machine_assume(&machine, qm_isa_auto(), &speed);
    qm_machine_free(&machine);
    assert_int_equal(qm_batch_forecast_open(&o, &speed, model, 512, &f, &err), 0);
    assert_int_equal(qm_batch_forecast_look(f, &of, &err), 0);
    assert_int_equal(flight.current, 0);
    qm_batch_forecast_get(f, &p);
    qm_batch_forecast_close(f);
    return p;
}

/* low knows nothing of what else the machine does just now, so two predictions can be compared. */
static void near(double a, double b, double by) {
    if (!(a > b * (1 - by) && a < b * (1 + by)))
        fail_msg("%g and %g differ by more than %g", a, b, by);
}

static void test_rows(void **state) {
    (void)state;
    struct qm_batch_input *in;
    struct qm_journal *j;
    struct qm_error err;
    char path[TEST_PATH];
    bool created;
    test_path(path, dir, "rows.jsonl");
    write_rows(path, ROWS);
    assert_int_equal(qm_batch_input_open(path, QM_BATCH_LINE_LIMIT, &in, &err), 0);
    assert_int_equal(qm_journal_open("", &j, &created, &err), 0);
    const struct qm_batch_source source = qm_batch_input_source(in);
    struct qm_batch_prediction all = predict(&source, j, 60), one = predict(&source, j, 0);
    assert_true(all.all && all.rows == ROWS);
    assert_true(all.low > 0 && all.low < all.seconds && all.seconds < all.high);
    near(all.prefill + all.decode, all.seconds, 1e-6);
    /* one was looked at, the others are like it */
    assert_true(!one.all);
    near(one.rows, ROWS, 0.01);
    near(one.low, all.low, 0.05);
    /* what has its answer takes nothing */
    for (int i = 1; i <= ROWS / 2; i++) {
        char id[16];
        snprintf(id, sizeof id, "%03d", i);
        struct qm_journal_row row = {.number = i, .custom_id = id, .text = "{}", .len = 2};
        assert_int_equal(qm_journal_add(j, &row, &err), 0);
    }
    struct qm_batch_prediction half = predict(&source, j, 60);
    assert_true(half.all && half.rows == ROWS / 2);
    near(half.low, all.low / 2, 0.1);
    qm_journal_close(j);
    qm_batch_input_close(in);
}

/* A million rows take no longer to look at, and a thousand times as long to answer. */
static void test_many(void **state) {
    (void)state;
    struct qm_batch_input *in;
    struct qm_journal *j;
    struct qm_error err;
    char path[TEST_PATH];
    bool created;
    test_path(path, dir, "many.jsonl");
    write_rows(path, 1000);
    assert_int_equal(qm_batch_input_open(path, QM_BATCH_LINE_LIMIT, &in, &err), 0);
    assert_int_equal(qm_journal_open("", &j, &created, &err), 0);
    struct qm_batch_source source = qm_batch_input_source(in);
    struct qm_batch_prediction few = predict(&source, j, 60);
    qm_batch_input_close(in);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size * 1000), 0); /* a hole is never read */
    assert_int_equal(qm_batch_input_open(path, QM_BATCH_LINE_LIMIT, &in, &err), 0);
    source = qm_batch_input_source(in);
    struct qm_batch_prediction many = predict(&source, j, 0);
    near(many.rows, 1e6, 0.01);
    near(many.low, 1000 * few.low, 0.05);
    qm_journal_close(j);
    qm_batch_input_close(in);
}

/* How long an answer may turn out to be. */
static void test_lengths(void **state) {
    (void)state;
    static const int32_t prompt[100] = {0};
    static const struct {
        int64_t limit, min_tokens;
        bool endless, embed;
        int64_t least, answer, most;
    } cases[] = {
        {80, 0, false, false, 10, 80, 80},   {80, 40, false, false, 40, 80, 80},
        {80, 0, true, false, 80, 80, 80},    {1, 0, false, false, 1, 1, 1},
        {80, 0, false, true, 0, 0, 0},       {1000, 0, false, false, 125, 412, 412},
        {-1, 0, false, false, 64, 412, 412}, {-1, 0, true, false, 412, 412, 412},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_batch_expect x = {0};
        struct qm_estimate_row row;
        struct qm_error err;
        const struct qm_request r = {.prompt = prompt,
                                     .n_prompt = 100,
                                     .embed = cases[i].embed,
                                     .decoding = {.max_tokens = cases[i].limit,
                                                  .min_tokens = cases[i].min_tokens,
                                                  .ignore_end = cases[i].endless}};
        assert_int_equal(qm_batch_expect(&x, &r, 512, &row, &err), 0);
        assert_int_equal(row.least, cases[i].least);
        assert_int_equal(row.answer, cases[i].answer);
        assert_int_equal(row.most, cases[i].most);
        qm_batch_expect_free(&x);
    }
}

/* Documents of unequal lengths: what is behind a row is known by bytes. */
static void test_documents(void **state) {
    (void)state;
    struct qm_batch_documents *d;
    struct qm_batch_line line;
    struct qm_error err;
    char a[TEST_PATH], b[TEST_PATH], ask[TEST_PATH], text[3000];
    bool end;
    memset(text, 'x', sizeof text);
    test_path(a, dir, "a.txt");
    test_path(b, dir, "b.txt");
    test_path(ask, dir, "ask");
    test_write_file(a, text, 100);
    test_write_file(b, text, 3000);
    test_write_file(ask, "One?\nTwo?\nThree?\n", 17);
    const struct qm_batch_ui quiet = qm_batch_silent;
    const char *const paths[] = {a, b};
    const struct qm_collect from = {.paths = paths, .n_paths = 2, .search = "", .ui = &quiet};
    json_t *extra = json_object();
    assert_int_equal(qm_batch_documents_open(&from, ask, NULL, extra, &d, &err), 0);
    const struct qm_batch_source source = qm_batch_documents_source(d);
    static const double ahead[] = {9300, 9200, 9100, 9000, 6000, 3000};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(source.next(source.self, &line, &end, &err), 0);
        assert_float_equal(source.ahead(source.self, &line), ahead[i], 1e-9);
    }
    line.number++;
    assert_float_equal(source.ahead(source.self, &line), 0, 1e-9);
    qm_batch_documents_close(d);
    json_decref(extra);
}

/* What the report gets. */
static void test_kept(void **state) {
    (void)state;
    struct qm_batch_prediction p = {.seconds = 19200.5, .low = 9000, .high = 30000}, back;
    struct qm_batch_times times = {0};
    struct qm_journal *j;
    struct qm_error err;
    struct qm_buf text = {0};
    bool created, found;
    assert_int_equal(qm_journal_open("", &j, &created, &err), 0);
    assert_int_equal(qm_batch_prediction_load(j, &back, &found, &err), 0);
    assert_false(found);
    assert_int_equal(qm_batch_prediction_keep(j, &p, &err), 0);
    assert_int_equal(qm_batch_prediction_load(j, &back, &found, &err), 0);
    assert_true(found && back.seconds == p.seconds && back.low == p.low && back.high == p.high);
    static const char *const damaged[] = {"", "nan 1 2", "1 2", "1 -2 3", "x"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        assert_int_equal(qm_journal_set(j, "predicted", damaged[i], &err), 0);
        assert_int_equal(qm_batch_prediction_load(j, &back, &found, &err), 0);
        assert_false(found);
    }
    qm_journal_close(j);
    setenv("TZ", "UTC0", 1);
    tzset();
    time_t evening = 22 * 3600 + 20 * 60;
    assert_int_equal(qm_batch_prediction_text(&p, &times, evening, &text, &err), 0);
    assert_string_equal(text.data, "about 5 h 20 min (2 h 30 min to 8 h 20 min), done by 03:40");
    text.len = 0;
    times = (struct qm_batch_times){.has_hours = true, .hours = {22 * 3600, 2 * 3600}};
    assert_int_equal(qm_batch_prediction_text(&p, &times, evening, &text, &err), 0);
    assert_string_equal(text.data, "about 5 h 20 min (2 h 30 min to 8 h 20 min), done by Fri 23:40");
    qm_buf_free(&text);
}

static int open_all(void **state) {
    (void)state;
    struct qm_error err;
    test_temp_dir(dir);
    return qm_model_open("data/demo", NULL, &model, &err) || qm_tokenizer_load("data/demo", &tokenizer, &err);
}

static int close_all(void **state) {
    (void)state;
    test_remove_tree(dir);
    qm_tokenizer_free(tokenizer);
    qm_model_close(model);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_lengths), cmocka_unit_test(test_documents),
                                       cmocka_unit_test(test_kept)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
