/* A job as a library: no command line, no terminal. Every row is looked at before it begins; it runs, ends, is found
 * complete, and is refused as another; who runs it is told, in words of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch/check.h"
#include "batch/job.h"
#include "numa/machine.h"
#include "planner/find.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

static const char ROWS[] =
    "{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/completions\", "
    "\"body\": {\"prompt\": \"The bells rang\", \"max_tokens\": 4, \"temperature\": 0}}\n"
    "{\"custom_id\": \"b\", \"method\": \"POST\", \"url\": \"/v1/completions\", "
    "\"body\": {\"prompt\": \"The bells rang again\", \"max_tokens\": 3, \"temperature\": 0}}\n"
    "{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/completions\", \"body\": {\"prompt\": \"x\"}}\n"
    "{\"custom_id\": \"c\", \"method\": \"POST\", \"url\": \"/v1/completions\", "
    "\"body\": {\"prompt\": \"x\", \"max_tokens\": -5}}\n";

static char dir[TEST_PATH], input[TEST_PATH], output[TEST_PATH];
static struct run_model run;
static struct qm_tokenizer *tokenizer;
static struct qm_generation_config defaults;
static struct qm_machine_model machine;
static const volatile sig_atomic_t quiet;

static const struct qm_error no_template = {.code = QM_INPUT, .message = "no chat template"};

static struct qm_batch_model the_model(void) {
    return (struct qm_batch_model){.dir = "data/demo",
                                   .model = run.model,
                                   .tokenizer = tokenizer,
                                   .chat_error = &no_template,
                                   .defaults = &defaults,
                                   .machine = &machine};
}

static struct qm_batch_options the_options(void) {
    struct qm_batch_options o = qm_batch_options_default;
    o.input = input;
    o.output = output;
    o.model_name = "demo";
    o.isa = run_model_isa();
    o.context = 256;
    o.sequences = 2;
    return o;
}

static void note(void *arg, const char *line) {
    struct qm_buf *all = arg;
    assert_int_equal(qm_buf_printf(all, NULL, "%s\n", line), 0);
}

static void my_remedy(struct qm_error *err) {
    size_t n = strlen(err->message);
    snprintf(err->message + n, sizeof err->message - n, " [remedy %d]", (int)err->remedy);
}

struct told {
    struct qm_buf notes;
    struct qm_batch_words words;
    struct qm_batch_ui ui;
};

static void begin(struct told *t) {
    *t = (struct told){.words = qm_batch_plain_words};
    t->words.seed = "my seed";
    t->words.remedy = my_remedy;
    t->ui = (struct qm_batch_ui){.arg = &t->notes, .note = note, .words = &t->words};
}

static int bad_row(void *arg, const char *title, const char *custom_id, const char *why, struct qm_error *err) {
    return qm_buf_printf(arg, err, "%s|%s|%s\n", title, custom_id ? custom_id : "-", why);
}

static void every_row_is_looked_at(void **state) {
    (void)state;
    struct told t;
    struct qm_batch_rows rows = {0};
    struct qm_batch_checked found = {0};
    struct qm_buf bad = {0};
    struct qm_error err;
    const struct qm_batch_options o = the_options();
    const struct qm_batch_model m = the_model();
    begin(&t);
    assert_int_equal(qm_batch_rows_open(&o, &t.ui, &rows, &err), 0);
    if (qm_batch_check(&o, &t.ui, &rows, &m, bad_row, &bad, &found, &err))
        fail_msg("%s", err.message);
    assert_int_equal(found.rows, 4);
    assert_int_equal(found.bad, 2);
    assert_int_equal(found.answer, 4 + 3);
    assert_int_equal(found.open, 0);
    assert_int_equal(found.longest_row, 2);
    assert_true(found.longest > 0 && found.longest_all == found.longest + 3 && found.prompt > found.longest);
    assert_true(found.prediction.seconds > 0);
    assert_non_null(strstr(bad.data, "row 3|a|a row before it has the same custom_id [remedy 0]\n"));
    assert_non_null(strstr(bad.data, "row 4|c|"));
    assert_null(strstr(bad.data, "row 1"));
    qm_batch_checked_free(&found);
    qm_batch_rows_close(&rows);
    qm_buf_free(&bad);
    qm_buf_free(&t.notes);
}

/* The whole of it; what is told is in *t. */
static int run_job(const struct qm_batch_options *o, struct told *t, bool *complete, struct qm_journal_totals *totals,
                   struct qm_error *err) {
    const struct qm_batch_model m = the_model();
    struct qm_batch_engine wants;
    struct qm_batch_job *job = NULL;
    begin(t);
    int rc = qm_batch_job_open(o, &t->ui, &job, err);
    rc = rc ? rc : qm_batch_job_prepare(job, &m, complete, err);
    if (!rc && !*complete) {
        rc = qm_batch_job_wants(job, &wants, err);
        assert_null(wants.plan);
        rc = rc ? rc : qm_batch_job_run(job, run.engine, NULL, NULL, "a machine", &quiet, err);
    }
    rc = rc ? rc : qm_batch_job_finish(job, totals, err);
    if (!rc)
        assert_non_null(qm_batch_job_journal(job));
    qm_batch_job_close(job);
    return rc;
}

