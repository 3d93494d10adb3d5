/* Sampling: adjusts a token's logits, keeps the candidates that the settings leave, draws one. No candidate
 * list is ever sorted whole: top-k is a heap of k values, top-p and the draw are selections by cumulative
 * weight, first among those few that have most of it. Batching and text are not here (generate.c, the scheduler). */
#include "session/sampler.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "session/pcg32.h"

enum { LANES = 32 };

/* Of the most probable token's weight: what is more is looked at first. */
static const double HEAD_WEIGHT = 0x1p-14;

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
static float kth_greatest(struct qm_sampler *s) {
    int64_t k = s->set.top_k;
    memcpy(s->heap, s->z, (size_t)k * sizeof *s->heap);
    for (int64_t i = k / 2; i-- > 0;)
        sink(s->heap, k, i, s->heap[i]);
    for (int64_t i = k, end; i < s->vocab; i = end) {
        end = i + LANES < s->vocab ? i + LANES : s->vocab;
        if (end == i + LANES && !any_above(s->z + i, s->heap[0]))
            continue;
        for (int64_t j = i; j < end; j++)
            if (s->z[j] > s->heap[0])
                sink(s->heap, k, 0, s->z[j]);
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

/* Two doubles: every x86-64 has instructions for them. */
typedef double pair __attribute__((vector_size(16)));
typedef uint64_t pair_bits __attribute__((vector_size(16)));

/* exp(x), x at most 0, to about an ulp; 0 below -708. Multiplications and additions alone, so that its bits are the
 * same with every compiler and C library: 2^k e^r with x = k ln 2 + r, and e^r by its series, whose next term is below
 * 2^-57. */
static inline pair exp_of(pair x) {
    static const double log2_e = 0x1.71547652b82fep+0, ln2_high = 0x1.62e42fefa0000p-1, ln2_low = 0x1.cf79abc9e3b39p-40;
    static const double round = 0x1.8p52; /* adding it leaves an integer in the low bits */
    static const double inverse[] = {
        1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
        1.0 / 720,        1.0 / 120,       1.0 / 24,       1.0 / 6,       1.0 / 2,      1,           1};
    pair_bits in_range = (pair_bits)(x >= -708);
    pair low = (pair)(((pair_bits)x & in_range)), t = low * log2_e + round, k = t - round;
    pair r = low - k * ln2_high - k * ln2_low, p = r * inverse[0] + inverse[1];
    for (size_t i = 2; i < sizeof inverse / sizeof *inverse; i++)
        p = p * r + inverse[i];
    return (pair)(((pair_bits)p + ((pair_bits)t << 52)) & in_range);
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

/* What may be drawn: s->candidate[0..n). */
struct kept {
    size_t n;
    double total;    /* their weight */
    bool head;       /* more may be drawn than are there: the most probable are, and total is the weight of all, */
    double gathered; /* this that of those there */
    const float *z;  /* adjusted logits, and the greatest of them */
    double max;
};

static double weight_of(const struct qm_sampler *s, const struct kept *k, float z) {
    double x = (z - k->max) / s->set.temperature;
    pair both = {x, x}, weight = exp_of(both);
    return weight[0];
}

/* The weight of all together. */
static double weigh(const struct qm_sampler *s, const struct kept *k) {
    pair sum = {0, 0}, temperature = {s->set.temperature, s->set.temperature};
    int64_t i = 0;
    for (; i + 2 <= s->vocab; i += 2) {
        pair z = {k->z[i], k->z[i + 1]};
        sum += exp_of((z - k->max) / temperature);
    }
    return sum[0] + sum[1] + (i < s->vocab ? weight_of(s, k, k->z[i]) : 0);
}

/* Fills s->candidate with those whose adjusted logit is finite and at least `least`. */
static void gather(struct qm_sampler *s, struct kept *k, float least) {
    float below = nextafterf(least, -INFINITY);
    k->n = 0;
    k->gathered = 0;
    for (int64_t i = 0, end; i < s->vocab; i = end) {
        end = i + LANES < s->vocab ? i + LANES : s->vocab;
        if (end == i + LANES && !any_above(k->z + i, below))
            continue;
        for (int64_t j = i; j < end; j++) {
            if (!(k->z[j] > below))
                continue;
            double weight = weight_of(s, k, k->z[j]);
            s->candidate[k->n++] = (struct candidate){.key = key_of(k->z[j], (int32_t)j), .weight = weight};
            k->gathered += weight;
        }
    }
}

/* The adjusted logit of a weight, a little less. */
static float logit_of(const struct qm_sampler *s, const struct kept *k, double weight) {
    double z = k->max + s->set.temperature * (log(weight) - 0.01) - 1e-6 * fabs(k->max);
    return z > -FLT_MAX ? (float)z : -FLT_MAX;
}

/* Where no top-k is set. Few of a vocabulary have most of the weight: the rest is looked at where they do not do. */
static void keep_of_all(struct qm_sampler *s, struct kept *k) {
    double wanted = s->set.top_p * (k->total = weigh(s, k));
    double least = s->set.top_p == 1 && s->set.min_p > 0 ? s->set.min_p : HEAD_WEIGHT;
    gather(s, k, logit_of(s, k, least));
    k->head = s->set.top_p == 1 && s->set.min_p == 0;
    if (s->set.top_p < 1 && k->gathered < wanted)
        gather(s, k, -FLT_MAX);
    if (s->set.top_p < 1)
        k->n = crossing(s->candidate, k->n, wanted, false);
}

/* *k: n is 0 where every adjusted logit is -infinity. */
static void keep_candidates(struct qm_sampler *s, const float *logits, struct kept *k) {
    struct candidate *c = s->candidate;
    *k = (struct kept){.z = logits, .total = 1}; /* greedy takes them as they are, if it may */
    if (s->set.temperature > 0 || s->penalties || s->set.n_bias) {
        adjust(s, logits);
        k->z = s->z;
    }
    int32_t first = best(k->z, s->vocab);
    if (first < 0)
        return;
    k->max = k->z[first];
    if (s->set.temperature == 0) {
        c[k->n++] = (struct candidate){.key = key_of(k->z[first], first), .weight = 1};
        return;
    }
    if (s->heap) {
        gather(s, k, fmaxf(kth_greatest(s), -FLT_MAX));
        k->total = k->gathered;
        if (s->set.top_p < 1)
            k->n = crossing(c, k->n, s->set.top_p * k->total, false);
    } else {
        keep_of_all(s, k);
    }
    if (s->set.min_p > 0)
        k->n = keep_min_p(c, k->n, s->set.min_p);
    if (s->set.top_p == 1 && s->set.min_p == 0)
        return;
    k->total = 0;
    for (size_t i = 0; i < k->n; i++)
        k->total += c[i].weight;
}

void qm_sampler_probabilities(struct qm_sampler *s, const float *logits, float *probs) {
    struct kept k;
    keep_candidates(s, logits, &k);
    if (k.head)
        gather(s, &k, -FLT_MAX);
    memset(probs, 0, (size_t)s->vocab * sizeof *probs);
    for (size_t i = 0; i < k.n; i++)
        probs[id_of(&s->candidate[i])] = (float)(s->candidate[i].weight / k.total);
}

int qm_sampler_next(struct qm_sampler *s, const float *logits, int32_t *id, struct qm_error *err) {
    struct kept k;
    keep_candidates(s, logits, &k);
    if (!k.n)
        return qm_fail(err, QM_SYSTEM, "no token can be drawn: none of the %lld logits is finite", (long long)s->vocab);
    size_t m = 1;
    if (s->set.temperature > 0) { /* the draw is below 1 by more than any rounding of the sum: a crossing exists */
        double drawn = qm_pcg32_next(&s->random) * 0x1p-32 * k.total;
        if (k.head && k.gathered <= drawn)
            gather(s, &k, -FLT_MAX);
        m = crossing(s->candidate, k.n, drawn, true);
    }
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
