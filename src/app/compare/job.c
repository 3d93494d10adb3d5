/* --job: what the rows of a batch file would take under each configuration. Rows are read and counted as
 * quietmind batch --check does, and estimated by the same function (planner/estimate.h); what the model of time was
 * wrong by here, one sequence at a time, corrects it. */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "app/batch/terminal.h"
#include "app/compare/run.h"
#include "batch/chat.h"
#include "batch/expect.h"
#include "batch/input.h"
#include "batch/row.h"

struct counts {
    int64_t rows, bad;
    struct qm_batch_expect expect;
    struct qm_estimate *estimate[QM_COMPARE_CONFIGS]; /* NULL where it is not known */
    int configs;
};

static int count_row(const struct qm_openai_context *openai, const struct qm_batch_line *line, struct counts *n,
                     struct qm_error *err) {
    struct qm_batch_row row = {0};
    struct qm_openai_request *request = NULL;
    int rc = QM_OK;
    bool good = line->text && !qm_batch_row_parse(line->text, line->length, "row", &row, NULL) &&
                !qm_batch_row_request(&row, openai, 0, &request, NULL);
    for (int i = 0; good && !rc && i < qm_openai_request_parts(request); i++) {
        struct qm_request r;
        struct qm_estimate_row expected;
        qm_openai_request_part(request, i, &r);
        rc = qm_batch_expect(&n->expect, &r, openai->context, &expected, err);
        for (int c = 0; c < n->configs && !rc; c++)
            if (n->estimate[c])
                qm_estimate_add(n->estimate[c], &expected);
    }
    n->rows += good;
    n->bad += !good;
    qm_openai_request_free(request);
    qm_batch_row_free(&row);
    return rc;
}

static int count_rows(const struct qm_compare_job_of *of, const struct qm_app_model *m, const struct qm_compare_task *t,
                      struct counts *n, struct qm_error *err) {
    struct qm_batch_input *input = NULL;
    struct qm_batch_terminal terminal = {.progress = t->progress};
    const struct qm_batch_ui ui = qm_batch_terminal_ui(&terminal);
    struct qm_batch_options options = qm_batch_options_default;
    time_t seconds = time(NULL);
    struct tm now;
    options.input = of->file;
    options.chat_template = of->chat_template;
    int rc = qm_batch_input_open(of->file, QM_BATCH_LINE_LIMIT, &input, err);
    if (!rc)
        rc = qm_batch_chat(&options, ui.words, m->chat, &m->chat_error, localtime_r(&seconds, &now), err);
    struct qm_openai_context openai = qm_openai_context_of(&m->model->config, &m->defaults, m->tokenizer, m->chat);
    openai.now = &now;
    openai.model = of->model_name;
    for (bool end = false; !rc && !end;) {
        struct qm_batch_source source = qm_batch_input_source(input);
        struct qm_batch_line line;
        rc = source.next(source.self, &line, &end, err);
        if (!rc && !end)
            rc = count_row(&openai, &line, n, err);
        if (!rc && !end && line.number % 100 == 0)
            qm_progress_update(t->progress, "counting the job", line.offset, source.size, QM_PROGRESS_BYTES);
    }
    qm_progress_end(t->progress);
    qm_batch_input_close(input);
    return rc;
}

/* What the prediction is to be multiplied by: as measured here, or 1. */
static double correction(const struct qm_compare_rate *r) {
    return r->measured.n && r->measured.median > 0 && r->predicted > 0 ? r->predicted / r->measured.median : 1;
}

/* Joules of a second, predicted of rows that are all alike. */
static double watts_of(const struct qm_compare_task *t, int config, const struct counts *n, int64_t at_once,
                       int decode_threads) {
    struct qm_scenario job = {.sequences = at_once,
                              .prompt = (n->expect.prompt + n->expect.n - 1) / n->expect.n,
                              .generate = (n->expect.answer + n->expect.n - 1) / n->expect.n};
    struct qm_scenario_time time;
    qm_compare_predict_scenario(t, config, decode_threads, &job, &time);
    return time.joules / (time.prefill.seconds + time.decode.seconds);
}

static void job_of(const struct qm_compare_task *t, int config, const struct counts *n, int64_t at_once,
                   struct qm_compare_config *c) {
    static const double MEASURED = 0.2, PREDICTED = 0.35;
    struct qm_estimate_time time;
    if (!n->estimate[config])
        return;
    qm_estimate_get(n->estimate[config], qm_compare_measured(c) ? MEASURED : PREDICTED, correction(&c->prefill),
                    correction(&c->decode), &time);
    c->job.seconds = time.seconds;
    c->job.low = time.low;
    c->job.high = time.high;
    bool metered = isfinite(c->joules_per_prompt_token) && isfinite(c->watts);
    /* watts change little with the sequences at once, joules a token much */
    c->job.joules =
        metered ? (double)(n->expect.prompt - n->expect.shared) * c->joules_per_prompt_token + time.decode * c->watts
                : time.seconds * watts_of(t, config, n, at_once, c->threads_used);
}

static int estimate_all(const struct qm_compare_job_of *of, const struct qm_app_model *m,
                        const struct qm_compare_task *t, struct qm_compare_report *r, struct counts *n,
                        struct qm_error *err) {
    int64_t at_once = of->sequences;
    int rc = QM_OK;
    n->configs = r->configs;
    for (int i = 0; i < r->configs && !rc; i++)
        if (t->spec[i].plan.model) {
            struct qm_time_setup setup = qm_compare_setup(t, i);
            rc = qm_estimate_open(&setup, at_once, r->config[i].threads_used, &n->estimate[i], err);
        }
    if (!rc)
        rc = count_rows(of, m, t, n, err);
    if (!rc && n->expect.n == 0)
        rc = qm_fail(err, QM_INPUT, "%s: no row that can be answered (%lld that can't)", of->file, (long long)n->bad);
    if (rc)
        return rc;
    at_once = at_once < n->expect.n ? at_once : n->expect.n;
    snprintf(r->job, sizeof r->job, "%s", of->file);
    r->job_rows = n->rows;
    r->job_bad = n->bad;
    r->job_open = n->expect.open;
    r->job_prompt = n->expect.prompt;
    r->job_shared = n->expect.shared;
    r->job_answers = n->expect.answer;
    r->job_at_once = at_once;
    for (int i = 0; i < r->configs; i++)
        job_of(t, i, n, at_once, &r->config[i]);
    return QM_OK;
}

int qm_compare_job_rows(const struct qm_compare_job_of *of, const struct qm_app_model *m,
                        const struct qm_compare_task *t, struct qm_compare_report *r, struct qm_error *err) {
    struct counts *n = calloc(1, sizeof *n);
    int rc = n ? estimate_all(of, m, t, r, n, err) : qm_fail_memory(err, sizeof *n, "the job");
    for (int i = 0; n && i < n->configs; i++)
        qm_estimate_close(n->estimate[i]);
    if (n)
        qm_batch_expect_free(&n->expect);
    free(n);
    return rc;
}