static void a_job_runs_once(void **state) {
    (void)state;
    struct told t;
    struct qm_journal_totals totals;
    struct qm_batch_options o = the_options();
    struct qm_error err = {0};
    bool complete;
    if (run_job(&o, &t, &complete, &totals, &err))
        fail_msg("%s", err.message);
    assert_false(complete);
    assert_int_equal(totals.rows, 4);
    assert_int_equal(totals.failed, 2);
    assert_int_equal(totals.generated, 4 + 3);
    assert_non_null(strstr(t.notes.data, "4 rows, about "));
    qm_buf_free(&t.notes);
    char *text = test_read_file(output, NULL), *second = strchr(text, '\n');
    assert_non_null(strstr(text, "\"custom_id\":\"a\""));
    assert_non_null(strstr(second, "\"custom_id\":\"b\""));
    assert_non_null(strstr(text, "the same custom_id [remedy 0]")); /* a row's error is told in the caller's words */
    /* complete: what is there stays, what is not is written again */
    assert_int_equal(remove(output), 0);
    assert_int_equal(run_job(&o, &t, &complete, &totals, &err), 0);
    assert_true(complete);
    assert_int_equal(totals.rows, 4);
    char *again = test_read_file(output, NULL);
    assert_string_equal(again, text);
    free(again);
    free(text);
    qm_buf_free(&t.notes);
    /* another job */
    o.seed = 7;
    assert_int_equal(run_job(&o, &t, &complete, &totals, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "differs: my seed (it was 0, now 7)"));
    assert_int_equal(err.remedy, QM_REMEDY_START_OVER);
    qm_buf_free(&t.notes);
    o.restart = true;
    assert_int_equal(run_job(&o, &t, &complete, &totals, &err), 0);
    assert_false(complete);
    qm_buf_free(&t.notes);
}

/* Nothing of a job is there before its rows are. */
static void rows_come_first(void **state) {
    (void)state;
    struct qm_batch_options o = the_options();
    struct qm_batch_job *job;
    struct qm_error err;
    char path[TEST_PATH];
    test_path(path, dir, "text");
    test_write_file(path, "just a text\n", 12);
    o.input = path;
    assert_int_equal(qm_batch_job_open(&o, &qm_batch_silent, &job, &err), QM_INPUT);
    assert_null(job);
    assert_int_equal(err.remedy, QM_REMEDY_ASK_DOCUMENTS);
    qm_batch_job_close(job);
}

static int open_all(void **state) {
    (void)state;
    struct qm_machine m;
    struct qm_error err;
    const struct qm_engine_options o = {
        .threads = 1, .context = 256, .sequences = 2, .kv_type = -1, .isa = run_model_isa()};
    test_temp_dir(dir);
    test_path(input, dir, "in.jsonl");
    test_path(output, dir, "out.jsonl");
    test_write_file(input, ROWS, sizeof ROWS - 1);
    run_model_open(&run, "data/demo", NULL, o);
    if (qm_tokenizer_load("data/demo", &tokenizer, &err) || qm_machine_describe(&m, &err) ||
        qm_generation_config_read("data/demo", &defaults, &err))
        fail_msg("%s", err.message);
    qm_machine_assume(&m, run_model_isa(), &machine);
    qm_machine_free(&m);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    qm_tokenizer_free(tokenizer);
    run_model_close(&run);
    test_remove_tree(dir);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_row_is_looked_at), cmocka_unit_test(a_job_runs_once),
                                       cmocka_unit_test(rows_come_first)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
