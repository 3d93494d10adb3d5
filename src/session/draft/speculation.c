/* Between a drafter, the choice of how many drafts are checked, and whoever steps. */
#include "session/draft/speculation.h"

#include <stdlib.h>

#include "base/clock.h"
#include "session/draft/control.h"

struct qm_speculation {
    struct qm_speculation_options o;
    struct qm_draft_control control;
    struct qm_speculation_stats stats;
    /* of the step that is reported next */
    int checked, right;
    double began, drafting, caught_up; /* when looking for drafts began; seconds of it that the drafter says it took */
    bool catches_up, probes;           /* one text a step catches up, which may take long; and that is only a probe */
};

struct qm_speculated {
    struct qm_speculation *s;
    void *text;
    int64_t n; /* tokens that the drafter knows */
    struct qm_draft drafts[QM_DRAFT_MAX];
    int offered, chosen;
    struct qm_draft_record record;
};

int qm_speculation_new(const struct qm_speculation_options *o, struct qm_speculation **out, struct qm_error *err) {
    *out = NULL;
    if (o->most < 1 || o->most > QM_DRAFT_MAX)
        return qm_fail(err, QM_USAGE, "%d drafted tokens a step; from 1 to %d are possible", o->most, QM_DRAFT_MAX);
    struct qm_speculation *s = calloc(1, sizeof *s);
    if (!s)
        return qm_fail_memory(err, sizeof *s, "speculation");
    s->o = *o;
    qm_draft_control_init(&s->control);
    *out = s;
    return QM_OK;
}

void qm_speculation_free(struct qm_speculation *s) {
    free(s);
}

int qm_speculation_most(const struct qm_speculation *s) {
    return s ? s->o.most : 0;
}

void qm_speculation_stats(const struct qm_speculation *s, struct qm_speculation_stats *out) {
    *out = s->stats;
}

int qm_speculated_open(struct qm_speculation *s, struct qm_speculated **out, struct qm_error *err) {
    *out = NULL;
    if (!s)
        return QM_OK;
    struct qm_speculated *p = calloc(1, sizeof *p);
    if (!p)
        return qm_fail_memory(err, sizeof *p, "a request's drafts");
    p->s = s;
    int rc = s->o.drafter.open(s->o.drafter.self, &p->text, err);
    if (rc)
        free(p);
    else
        *out = p;
    return rc;
}

void qm_speculated_close(struct qm_speculated *p) {
    if (!p)
        return;
    p->s->o.drafter.close(p->s->o.drafter.self, p->text);
    free(p);
}

void qm_speculated_follow(struct qm_speculated *p, int64_t from, const int32_t *tokens, int64_t n) {
    if (!p || from + n <= p->n)
        return;
    p->s->o.drafter.append(p->s->o.drafter.self, p->text, tokens + (p->n - from), from + n - p->n);
    p->n = from + n;
}

bool qm_speculation_looks(struct qm_speculation *s, int64_t n) {
    if (!s || n < 1 || n >= QM_DRAFT_ROWS || !(s->o.always || qm_draft_looks(&s->control, (int)n)))
        return false;
    s->began = qm_now();
    return true;
}

void qm_speculated_offer(struct qm_speculated *p, int64_t n, int64_t most) {
    if (!p)
        return;
    const struct qm_drafter *d = &p->s->o.drafter;
    double right[QM_DRAFT_CLASSES];
    struct qm_draft_limit limit = {.most = most < p->s->o.most ? (int)most : p->s->o.most, .right = right};
    p->offered = p->chosen = 0;
    if (limit.most <= 0)
        return;
    qm_draft_chances(&p->s->control, &p->record, right);
    limit.computed = limit.most;
    if (d->seconds && !p->s->o.always) {
        struct qm_draft_price price = {.seconds = d->seconds(d->self), .left = most};
        price.behind = d->behind(d->self, p->text, &price.catch_up);
        bool probe =
            qm_draft_afford(&p->s->control, (int)(n < QM_DRAFT_ROWS ? n : QM_DRAFT_ROWS), &p->record, &price, &limit);
        if (price.behind && p->s->catches_up)
            limit.computed = 0;
        else if (price.behind && limit.computed)
            p->s->catches_up = true, p->s->probes = probe;
    }
    p->offered = d->propose(d->self, p->text, &limit, p->drafts);
}

static void choose_all(struct qm_speculated *const *p, int64_t n, int64_t most) {
    for (int64_t i = 0; i < n; i++)
        if (p[i]) {
            p[i]->chosen = p[i]->offered < most ? p[i]->offered : (int)most;
            most -= p[i]->chosen;
        }
}

void qm_speculation_choose(struct qm_speculation *s, struct qm_speculated *const *p, int64_t n, int64_t most) {
    struct qm_draft_offer offers[QM_DRAFT_ROWS];
    static const struct qm_draft_record none = {0};
    if (s->o.always) {
        choose_all(p, n, most);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        offers[i] = p[i] ? (struct qm_draft_offer){p[i]->drafts, p[i]->offered, &p[i]->record, 0}
                         : (struct qm_draft_offer){.record = &none};
    qm_draft_choose(&s->control, offers, (int)n, most < QM_DRAFT_ROWS ? (int)most : QM_DRAFT_ROWS);
    for (int64_t i = 0; i < n; i++)
        if (p[i])
            p[i]->chosen = offers[i].chosen;
    if (s->o.drafter.spent)
        s->drafting = s->o.drafter.spent(s->o.drafter.self, &s->caught_up);
    qm_draft_looked(&s->control, (int)n, qm_now() - s->began - s->drafting - s->caught_up);
}

int qm_speculated_chosen(const struct qm_speculated *p) {
    return p ? p->chosen : 0;
}

int32_t qm_speculated_draft(const struct qm_speculated *p, int i) {
    return p->drafts[i].id;
}

void qm_speculated_choose_fewer(struct qm_speculated *p, int n) {
    if (p && p->chosen > n)
        p->chosen = n;
}

void qm_speculated_sampled(struct qm_speculated *p, const int32_t *tokens, int n) {
    if (!p)
        return;
    int right = 0;
    for (int i = 0; i < n && i < p->offered; i++) {
        bool same = p->drafts[i].id == tokens[i];
        qm_draft_seen(&p->s->control, &p->record, p->drafts[i].confidence, same);
        right += same && i < p->chosen;
        if (!same)
            break;
    }
    if (p->chosen) {
        p->s->stats.drafted += p->chosen;
        p->s->stats.accepted += right;
        p->s->checked += p->chosen;
        p->s->right += right;
    }
    p->offered = p->chosen = 0;
}

void qm_speculation_took(struct qm_speculation *s, int64_t n, double seconds) {
    if (!s)
        return;
    s->stats.saved -= s->drafting + s->caught_up;
    if (n > 0 && n + s->checked <= QM_DRAFT_ROWS) {
        qm_draft_took(&s->control, (int)n, s->checked, s->right, seconds, s->drafting + (s->probes ? s->caught_up : 0));
        double without = qm_draft_seconds(&s->control, (int)n);
        if (s->checked && without > 0)
            s->stats.saved +=
                without * (double)(n + s->right) / (double)n - qm_draft_seconds(&s->control, (int)n + s->checked);
    }
    s->stats.steps += s->checked > 0;
    s->checked = s->right = 0;
    s->drafting = s->caught_up = 0;
    s->catches_up = s->probes = false;
}
