/* Attention on the CPU: QK-norm, RoPE and the KV store, then one algorithm for prefill and decode. Queries are prepared
 * by the thread that computes with them; keys and values too where no other unit of work needs them (decode), else
 * they are all stored first and a barrier follows.
 *
 * The context is cut at absolute multiples of QM_ATTENTION_SPLIT tokens. Each split has its own maximum, sum and
 * product, from zero; splits merge in ascending order by one formula (kernels' merge_split). The rows of one unit
 * of work are the query heads of one KV head for a block of tokens, so keys and values are read once for all of
 * them. Where a step has too few units for the threads, its splits are divided too and merged afterwards, in
 * the same order and so to the same bits.
 * Source of the split softmax: Flash-Decoding (Dao et al. 2023), online softmax (Milakov and Gimelshein 2018). */
#include "engine/cpu/cpu_private.h"

#include <math.h>
#include <string.h>

struct region {
    struct qm_cpu *c;
    const struct qm_op *op;
    const struct qm_batch *batch;
    int64_t group, query_tokens; /* query heads of a KV head; tokens of a block */
    int64_t ld_value;            /* head_dim rounded up to 16 */
    bool by_split;
    bool own_keys; /* a part's tokens are one unit of each head: who computes it stores its keys and values */
};

/* Query tokens [row, row + tokens) of one part and one KV head. */
struct query_block {
    const struct qm_batch_sequence *sequence;
    int64_t head, row, tokens, position;
};

/* A thread's buffers (where qm_scratch_plan put them). */
struct buffers {
    void *queries, *probabilities;
    float *scores, *out, *merged, *max, *sum, *merged_max, *merged_sum, *vector, *zeros, *whole;
    int32_t *lo, *hi;
};

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static float *floats(const struct qm_cpu *c, int thread, uint64_t offset) {
    return (float *)(void *)qm_cpu_private(c, thread, offset);
}

static struct buffers thread_buffers(const struct region *r, int thread) {
    const struct qm_cpu *c = r->c;
    const struct qm_scratch_layout *l = &c->layout;
    struct buffers b = {.queries = qm_cpu_private(c, thread, l->queries),
                        .probabilities = qm_cpu_private(c, thread, l->probabilities),
                        .scores = floats(c, thread, l->scores),
                        .out = floats(c, thread, l->split_out),
                        .merged = floats(c, thread, l->merged),
                        .max = floats(c, thread, l->row_stats),
                        .vector = floats(c, thread, l->vectors),
                        .whole = floats(c, thread, l->whole)};
    b.sum = b.max + l->query_rows;
    b.merged_max = b.sum + l->query_rows;
    b.merged_sum = b.merged_max + l->query_rows;
    b.lo = (int32_t *)(void *)(b.merged_sum + l->query_rows);
    b.hi = b.lo + l->query_rows;
    b.zeros = b.vector + c->config->head_dim;
    return b;
}

/* A head's vector in place: norm, where the layer has one of each head, and rotation for the token at `row`. */
static void rotate(const struct region *r, float *x, int32_t norm, int64_t row) {
    const struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, norm);
    if (w && !c->config->qk_norm_whole)
        c->kernels->rmsnorm(x, x, qm_packed_vector(w, 0), c->config->head_dim, (float)c->config->rms_eps);
    if (r->op->rope == QM_LAYER_NO_ROPE)
        return;
    const struct qm_rotation *rotation = &c->rotation[r->op->rope];
    c->kernels->rope(x, rotation->table + row * rotation->width, rotation->width);
}

/* All heads' vectors of a token, `heads` of them from x on: x, or, where one norm is over all of them, what that makes
 * of them in b->whole. */
static const float *norm_whole(const struct region *r, const float *x, int32_t norm, int64_t heads,
                               const struct buffers *b) {
    const struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, norm);
    if (!w || !c->config->qk_norm_whole)
        return x;
    c->kernels->rmsnorm(b->whole, x, qm_packed_vector(w, 0), heads * c->config->head_dim, (float)c->config->rms_eps);
    return b->whole;
}

