/* Rows on their way: the loop over reading and giving, writing what is finished, counting. */
#include <stdlib.h>

#include "batch/line.h"
#include "batch/work_private.h"

int qm_batch_work_feed(struct qm_batch_work *w, double seconds, struct qm_error *err) {
    double end = qm_batch_passed(w->o.clock) + seconds;
    bool reading = true, giving = true;
    int rc = QM_OK;
    while (!rc && (reading || giving)) {
        if (reading)
            rc = qm_batch_read_ahead(w, &reading, err);
        /* the order is chosen among all that may be looked at: read first, unless time presses */
        bool late = qm_batch_passed(w->o.clock) >= end;
        if (!rc && giving && (!reading || late))
            rc = qm_batch_give(w, &giving, err);
        if (late)
            break;
    }
    return rc;
}

/* --- to the journal --- */

static int write_line(struct qm_batch_work *w, struct qm_journal_row *row, struct qm_error *err) {
    row->text = w->line.data;
    row->len = w->line.len;
    int rc = qm_batch_output_add(w->o.output, row->text, row->len, err);
    if (!rc)
        rc = qm_journal_add(w->o.journal, row, err);
    w->counts.done++;
    w->counts.failed += row->reason != NULL;
    w->counts.prompt += row->prompt;
    w->counts.cached += row->cached;
    w->counts.generated += row->generated;
    return rc;
}

int qm_batch_write_error(struct qm_batch_work *w, const struct qm_batch_line *line, bool unread, const char *custom_id,
                         const struct qm_error *why, struct qm_error *err) {
    char reason[160];
    struct qm_error remedied = *why;
    w->o.words->remedy(&remedied);
    qm_batch_reason(remedied.message, reason);
    struct qm_journal_row row = {.number = line->number,
                                 .custom_id = custom_id,
                                 .reason = reason,
                                 .line = line->hash,
                                 .finished = qm_batch_time(w->o.clock, w->time)};
    w->line.len = 0;
    int rc =
        qm_batch_line_error(w->o.job, line->number, unread ? line->file_line : 0, custom_id, &remedied, &w->line, err);
    return rc ? rc : write_line(w, &row, err);
}

static int answer(struct qm_batch_work *w, struct qm_batch_active *a, struct qm_error *err) {
    json_t *body = NULL;
    char id[64];
    qm_batch_body_id(w->o.job, a->line.number, a->row.endpoint, id);
    struct qm_journal_row row = {.number = a->line.number,
                                 .custom_id = a->row.custom_id,
                                 .line = a->line.hash,
                                 .prompt = a->prompt,
                                 .cached = a->cached,
                                 .generated = a->generated,
                                 .started = a->started,
                                 .first = a->first,
                                 .finished = a->finished,
                                 .cut = a->cut};
    qm_batch_outlook_done(&w->outlook, a->follows, a->line.length, a->prompt, a->cached);
    w->line.len = 0;
    int rc = qm_openai_response(a->request, id, w->o.created, &body, err);
    if (!rc)
        rc = qm_batch_line_answer(w->o.job, row.number, row.custom_id, body, &w->line, err);
    return rc ? rc : write_line(w, &row, err);
}

int qm_batch_note_position(struct qm_journal *j, const struct qm_batch_line *at, struct qm_error *err) {
    int rc = qm_journal_set_int(j, "position_row", at->number, err);
    if (!rc)
        rc = qm_journal_set_int(j, "position_line", at->file_line, err);
    return rc ? rc : qm_journal_set_int(j, "position_offset", (int64_t)at->offset, err);
}

/* Where reading may begin when the job resumes: at the first row that is not finished. */
static int note_position(struct qm_batch_work *w, struct qm_error *err) {
    if (w->noted == w->counts.done + w->counts.waiting)
        return QM_OK;
    w->noted = w->counts.done + w->counts.waiting;
    const struct qm_batch_pending *first = qm_batch_window_first(w->window);
    const struct qm_batch_line *at = qm_batch_waiting_first(w->waiting, first ? &first->line : &w->next);
    return qm_batch_note_position(w->o.journal, at, err);
}

