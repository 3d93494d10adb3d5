/* A draft model's texts, kept in step with what was accepted. */
#include "session/draft/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sequence.h"
#include "session/feed.h"

enum {
    FEW = 2 * QM_DRAFT_MAX, /* tokens that a text grew by are computed with its drafts */
    AGAIN = 256,            /* tokens that a text grows by before pages are asked for again */
};

/* A sequence of its engine, and the tokens that it holds. What a text leaves is kept for one that begins alike. */
struct holder {
    struct holder *next;
    struct qm_sequence *sequence;
    int32_t ids[]; /* [context] */
};

struct qm_draft_model {
    struct qm_engine *engine;
    struct holder *kept;
    int64_t vocab; /* the lesser of both */
    float *logits; /* [vocab of its own model] */
    bool failed;
    double seconds, caught_up_seconds; /* a token, of drafts and of texts that it computes; 0: not measured */
    double spent, caught_up;           /* seconds since it was asked */
};

struct text {
    struct holder *holder; /* NULL: none yet */
    int64_t n;             /* tokens that are sure; more than context: too long */
    int64_t kept;          /* of them, that a kept holder had when it was looked for; negative: it was not */
    int64_t again;         /* there were no pages: tried again when it has so many tokens */
    int32_t ids[];         /* [context] */
};

int qm_draft_model_check(const struct qm_tokenizer *target, const struct qm_tokenizer *draft, struct qm_error *err) {
    int64_t n = qm_tokenizer_size(target), m = qm_tokenizer_size(draft);
    for (int64_t id = 0; id < n && id < m; id++) {
        size_t a_len = 0, b_len = 0;
        const char *a = qm_tokenizer_piece(target, (int32_t)id, &a_len);
        const char *b = qm_tokenizer_piece(draft, (int32_t)id, &b_len);
        if (!a != !b || a_len != b_len || (a && memcmp(a, b, a_len) != 0))
            return qm_fail(err, QM_INPUT, "the draft model has other tokens: id %lld is \"%.*s\", expected \"%.*s\"",
                           (long long)id, (int)(b_len < 60 ? b_len : 60), b ? b : "", (int)(a_len < 60 ? a_len : 60),
                           a ? a : "");
    }
    if (n != m)
        return qm_fail(err, QM_INPUT, "the draft model has %lld tokens, expected %lld, the first that differs is %lld",
                       (long long)m, (long long)n, (long long)(n < m ? n : m));
    return QM_OK;
}

int qm_draft_model_new(struct qm_engine *engine, int64_t vocab, struct qm_draft_model **out, struct qm_error *err) {
    *out = NULL;
    struct qm_draft_model *m = calloc(1, sizeof *m);
    int64_t own = qm_engine_model(engine)->config.vocab;
    if (!m)
        return qm_fail_memory(err, sizeof *m, "a draft model");
    m->engine = engine;
    m->vocab = own < vocab ? own : vocab;
    m->logits = malloc((size_t)own * sizeof *m->logits);
    if (!m->logits) {
        free(m);
        return qm_fail_memory(err, (uint64_t)own * sizeof *m->logits, "a draft model's logits");
    }
    *out = m;
    return QM_OK;
}

static void free_holder(struct holder *h) {
    qm_sequence_close(h->sequence);
    free(h);
}

void qm_draft_model_free(struct qm_draft_model *m) {
    if (!m)
        return;
    for (struct holder *h = m->kept, *next; h; h = next) {
        next = h->next;
        free_holder(h);
    }
    free(m->logits);
    free(m);
}

bool qm_draft_model_failed(const struct qm_draft_model *m) {
    return m->failed;
}

static size_t context_bytes(const struct qm_draft_model *m) {
    return (size_t)qm_engine_context(m->engine) * sizeof(int32_t);
}

static void close_text(void *self, void *text) {
    struct qm_draft_model *m = self;
    struct text *t = text;
    if (t->holder) {
        t->holder->next = m->kept;
        m->kept = t->holder;
    }
    free(t);
}