/* What rotated queries at a position are multiplied by. */
static float query_scale(const struct qm_rope *rope, int64_t position) {
    double steps = floor((double)position / (double)rope->original_max_positions);
    return (float)(1 + rope->query_beta * log1p(steps));
}

/* Key and value of token i of a part, of one KV head, to their page. */
static void store_token(const struct region *r, const struct qm_batch_sequence *sequence, int64_t i, int64_t head,
                        const struct buffers *b) {
    const struct qm_cpu *c = r->c;
    const struct qm_config *g = c->config;
    int64_t hd = g->head_dim, row = sequence->row + i, position = sequence->position + i;
    const float *qkv = c->qkv + row * c->layout.ld_qkv;
    uint8_t *page = qm_kv_page(c->kv, sequence->tables, r->op->state, head, position);
    int64_t slot = position % QM_KV_PAGE_TOKENS;
    const float *keys = norm_whole(r, qkv + g->heads * hd, r->op->k_norm, g->kv_heads, b);
    memcpy(b->vector, keys + head * hd, (size_t)hd * sizeof *b->vector);
    rotate(r, b->vector, r->op->k_norm, row);
    c->kernels->store_k(page, c->kv->type, slot, b->vector, hd);
    c->kernels->store_v(page + c->kv->key_bytes, c->kv->type, slot, QM_KV_PAGE_TOKENS,
                        qkv + (g->heads + g->kv_heads + head) * hd, hd);
}

/* Keys and values of the whole batch, divided by rows. */
static void store_all(const struct region *r, int thread, int threads, const struct buffers *b) {
    int64_t begin, end, row = 0;
    qm_team_range(r->batch->rows, thread, threads, &begin, &end);
    for (int p = 0; p < r->batch->n_sequences; p++)
        for (int64_t i = 0; i < r->batch->sequences[p].n; i++, row++)
            for (int64_t h = 0; row >= begin && row < end && h < r->c->config->kv_heads; h++)
                store_token(r, &r->batch->sequences[p], i, h, b);
}

/* Keys and values of a unit's tokens at positions [from, to), where nobody else needs them. */
static void store_query_block(const struct region *r, const struct query_block *u, int64_t from, int64_t to,
                              const struct buffers *b) {
    for (int64_t i = 0; r->own_keys && i < u->tokens; i++)
        if (u->position + i >= from && u->position + i < to)
            store_token(r, u->sequence, u->row - u->sequence->row + i, u->head, b);
}

/* Row i of a unit is token i / group, query head i % group. The first key its token attends to. */
static int64_t first_key(const struct region *r, int64_t position) {
    return r->op->window ? max64(0, position - r->op->window + 1) : 0;
}

/* Normed, rotated and packed; b->merged is free until then. */
static void pack_queries(const struct region *r, const struct query_block *u, const struct buffers *b) {
    const struct qm_cpu *c = r->c;
    const struct qm_rope *rope = &c->config->rope;
    int64_t rows = u->tokens * r->group, hd = c->config->head_dim;
    const float *queries = NULL;
    for (int64_t i = 0; i < rows; i++) {
        int64_t row = u->row + i / r->group, head = u->head * r->group + i % r->group;
        if (i % r->group == 0)
            queries = norm_whole(r, c->qkv + row * c->layout.ld_qkv, r->op->q_norm, c->config->heads, b);
        memcpy(b->merged + i * hd, queries + head * hd, (size_t)hd * sizeof *b->merged);
        rotate(r, b->merged + i * hd, r->op->q_norm, row);
        float scale = rope->query_beta > 0 ? query_scale(rope, u->position + i / r->group) : 1;
        for (int64_t d = 0; scale != 1 && d < hd; d++)
            b->merged[i * hd + d] *= scale;
    }
    qm_cpu_type(c, c->kv->type)->pack(b->queries, b->merged, hd, NULL, rows, hd);
}