/* The row is left for a run that has more memory. */
static int put_off(struct qm_batch_work *w, const struct qm_batch_active *a, struct qm_error *err) {
    int rc = qm_batch_waiting_add(&w->waiting, &a->line, a->row.custom_id, err);
    w->counts.waiting += !rc;
    w->counts.first_waiting = rc ? 0 : qm_batch_waiting_first(w->waiting, &a->line)->number;
    return rc;
}

static int end_row(struct qm_batch_work *w, struct qm_batch_active *a, struct qm_error *err) {
    qm_batch_work_on(w, a->line.number);
    int rc = a->failed.code ? qm_batch_write_error(w, &a->line, false, a->row.custom_id, &a->failed, err)
             : a->waits     ? put_off(w, a, err)
                            : answer(w, a, err);
    qm_batch_work_on(w, 0);
    qm_batch_flight_remove(w->o.flight, a->line.number);
    qm_batch_window_remove(w->window, a->line.number);
    return rc;
}

static int collect_one(struct qm_batch_work *w, struct qm_batch_active *a, bool *gone, struct qm_error *err) {
    bool over = a->failed.code || a->waits;
    for (int i = 0; over && i < a->submitted; i++)
        if (a->part[i].id)
            qm_scheduler_cancel(w->o.scheduler, a->part[i].id);
    *gone = a->ended == a->submitted && (over || (a->parts > 0 && a->submitted == a->parts));
    if (!*gone)
        return QM_OK;
    return end_row(w, a, err);
}

int qm_batch_work_collect(struct qm_batch_work *w, struct qm_error *err) {
    struct qm_batch_active **link = &w->active;
    int rc = QM_OK;
    while (*link && !rc && !w->system.code) {
        struct qm_batch_active *a = *link;
        bool gone;
        rc = collect_one(w, a, &gone, err);
        if (gone) {
            *link = a->next;
            w->n_active--;
            qm_batch_active_free(a);
        } else {
            link = &a->next;
        }
    }
    if (!rc && w->system.code) {
        *err = w->system;
        rc = w->system.code;
    }
    return rc ? rc : note_position(w, err);
}

bool qm_batch_work_done(const struct qm_batch_work *w) {
    return w->counts.all_read && !w->active && !qm_batch_window_first(w->window);
}

int qm_batch_work_each(const struct qm_batch_work *w, qm_batch_sequence_fn *each, void *arg, struct qm_error *err) {
    int rc = QM_OK;
    for (const struct qm_batch_active *a = w->active; a && !rc; a = a->next)
        for (int i = 0; i < a->submitted && !rc; i++) {
            struct qm_request_view v;
            if (a->part[i].id && !qm_scheduler_view(w->o.scheduler, a->part[i].id, &v))
                rc = each(arg, a->line.number, &v, err);
        }
    return rc;
}

/* A sequence in flight, or one that waits for its place. */
static void add_ahead(struct qm_batch_work *w, const struct qm_batch_active *row, const struct qm_request_view *v,
                      struct qm_batch_ahead *a) {
    double known = (double)(v->n_prompt + v->n_generated);
    a->most = v->most > a->most ? v->most : a->most;
    if (!v->sequence) {
        a->prompts += known * qm_batch_outlook_computed(&w->outlook, row->follows);
        a->answers++;
        return;
    }
    a->prompts += v->state == QM_REQUEST_DECODE ? 0 : known - (double)v->held;
    qm_batch_left_running(&w->outlook.left, v->n_generated, v->most);
}