static int open_text(void *self, void **out, struct qm_error *err) {
    const struct qm_draft_model *m = self;
    struct text *t = malloc(sizeof *t + context_bytes(m));
    if (!t)
        return qm_fail_memory(err, sizeof *t + context_bytes(m), "a draft model's text");
    t->holder = NULL;
    t->n = t->again = 0;
    t->kept = -1;
    *out = t;
    return QM_OK;
}

static void append(void *self, void *text, const int32_t *ids, int64_t n) {
    const struct qm_draft_model *m = self;
    struct text *t = text;
    int64_t context = qm_engine_context(m->engine), room = t->n < context ? context - t->n : 0;
    if (room > 0)
        memcpy(t->ids + t->n, ids, (size_t)(n < room ? n : room) * sizeof *ids);
    t->n += n;
}

/* Tokens of the text, but for the last, that it holds already. */
static int64_t in_common(const struct holder *h, const struct text *t) {
    int64_t held = qm_sequence_length(h->sequence), n = 0;
    while (n < held && n < t->n - 1 && h->ids[n] == t->ids[n])
        n++;
    return n;
}

/* The link to the kept one that has most of the text, and how many tokens; NULL: none has any. */
static struct holder **find_holder(struct qm_draft_model *m, const struct text *t, int64_t *most) {
    struct holder **best = NULL;
    *most = 0;
    for (struct holder **h = &m->kept; *h; h = &(*h)->next) {
        int64_t n = in_common(*h, t);
        if (n > *most) {
            *most = n;
            best = h;
        }
    }
    return best;
}

/* The kept one that has most of the text, unless there is a sequence left and it has nothing; NULL: there is none. */
static struct holder *take_holder(struct qm_draft_model *m, const struct text *t) {
    struct qm_error err;
    int64_t most;
    struct holder **best = find_holder(m, t, &most);
    struct qm_sequence *sequence;
    if (!best && qm_sequence_open(m->engine, &sequence, &err) == QM_OK) {
        struct holder *new = malloc(sizeof *new + context_bytes(m));
        if (new)
            new->sequence = sequence;
        else
            qm_sequence_close(sequence);
        return new;
    }
    best = best ? best : &m->kept;
    struct holder *taken = *best;
    if (taken)
        *best = taken->next;
    return taken;
}

/* Computes tokens behind what the sequence holds; the logits of the last. Where it fails some may be there. */
static int compute(struct qm_draft_model *m, struct holder *h, const int32_t *ids, int64_t n, struct qm_error *err) {
    int64_t held = qm_sequence_length(h->sequence);
    memcpy(h->ids + held, ids, (size_t)n * sizeof *ids);
    struct qm_feed f = {
        .engine = m->engine,
        .step = {.sequence = h->sequence, .tokens = ids, .n = n, .n_logits = 1, .logits = m->logits},
        .held = h->ids,
    };
    return qm_feed(&f, err);
}

static bool drop_kept(struct qm_draft_model *m) {
    struct holder *h = m->kept;
    if (h) {
        m->kept = h->next;
        free_holder(h);
    }
    return h != NULL;
}

/* The sequence holds the text, and the logits behind it are there. False where that can't be: no pages for it, beside
 * other texts. */
static bool follow(struct qm_draft_model *m, struct text *t) {
    struct qm_error err;
    int64_t same = in_common(t->holder, t);
    if (same < qm_sequence_length(t->holder->sequence))
        same = qm_sequence_truncate(t->holder->sequence, same);
    int rc = compute(m, t->holder, t->ids + same, t->n - same, &err);
    while (rc == QM_FIT && drop_kept(m)) {
        same = qm_sequence_length(t->holder->sequence);
        rc = compute(m, t->holder, t->ids + same, t->n - same, &err);
    }
    if (rc == QM_FIT)
        t->again = t->n + AGAIN;
    return rc == QM_OK;
}

