/* --job: what the rows of a batch file would take under each configuration. Rows are read and counted as
 * quietmind batch --check does; the model of time tells what so many sequences at once take, and what it was wrong by
 * here, one sequence at a time, corrects it. Shared beginnings of prompts are not counted: at most so long. */
#include <math.h>
#include <time.h>

#include "app/batch/chat.h"
#include "app/batch/input.h"
#include "app/batch/row.h"
#include "app/batch/settings.h"
#include "app/compare/run.h"

struct counts {
    int64_t rows, bad, sequences, open, prompt, answers;
};

static void count_row(const struct qm_openai_context *openai, const struct qm_batch_line *line, struct counts *n) {
    struct qm_batch_row row = {0};
    struct qm_openai_request *request = NULL;
    bool good = line->text && !qm_batch_row_parse(line->text, line->length, "row", &row, NULL) &&
                !qm_openai_request_new(openai, row.endpoint, row.body, 0, &request, NULL);
    for (int i = 0; good && i < qm_openai_request_parts(request); i++) {
        struct qm_request r;
        qm_openai_request_part(request, i, &r);
        int64_t room = openai->context - r.n_prompt, answer = r.embed ? 0 : r.decoding.max_tokens;
        n->open += answer < 0;
        answer = answer < 0 ? QM_BATCH_OPEN_ANSWER : answer;
        n->answers += answer < room ? answer : room;
        n->prompt += r.n_prompt;
        n->sequences++;
    }
    n->rows += good;
    n->bad += !good;
    qm_openai_request_free(request);
    qm_batch_row_free(&row);
}

static int count_rows(const struct qm_args *args, const struct qm_app_model *m, const struct qm_compare_task *t,
                      const char *path, struct counts *n, struct qm_error *err) {
    struct qm_batch_input *input = NULL;
    struct qm_chat *chat = NULL;
    const struct qm_batch_settings settings = {.input = path};
    time_t seconds = time(NULL);
    struct tm now;
    int rc = qm_batch_input_open(path, QM_BATCH_LINE_LIMIT, &input, err);
    if (!rc)
        rc = qm_batch_chat(args, &settings, m->dir, localtime_r(&seconds, &now), &chat, err);
    struct qm_openai_context openai = {.tokenizer = m->tokenizer,
                                       .chat = chat,
                                       .vocab = m->model->config.vocab,
                                       .no_head = m->model->config.no_head,
                                       .context = m->model->config.max_positions,
                                       .sampling = qm_openai_sampling(&m->defaults),
                                       .now = &now,
                                       .model = args->model};
    for (bool end = false; !rc && !end;) {
        struct qm_batch_source source = qm_batch_input_source(input);
        struct qm_batch_line line;
        rc = source.next(source.self, &line, &end, err);
        if (!rc && !end)
            count_row(&openai, &line, n);
        if (!rc && !end && line.number % 100 == 0)
            qm_progress_update(t->progress, "counting the job", line.offset, source.size, QM_UNIT_BYTES);
    }
    qm_progress_end(t->progress);
    qm_chat_free(chat);
    qm_batch_input_close(input);
    return rc;
}

/* What the prediction is to be multiplied by: as measured here, or 1. */
static double correction(const struct qm_compare_rate *r) {
    return r->measured.n && r->measured.median > 0 && r->predicted > 0 ? r->predicted / r->measured.median : 1;
}

static void job_of(const struct qm_compare_task *t, int config, const struct counts *n, int64_t at_once,
                   struct qm_compare_config *c) {
    struct qm_job job = {.sequences = at_once,
                         .prompt = (n->prompt + n->sequences - 1) / n->sequences,
                         .generate = (n->answers + n->sequences - 1) / n->sequences};
    struct qm_job_time time;
    if (!t->spec[config].plan.model)
        return;
    qm_compare_predict_job(t, config, c->threads_used, &job, &time);
    double times = (double)n->sequences / (double)at_once;
    double read = times * time.prefill.seconds * correction(&c->prefill);
    double write = times * time.decode.seconds * correction(&c->decode);
    c->job.seconds = read + write;
    bool metered = isfinite(c->joules_per_prompt_token) && isfinite(c->watts);
    /* watts change little with the sequences at once, joules a token much */
    c->job.joules = metered ? (double)n->prompt * c->joules_per_prompt_token + write * c->watts : times * time.joules;
}

int qm_compare_job_rows(const struct qm_args *args, const struct qm_app_model *m, const struct qm_compare_task *t,
                        struct qm_compare_report *r, struct qm_error *err) {
    const char *path = qm_args_text(args, QM_OPT_JOB, "");
    struct counts n = {0};
    int rc = count_rows(args, m, t, path, &n, err);
    if (!rc && n.sequences == 0)
        rc = qm_fail(err, QM_INPUT, "%s: no row that can be answered (%lld that can't)", path, (long long)n.bad);
    if (rc)
        return rc;
    int64_t at_once = qm_args_int(args, QM_OPT_SEQUENCES, QM_BATCH_SEQUENCES);
    at_once = at_once < n.sequences ? at_once : n.sequences;
    snprintf(r->job, sizeof r->job, "%s", path);
    r->job_rows = n.rows;
    r->job_bad = n.bad;
    r->job_open = n.open;
    r->job_prompt = n.prompt;
    r->job_answers = n.answers;
    r->job_at_once = at_once;
    for (int i = 0; i < r->configs; i++)
        job_of(t, i, &n, at_once, &r->config[i]);
    return QM_OK;
}