double qm_batch_work_left(struct qm_batch_work *w, double rows) {
    const struct qm_batch_counts *c = &w->counts;
    struct qm_batch_ahead a = {.most = -1, .wide = (double)w->o.sequences};
    struct qm_scheduler_stats stats;
    qm_batch_left_begin(&w->outlook.left);
    for (const struct qm_batch_active *row = w->active; row; row = row->next) {
        for (int i = 0; i < row->submitted; i++) {
            struct qm_request_view v;
            if (row->part[i].id && !qm_scheduler_view(w->o.scheduler, row->part[i].id, &v))
                add_ahead(w, row, &v, &a);
        }
        a.answers += row->parts - row->submitted;
    }
    qm_batch_left_fit(&w->outlook.left);
    if (!c->all_read)
        qm_batch_outlook_ahead(&w->outlook, w->o.source->ahead(w->o.source->self, &w->next),
                               rows > (double)c->read ? rows - (double)c->read : 0, &a);
    else
        qm_batch_outlook_ahead(&w->outlook, 0, 0, &a);
    qm_scheduler_stats(w->o.scheduler, &stats);
    return qm_batch_left_seconds(&w->outlook.left, &stats, &a);
}

int qm_batch_work_save_tokens(struct qm_batch_work *w, struct qm_error *err) {
    int rc = QM_OK;
    for (const struct qm_batch_active *a = w->active; a && !rc; a = a->next)
        for (int i = 0; i < a->submitted && !rc; i++) {
            struct qm_request_view v;
            if (a->part[i].id && !qm_scheduler_view(w->o.scheduler, a->part[i].id, &v) && v.n_generated > 0)
                rc = qm_journal_save_tokens(w->o.journal, a->line.number, a->line.hash, i, v.tokens + v.n_prompt,
                                            v.n_generated, err);
        }
    return rc;
}

struct qm_batch_counts qm_batch_work_counts(const struct qm_batch_work *w) {
    struct qm_batch_counts c = w->counts;
    c.in_flight = w->n_active;
    return c;
}

/* --- beginning and end --- */

static int resume(struct qm_batch_work *w, struct qm_error *err) {
    struct qm_journal_totals t;
    int64_t number = 1, line = 1, offset = 0, crashes = 0;
    int rc = qm_journal_totals(w->o.journal, &t, err);
    if (!rc)
        rc = qm_journal_get_int(w->o.journal, "position_row", 1, &number, err);
    if (!rc)
        rc = qm_journal_get_int(w->o.journal, "position_line", 1, &line, err);
    if (!rc)
        rc = qm_journal_get_int(w->o.journal, "position_offset", 0, &offset, err);
    if (!rc)
        rc = qm_journal_get_int(w->o.journal, "crashes", 0, &crashes, err);
    w->suspects = !rc && crashes > 0;
    w->next = (struct qm_batch_line){.number = number, .file_line = line, .offset = (uint64_t)offset};
    if (!rc)
        rc = w->o.source->seek(w->o.source->self, &w->next, err);
    if (rc)
        return rc;
    w->noted = t.rows;
    w->counts = (struct qm_batch_counts){.done = t.rows,
                                         .failed = t.failed,
                                         .read = number - 1,
                                         .read_bytes = (uint64_t)offset,
                                         .input_bytes = w->o.source->size,
                                         .prompt = t.prompt,
                                         .cached = t.cached,
                                         .generated = t.generated};
    return QM_OK;
}

int qm_batch_work_new(const struct qm_batch_work_options *o, struct qm_batch_work **out, struct qm_error *err) {
    struct qm_batch_work *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w)
        return qm_fail_memory(err, sizeof *w, "the job");
    w->o = *o;
    if (!w->o.flight)
        w->o.flight = &w->flight_none;
    int rc = qm_batch_window_new(o->look_ahead, &w->window, err);
    if (!rc)
        rc = qm_batch_time_begin(o->clock, o->journal, &w->time, err);
    if (!rc)
        rc = resume(w, err);
    if (rc) {
        qm_batch_work_free(w);
        return rc;
    }
    *out = w;
    return QM_OK;
}

void qm_batch_work_free(struct qm_batch_work *w) {
    if (!w)
        return;
    w->closing = true;
    while (w->active) {
        struct qm_batch_active *a = w->active;
        for (int i = 0; i < a->submitted; i++)
            if (a->part[i].id)
                qm_scheduler_cancel(w->o.scheduler, a->part[i].id);
        w->active = a->next;
        qm_batch_active_free(a);
    }
    qm_batch_waiting_free(&w->waiting);
    qm_batch_window_free(w->window);
    qm_buf_free(&w->line);
    free(w);
}
