/* Sampling: adjusts a token's logits, keeps the candidates that the settings leave, draws one. No candidate
 * list is ever sorted whole: top-k is a heap of k values, top-p and the draw are selections by cumulative
 * weight. Batching and text are not here (generate.c, the scheduler). */
#include "session/sampler.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "session/pcg32.h"

enum { LANES = 32 };

static const uint64_t sampling_stream = 0xda3e39cb94b95bdbu;

const struct qm_sampling qm_sampling_default = {.top_p = 1, .repetition_penalty = 1};

/* A token that may be drawn. Keys are unique; the greater key is the more probable token and, among equals,
 * the lower id (so the draw's order is by descending key). */
struct candidate {
    uint64_t key;
    double weight; /* exp((logit - greatest logit) / temperature) */
};

struct qm_sampler {
    struct qm_sampling set;
    int64_t vocab;
    struct qm_logit_bias *bias;
    bool penalties; /* one at least is on */
    struct qm_pcg32 random;
    float *z;    /* [vocab] logits with penalties and bias */
    float *heap; /* [top_k] or NULL: the greatest logits, the least of them first */
    struct candidate *candidate;
    int32_t *seen; /* the n_seen different ids of prompt and output */
    int64_t n_seen;
    bool *is_seen;   /* [vocab] */
    int32_t *output; /* [vocab] how often an id was put out */
};

static int out_of_range(struct qm_error *err, const char *name, double value, const char *range) {
    return qm_fail(err, QM_USAGE, "%s must be %s, not %g", name, range, value);
}

int qm_sampling_check(const struct qm_sampling *s, int64_t vocab, struct qm_error *err) {
    /* Written so that a NaN fails. */
    if (!(s->temperature >= 0 && s->temperature <= DBL_MAX))
        return out_of_range(err, "temperature", s->temperature, "0 or more");
    if (s->top_k < 0)
        return out_of_range(err, "top_k", (double)s->top_k, "0 (off) or more");
    if (!(s->top_p >= 0 && s->top_p <= 1))
        return out_of_range(err, "top_p", s->top_p, "from 0 to 1");
    if (!(s->min_p >= 0 && s->min_p <= 1))
        return out_of_range(err, "min_p", s->min_p, "from 0 to 1");
    if (!(s->repetition_penalty > 0 && s->repetition_penalty <= FLT_MAX))
        return out_of_range(err, "repetition_penalty", s->repetition_penalty, "more than 0");
    if (!(s->presence_penalty >= -2 && s->presence_penalty <= 2))
        return out_of_range(err, "presence_penalty", s->presence_penalty, "from -2 to 2");
    if (!(s->frequency_penalty >= -2 && s->frequency_penalty <= 2))
        return out_of_range(err, "frequency_penalty", s->frequency_penalty, "from -2 to 2");
    for (size_t i = 0; i < s->n_bias; i++) {
        if (s->bias[i].id < 0 || s->bias[i].id >= vocab)
            return qm_fail(err, QM_USAGE, "logit_bias: token %ld is not in the vocabulary (0 to %lld)",
                           (long)s->bias[i].id, (long long)vocab - 1);
        if (!(s->bias[i].bias >= -100 && s->bias[i].bias <= 100))
            return qm_fail(err, QM_USAGE, "logit_bias: the bias of token %ld must be from -100 to 100, not %g",
                           (long)s->bias[i].id, (double)s->bias[i].bias);
    }
    return QM_OK;
}