/* The pages of keys [from, to) of one split. */
struct pages {
    const uint8_t *at[QM_ATTENTION_SPLIT / QM_KV_PAGE_TOKENS];
    int64_t n, start; /* the first slot's position */
};

/* Keys [*from, *to) of a split that a unit sees; false: none, since its window begins later. */
static bool seen_keys(const struct region *r, const struct query_block *u, int64_t split, int64_t *from, int64_t *to) {
    int64_t start = split * QM_ATTENTION_SPLIT;
    *from = max64(first_key(r, u->position), start);
    *to = min64(u->position + u->tokens, start + QM_ATTENTION_SPLIT);
    return *from < *to;
}

static void find_pages(const struct region *r, const struct query_block *u, int64_t from, int64_t to,
                       struct pages *pages) {
    pages->n = 0;
    pages->start = from / QM_KV_PAGE_TOKENS * QM_KV_PAGE_TOKENS;
    for (int64_t p = pages->start; p < to; p += QM_KV_PAGE_TOKENS)
        pages->at[pages->n++] = qm_kv_page(r->c->kv, u->sequence->tables, r->op->state, u->head, p);
}

/* One split of a unit, of which its first token sees a key or a later token will: its output from zero to `out` (NULL:
 * its probabilities to b->scores), maxima and sums to b->max, b->sum. Returns the position of the first score. next:
 * the page whose keys this thread reads afterwards, or NULL. */
static int64_t compute_split(const struct region *r, const struct query_block *u, int64_t split, const uint8_t *next,
                             const struct buffers *b, float *out) {
    const struct qm_cpu *c = r->c;
    int64_t from, to, rows = u->tokens * r->group;
    struct pages pages;
    seen_keys(r, u, split, &from, &to);
    find_pages(r, u, from, to, &pages);
    for (int64_t i = 0; i < rows; i++) {
        int64_t position = u->position + i / r->group, slots = pages.n * QM_KV_PAGE_TOKENS;
        b->lo[i] = (int32_t)min64(max64(first_key(r, position) - pages.start, 0), slots);
        b->hi[i] = (int32_t)min64(max64(position + 1 - pages.start, 0), slots);
    }
    struct qm_split s = {.queries = b->queries,
                         .rows = rows,
                         .head_dim = c->config->head_dim,
                         .pages = pages.at,
                         .n_pages = pages.n,
                         .value_offset = c->kv->key_bytes,
                         .next = next,
                         .lo = b->lo,
                         .hi = b->hi,
                         .scale = (float)(1.0 / sqrt((double)c->config->head_dim)),
                         .scores = b->scores,
                         .packed = b->probabilities,
                         .out = out,
                         .max = b->max,
                         .sum = b->sum};
    c->kernels->attend(c->kernels, c->kv->type, &s);
    return pages.start;
}

/* The first page that a split of a unit reads. */
static const uint8_t *first_page(const struct region *r, const struct query_block *u, int64_t split) {
    int64_t from, to;
    return seen_keys(r, u, split, &from, &to) ? qm_kv_page(r->c->kv, u->sequence->tables, r->op->state, u->head, from)
                                              : NULL;
}

/* Blocks of a fixed length, which compilers make vectors of. */
static void divide(float *restrict to, const float *restrict from, float by, int64_t n) {
    enum { BLOCK = 16 };
    int64_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK)
        for (int j = 0; j < BLOCK; j++)
            to[i + j] = from[i + j] / by;
    for (; i < n; i++)
        to[i] = from[i] / by;
}

