/* Bytes of weights, KV pages and activations. Shapes come from a checked config, whose limits keep every
 * product here below 2^63. */
#include "engine/memory.h"

#include "simd/kernels.h"

/* A pool has one spare page of each window for this many pages of the main group. */
enum { SPARE_SHARE = 8, PRODUCT_FLOATS = 65536 };
_Static_assert(QM_KV_PAGE_TOKENS % QM_PANEL_ROWS == 0, "a page's keys are whole panels");
_Static_assert(QM_ATTENTION_SPLIT % QM_KV_PAGE_TOKENS == 0, "a split is whole pages");
_Static_assert(QM_QUERY_ROWS % QM_PACK_ROWS == 0, "queries are packed in whole blocks");
_Static_assert((int)QM_PRIVATE_ROWS <= (int)QM_PACK_ROWS, "what a thread packs for itself is one block");
static const uint64_t MAX_KV_MEMORY = (uint64_t)1 << 58; /* so that its product with SPARE_SHARE fits */

static uint64_t round_up(uint64_t n, uint64_t unit) {
    return (n + unit - 1) / unit * unit;
}

static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

enum qm_dtype qm_packed_type(const struct qm_weight *w) {
    return w->role == QM_W_ROUTER ? QM_F32 : w->dtype;
}

uint64_t qm_plan_panel_bytes(enum qm_dtype t, int64_t k) {
    return round_up(qm_panel_bytes(t, k), 64);
}

uint64_t qm_weight_part_bytes(const struct qm_weight *w, int64_t experts) {
    if (w->vector)
        return round_up((uint64_t)(experts * w->n) * 4, 64);
    uint64_t panels = (uint64_t)(w->n + QM_PANEL_ROWS - 1) / QM_PANEL_ROWS;
    return (uint64_t)experts * panels * qm_plan_panel_bytes(qm_packed_type(w), w->k);
}

uint64_t qm_weight_bytes(const struct qm_weight *w) {
    return qm_weight_part_bytes(w, w->experts);
}

int64_t qm_kv_pages(int64_t context, int64_t window, int64_t chunk) {
    int64_t whole = (context + QM_KV_PAGE_TOKENS - 1) / QM_KV_PAGE_TOKENS;
    if (window == 0)
        return whole;
    /* the window before the first token of a chunk, the chunk, and the page that both ends cut */
    int64_t held = (window + chunk + QM_KV_PAGE_TOKENS - 1) / QM_KV_PAGE_TOKENS + 1;
    return held < whole ? held : whole;
}

int64_t qm_kv_main_window(const struct qm_config *c) {
    int64_t widest = c->layers ? c->layer[0].window : 0;
    for (int64_t l = 0; l < c->layers; l++) {
        if (c->layer[l].window == 0)
            return 0;
        widest = max64(widest, c->layer[l].window);
    }
    return widest;
}

/* Bytes of one page in every head of one layer. */
static uint64_t layer_page_bytes(const struct qm_config *c, enum qm_dtype kv_type) {
    return (uint64_t)c->kv_heads * (qm_kv_key_bytes(kv_type, c->head_dim) + qm_kv_value_bytes(kv_type, c->head_dim));
}

int64_t qm_kv_pool_pages(const struct qm_config *c, const struct qm_workload *w, int64_t window) {
    int64_t least = w->sequences * qm_kv_pages(w->context, window, w->chunk), main_window = qm_kv_main_window(c);
    if (!w->kv_memory)
        return least;
    uint64_t page = layer_page_bytes(c, w->kv_type), main_bytes = 0, other_bytes = 0, fixed = 0;
    for (int64_t l = 0; l < c->layers; l++)
        if (c->layer[l].window == main_window) {
            main_bytes += page;
        } else {
            other_bytes += page;
            fixed += page * (uint64_t)(w->sequences * qm_kv_pages(w->context, c->layer[l].window, w->chunk));
        }
    uint64_t room = w->kv_memory < MAX_KV_MEMORY ? w->kv_memory : MAX_KV_MEMORY;
    uint64_t pages = room > fixed ? (room - fixed) * SPARE_SHARE / (SPARE_SHARE * main_bytes + other_bytes) : 0;
    pages = pages < INT32_MAX ? pages : INT32_MAX; /* page numbers are 32 bits */
    return window == main_window ? (int64_t)pages : least + (int64_t)pages / SPARE_SHARE;
}

uint64_t qm_kv_key_bytes(enum qm_dtype kv_type, int64_t head_dim) {
    return QM_KV_PAGE_TOKENS / QM_PANEL_ROWS * qm_plan_panel_bytes(kv_type, head_dim);
}

