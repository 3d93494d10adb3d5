/* Every row once. */
#include "batch/check.h"

#include <string.h>

#include "batch/chat.h"
#include "batch/journal.h"
#include "batch/line.h"
#include "batch/row.h"
#include "protocol/request.h"

enum { REPORTED = 10 };

struct check {
    struct qm_batch_checked *out;
    const struct qm_batch_words *words;
    struct qm_openai_context openai;
    struct qm_batch_forecast *forecast;
    qm_batch_bad_row_fn *bad;
    void *arg;
};

static int count_part(struct check *c, int64_t row, const struct qm_request *r, struct qm_error *err) {
    struct qm_batch_checked *out = c->out;
    struct qm_estimate_row expected;
    int rc = qm_batch_forecast_add(c->forecast, r, &expected, err);
    if (r->n_prompt > out->longest) {
        out->longest = r->n_prompt;
        out->longest_row = row;
    }
    int64_t all = r->n_prompt + expected.answer;
    out->longest_all = all > out->longest_all ? all : out->longest_all;
    return rc;
}

/* Keeps what is found of it; why: code QM_OK where it can be answered. */
static int keep_row(struct check *c, const struct qm_batch_line *line, const char *title, const char *custom_id,
                    struct qm_error *why, struct qm_error *err) {
    char reason[160];
    c->words->remedy(why);
    qm_batch_reason(why->message, reason);
    struct qm_journal_row entry = {
        .number = line->number, .custom_id = custom_id, .reason = why->code ? reason : NULL, .text = ""};
    int rc = qm_journal_add(c->out->seen, &entry, err);
    c->out->rows++;
    c->out->bad += why->code != 0;
    if (rc || !why->code || c->out->bad > REPORTED)
        return rc;
    size_t n = strlen(title);
    bool named = !strncmp(why->message, title, n) && why->message[n] == ':';
    return c->bad(c->arg, title, custom_id, named ? why->message + n + 2 : why->message, err);
}

static int check_row(struct check *c, const struct qm_batch_line *line, struct qm_error *err) {
    struct qm_batch_row row = {0};
    struct qm_openai_request *request = NULL;
    struct qm_error why = {0};
    char title[64];
    bool again = false;
    int rc = QM_OK;
    qm_batch_row_title(line->number, line->file_line, title);
    if (!line->text)
        qm_fail(&why, QM_INPUT, "%s: longer than the limit for a row", title);
    else if (!qm_batch_row_parse(line->text, line->length, title, &row, &why))
        rc = qm_journal_named_before(c->out->seen, row.custom_id, line->number, &again, err);
    if (again)
        qm_fail(&why, QM_INPUT, "%s: a row before it has the same custom_id", title);
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
    if (!rc)
        rc = keep_row(c, line, title, row.custom_id, &why, err);
    qm_openai_request_free(request);
    qm_batch_row_free(&row);
    return rc;
}

/* Says how many rows the documents make. */
static int note_rows(const struct qm_batch_rows *rows, const struct qm_batch_ui *ui, struct qm_error *err) {
    struct qm_buf text = {0};
    int rc = rows->documents ? qm_batch_rows_text(rows, (double)rows->source.rows, true, false, &text, err) : QM_OK;
    if (!rc && text.len)
        qm_batch_note(ui, "%s", text.data);
    qm_buf_free(&text);
    return rc;
}

static int check_all(struct check *c, const struct qm_batch_rows *rows, const struct qm_batch_ui *ui,
                     struct qm_error *err) {
    const struct qm_batch_source *s = &rows->source;
    int rc = QM_OK;
    for (bool end = false; !rc;) {
        struct qm_batch_line line;
        rc = s->next(s->self, &line, &end, err);
        if (rc || end)
            break;
        rc = check_row(c, &line, err);
        if (line.number % 1000 == 0)
            qm_batch_progress(ui, "checking", s->size ? line.offset : (uint64_t)line.number,
                              s->size ? s->size : (uint64_t)s->rows, s->size != 0);
    }
    qm_batch_progress_end(ui);
    return rc;
}

int qm_batch_check(const struct qm_batch_options *o, const struct qm_batch_ui *ui, struct qm_batch_rows *rows,
                   const struct qm_batch_model *m, qm_batch_bad_row_fn *bad, void *arg, struct qm_batch_checked *out,
                   struct qm_error *err) {
    const struct qm_config *config = &m->model->config;
    struct check c = {.out = out, .words = ui->words, .bad = bad, .arg = arg};
    time_t seconds = time(NULL);
    struct tm now;
    bool created;
    int rc = qm_batch_chat(o, ui->words, m->chat, m->chat_error, localtime_r(&seconds, &now), err);
    if (!rc)
        rc = qm_journal_open("", &out->seen, &created, err);
    c.openai = qm_openai_context_of(config, m->defaults, m->tokenizer, m->chat);
    c.openai.context = o->context ? o->context : config->default_positions;
    c.openai.now = &now;
    c.openai.model = o->model_name;
    if (!rc)
        rc = qm_batch_forecast_open(o, m->machine, m->model, c.openai.context, &c.forecast, err);
    if (!rc)
        rc = note_rows(rows, ui, err);
    if (!rc)
        rc = check_all(&c, rows, ui, err);
    if (!rc) {
        const struct qm_batch_expect *x = qm_batch_forecast_expect(c.forecast);
        out->prompt = x->prompt;
        out->shared = x->shared;
        out->answer = x->answer;
        out->open = x->open;
        qm_batch_forecast_get(c.forecast, &out->prediction);
    }
    qm_batch_forecast_close(c.forecast);
    return rc;
}

void qm_batch_checked_free(struct qm_batch_checked *c) {
    qm_journal_close(c->seen);
    *c = (struct qm_batch_checked){0};
}
