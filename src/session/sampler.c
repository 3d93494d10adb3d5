/* Sampling: adjusts a token's logits, weighs them, keeps the candidates that the settings leave, samples one. No
 * candidate list is ever sorted whole: top-k is a heap of k values, top-p and sampling are selections by cumulative
 * weight, first among those few that have most of it. Batching and text are not here (generate.c, the scheduler). */
#include "session/sampler.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "simd/kernels.h"

enum { LANES = 32 };

/* Few of a vocabulary have most of the weight. Those of at least so much, the most probable having 1, are looked at
 * until they do; the last is less than any weight but 0. */
static const float steps[] = {0x1p-3f, 0x1p-7f, 0x1p-14f, FLT_MIN};

static const uint64_t sampling_stream = 0xda3e39cb94b95bdbu;

const struct qm_sampling qm_sampling_default = {.top_p = 1, .repetition_penalty = 1};

/* A token that may be sampled. Keys are unique; the greater key is the more probable token and, among equals,
 * the lower id (so the order of sampling is by descending key). */
struct candidate {
    uint64_t key;
    double weight; /* exp((logit - greatest logit) / temperature) */
};

struct qm_sampler_scratch {
    const struct qm_kernels *kernels;
    int64_t vocab;
    float *z;                    /* [vocab] logits with penalties and bias */
    float *w;                    /* [vocab] weights; before that the heap of top-k, the least first */
    int32_t *ids;                /* [vocab + QM_SELECT_ROOM] */
    struct candidate *candidate; /* [vocab] */
    int32_t *times;              /* [vocab] 0 but while penalties are counted */
};