uint64_t qm_kv_value_bytes(enum qm_dtype kv_type, int64_t head_dim) {
    uint64_t panels = (uint64_t)(head_dim + QM_PANEL_ROWS - 1) / QM_PANEL_ROWS;
    return panels * qm_plan_panel_bytes(kv_type, QM_KV_PAGE_TOKENS);
}

enum qm_dtype qm_kv_default_type(const struct qm_config *c) {
    return c->dtype == QM_F16 || c->dtype == QM_F32 ? c->dtype : QM_BF16;
}

/* Packed activations never take more than F32 rows of k rounded up to even, and a row at least 64 bytes. */
static uint64_t packed_bound(int64_t rows, int64_t k) {
    return round_up((uint64_t)rows * (uint64_t)max64(k + (k & 1), 16) * 4, 64);
}

static uint64_t place(uint64_t *at, uint64_t bytes) {
    uint64_t here = *at;
    *at += round_up(bytes, 64);
    return here;
}

static void plan_private(const struct qm_model *m, const struct qm_workload *w, struct qm_scratch_layout *s) {
    const struct qm_config *c = &m->config;
    int64_t group = c->heads / c->kv_heads;
    int64_t block = max64(1, QM_QUERY_ROWS / group); /* query tokens at once */
    s->query_rows = (block < w->chunk ? block : w->chunk) * group;
    s->ld_value = (int64_t)round_up((uint64_t)c->head_dim, QM_PANEL_ROWS);
    uint64_t rows = (uint64_t)s->query_rows, value = rows * (uint64_t)s->ld_value * 4;
    uint64_t at = 0;
    /* a product's columns before its epilogue: two panels of every row at least; and the normed rows that a thread
     * packs for itself */
    int64_t product = max64(w->chunk * 2 * QM_PANEL_ROWS, PRODUCT_FLOATS);
    s->product_bytes = round_up((uint64_t)max64(product, QM_PRIVATE_ROWS * s->ld_hidden) * 4, 64);
    s->product = place(&at, s->product_bytes);
    s->accumulator = place(&at, s->product_bytes);
    s->queries = place(&at, packed_bound(s->query_rows, c->head_dim));
    s->probabilities = place(&at, packed_bound(s->query_rows, QM_KV_PAGE_TOKENS)); /* of a page */
    s->scores = place(&at, rows * QM_SCORES_LD * 4);
    s->split_out = place(&at, value);
    s->merged = place(&at, value);
    s->row_stats = place(&at, rows * 4 * 6);                            /* maxima and sums of both, slots seen */
    s->vectors = place(&at, (uint64_t)(s->ld_value + c->head_dim) * 4); /* one vector, and zeros */
    s->whole = place(&at, c->qk_norm_whole ? (uint64_t)(c->heads * c->head_dim) * 4 : 0);
    s->private_rows = at;
    s->thread_bytes =
        round_up(at + packed_bound(QM_PRIVATE_ROWS, max64(max64(c->hidden, c->heads * c->head_dim),
                                                          max64(max64(c->ffn, c->shared_ffn), c->moe_ffn))),
                 4096);
    s->private_rows_bytes = s->thread_bytes - s->private_rows;
}

void qm_scratch_plan(const struct qm_model *m, const struct qm_workload *w, struct qm_scratch_layout *s) {
    const struct qm_config *c = &m->config;
    *s = (struct qm_scratch_layout){0};
    int64_t heads_dim = c->heads * c->head_dim, chosen = max64(c->experts_per_token, 1);
    s->ld_hidden = (int64_t)round_up((uint64_t)c->hidden, QM_PANEL_ROWS);
    s->ld_qkv = (int64_t)round_up((uint64_t)((c->heads + 2 * c->kv_heads) * c->head_dim), QM_PANEL_ROWS);
    s->ld_q = heads_dim;
    s->ld_ffn = (int64_t)round_up((uint64_t)max64(max64(c->ffn, c->shared_ffn), c->moe_ffn), QM_PANEL_ROWS);
    uint64_t rows = (uint64_t)w->chunk, routed = rows * (uint64_t)(c->experts ? chosen : 1);
    int64_t splits = (w->context + QM_ATTENTION_SPLIT - 1) / QM_ATTENTION_SPLIT;
    uint64_t at = 0;
    s->x = place(&at, rows * (uint64_t)s->ld_hidden * 4);
    s->routed = place(&at, QM_ROUTED_HEAD + rows * (uint64_t)s->ld_hidden * 4 + routed * 8);
    s->handed = at;
    s->qkv = place(&at, rows * (uint64_t)s->ld_qkv * 4);
    s->attended = place(&at, rows * (uint64_t)s->ld_q * 4);
    s->h = place(&at, routed * (uint64_t)s->ld_ffn * 4);
    uint64_t dense = packed_bound(w->chunk, max64(max64(c->hidden, heads_dim), max64(c->ffn, c->shared_ffn)));
    /* each expert's rows start on a 64-byte boundary */
    uint64_t moe = packed_bound((int64_t)routed, max64(c->hidden, c->moe_ffn)) + (uint64_t)c->experts * 64;
    s->packed_bytes = dense > moe ? dense : moe;
    s->packed = place(&at, s->packed_bytes);
    s->rope = place(&at, (uint64_t)qm_config_ropes(c) * rows * (uint64_t)c->head_dim * 4);
    s->routing = place(&at, routed * 8 + rows * (uint64_t)(c->experts + 32) * 4 + (uint64_t)(c->experts + 1) * 24);
    uint64_t partial_rows =
        (uint64_t)(QM_PARTIAL_TOKENS < w->chunk ? QM_PARTIAL_TOKENS : w->chunk) * (uint64_t)c->heads;
    s->partial_bytes = partial_rows * (uint64_t)splits * (round_up((uint64_t)c->head_dim, QM_PANEL_ROWS) + 2) * 4;
    s->partial = place(&at, s->partial_bytes);
    s->thread0 = round_up(at, 4096);
    plan_private(m, w, s);
    s->total = s->thread0 + (uint64_t)w->threads * s->thread_bytes;
}

