/* Rows from the input to the scheduler, and from there to the journal. */
#include "batch/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "batch/line.h"
#include "batch/outlook.h"
#include "batch/row.h"
#include "batch/waiting.h"
#include "batch/window.h"

/* A row that the scheduler has, or some of whose parts it has. */
struct active {
    struct qm_batch_work *work;
    struct active *next;
    struct qm_batch_line line;
    struct qm_batch_row row;
    struct qm_openai_request *request;
    int parts, submitted, ended;
    struct part {
        struct active *row;
        uint64_t id;  /* the scheduler's; 0: not submitted, or ended */
        int64_t most; /* tokens that it may generate */
    } * part;
    struct qm_error failed; /* code QM_OK: nothing has */
    bool waits;             /* for more memory than there is today */
    int64_t prompt, cached, generated;
    bool follows; /* its prompt begins as that of a row before it */
    double started, first, finished;
    bool cut; /* an answer ended because it was as long as it may be */
};

struct qm_batch_work {
    struct qm_batch_work_options o;
    struct qm_batch_window *window;
    struct active *active; /* a list */
    int64_t n_active, in_flight;
    double time; /* the base of the job's own */
    bool closing;
    struct qm_batch_waiting *waiting;   /* rows of another run, that has more memory */
    bool suspects;                      /* some rows were at work when the program crashed */
    struct qm_batch_pending *suspect;   /* taken, and waits until it can run alone */
    bool alone;                         /* what is active is to be alone */
    struct qm_batch_flight flight_none; /* where nobody looks */
    struct qm_batch_line next;          /* where reading goes on */
    int64_t noted;                      /* rows done when the position was noted last */
    struct qm_batch_counts counts;
    struct qm_batch_outlook outlook;
    struct qm_buf line;     /* the output line being made */
    struct qm_error system; /* what concerns the job, met inside a callback */
};

/* Whose text is being worked on, should that end the program; 0: nobody's. */
static void work_on(struct qm_batch_work *w, int64_t number) {
    w->o.flight->current = number;
}

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

