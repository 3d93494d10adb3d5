/* Rows to the scheduler, and what it answers. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "batch/line.h"
#include "batch/work_private.h"

static int on_token(void *arg, const struct qm_generate_token *t, bool replay) {
    struct qm_batch_part *p = arg;
    struct qm_batch_work *w = p->row->work;
    (void)replay;
    qm_batch_work_on(w, p->row->line.number);
    if (!w->system.code)
        qm_openai_request_token(p->row->request, (int)(p - p->row->part), t, &w->system);
    qm_batch_work_on(w, 0);
    return w->system.code;
}

static int64_t today(const struct qm_batch_work *w) {
    return qm_scheduler_context(w->o.scheduler);
}

/* Ended by a lack that is today's: with as much memory as the job may have it would have gone on. */
static bool is_short(const struct qm_batch_part *p, const struct qm_outcome *o) {
    const struct qm_batch_work *w = p->row->work;
    if (o->rc)
        return o->rc == QM_FIT && today(w) < w->o.openai->context;
    return (o->finish == QM_FINISH_CONTEXT || o->finish == QM_FINISH_LENGTH) && o->n_ids < p->most;
}

static void on_done(void *arg, const struct qm_outcome *o) {
    struct qm_batch_part *p = arg;
    struct qm_batch_active *a = p->row;
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
    } else if (o->rc && qm_batch_is_rows(o->rc)) {
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
static int saved_tokens(struct qm_batch_work *w, const struct qm_batch_active *a, int part, struct qm_buf *ids,
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
static void limit_part(const struct qm_batch_work *w, struct qm_batch_active *a, int i, struct qm_request *r) {
    int64_t most = r->decoding.max_tokens;
    bool open = most < 0 && w->o.longest && r->n_prompt < w->o.longest;
    int64_t longest = open ? w->o.longest : w->o.openai->context, room = longest - r->n_prompt;
    a->part[i].most = r->embed ? 0 : most >= 0 && most < room ? most : room;
    if (!r->embed && (most >= 0 || longest < today(w)))
        r->decoding.max_tokens = a->part[i].most;
    a->waits |= r->n_prompt + !r->embed > today(w);
}

/* The next part of a row. *room false: the scheduler takes no more now. */
static int submit_part(struct qm_batch_work *w, struct qm_batch_active *a, bool *room, struct qm_error *err) {
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

void qm_batch_active_free(struct qm_batch_active *a) {
    if (!a)
        return;
    qm_openai_request_free(a->request);
    qm_batch_row_free(&a->row);
    free(a->part);
    free(a);
}

/* Parses the row again, now with its prompt in tokens. A row's own fault is in a->failed. */
static int prepare(struct qm_batch_work *w, const struct qm_batch_pending *pending, struct qm_batch_active *a,
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
    if (!rc && why.code && !qm_batch_is_rows(why.code)) {
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
    struct qm_batch_active *a = calloc(1, sizeof *a);
    if (!a)
        return qm_fail_memory(err, sizeof *a, "a row");
    a->work = w;
    a->line = pending->line;
    a->follows = pending->follows;
    a->next = w->active;
    w->active = a;
    w->n_active++;
    qm_batch_work_on(w, a->line.number);
    int rc = prepare(w, pending, a, err);
    qm_batch_work_on(w, 0);
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

int qm_batch_give(struct qm_batch_work *w, bool *more, struct qm_error *err) {
    *more = w->in_flight < w->o.in_flight;
    if (!*more)
        return QM_OK;
    for (struct qm_batch_active *a = w->active; a; a = a->next)
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