/* The sink joins the sum (gpt-oss); then the division, and the rows go to c->attended. */
static void finish_rows(const struct region *r, const struct query_block *u, const struct buffers *b) {
    const struct qm_cpu *c = r->c;
    const struct qm_packed_weight *sinks = qm_cpu_weight(c, r->op->sinks);
    int64_t hd = c->config->head_dim;
    for (int64_t i = 0; i < u->tokens * r->group; i++) {
        int64_t head = u->head * r->group + i % r->group;
        float *o = b->merged + i * r->ld_value, *sum = &b->merged_sum[i];
        if (sinks)
            c->kernels->merge_split(o, &b->merged_max[i], sum, b->zeros, qm_packed_vector(sinks, 0)[head], 1.0f, hd);
        float *to = c->attended + (u->row + i / r->group) * c->layout.ld_q + head * hd;
        divide(to, o, *sum, hd);
    }
}

static void start_merge(const struct region *r, const struct query_block *u, const struct buffers *b) {
    int64_t rows = u->tokens * r->group;
    memset(b->merged, 0, (size_t)(rows * r->ld_value) * sizeof *b->merged);
    memset(b->zeros, 0, (size_t)r->ld_value * sizeof *b->zeros);
    for (int64_t i = 0; i < rows; i++) {
        b->merged_max[i] = -INFINITY;
        b->merged_sum[i] = 0;
    }
}

static void merge(const struct region *r, const struct query_block *u, const struct buffers *b, const float *out,
                  const float *max, const float *sum) {
    for (int64_t i = 0; i < u->tokens * r->group; i++)
        r->c->kernels->merge_split(b->merged + i * r->ld_value, &b->merged_max[i], &b->merged_sum[i],
                                   out + i * r->ld_value, max[i], sum[i], r->c->config->head_dim);
}

/* Attention probabilities for those who ask to see them: the splits' again, against the final maximum and sum. */
static void capture(const struct region *r, const struct query_block *u, const struct buffers *b) {
    const struct qm_batch_sequence *s = u->sequence;
    int64_t last = (u->position + u->tokens - 1) / QM_ATTENTION_SPLIT, rows = u->tokens * r->group;
    for (int64_t split = 0; split <= last; split++) {
        int64_t start = split * QM_ATTENTION_SPLIT, from, to, first = 0;
        if (seen_keys(r, u, split, &from, &to))
            first = compute_split(r, u, split, NULL, b, NULL);
        for (int64_t i = 0; i < rows; i++) {
            int64_t head = u->head * r->group + i % r->group, token = u->row - u->sequence->row + i / r->group;
            float *to_row = s->attention + (head * s->n + token) * s->attention_ld;
            float scale = from < to ? expf(b->max[i] - b->merged_max[i]) / b->merged_sum[i] : 0.0f;
            for (int64_t j = start; j < min64(start + QM_ATTENTION_SPLIT, s->attention_ld); j++)
                to_row[j] = j >= from && j < to ? b->scores[i * QM_SCORES_LD + j - first] * scale : 0.0f;
        }
    }
    for (int64_t i = 0; i < rows; i++) { /* positions beyond the last split */
        int64_t head = u->head * r->group + i % r->group, token = u->row - u->sequence->row + i / r->group;
        for (int64_t j = (last + 1) * QM_ATTENTION_SPLIT; j < s->attention_ld; j++)
            s->attention[(head * s->n + token) * s->attention_ld + j] = 0.0f;
    }
}

static bool captured(const struct region *r, const struct query_block *u) {
    return u->sequence->attention && u->sequence->attention_layer == r->op->layer;
}

/* All splits of a unit by one thread. */
static void whole_query_block(const struct region *r, const struct query_block *u, const struct buffers *b) {
    store_query_block(r, u, u->position, u->position + u->tokens, b);
    pack_queries(r, u, b);
    start_merge(r, u, b);
    int64_t last = (u->position + u->tokens - 1) / QM_ATTENTION_SPLIT;
    for (int64_t split = first_key(r, u->position) / QM_ATTENTION_SPLIT; split <= last; split++) {
        compute_split(r, u, split, split < last ? first_page(r, u, split + 1) : NULL, b, b->out);
        merge(r, u, b, b->out, b->max, b->sum);
    }
    finish_rows(r, u, b);
    if (captured(r, u))
        capture(r, u, b);
}