/* A row that never reached the scheduler, or failed there. unread: it is no row at all, and found by its line. */
static int write_error(struct qm_batch_work *w, const struct qm_batch_line *line, bool unread, const char *custom_id,
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

/* What is the row's fault becomes its error line; anything else is the job's. */
static bool is_rows(int rc) {
    return rc == QM_INPUT || rc == QM_USAGE || rc == QM_FIT;
}

/* --- reading ahead --- */

static int check_name(struct qm_batch_work *w, int64_t number, const char *title, const char *custom_id,
                      struct qm_error *why, struct qm_error *err) {
    const struct qm_batch_pending *same = qm_batch_window_named(w->window, custom_id);
    bool before = same || qm_batch_waiting_named(w->waiting, custom_id);
    int rc = before ? QM_OK : qm_journal_named_before(w->o.journal, custom_id, number, &before, err);
    if (!rc && before)
        qm_fail(why, QM_INPUT, "%s: a row before it has the same custom_id", title);
    return rc;
}

static int read_one(struct qm_batch_work *w, const struct qm_batch_line *line, struct qm_error *err) {
    struct qm_batch_row row = {0};
    struct qm_batch_prefix prefix;
    struct qm_error why = {0};
    char title[64], id[QM_BATCH_ID_LIMIT + 1] = "";
    const char *name = NULL;
    int rc = QM_OK;
    qm_batch_row_title(line->number, line->file_line, title);
    if (!line->text) {
        qm_fail(&why, QM_INPUT, "%s: longer than the limit for a row: %llu bytes", title,
                (unsigned long long)line->length);
        qm_batch_row_name(line->head, line->head_length, id);
        name = *id ? id : NULL;
    } else {
        qm_batch_row_parse(line->text, line->length, title, &row, &why);
        name = row.custom_id;
    }
    bool unread = why.code != QM_OK;
    if (!why.code)
        rc = check_name(w, line->number, title, name, &why, err);
    if (!rc && !why.code)
        rc = qm_batch_row_prefix(&row, &prefix, err);
    if (!rc && !why.code)
        rc = qm_batch_window_add(w->window, line, name, &prefix,
                                 qm_batch_outlook_read(&w->outlook, line->length, &prefix), err);
    else if (!rc && is_rows(why.code))
        rc = write_error(w, line, unread, name, &why, err);
    else if (!rc) {
        *err = why;
        rc = why.code;
    }
    qm_batch_row_free(&row);
    return rc;
}

/* Its text is not looked at more closely: that may be what ends the program. */
static int set_aside(struct qm_batch_work *w, const struct qm_batch_line *line, struct qm_error *err) {
    char id[QM_BATCH_ID_LIMIT + 1], title[64];
    struct qm_error why;
    qm_batch_row_title(line->number, line->file_line, title);
    qm_batch_row_name(line->text ? line->text : line->head, line->text ? line->length : line->head_length, id);
    qm_fail(&why, QM_SYSTEM, "%s: the program crashed twice while this row was computed: it is set aside", title);
    return write_error(w, line, false, *id ? id : NULL, &why, err);
}

int qm_batch_other_row(int64_t number, struct qm_error *err) {
    return qm_remedy(
        err, QM_REMEDY_START_OVER,
        qm_fail(err, QM_INPUT,
                "row %lld of the input is not the one that was answered: put the file back as it was and run the "
                "same command again",
                (long long)number));
}

/* One more row; *more false: none, or no room. */
static int read_ahead(struct qm_batch_work *w, bool *more, struct qm_error *err) {
    struct qm_batch_line line;
    bool end, known;
    uint64_t answered;
    *more = !w->counts.all_read && qm_batch_window_room(w->window);
    if (!*more)
        return QM_OK;
    int rc = w->o.source->next(w->o.source->self, &line, &end, err);
    if (rc)
        return rc;
    if (end) {
        w->counts.all_read = true;
        w->counts.read_bytes = w->counts.input_bytes;
        *more = false;
        return qm_journal_set_int(w->o.journal, "rows", w->counts.read, err);
    }
    rc = qm_journal_has(w->o.journal, line.number, &known, &answered, err);
    if (!rc && known && answered != line.hash)
        rc = qm_batch_other_row(line.number, err);
    if (rc)
        return rc;
    /* what is left of its line, an end, is no row */
    w->next = line;
    w->next.number++;
    w->next.offset += line.length;
    w->counts.read = line.number;
    w->counts.read_bytes = w->next.offset;
    if (known)
        return QM_OK;
    enum qm_batch_suspicion suspicion = QM_ROW_TRUSTED;
    if (w->suspects && (rc = qm_batch_crash_of(w->o.journal, line.number, &suspicion, err)))
        return rc;
    if (suspicion == QM_ROW_SET_ASIDE)
        return set_aside(w, &line, err);
    work_on(w, line.number);
    rc = read_one(w, &line, err);
    work_on(w, 0);
    return rc;
}

/* --- to the scheduler --- */

static int on_token(void *arg, const struct qm_generate_token *t, bool replay) {
    struct part *p = arg;
    struct qm_batch_work *w = p->row->work;
    (void)replay;
    work_on(w, p->row->line.number);
    if (!w->system.code)
        qm_openai_request_token(p->row->request, (int)(p - p->row->part), t, &w->system);
    work_on(w, 0);
    return w->system.code;
}

static int64_t today(const struct qm_batch_work *w) {
    return qm_scheduler_context(w->o.scheduler);
}

/* Ended by a lack that is today's: with as much memory as the job may have it would have gone on. */
static bool is_short(const struct part *p, const struct qm_outcome *o) {
    const struct qm_batch_work *w = p->row->work;
    if (o->rc)
        return o->rc == QM_FIT && today(w) < w->o.openai->context;
    return (o->finish == QM_FINISH_CONTEXT || o->finish == QM_FINISH_LENGTH) && o->n_ids < p->most;
}

static void on_done(void *arg, const struct qm_outcome *o) {
    struct part *p = arg;
    struct active *a = p->row;
    struct qm_batch_work *w = a->work;
    p->id = 0;
    a->ended++;
    w->in_flight--;
    if (w->closing || w->system.code)
        return;
    if (is_short(p, o)) {
        a->waits = true;
        if (qm_journal_save_tokens(w->o.journal, a->line.number, a->line.hash, (int)(p - a->part), o->ids, o->n_ids,
                                   &w->system))
            return;
    } else if (o->rc && is_rows(o->rc)) {
        if (!a->failed.code)
            a->failed = *o->error;
    } else if (o->rc) {
        w->system = *o->error;
    } else if (o->finish != QM_FINISH_INTERRUPTED) {
        qm_openai_request_done(a->request, (int)(p - a->part), o, &w->system);
    }
    a->cut |= !o->rc && a->row.endpoint != QM_ENDPOINT_EMBEDDINGS &&
              (o->finish == QM_FINISH_LENGTH || o->finish == QM_FINISH_CONTEXT);
    double now = qm_batch_time(w->o.clock, w->time), decoded = now - o->decode_seconds,
           admitted = decoded - o->prefill_seconds;
    a->started = a->started == 0 || admitted < a->started ? admitted : a->started;
    a->first = a->first == 0 || decoded < a->first ? decoded : a->first;
    a->finished = now;
    a->prompt += o->prompt_tokens;
    /* of a row that resumes its answer was found as well */
    a->cached += o->prefix_tokens < o->prompt_tokens ? o->prefix_tokens : o->prompt_tokens;
    a->generated += o->n_ids;
    if (!o->rc && a->row.endpoint != QM_ENDPOINT_EMBEDDINGS)
        qm_batch_left_ended(&w->outlook.left, o->n_ids);
}

/* Tokens that an earlier run has generated, as far as they make sense. */
static int saved_tokens(struct qm_batch_work *w, const struct active *a, int part, struct qm_buf *ids,
                        struct qm_request *r, struct qm_error *err) {
    int rc = qm_journal_tokens(w->o.journal, a->line.number, a->line.hash, part, ids, err);
    int64_t n = (int64_t)(ids->len / sizeof(int32_t));
    const int32_t *data = (const int32_t *)(const void *)ids->data;
    bool good = r->decoding.max_tokens < 0 || n < r->decoding.max_tokens;
    for (int64_t i = 0; i < n && good; i++)
        good = data[i] >= 0 && data[i] < w->o.openai->vocab;
    if (!rc && good && n) {
        r->generated = data;
        r->n_generated = n;
    }
    return rc;
}

/* How many tokens it may generate, which does not depend on today's memory; and whether that holds it. */
static void limit_part(const struct qm_batch_work *w, struct active *a, int i, struct qm_request *r) {
    int64_t most = r->decoding.max_tokens;
    bool open = most < 0 && w->o.longest && r->n_prompt < w->o.longest;
    int64_t longest = open ? w->o.longest : w->o.openai->context, room = longest - r->n_prompt;
    a->part[i].most = r->embed ? 0 : most >= 0 && most < room ? most : room;
    if (!r->embed && (most >= 0 || longest < today(w)))
        r->decoding.max_tokens = a->part[i].most;
    a->waits |= r->n_prompt + !r->embed > today(w);
}

/* The next part of a row. *room false: the scheduler takes no more now. */
static int submit_part(struct qm_batch_work *w, struct active *a, bool *room, struct qm_error *err) {
    int i = a->submitted;
    struct qm_request r;
    struct qm_buf ids = {0};
    qm_openai_request_part(a->request, i, &r);
    r.on_token = on_token;
    r.on_done = on_done;
    r.arg = &a->part[i];
    limit_part(w, a, i, &r);
    int rc = saved_tokens(w, a, i, &ids, &r, err);
    a->waits |= r.n_prompt + r.n_generated + !r.embed > today(w);
    if (!rc && !a->waits) {
        struct qm_error why = {0};
        w->in_flight++;
        int submitted = qm_scheduler_submit(w->o.scheduler, &r, &a->part[i].id, &why);
        if (submitted) {
            w->in_flight--;
            a->part[i].id = 0;
        }
        *room = submitted != QM_BUSY;
        if (!submitted) {
            a->submitted++;
        } else if (submitted == QM_INPUT || submitted == QM_USAGE) {
            a->failed = why;
        } else if (submitted != QM_BUSY) {
            *err = why;
            rc = submitted;
        }
    }
    qm_buf_free(&ids);
    return rc;
}

static void free_active(struct active *a) {
    if (!a)
        return;
    qm_openai_request_free(a->request);
    qm_batch_row_free(&a->row);
    free(a->part);
    free(a);
}

/* Parses the row again, now with its prompt in tokens. A row's own fault is in a->failed. */
static int prepare(struct qm_batch_work *w, const struct qm_batch_pending *pending, struct active *a,
                   struct qm_error *err) {
    struct qm_buf text = {0};
    struct qm_error why = {0};
    char title[64];
    qm_batch_row_title(pending->line.number, pending->line.file_line, title);
    int rc = w->o.source->read(w->o.source->self, &pending->line, &text, err);
    if (!rc && !qm_batch_row_parse(text.data, text.len, title, &a->row, &why))
        qm_batch_row_request(&a->row, w->o.openai, qm_hash64(pending->custom_id, strlen(pending->custom_id), w->o.seed),
                             &a->request, &why);
    qm_buf_free(&text);
    if (!rc && why.code && !is_rows(why.code)) {
        *err = why;
        rc = why.code;
    }
    if (rc || why.code) {
        a->failed = why;
        return rc;
    }
    qm_batch_flight_add(w->o.flight, a->line.number);
    a->parts = qm_openai_request_parts(a->request);
    a->part = calloc((size_t)a->parts, sizeof *a->part);
    if (!a->part)
        return qm_fail_memory(err, (uint64_t)a->parts * sizeof *a->part, "a row");
    for (int i = 0; i < a->parts; i++)
        a->part[i].row = a;
    return QM_OK;
}

static int begin_row(struct qm_batch_work *w, const struct qm_batch_pending *pending, struct qm_error *err) {
    struct active *a = calloc(1, sizeof *a);
    if (!a)
        return qm_fail_memory(err, sizeof *a, "a row");
    a->work = w;
    a->line = pending->line;
    a->follows = pending->follows;
    a->next = w->active;
    w->active = a;
    w->n_active++;
    work_on(w, a->line.number);
    int rc = prepare(w, pending, a, err);
    work_on(w, 0);
    qm_batch_outlook_begun(&w->outlook, a->follows, a->line.length, a->parts);
    return rc;
}

/* The next row to begin, or NULL: none, or it has to wait until nothing else is at work. */
static int next_row(struct qm_batch_work *w, struct qm_batch_pending **out, struct qm_error *err) {
    enum qm_batch_suspicion suspicion = QM_ROW_TRUSTED;
    struct qm_batch_pending *p = w->suspect ? w->suspect : qm_batch_window_take(w->window);
    int rc = p && w->suspects ? qm_batch_crash_of(w->o.journal, p->line.number, &suspicion, err) : QM_OK;
    bool alone = suspicion != QM_ROW_TRUSTED, waits = alone && w->active;
    w->suspect = waits ? p : NULL;
    w->alone = alone && !waits;
    *out = waits ? NULL : p;
    return rc;
}

/* *more false: nothing is left to give, or no room to give it to. */
static int give(struct qm_batch_work *w, bool *more, struct qm_error *err) {
    *more = w->in_flight < w->o.in_flight;
    if (!*more)
        return QM_OK;
    for (struct active *a = w->active; a; a = a->next)
        if (!a->failed.code && !a->waits && a->submitted < a->parts)
            return submit_part(w, a, more, err);
    *more = !w->alone || !w->active;
    if (!*more)
        return QM_OK;
    struct qm_batch_pending *pending;
    int rc = next_row(w, &pending, err);
    *more = !rc && pending != NULL;
    return *more ? begin_row(w, pending, err) : rc;
}

int qm_batch_work_feed(struct qm_batch_work *w, double seconds, struct qm_error *err) {
    double end = qm_batch_passed(w->o.clock) + seconds;
    bool reading = true, giving = true;
    int rc = QM_OK;
    while (!rc && (reading || giving)) {
        if (reading)
            rc = read_ahead(w, &reading, err);
        /* the order is chosen among all that may be looked at: read first, unless time presses */
        bool late = qm_batch_passed(w->o.clock) >= end;
        if (!rc && giving && (!reading || late))
            rc = give(w, &giving, err);
        if (late)
            break;
    }
    return rc;
}

/* --- to the journal --- */

static int answer(struct qm_batch_work *w, struct active *a, struct qm_error *err) {
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
    rc = rc ? rc : qm_journal_set_int(j, "position_line", at->file_line, err);
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
static int put_off(struct qm_batch_work *w, const struct active *a, struct qm_error *err) {
    int rc = qm_batch_waiting_add(&w->waiting, &a->line, a->row.custom_id, err);
    w->counts.waiting += !rc;
    w->counts.first_waiting = rc ? 0 : qm_batch_waiting_first(w->waiting, &a->line)->number;
    return rc;
}

static int end_row(struct qm_batch_work *w, struct active *a, struct qm_error *err) {
    work_on(w, a->line.number);
    int rc = a->failed.code ? write_error(w, &a->line, false, a->row.custom_id, &a->failed, err)
             : a->waits     ? put_off(w, a, err)
                            : answer(w, a, err);
    work_on(w, 0);
    qm_batch_flight_remove(w->o.flight, a->line.number);
    qm_batch_window_remove(w->window, a->line.number);
    return rc;
}

static int collect_one(struct qm_batch_work *w, struct active *a, bool *gone, struct qm_error *err) {
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
    struct active **link = &w->active;
    int rc = QM_OK;
    while (*link && !rc && !w->system.code) {
        struct active *a = *link;
        bool gone;
        rc = collect_one(w, a, &gone, err);
        if (gone) {
            *link = a->next;
            w->n_active--;
            free_active(a);
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
    for (const struct active *a = w->active; a && !rc; a = a->next)
        for (int i = 0; i < a->submitted && !rc; i++) {
            struct qm_request_view v;
            if (a->part[i].id && !qm_scheduler_view(w->o.scheduler, a->part[i].id, &v))
                rc = each(arg, a->line.number, &v, err);
        }
    return rc;
}

/* A sequence in flight, or one that waits for its place. */
static void add_ahead(struct qm_batch_work *w, const struct active *row, const struct qm_request_view *v,
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
    for (const struct active *row = w->active; row; row = row->next) {
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
    for (const struct active *a = w->active; a && !rc; a = a->next)
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
    rc = rc ? rc : qm_journal_get_int(w->o.journal, "position_row", 1, &number, err);
    rc = rc ? rc : qm_journal_get_int(w->o.journal, "position_line", 1, &line, err);
    rc = rc ? rc : qm_journal_get_int(w->o.journal, "position_offset", 0, &offset, err);
    rc = rc ? rc : qm_journal_get_int(w->o.journal, "crashes", 0, &crashes, err);
    w->suspects = !rc && crashes > 0;
    w->next = (struct qm_batch_line){.number = number, .file_line = line, .offset = (uint64_t)offset};
    rc = rc ? rc : w->o.source->seek(w->o.source->self, &w->next, err);
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
    rc = rc ? rc : qm_batch_time_begin(o->clock, o->journal, &w->time, err);
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
        struct active *a = w->active;
        for (int i = 0; i < a->submitted; i++)
            if (a->part[i].id)
                qm_scheduler_cancel(w->o.scheduler, a->part[i].id);
        w->active = a->next;
        free_active(a);
    }
    qm_batch_waiting_free(&w->waiting);
    qm_batch_window_free(w->window);
    qm_buf_free(&w->line);
    free(w);
}