int qm_sampler_new(const struct qm_sampling *s, int64_t vocab, struct qm_sampler **out, struct qm_error *err) {
    *out = NULL;
    int rc = qm_sampling_check(s, vocab, err);
    if (rc)
        return rc;
    size_t n = (size_t)vocab;
    bool top_k = s->top_k > 0 && s->top_k < vocab;
    struct qm_sampler *p = calloc(1, sizeof *p);
    if (p) {
        *p = (struct qm_sampler){.set = *s, .vocab = vocab};
        p->z = malloc(n * sizeof *p->z);
        p->heap = top_k ? malloc((size_t)s->top_k * sizeof *p->heap) : NULL;
        p->candidate = malloc(n * sizeof *p->candidate);
        p->seen = malloc(n * sizeof *p->seen);
        p->is_seen = calloc(n, sizeof *p->is_seen);
        p->output = calloc(n, sizeof *p->output);
        p->bias = s->n_bias ? malloc(s->n_bias * sizeof *p->bias) : NULL;
    }
    if (!p || !p->z || (top_k && !p->heap) || !p->candidate || !p->seen || !p->is_seen || !p->output ||
        (s->n_bias && !p->bias)) {
        qm_sampler_free(p);
        return qm_fail_memory(err, n * (sizeof *p->z + sizeof *p->candidate), "a sampler");
    }
    if (s->n_bias)
        memcpy(p->bias, s->bias, s->n_bias * sizeof *p->bias);
    p->set.bias = p->bias;
    p->penalties = s->repetition_penalty != 1 || s->presence_penalty != 0 || s->frequency_penalty != 0;
    qm_pcg32_seed(&p->random, s->seed, sampling_stream);
    *out = p;
    return QM_OK;
}

void qm_sampler_free(struct qm_sampler *s) {
    if (!s)
        return;
    free(s->z);
    free(s->heap);
    free(s->candidate);
    free(s->seen);
    free(s->is_seen);
    free(s->output);
    free(s->bias);
    free(s);
}

void qm_sampler_prompt(struct qm_sampler *s, int32_t id) {
    if (id < 0 || id >= s->vocab || s->is_seen[id])
        return;
    s->is_seen[id] = true;
    s->seen[s->n_seen++] = id;
}

void qm_sampler_output(struct qm_sampler *s, int32_t id) {
    if (id < 0 || id >= s->vocab)
        return;
    qm_sampler_prompt(s, id);
    if (s->output[id] < INT32_MAX)
        s->output[id]++;
}

/* z = x where that is finite, else -infinity, and no negative zero. In blocks and by bits, so that every compiler makes
 * vector instructions of it. */
static inline __attribute__((always_inline)) void finite_block(float z[LANES], const float x[LANES]) {
    uint32_t bits[LANES];
    memcpy(bits, x, sizeof bits);
    for (int j = 0; j < LANES; j++)
        bits[j] = (bits[j] & 0x7FFFFFFFu) < 0x7F800000u ? bits[j] : 0xFF800000u;
    memcpy(z, bits, sizeof bits);
    for (int j = 0; j < LANES; j++)
        z[j] += 0.0f;
}

/* Fills s->z: finite or -infinity, no negative zero. In float32, as the published processors compute. */
static void adjust(struct qm_sampler *s, const float *logits) {
    float *z = s->z;
    int64_t whole = s->vocab / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES)
        finite_block(z + i, logits + i);
    for (int64_t i = whole; i < s->vocab; i++)
        z[i] = fabsf(logits[i]) <= FLT_MAX ? logits[i] + 0.0f : -INFINITY;
    float repetition = (float)s->set.repetition_penalty;
    float presence = (float)s->set.presence_penalty, frequency = (float)s->set.frequency_penalty;
    for (int64_t i = 0; s->penalties && i < s->n_seen; i++) {
        int32_t id = s->seen[i];
        float x = z[id] < 0 ? z[id] * repetition : z[id] / repetition;
        if (s->output[id])
            x = x - presence - frequency * (float)s->output[id];
        z[id] = fminf(x + 0.0f, FLT_MAX);
    }
    for (size_t i = 0; i < s->set.n_bias; i++)
        z[s->bias[i].id] = fminf(z[s->bias[i].id] + s->bias[i].bias + 0.0f, FLT_MAX);
}

/* The greatest of x[n], NaN passed over; -infinity where there is none. Written so that every compiler makes it one
 * vector instruction for each load: with many sequences it is most of a greedy token's cost beside the engine. */