struct cursor { /* walks over the units of a batch in a fixed order */
    int sequence;
    int64_t head, token, splits; /* splits: of the unit given last, from position 0 */
};

static bool next_query_block(const struct region *r, struct cursor *at, struct query_block *u) {
    while (at->sequence < r->batch->n_sequences) {
        const struct qm_batch_sequence *p = &r->batch->sequences[at->sequence];
        if (at->token < p->n) {
            *u = (struct query_block){.sequence = p,
                                      .head = at->head,
                                      .row = p->row + at->token,
                                      .position = p->position + at->token,
                                      .tokens = min64(r->query_tokens, p->n - at->token)};
            at->token += u->tokens;
            at->splits = (u->position + u->tokens - 1) / QM_ATTENTION_SPLIT + 1;
            return true;
        }
        at->token = 0;
        if (++at->head == r->c->config->kv_heads) {
            at->head = 0;
            at->sequence++;
        }
    }
    return false;
}

/* Tasks go round-robin to the threads of the node that has their keys and values (node -1: by all), which every
 * thread counts alike. */
struct round_robin {
    struct qm_team_place place;
    int thread, threads;
    int64_t own, any;
};

static struct round_robin round_robin_begin(const struct region *r, int thread, int threads) {
    return (struct round_robin){.place = qm_team_place(r->c->team, thread), .thread = thread, .threads = threads};
}

/* Whether the next task, of that node, is this thread's. */
static bool is_mine(struct round_robin *t, int node) {
    if (node < 0)
        return t->any++ % t->threads == t->thread;
    if (t->place.nodes > 1 && node != t->place.node)
        return false;
    return t->own++ % t->place.count == t->place.index;
}

/* The node of all of a query block's keys and values, or -1. */
static int query_block_node(const struct region *r, const struct query_block *u) {
    const struct qm_kv *kv = r->c->kv;
    return kv->ranges == 1 ? qm_kv_node(kv, u->sequence->tables, r->op->state, u->head, 0) : -1;
}

/* One attention split of a query block, for one thread to compute. */
struct task {
    struct query_block u;
    int64_t split;
    int64_t at; /* where its partial result goes, in floats of c->partial */
};

struct tasks { /* walks over those of one thread */
    struct cursor cursor;
    struct round_robin round_robin;
    struct query_block u;
    int64_t split, first, base; /* of u: the split to look at next, its first, where its partial results begin */
};

static int64_t partial_floats(const struct region *r, const struct query_block *u) {
    return u->tokens * r->group * (r->ld_value + 2);
}

static bool next_task(const struct region *r, struct tasks *j, struct task *task) {
    for (;;) {
        if (j->split == j->cursor.splits) {
            j->base += (j->split - j->first) * (j->u.tokens ? partial_floats(r, &j->u) : 0);
            if (!next_query_block(r, &j->cursor, &j->u))
                return false;
            j->split = j->first = first_key(r, j->u.position) / QM_ATTENTION_SPLIT;
        }
        int64_t s = j->split++, seen = max64(s * QM_ATTENTION_SPLIT, first_key(r, j->u.position));
        if (is_mine(&j->round_robin, qm_kv_node(r->c->kv, j->u.sequence->tables, r->op->state, j->u.head, seen))) {
            *task = (struct task){j->u, s, j->base + (s - j->first) * partial_floats(r, &j->u)};
            return true;
        }
    }
}

