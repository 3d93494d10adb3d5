/* --check: every row as far as the scheduler's door, and what the job will take; the model's weights are not read.
 *
 * Lengths are counted, shared beginnings are found by comparing each prompt with the last ones before it, and time is
 * the planner's estimate of these rows (planner/estimate.h), by what is kept of this machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/batch/chat.h"
#include "app/batch/forecast.h"
#include "app/batch/job.h"
#include "app/batch/show.h"
#include "app/decode.h"
#include "app/out.h"
#include "app/remedy.h"
#include "base/words.h"
#include "batch/journal.h"
#include "batch/line.h"
#include "batch/row.h"
#include "numa/memory.h"
#include "protocol/request.h"
#include "report/numbers.h"

struct check {
    const struct qm_args *args;
    const struct qm_batch_settings *settings;
    struct qm_app_model model;
    struct qm_chat *chat;
    struct qm_batch_rows rows;
    struct qm_journal *seen; /* names and failures, in a file that is gone afterwards */
    struct qm_openai_context openai;
    enum qm_dtype kv_type;
    struct qm_batch_forecast *forecast;
    time_t begun;
    int64_t n, bad;
    int64_t longest, longest_row, longest_all; /* prompt; prompt and answer */
};

static int count_part(struct check *c, int64_t row, const struct qm_request *r, struct qm_error *err) {
    struct qm_estimate_row expected;
    int rc = qm_batch_forecast_add(c->forecast, r, &expected, err);
    if (r->n_prompt > c->longest) {
        c->longest = r->n_prompt;
        c->longest_row = row;
    }
    int64_t all = r->n_prompt + expected.answer;
    c->longest_all = all > c->longest_all ? all : c->longest_all;
    return rc;
}

static int check_row(struct check *c, const struct qm_batch_line *line, struct qm_error *err) {
    struct qm_batch_row row = {0};
    struct qm_openai_request *request = NULL;
    struct qm_error why = {0};
    char name[64], reason[160];
    bool again = false;
    int rc = QM_OK;
    qm_batch_row_title(line->number, line->file_line, name);
    if (!line->text)
        qm_fail(&why, QM_INPUT, "%s: longer than the limit for a row", name);
    else if (!qm_batch_row_parse(line->text, line->length, name, &row, &why))
        rc = qm_journal_named_before(c->seen, row.custom_id, line->number, &again, err);
    if (again)
        qm_fail(&why, QM_INPUT, "%s: a row before it has the same custom_id", name);
    if (!rc && !why.code)
        qm_batch_row_request(&row, &c->openai, 0, &request, &why);
    if (!rc && why.code == QM_SYSTEM) {
        *err = why;
        rc = why.code;
    }
    for (int i = 0; !rc && request && i < qm_openai_request_parts(request); i++) {
        struct qm_request r;
        qm_openai_request_part(request, i, &r);
        rc = count_part(c, line->number, &r, err);
    }
    qm_remedy_say(&why);
    qm_batch_reason(why.message, reason);
    struct qm_journal_row entry = {
        .number = line->number, .custom_id = row.custom_id, .reason = why.code ? reason : NULL, .text = ""};
    rc = rc ? rc : qm_journal_add(c->seen, &entry, err);
    c->n++;
    c->bad += why.code != 0;
    if (!rc && why.code && c->bad <= 10) {
        size_t n = strlen(name);
        const char *what = !strncmp(why.message, name, n) && why.message[n] == ':' ? why.message + n + 2 : why.message;
        rc = row.custom_id ? qm_out_printf(err, "%s (%s): %s\n", name, row.custom_id, what)
                           : qm_out_printf(err, "%s: %s\n", name, what);
    }
    qm_openai_request_free(request);
    qm_batch_row_free(&row);
    return rc;
}

static int print_reason(void *arg, const char *reason, int64_t count, struct qm_error *err) {
    (void)arg;
    return qm_out_printf(err, "  %8lld  %s\n", (long long)count, reason);
}

static int print_memory(struct check *c, struct qm_error *err) {
    struct qm_workload w = {.context = c->longest_all,
                            .sequences = 1,
                            .chunk = c->settings->chunk ? c->settings->chunk : QM_DEFAULT_CHUNK,
                            .kv_type = c->kv_type,
                            .threads = 64};
    struct qm_memory_table t;
    uint64_t available;
    char weights[32], working[32], longest[32], free[32];
    qm_memory_estimate(c->model.model, &w, &t);
    uint64_t running = qm_scheduler_bytes(c->model.model->config.vocab, c->settings->sequences, w.threads);
    int rc = qm_memory_available(&available, err);
    return rc ? rc
              : qm_out_printf(err, "memory      weights %s, working %s, longest row %s; available %s\n",
                              qm_bytes_text((double)t.weights, weights, sizeof weights),
                              qm_bytes_text((double)(t.scratch + running), working, sizeof working),
                              qm_bytes_text((double)t.kv, longest, sizeof longest),
                              qm_bytes_text((double)available, free, sizeof free));
}