static float greatest(const float *x, int64_t n) {
    float lanes[LANES], max = -INFINITY;
    int64_t whole = n / LANES * LANES;
    for (int j = 0; j < LANES; j++)
        lanes[j] = -INFINITY;
    for (int64_t i = 0; i < whole; i += LANES)
        for (int j = 0; j < LANES; j++)
            lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
    for (int j = 0; j < LANES; j++)
        max = lanes[j] > max ? lanes[j] : max;
    for (int64_t i = whole; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

static float greatest_finite(const float *x, int64_t n) {
    float max = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        max = x[i] > max && x[i] <= FLT_MAX ? x[i] : max;
    return max;
}

/* The first of x[n] that equals v, which is there. */
static int64_t find(const float *x, int64_t n, float v) {
    int64_t i = 0;
    for (int any = 0; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++)
            any |= x[i + j] == v;
        if (any)
            break;
    }
    while (x[i] != v)
        i++;
    return i;
}

/* The lowest id of the greatest finite z, or -1 where there is none. */
static int32_t best(const float *z, int64_t n) {
    float max = greatest(z, n);
    if (max > FLT_MAX)
        max = greatest_finite(z, n);
    return max == -INFINITY ? -1 : (int32_t)find(z, n, max);
}

static void sink(float *heap, int64_t n, int64_t at, float x) {
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (x <= heap[child])
            break;
        heap[at] = heap[child];
    }
    heap[at] = x;
}

/* The k-th greatest adjusted logit. */
static float kth_greatest(struct qm_sampler *s) {
    int64_t k = s->set.top_k;
    memcpy(s->heap, s->z, (size_t)k * sizeof *s->heap);
    for (int64_t i = k / 2; i-- > 0;)
        sink(s->heap, k, i, s->heap[i]);
    for (int64_t i = k; i < s->vocab; i++) {
        if (s->z[i] > s->heap[0])
            sink(s->heap, k, 0, s->z[i]);
    }
    return s->heap[0];
}

static uint64_t key_of(float x, int32_t id) {
    uint32_t u;
    memcpy(&u, &x, 4);
    u = u >> 31 ? ~u : u | 0x80000000u; /* the order of floats as the order of integers */
    return (uint64_t)u << 32 | (uint32_t)~id;
}

static int32_t id_of(const struct candidate *c) {
    return (int32_t) ~(uint32_t)c->key;
}

static void swap(struct candidate *a, struct candidate *b) {
    struct candidate t = *a;
    *a = *b;
    *b = t;
}

/* Moves the median of three spread candidates of c[lo..hi) to c[hi - 1]. */
static void choose_pivot(struct candidate *c, size_t lo, size_t hi, uint32_t *spread) {
    *spread = *spread * 1664525u + 1013904223u;
    size_t n = hi - lo;
    struct candidate *a = c + lo + *spread % n, *b = c + lo + n / 2, *d = c + hi - 1;
    struct candidate *low = a->key < b->key ? a : b, *high = low == a ? b : a;
    struct candidate *median = d->key < low->key ? low : d->key > high->key ? high : d;
    swap(median, d);
}

/* Orders c so that c[0..m) are its m greatest keys, c[m - 1] the least of them, where m is the first count at
 * which their weight together reaches target (exceeds it, if `beyond`); returns m, or n where none does. */
static size_t crossing(struct candidate *c, size_t n, double target, bool beyond) {
    size_t lo = 0, hi = n;
    double before = 0;
    uint32_t spread = 1;
    while (lo < hi) {
        choose_pivot(c, lo, hi, &spread);
        struct candidate pivot = c[hi - 1];
        size_t at = lo;
        double sum = before;
        for (size_t i = lo; i < hi - 1; i++) {
            if (c[i].key > pivot.key) {
                sum += c[i].weight;
                swap(&c[i], &c[at++]);
            }
        }
        swap(&c[at], &c[hi - 1]);
        double with = sum + pivot.weight;
        if (at > lo && (beyond ? sum > target : sum >= target)) {
            hi = at;
        } else if (beyond ? with > target : with >= target) {
            return at + 1;
        } else {
            before = with;
            lo = at + 1;
        }
    }
    return hi;
}

static size_t keep_min_p(struct candidate *c, size_t n, double min_p) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (c[i].weight >= min_p) /* the greatest weight is 1 */
            c[kept++] = c[i];
    }
    return kept;
}