static void partial_split(const struct region *r, const struct task *task, const struct task *next,
                          const struct buffers *b) {
    int64_t rows = task->u.tokens * r->group, start = task->split * QM_ATTENTION_SPLIT;
    float *to = r->c->partial + task->at;
    store_query_block(r, &task->u, start, start + QM_ATTENTION_SPLIT, b);
    compute_split(r, &task->u, task->split, next ? first_page(r, &next->u, next->split) : NULL, b, to);
    memcpy(to + rows * r->ld_value, b->max, (size_t)rows * sizeof *to);
    memcpy(to + rows * (r->ld_value + 1), b->sum, (size_t)rows * sizeof *to);
}

/* Splits divided over threads: each leaves its output in c->partial (rows x ld_value, maxima, sums), query block by
 * query block and split by split; then query blocks are merged, in the order in which one thread would have. */
static void query_blocks_by_split(const struct region *r, int thread, int threads, const struct buffers *b) {
    struct tasks tasks = {.round_robin = round_robin_begin(r, thread, threads)};
    struct task task, next;
    bool more = next_task(r, &tasks, &task), packed = false;
    while (more) {
        if (!packed)
            pack_queries(r, &task.u, b);
        more = next_task(r, &tasks, &next);
        partial_split(r, &task, more ? &next : NULL, b);
        packed = more && next.u.row == task.u.row && next.u.head == task.u.head;
        task = next;
    }
    struct round_robin round_robin = tasks.round_robin;
    struct cursor at = {0};
    struct query_block u;
    int64_t base = 0;
    qm_team_barrier(r->c->team, thread);
    while (next_query_block(r, &at, &u)) {
        int64_t rows = u.tokens * r->group, first = first_key(r, u.position) / QM_ATTENTION_SPLIT;
        if (is_mine(&round_robin, query_block_node(r, &u))) {
            start_merge(r, &u, b);
            for (int64_t s = first; s < at.splits; s++) {
                const float *from = r->c->partial + base + (s - first) * rows * (r->ld_value + 2);
                merge(r, &u, b, from, from + rows * r->ld_value, from + rows * (r->ld_value + 1));
            }
            finish_rows(r, &u, b);
        }
        base += (at.splits - first) * rows * (r->ld_value + 2);
    }
}

static void attention_region(void *arg, int thread, int threads) {
    const struct region *r = arg;
    struct buffers b = thread_buffers(r, thread);
    if (!r->own_keys) {
        store_all(r, thread, threads, &b);
        qm_team_barrier(r->c->team, thread);
    }
    if (r->by_split) {
        query_blocks_by_split(r, thread, threads, &b);
        return;
    }
    struct cursor at = {0};
    struct query_block u;
    struct round_robin round_robin = round_robin_begin(r, thread, threads);
    while (next_query_block(r, &at, &u))
        if (is_mine(&round_robin, query_block_node(r, &u)))
            whole_query_block(r, &u, &b);
}

/* Splits are divided where units are few and their partial results fit. */
static bool share_splits(const struct region *r) {
    struct cursor at = {0};
    struct query_block u;
    int64_t units = 0, floats = 0, splits = 0;
    while (next_query_block(r, &at, &u)) {
        int64_t n = at.splits - first_key(r, u.position) / QM_ATTENTION_SPLIT;
        units++;
        splits += n;
        floats += n * u.tokens * r->group * (r->ld_value + 2);
        if (captured(r, &u))
            return false;
    }
    return splits > units && units < 4 * qm_team_used(r->c->team) && (uint64_t)floats * 4 <= r->c->layout.partial_bytes;
}

void qm_cpu_attention(struct qm_cpu *c, const struct qm_op *op, const struct qm_batch *batch) {
    struct region r = {.c = c, .op = op, .batch = batch, .group = c->config->heads / c->config->kv_heads};
    r.query_tokens = c->layout.query_rows / r.group;
    r.ld_value = c->layout.ld_value;
    r.own_keys = true;
    for (int p = 0; p < batch->n_sequences; p++)
        r.own_keys = r.own_keys && batch->sequences[p].n <= r.query_tokens;
    r.by_split = share_splits(&r);
    qm_team_run(c->team, attention_region, &r);
}