static int print_time(struct check *c, struct qm_error *err) {
    struct qm_batch_prediction p;
    struct qm_buf text = {0};
    char a[64], b[64];
    qm_batch_forecast_get(c->forecast, &p);
    int rc = qm_batch_prediction_text(&p, &c->settings->times, c->begun, &text, err);
    rc = rc ? rc
            : qm_out_printf(err, "time        %s: prompt %s, generation %s\n", text.data,
                            qm_duration_text(p.prefill, a, sizeof a), qm_duration_text(p.decode, b, sizeof b));
    qm_buf_free(&text);
    return rc ? rc : qm_out_wrapped("           ", *p.basis ? p.basis : "measured on this machine", 12, err);
}

static int print_all(struct check *c, struct qm_error *err) {
    int rc = qm_out_printf(err, "rows        %lld, ", (long long)c->n);
    const struct qm_batch_expect *x = qm_batch_forecast_expect(c->forecast);
    rc = rc       ? rc
         : c->bad ? qm_out_printf(err, "%lld of them invalid\n", (long long)c->bad)
                  : qm_out_text("all valid\n", err);
    if (!rc && c->bad)
        rc = qm_journal_reasons(c->seen, print_reason, NULL, err);
    rc = rc ? rc
            : qm_out_printf(err, "prompts     %lld token%s, %lld shared", (long long)x->prompt, qm_s(x->prompt),
                            (long long)x->shared);
    if (!rc && c->longest_row)
        rc = qm_out_printf(err, "; longest %lld (row %lld)", (long long)c->longest, (long long)c->longest_row);
    rc = rc ? rc : qm_out_text("\n", err);
    rc = rc ? rc : qm_out_printf(err, "generation  at most %lld token%s", (long long)x->answer, qm_s(x->answer));
    if (!rc && x->open)
        rc = qm_out_printf(err, "; %lld row%s without max_tokens counted as %d", (long long)x->open, qm_s(x->open),
                           QM_EXPECT_OPEN);
    rc = rc ? rc : qm_out_text("\n", err);
    rc = rc ? rc : print_memory(c, err);
    return rc ? rc : print_time(c, err);
}

static int open_all(struct check *c, const struct tm *now, struct qm_progress *progress, struct qm_error *err) {
    int kv_type;
    bool created;
    const struct qm_model_options named = qm_decode_model(c->args);
    int rc = qm_batch_rows_open(c->args, c->settings, progress, &c->rows, err);
    rc = rc ? rc : qm_decode_kv_type(c->args, &kv_type, err);
    rc = rc ? rc : qm_app_open(&named, QM_TOKENIZER_YES, progress, &c->model, err);
    rc = rc ? rc : qm_batch_chat(c->args, c->settings, c->model.dir, now, &c->chat, err);
    rc = rc ? rc : qm_journal_open("", &c->seen, &created, err);
    if (rc)
        return rc;
    const struct qm_config *config = &c->model.model->config;
    int64_t context = qm_args_int(c->args, QM_OPT_CONTEXT, 0);
    c->kv_type = kv_type < 0 ? qm_kv_default_type(config) : (enum qm_dtype)kv_type;
    c->openai = (struct qm_openai_context){.tokenizer = c->model.tokenizer,
                                           .chat = c->chat,
                                           .vocab = config->vocab,
                                           .no_head = config->no_head,
                                           .context = context ? context : config->usual_positions,
                                           .sampling = qm_openai_sampling(&c->model.defaults),
                                           .now = now,
                                           .model = c->args->model};
    return qm_batch_forecast_open(c->args, c->settings, c->model.model, c->kv_type, c->openai.context, &c->forecast,
                                  err);
}

/* Says how many rows the documents make. */
static int tell_rows(const struct check *c, struct qm_progress *progress, struct qm_error *err) {
    struct qm_buf text = {0};
    int rc = c->rows.documents ? qm_batch_rows_text(&c->rows, (double)c->rows.source.rows, true, false, &text, err) : 0;
    if (!rc && text.len)
        qm_note(progress, "%s", text.data);
    qm_buf_free(&text);
    return rc;
}

int qm_batch_check(const struct qm_args *args, const struct qm_batch_settings *s, struct qm_progress *progress,
                   struct qm_error *err) {
    struct check c = {.args = args, .settings = s, .begun = time(NULL)};
    struct tm now;
    bool end = false;
    int rc = open_all(&c, localtime_r(&c.begun, &now), progress, err);
    rc = rc ? rc : tell_rows(&c, progress, err);
    while (!rc) {
        struct qm_batch_line line;
        rc = c.rows.source.next(c.rows.source.self, &line, &end, err);
        if (rc || end)
            break;
        rc = check_row(&c, &line, err);
        if (line.number % 1000 == 0)
            qm_progress_update(progress, "checking", c.rows.source.size ? line.offset : (uint64_t)line.number,
                               c.rows.source.size ? c.rows.source.size : (uint64_t)c.rows.source.rows,
                               c.rows.source.size ? QM_UNIT_BYTES : QM_UNIT_STEPS);
    }
    qm_progress_end(progress);
    rc = rc ? rc : print_all(&c, err);
    qm_batch_forecast_close(c.forecast);
    qm_journal_close(c.seen);
    qm_chat_free(c.chat);
    qm_app_close(&c.model);
    qm_batch_rows_close(&c.rows);
    return !rc && c.bad && (s->strict || c.bad == c.n) ? QM_DISAGREE : rc;
}
