/* What of a job is ahead. */
#include "batch/outlook.h"

#include <string.h>

/* Until something is measured: bytes of a row for each token of its prompt; the share that a row computes which begins
 * as another. */
static const double BYTES = 4, FIRST_SHARE = 0.1;

bool qm_batch_outlook_read(struct qm_batch_outlook *o, uint64_t bytes, const struct qm_batch_prefix *prefix) {
    bool follows = false;
    for (int i = 0; i < QM_BATCH_RECENT && !follows; i++) {
        int common = qm_batch_prefix_common(prefix, &o->recent[i]);
        follows = common > 0 && common == prefix->n;
    }
    if (!follows)
        o->recent[o->rows % QM_BATCH_RECENT] = *prefix;
    o->rows++;
    o->waiting++;
    o->kind[follows].read += (double)bytes;
    o->kind[follows].waiting += (double)bytes;
    return follows;
}

void qm_batch_outlook_begun(struct qm_batch_outlook *o, bool follows, uint64_t bytes, int answers) {
    o->waiting--;
    o->kind[follows].waiting -= (double)bytes;
    o->begun++;
    o->parts += answers;
}

void qm_batch_outlook_done(struct qm_batch_outlook *o, bool follows, uint64_t bytes, int64_t prompt, int64_t cached) {
    o->kind[follows].done += (double)bytes;
    o->kind[follows].prompt += (double)prompt;
    o->kind[follows].cached += (double)cached;
}

double qm_batch_outlook_computed(const struct qm_batch_outlook *o, bool follows) {
    const struct qm_batch_kind *k = &o->kind[follows];
    return k->prompt > 0 ? (k->prompt - k->cached) / k->prompt : follows ? FIRST_SHARE : 1;
}

void qm_batch_outlook_ahead(const struct qm_batch_outlook *o, double unread_bytes, double unread_rows,
                            struct qm_batch_ahead *a) {
    double prompt = o->kind[0].prompt + o->kind[1].prompt, done = o->kind[0].done + o->kind[1].done;
    double read = o->kind[0].read + o->kind[1].read, rows = (double)o->rows;
    double tokens = done > 0 && prompt > 0 ? prompt / done : 1 / BYTES;
    if (read > 0 && unread_bytes > 0 && unread_rows <= 0)
        unread_rows = unread_bytes * rows / read;
    else if (rows > 0 && unread_bytes <= 0)
        unread_bytes = unread_rows * read / rows;
    for (int k = 0; k < 2; k++) {
        double unread = read > 0 ? unread_bytes * o->kind[k].read / read : 0;
        a->prompts += (o->kind[k].waiting + unread) * tokens * qm_batch_outlook_computed(o, k);
    }
    a->answers += ((double)o->waiting + unread_rows) * (o->begun > 0 ? o->parts / o->begun : 1);
}