static int out_of_range(struct qm_error *err, const char *name, double value, const char *range) {
    return qm_about(err, name, qm_fail(err, QM_USAGE, "%s must be %s, not %g", name, range, value));
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

int qm_sampler_scratch_new(int64_t vocab, enum qm_isa isa, struct qm_sampler_scratch **out, struct qm_error *err) {
    *out = NULL;
    size_t n = (size_t)vocab;
    struct qm_sampler_scratch *x = calloc(1, sizeof *x);
    if (!x)
        return qm_fail_memory(err, sizeof *x, "the sampler");
    int rc = qm_kernels_get(isa, &x->kernels, err);
    x->vocab = vocab;
    x->z = malloc(n * sizeof *x->z);
    x->w = malloc(n * sizeof *x->w);
    x->ids = malloc((n + QM_SELECT_ROOM) * sizeof *x->ids);
    x->candidate = malloc(n * sizeof *x->candidate);
    x->times = calloc(n, sizeof *x->times);
    if (!rc && (!x->z || !x->w || !x->ids || !x->candidate || !x->times))
        rc = qm_fail_memory(err, qm_sampler_scratch_bytes(vocab), "the sampler");
    if (rc)
        qm_sampler_scratch_free(x);
    else
        *out = x;
    return rc;
}

void qm_sampler_scratch_free(struct qm_sampler_scratch *x) {
    if (!x)
        return;
    free(x->z);
    free(x->w);
    free(x->ids);
    free(x->candidate);
    free(x->times);
    free(x);
}

uint64_t qm_sampler_scratch_bytes(int64_t vocab) {
    return (uint64_t)vocab * (2 * sizeof(float) + 2 * sizeof(int32_t) + sizeof(struct candidate));
}

void qm_sampler_start(struct qm_sampler *s, const struct qm_sampling *set) {
    s->set = *set;
    qm_pcg32_seed(&s->random, set->seed, sampling_stream);
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

static bool penalties(const struct qm_sampling *s) {
    return s->repetition_penalty != 1 || s->presence_penalty != 0 || s->frequency_penalty != 0;
}

/* Penalties of the tokens among ids that have none yet: times is how often they were put out, -1 afterwards. */
static void penalise(const struct qm_sampling *set, struct qm_sampler_scratch *x, const int32_t *ids, int64_t n) {
    float repetition = (float)set->repetition_penalty;
    float presence = (float)set->presence_penalty, frequency = (float)set->frequency_penalty;
    for (int64_t i = 0; i < n; i++) {
        int32_t id = ids[i];
        if (id < 0 || id >= x->vocab || x->times[id] < 0)
            continue;
        float z = x->z[id] < 0 ? x->z[id] * repetition : x->z[id] / repetition;
        if (x->times[id])
            z = z - presence - frequency * (float)x->times[id];
        x->z[id] = fminf(z + 0.0f, FLT_MAX);
        x->times[id] = -1;
    }
}

static void set_times(struct qm_sampler_scratch *x, const int32_t *ids, int64_t n, bool count) {
    for (int64_t i = 0; i < n; i++)
        if (ids[i] >= 0 && ids[i] < x->vocab)
            x->times[ids[i]] = count ? x->times[ids[i]] + 1 : 0;
}

/* Fills x->z: finite or -infinity, no negative zero. In float32, as the published processors compute. */
static void adjust(const struct qm_sampling *set, struct qm_sampler_scratch *x, const struct qm_past_tokens *past,
                   const float *logits) {
    float *z = x->z;
    int64_t whole = x->vocab / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES)
        finite_block(z + i, logits + i);
    for (int64_t i = whole; i < x->vocab; i++)
        z[i] = fabsf(logits[i]) <= FLT_MAX ? logits[i] + 0.0f : -INFINITY;
    if (past && penalties(set)) {
        set_times(x, past->output, past->n_output, true);
        penalise(set, x, past->prompt, past->n_prompt);
        penalise(set, x, past->output, past->n_output);
        set_times(x, past->prompt, past->n_prompt, false);
        set_times(x, past->output, past->n_output, false);
    }
    for (size_t i = 0; i < set->n_bias; i++)
        z[set->bias[i].id] = fminf(z[set->bias[i].id] + set->bias[i].bias + 0.0f, FLT_MAX);
    for (size_t i = 0; i < set->n_forbidden; i++)
        z[set->forbidden[i]] = -INFINITY;
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

static inline bool any_above(const float x[LANES], float v) {
    int any = 0;
    for (int j = 0; j < LANES; j++)
        any |= x[j] > v;
    return any;
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
static float kth_greatest(struct qm_sampler_scratch *x, int64_t k) {
    float *heap = x->w;
    memcpy(heap, x->z, (size_t)k * sizeof *heap);
    for (int64_t i = k / 2; i-- > 0;)
        sink(heap, k, i, heap[i]);
    for (int64_t i = k, end; i < x->vocab; i = end) {
        end = i + LANES < x->vocab ? i + LANES : x->vocab;
        if (end == i + LANES && !any_above(x->z + i, heap[0]))
            continue;
        for (int64_t j = i; j < end; j++)
            if (x->z[j] > heap[0])
                sink(heap, k, 0, x->z[j]);
    }
    return heap[0];
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

/* What may be sampled: x->candidate[0..n). */
struct kept {
    size_t n;
    double total;    /* their weight */
    bool all;        /* whatever has a weight may be sampled: nothing is gathered yet */
    double gathered; /* the weight of those there */
    const float *z;  /* adjusted logits, and the greatest of them */
    float max;
};

static float scale_of(const struct qm_sampling *set) {
    double scale = 1.4426950408889634 / set->temperature; /* weights are powers of 2 */
    return scale < FLT_MAX ? (float)scale : FLT_MAX;
}

/* The tokens x->ids[0..n), of these weights. */
static void take(struct qm_sampler_scratch *x, struct kept *k, int64_t n, const float *weight, bool by_id) {
    k->n = (size_t)n;
    k->gathered = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t id = x->ids[i];
        double w = (double)weight[by_id ? id : i];
        x->candidate[i] = (struct candidate){.key = key_of(k->z[id] + 0.0f, id), .weight = w};
        k->gathered += w;
    }
}

/* Those of at least this weight, which is more than 0; x->w has all weights. */
static void gather(struct qm_sampler_scratch *x, struct kept *k, float least) {
    take(x, k, x->kernels->select_at_least(x->ids, x->w, x->vocab, least), x->w, true);
}

/* The most probable ones, until they weigh more than that (or all are there). */
static void gather_beyond(struct qm_sampler_scratch *x, struct kept *k, double weight) {
    k->gathered = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps && k->gathered <= weight; i++)
        gather(x, k, steps[i]);
}

/* Where no top-k is set. */
static void keep_of_all(const struct qm_sampling *set, struct qm_sampler_scratch *x, struct kept *k) {
    k->total = x->kernels->sampling_weights(x->w, k->z, x->vocab, k->max, scale_of(set));
    k->all = set->top_p == 1 && set->min_p == 0;
    if (set->top_p < 1) {
        gather_beyond(x, k, set->top_p * k->total);
        k->n = crossing(x->candidate, k->n, set->top_p * k->total, false);
    } else if (set->min_p > 0) {
        gather(x, k, fmaxf(nextafterf((float)set->min_p, 0), FLT_MIN));
    }
}

/* The top_k greatest, and what is equal to the least of them; fewer by top-p. x->z has all. */
static void keep_top_k(const struct qm_sampling *set, struct qm_sampler_scratch *x, struct kept *k) {
    float least = fmaxf(kth_greatest(x, set->top_k), -FLT_MAX);
    int64_t n = x->kernels->select_at_least(x->ids, x->z, x->vocab, least);
    for (int64_t i = 0; i < n; i++)
        x->w[i] = x->z[x->ids[i]];
    x->kernels->sampling_weights(x->w, x->w, n, k->max, scale_of(set));
    take(x, k, n, x->w, false);
    k->total = k->gathered;
    if (set->top_p < 1)
        k->n = crossing(x->candidate, k->n, set->top_p * k->total, false);
}

/* *k: n is 0, and all not set, where every adjusted logit is -infinity. */
static void keep_candidates(const struct qm_sampling *set, struct qm_sampler_scratch *x,
                            const struct qm_past_tokens *past, const float *logits, struct kept *k) {
    struct candidate *c = x->candidate;
    bool top_k = set->temperature > 0 && set->top_k > 0 && set->top_k < x->vocab;
    *k = (struct kept){.z = logits, .total = 1}; /* they are taken as they are, if they may */
    if (top_k || penalties(set) || set->n_bias || set->n_forbidden) {
        adjust(set, x, past, logits);
        k->z = x->z;
    }
    k->max = x->kernels->greatest_finite(k->z, x->vocab);
    if (k->max == -INFINITY)
        return;
    if (set->temperature == 0) {
        int32_t first = (int32_t)find(k->z, x->vocab, k->max);
        c[k->n++] = (struct candidate){.key = key_of(k->max, first), .weight = 1};
        return;
    }
    if (top_k)
        keep_top_k(set, x, k);
    else
        keep_of_all(set, x, k);
    if (set->min_p > 0)
        k->n = keep_min_p(c, k->n, set->min_p);
    if (set->top_p == 1 && set->min_p == 0)
        return;
    k->total = 0;
    for (size_t i = 0; i < k->n; i++)
        k->total += c[i].weight;
}

void qm_sampler_probabilities(const struct qm_sampler *s, struct qm_sampler_scratch *x,
                              const struct qm_past_tokens *past, const float *logits, float *probs) {
    struct kept k;
    keep_candidates(&s->set, x, past, logits, &k);
    if (k.all)
        gather(x, &k, FLT_MIN);
    memset(probs, 0, (size_t)x->vocab * sizeof *probs);
    for (size_t i = 0; i < k.n; i++)
        probs[id_of(&x->candidate[i])] = (float)(x->candidate[i].weight / k.total);
}

int qm_sampler_next(struct qm_sampler *s, struct qm_sampler_scratch *x, const struct qm_past_tokens *past,
                    const float *logits, int32_t *id, struct qm_error *err) {
    struct kept k;
    keep_candidates(&s->set, x, past, logits, &k);
    if (!k.n && !k.all)
        return qm_fail(err, QM_SYSTEM, "no token can be sampled: none of the %lld logits is finite",
                       (long long)x->vocab);
    size_t m = 1;
    if (s->set.temperature > 0) {
        /* the random number is below 1 by more than any rounding of the sum: a crossing exists */
        double random = qm_pcg32_next(&s->random) * 0x1p-32 * k.total;
        if (k.all)
            gather_beyond(x, &k, random);
        m = crossing(x->candidate, k.n, random, true);
    }
    *id = id_of(&x->candidate[m - 1]);
    return QM_OK;
}

void qm_sampler_replay(struct qm_sampler *s) {
    if (s->set.temperature > 0)
        qm_pcg32_next(&s->random);
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