/* The likeliest token, and its probability; negative where the logits are not finite. */
static double likeliest(const struct qm_draft_model *m, int32_t *id) {
    int64_t best = 0;
    double sum = 0;
    for (int64_t i = 1; i < m->vocab; i++)
        if (m->logits[i] > m->logits[best])
            best = i;
    for (int64_t i = 0; i < m->vocab; i++)
        sum += (double)expf(m->logits[i] - m->logits[best]);
    *id = (int32_t)best;
    return isfinite(sum) && sum > 0 && isfinite(m->logits[best]) ? 1 / sum : -1;
}

static int confidence(double p) {
    static const double from[QM_DRAFT_MODEL_CLASSES] = {0, 0.3, 0.5, 0.65, 0.8, 0.9, 0.96, 0.99};
    int c = 0;
    while (c + 1 < QM_DRAFT_MODEL_CLASSES && p >= from[c + 1])
        c++;
    return QM_DRAFT_LOOKUP_CLASSES + c;
}

static void mean(double *mean, double seconds) {
    static const double weight = 1.0 / 8;
    *mean = *mean > 0 ? *mean + weight * (seconds - *mean) : seconds;
}

/* n tokens were drafted since `began`, after so many of the text were computed. */
static void measure(struct qm_draft_model *m, double began, int n, int64_t of_text) {
    double took = qm_engine_clock(m->engine) - began;
    if (of_text > FEW) {
        m->caught_up += took;
        mean(&m->caught_up_seconds, took / (double)of_text);
    } else {
        m->spent += took;
        if (n > 0)
            mean(&m->seconds, took / n);
    }
}

static bool behind(void *self, void *text, double *seconds) {
    struct qm_draft_model *m = self;
    struct text *t = text;
    *seconds = 0;
    if (m->failed || t->n > qm_engine_context(m->engine) || t->n < t->again)
        return false;
    if (!t->holder && t->kept < 0)
        find_holder(m, t, &t->kept);
    int64_t n = t->n - (t->holder ? qm_sequence_length(t->holder->sequence) : t->kept);
    *seconds = (double)n * m->caught_up_seconds;
    return n > FEW;
}

static int propose(void *self, void *text, const struct qm_draft_limit *limit, struct qm_draft *out) {
    struct qm_draft_model *m = self;
    struct text *t = text;
    struct qm_error err;
    int64_t context = qm_engine_context(m->engine);
    int n = 0, most = limit->computed < limit->most ? limit->computed : limit->most;
    double chance = 1, began = qm_engine_clock(m->engine);
    if (m->failed || most < 1 || t->n < 1 || t->n > context || t->n < t->again)
        return 0;
    if (!t->holder && !(t->holder = take_holder(m, t)))
        return 0;
    int64_t of_text = t->n - in_common(t->holder, t);
    bool ready = follow(m, t);
    while (ready && n < most) {
        double p = likeliest(m, &out[n].id);
        if ((m->failed = p < 0))
            break;
        out[n].confidence = confidence(p);
        chance *= limit->right[out[n].confidence];
        n++;
        if (n == most || chance < limit->least || t->n + n > context)
            break;
        ready = compute(m, t->holder, &out[n - 1].id, 1, &err) == QM_OK;
    }
    measure(m, began, n, of_text);
    return n;
}

static double seconds(const void *self) {
    const struct qm_draft_model *m = self;
    return m->seconds;
}

static double spent(void *self, double *caught_up) {
    struct qm_draft_model *m = self;
    double s = m->spent;
    *caught_up = m->caught_up;
    m->spent = m->caught_up = 0;
    return s;
}

struct qm_drafter qm_draft_model_drafter(struct qm_draft_model *m) {
    return (struct qm_drafter){.self = m,
                               .open = open_text,
                               .close = close_text,
                               .append = append,
                               .propose = propose,
                               .seconds = seconds,
                               .behind = behind,
                               .spent = spent};
}
