/* Every text is both drafters'. */
#include "session/draft/pair.h"

#include <stdlib.h>
#include <string.h>

/* The chance that its first token is right, from which the first drafter is asked alone. */
static const double sure = 0.6;

struct text {
    void *first, *second;
};

static void close_text(void *self, void *text) {
    const struct qm_draft_pair *p = self;
    struct text *t = text;
    if (t->first)
        p->first.close(p->first.self, t->first);
    if (t->second)
        p->second.close(p->second.self, t->second);
    free(t);
}

static int open_text(void *self, void **out, struct qm_error *err) {
    const struct qm_draft_pair *p = self;
    struct text *t = calloc(1, sizeof *t);
    if (!t)
        return qm_fail_memory(err, sizeof *t, "a request's drafts");
    int rc = p->first.open(p->first.self, &t->first, err);
    if (!rc)
        rc = p->second.open(p->second.self, &t->second, err);
    if (rc)
        close_text(self, t);
    else
        *out = t;
    return rc;
}

static void append(void *self, void *text, const int32_t *ids, int64_t n) {
    const struct qm_draft_pair *p = self;
    const struct text *t = text;
    p->first.append(p->first.self, t->first, ids, n);
    p->second.append(p->second.self, t->second, ids, n);
}

static int propose(void *self, void *text, const struct qm_draft_limit *limit, struct qm_draft *out) {
    const struct qm_draft_pair *p = self;
    const struct text *t = text;
    struct qm_draft other[QM_DRAFT_MAX];
    int n = p->first.propose(p->first.self, t->first, limit, out);
    if (n && limit->right[out[0].confidence] >= sure)
        return n;
    int m = p->second.propose(p->second.self, t->second, limit, other);
    if (!m)
        return n;
    memcpy(out, other, (size_t)m * sizeof *out);
    return m;
}

static double seconds(const void *self) {
    const struct qm_draft_pair *p = self;
    return p->second.seconds ? p->second.seconds(p->second.self) : 0;
}

static bool behind(void *self, void *text, double *seconds) {
    const struct qm_draft_pair *p = self;
    const struct text *t = text;
    *seconds = 0;
    return p->second.behind && p->second.behind(p->second.self, t->second, seconds);
}

static double spent(void *self, double *caught_up) {
    const struct qm_draft_pair *p = self;
    *caught_up = 0;
    return p->second.spent ? p->second.spent(p->second.self, caught_up) : 0;
}

struct qm_drafter qm_draft_pair_drafter(struct qm_draft_pair *p) {
    return (struct qm_drafter){.self = p,
                               .open = open_text,
                               .close = close_text,
                               .append = append,
                               .propose = propose,
                               .seconds = seconds,
                               .behind = behind,
                               .spent = spent};
}