/* Fills s->candidate with what may be drawn and *total with their weight; returns how many: 0 where every
 * adjusted logit is -infinity. */
static size_t keep_candidates(struct qm_sampler *s, const float *logits, double *total) {
    struct candidate *c = s->candidate;
    const float *z = logits; /* greedy takes them as they are, if it may */
    if (s->set.temperature > 0 || s->penalties || s->set.n_bias) {
        adjust(s, logits);
        z = s->z;
    }
    int32_t first = best(z, s->vocab);
    *total = 1;
    if (first < 0)
        return 0;
    if (s->set.temperature == 0) {
        c[0] = (struct candidate){.key = key_of(z[first], first), .weight = 1};
        return 1;
    }
    float least = s->heap ? kth_greatest(s) : -INFINITY;
    double max = z[first], sum = 0;
    size_t n = 0;
    for (int64_t i = 0; i < s->vocab; i++) {
        float x = z[i];
        if (x < least || x == -INFINITY)
            continue;
        double weight = exp(((double)x - max) / s->set.temperature);
        c[n++] = (struct candidate){.key = key_of(x, (int32_t)i), .weight = weight};
        sum += weight;
    }
    if (s->set.top_p < 1)
        n = crossing(c, n, s->set.top_p * sum, false);
    if (s->set.min_p > 0)
        n = keep_min_p(c, n, s->set.min_p);
    if (s->set.top_p < 1 || s->set.min_p > 0) {
        sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += c[i].weight;
    }
    *total = sum;
    return n;
}

void qm_sampler_probabilities(struct qm_sampler *s, const float *logits, float *probs) {
    double total;
    size_t n = keep_candidates(s, logits, &total);
    memset(probs, 0, (size_t)s->vocab * sizeof *probs);
    for (size_t i = 0; i < n; i++)
        probs[id_of(&s->candidate[i])] = (float)(s->candidate[i].weight / total);
}

int qm_sampler_next(struct qm_sampler *s, const float *logits, int32_t *id, struct qm_error *err) {
    double total;
    size_t n = keep_candidates(s, logits, &total);
    if (!n)
        return qm_fail(err, QM_SYSTEM, "no token can be drawn: none of the %lld logits is finite", (long long)s->vocab);
    size_t m = 1;
    if (s->set.temperature > 0) /* the draw is below 1 by more than any rounding of the sum: a crossing exists */
        m = crossing(s->candidate, n, qm_pcg32_next(&s->random) * 0x1p-32 * total, true);
    *id = id_of(&s->candidate[m - 1]);
    qm_sampler_output(s, *id);
    return QM_OK;
}

void qm_sampler_redraw(struct qm_sampler *s, int32_t id) {
    if (s->set.temperature > 0)
        qm_pcg32_next(&s->random);
    qm_sampler_output(s, id);
}

static float finite_or_none(float x) {
    return fabsf(x) <= FLT_MAX ? x : -INFINITY;
}

void qm_logprobs(const float *logits, int64_t vocab, int32_t chosen, struct qm_logprob *chosen_out,
                 struct qm_logprob *top, int n_top) {
    float max = -INFINITY;
    for (int64_t i = 0; i < vocab; i++)
        max = fmaxf(max, finite_or_none(logits[i]));
    double sum = 0;
    int n = 0;
    for (int64_t i = 0; i < vocab; i++) {
        float x = finite_or_none(logits[i]);
        if (x > -INFINITY)
            sum += exp((double)x - max);
        if (n == n_top && (n == 0 || x <= top[n - 1].logprob))
            continue;
        int at = n < n_top ? n++ : n - 1;
        for (; at > 0 && top[at - 1].logprob < x; at--)
            top[at] = top[at - 1];
        top[at] = (struct qm_logprob){.id = (int32_t)i, .logprob = x};
    }
    double log_sum = max > -INFINITY ? max + log(sum) : 0;
    for (int i = 0; i < n; i++)
        top[i].logprob = (float)(top[i].logprob - log_sum);
    *chosen_out = (struct qm_logprob){.id = chosen, .logprob = (float)(finite_or_none(logits[chosen]) - log_sum)};
}
