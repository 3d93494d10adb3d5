/* A job's pace, loaded. */
#include "batch/pace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int take(void *arg, const struct qm_journal_pace *pace, struct qm_error *err) {
    struct qm_batch_pace *p = arg;
    if (!isfinite(pace->time) || !isfinite(pace->worked))
        return QM_OK;
    if (p->n == p->cap) {
        int64_t cap = p->cap ? 2 * p->cap : 1024;
        struct qm_journal_pace *more = realloc(p->point, (size_t)cap * sizeof *more);
        if (!more)
            return qm_fail_memory(err, (uint64_t)cap * sizeof *more, "the report");
        p->point = more;
        p->cap = cap;
    }
    struct qm_journal_pace *to = &p->point[p->n];
    *to = *pace;
    /* a clock that was put back, a run whose last seconds were not committed, or a journal that is not ours */
    if (p->n) {
        to->time = fmax(to->time, to[-1].time);
        to->worked = fmax(to->worked, to[-1].worked);
        to->prompt = to->prompt > to[-1].prompt ? to->prompt : to[-1].prompt;
        to->generated = to->generated > to[-1].generated ? to->generated : to[-1].generated;
    }
    p->n++;
    return QM_OK;
}

int qm_batch_pace_load(struct qm_journal *j, struct qm_batch_pace *out, struct qm_error *err) {
    *out = (struct qm_batch_pace){0};
    return qm_journal_each_pace(j, take, out, err);
}

void qm_batch_pace_free(struct qm_batch_pace *p) {
    free(p->point);
    *p = (struct qm_batch_pace){0};
}

double qm_batch_pace_worked(const struct qm_batch_pace *p, double time) {
    int64_t low = 0, high = p->n - 1;
    if (p->n == 0)
        return 0;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (p->point[middle].time < time)
            low = middle + 1;
        else
            high = middle;
    }
    const struct qm_journal_pace *b = &p->point[low];
    if (low == 0 || time >= b->time)
        return b->worked;
    return b[-1].worked + (b->worked - b[-1].worked) * (time - b[-1].time) / (b->time - b[-1].time);
}

/* --- the rows that took longest --- */

struct slowest {
    struct qm_batch_pace pace;
    struct qm_batch_slow *row;
    int n;
};

static int take_slow(void *arg, const struct qm_journal_row *row, struct qm_error *err) {
    struct slowest *s = arg;
    (void)err;
    double seconds = row->started > 0
                         ? qm_batch_pace_worked(&s->pace, row->finished) - qm_batch_pace_worked(&s->pace, row->started)
                         : 0;
    if (seconds <= 0 || (s->n == QM_BATCH_SLOWEST && seconds <= s->row[s->n - 1].seconds))
        return QM_OK;
    s->n += s->n < QM_BATCH_SLOWEST;
    int at = s->n - 1;
    for (; at > 0 && s->row[at - 1].seconds < seconds; at--)
        s->row[at] = s->row[at - 1];
    s->row[at] = (struct qm_batch_slow){row->number, row->prompt, row->generated, seconds, ""};
    char *name = s->row[at].custom_id;
    snprintf(name, sizeof s->row[at].custom_id, "%.63s", row->custom_id ? row->custom_id : "");
    /* not in the middle of a character */
    for (size_t n = strlen(name); row->custom_id && n && ((unsigned char)row->custom_id[n] & 0xC0) == 0x80;)
        name[--n] = 0;
    return QM_OK;
}

int qm_batch_slowest(struct qm_journal *j, struct qm_batch_slow out[QM_BATCH_SLOWEST], int *n, struct qm_error *err) {
    struct slowest s = {.row = out};
    int rc = qm_batch_pace_load(j, &s.pace, err);
    if (!rc)
        rc = qm_journal_each(j, QM_JOURNAL_BY_COMPLETION, false, take_slow, &s, err);
    qm_batch_pace_free(&s.pace);
    *n = s.n;
    return rc;
}