/* A piece's logits take the more room where the vocabulary is large. */
int64_t qm_attention_map_piece(const struct qm_config *c, int64_t chunk, int64_t tokens) {
    enum { PIECE_BYTES = 128 << 20 };
    int64_t row = max64(c->vocab, c->heads * tokens) * (int64_t)sizeof(float), piece = PIECE_BYTES / row + 1;
    return piece < chunk ? piece : chunk;
}

uint64_t qm_attention_map_bytes(const struct qm_config *c, int64_t chunk, int64_t tokens) {
    return (uint64_t)(qm_attention_map_piece(c, chunk, tokens) * c->heads * tokens) * sizeof(float);
}

static uint64_t pool_bytes(const struct qm_config *c, const struct qm_workload *w) {
    uint64_t bytes = 0;
    for (int64_t l = 0; l < c->layers; l++)
        bytes += (uint64_t)qm_kv_pool_pages(c, w, c->layer[l].window) * layer_page_bytes(c, w->kv_type);
    return bytes;
}

void qm_memory_draft_workload(const struct qm_model *m, const struct qm_workload *w, struct qm_workload *out) {
    const struct qm_config *c = &w->drafts.model->config;
    struct qm_workload all = *w;
    *out = (struct qm_workload){.context = w->context < c->max_positions ? w->context : c->max_positions,
                                .sequences = w->sequences,
                                .chunk = w->chunk,
                                .kv_type = qm_kv_default_type(c),
                                .threads = w->threads,
                                .nodes = w->nodes};
    all.kv_memory = 0;
    if (w->kv_memory) {
        double part = (double)w->kv_memory / (double)pool_bytes(&m->config, &all);
        out->kv_memory = part < 1 ? (uint64_t)(part * (double)pool_bytes(c, out)) : 0;
    }
}

uint64_t qm_memory_draft_bytes(const struct qm_model *m, const struct qm_workload *w) {
    struct qm_memory_table t = {0};
    struct qm_workload drafts;
    if (w->drafts.model) {
        qm_memory_draft_workload(m, w, &drafts);
        qm_memory_estimate(w->drafts.model, &drafts, &t);
    }
    return w->drafts.bytes + t.total;
}

void qm_memory_estimate(const struct qm_model *m, const struct qm_workload *w, struct qm_memory_table *out) {
    const struct qm_config *c = &m->config;
    *out = (struct qm_memory_table){.kv = pool_bytes(c, w), .drafts = qm_memory_draft_bytes(m, w)};
    for (int64_t i = 0; i < m->n_weights; i++)
        out->weights += qm_weight_bytes(&m->weights[i]);
    uint64_t page = layer_page_bytes(c, w->kv_type);
    for (int64_t l = 0; l < c->layers; l++)
        if (c->layer[l].window == 0)
            out->kv_per_token += page / QM_KV_PAGE_TOKENS;
    struct qm_scratch_layout scratch;
    qm_scratch_plan(m, w, &scratch);
    out->scratch = scratch.total;
    out->maps = w->map_tokens ? qm_attention_map_bytes(c, w->chunk, w->map_tokens) : 0;
    out->total = out->weights + out->kv + out->scratch + out->maps + out->drafts;
}

const char *qm_memory_short_part(uint64_t weights, uint64_t activations, uint64_t maps, uint64_t drafts,
                                 uint64_t available) {
    if (weights > available)
        return "weights";
    if (activations > available - weights)
        return "activations";
    if (maps > available - weights - activations)
        return "attention maps";
    return drafts > available - weights - activations - maps ? "drafts" : "keys and values";
}
