/* Loading: published rows to panels. The work of each node is cut into blocks of its panels of one expert; the
 * node's threads take blocks in order, so files are read nearly sequentially. The system is told of blocks that are
 * to come, so that the disk is busy while threads repack; within a block rows are read and repacked a piece at a time,
 * which stays in the cache of the core. */
#include "engine/packed.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "engine/homes.h"
#include "engine/memory.h"
#include "engine/nodes.h"
#include "simd/mxfp4.h"

enum { BLOCK_BYTES = 4 << 20, PIECE_BYTES = 512 << 10, AHEAD_MOST = 32, FILE_PAGE = 4096 };

/* Bytes of a row of a weight in its type: a published row takes at most as many. */
static uint64_t row_bytes(const struct qm_weight *w) {
    return w->dtype == QM_MXFP4 ? (uint64_t)w->k / 2 : (uint64_t)w->k * qm_dtype_size(w->dtype);
}

/* Bytes of one published row of a run's tensor. */
static uint64_t run_row_bytes(const struct qm_weight *w, const struct qm_run *r) {
    return w->dtype == QM_MXFP4 ? row_bytes(w) : (uint64_t)w->k * qm_dtype_size(r->tensor->dtype);
}

/* Which of a run's rows lie in panel p: [*begin, *end) of 0..count, first one in panel row *at. */
static bool run_in_panel(const struct qm_run *r, int64_t p, int64_t *begin, int64_t *end, int64_t *at) {
    int64_t first = p * QM_PANEL_ROWS;
    if (r->interleave) {
        if (p % 2 != r->shift / QM_PANEL_ROWS)
            return false;
        first = p / 2 * QM_PANEL_ROWS;
    }
    int64_t b = first - r->dst, e = b + QM_PANEL_ROWS;
    *begin = b < 0 ? 0 : b;
    *end = e < r->count ? e : r->count;
    *at = *begin - b;
    return *begin < *end;
}

struct loader {
    const struct qm_packed_setup *setup;
    const struct qm_model *model;
    const struct qm_kernels *kernels;
    struct qm_packed *packed;
    int64_t *block_panels; /* [n_weights] */
    int64_t *first_block;  /* [nodes][n_weights + 1] */
    _Atomic int64_t *next; /* [nodes] */
    _Atomic uint64_t bytes_done;
    _Atomic int failed;
    uint64_t bytes_total;
    struct qm_error err; /* written once, by whoever sets failed first */
};

struct piece { /* a run's rows of one block, in the staging buffer */
    uint8_t *rows, *scales;
    int64_t begin; /* the first of the run's rows that is there */
};

static void fail(struct loader *l, const struct qm_error *e) {
    int none = 0;
    if (atomic_compare_exchange_strong(&l->failed, &none, 1))
        l->err = *e;
}

/* Rows of a tensor as bytes of its file. */
struct extent {
    const struct qm_shard_file *file;
    uint64_t offset, bytes;
};

static struct extent extent_of(const struct qm_shards *s, const struct qm_tensor *t, uint64_t bytes_row, int64_t row,
                               int64_t rows) {
    return (struct extent){&s->files[t->file], t->offset + bytes_row * (uint64_t)row, bytes_row * (uint64_t)rows};
}

static int read_rows(const struct qm_shards *s, const struct qm_tensor *t, uint64_t bytes_row, int64_t row,
                     int64_t rows, void *dst, struct qm_error *err) {
    struct extent x = extent_of(s, t, bytes_row, row, rows);
    int rc = qm_pread_full(x.file->fd, x.file->path, dst, x.bytes, x.offset, err);
    return rc ? qm_fail_context(err, "tensor %s", t->name) : QM_OK;
}

/* Whole pages, the one that the rows begin in and not the one that they end in: the page between two extents goes with
 * the second one. */
static void advise_rows(const struct qm_shards *s, const struct qm_tensor *t, uint64_t bytes_row, int64_t row,
                        int64_t rows, int advice) {
    struct extent x = extent_of(s, t, bytes_row, row, rows);
    uint64_t begin = x.offset / FILE_PAGE * FILE_PAGE, end = (x.offset + x.bytes) / FILE_PAGE * FILE_PAGE;
    if (begin < end)
        posix_fadvise(x.file->fd, (off_t)begin, (off_t)(end - begin), advice);
}

/* Which of a run's rows lie in panels [p0, p1): [*begin, *end), none where that is empty. As rows of the tensor they
 * begin at *row and span *rows. */
static bool run_in_panels(const struct qm_run *r, int64_t p0, int64_t p1, int64_t *begin, int64_t *row, int64_t *rows,
                          int64_t *end) {
    int64_t b, e, at;
    *begin = INT64_MAX;
    *end = 0;
    for (int64_t p = p0; p < p1; p++)
        if (run_in_panel(r, p, &b, &e, &at)) {
            *begin = b < *begin ? b : *begin;
            *end = e > *end ? e : *end;
        }
    if (*begin >= *end)
        return false;
    *rows = (*end - *begin - 1) * r->step + 1;
    *row = r->src + *begin * r->step;
    return true;
}

static int check_row(struct loader *l, const struct qm_weight *w, const struct qm_run *r, int64_t i, const uint8_t *row,
                     const uint8_t *scales, struct qm_error *err) {
    int64_t published = r->src + i * r->step;
    if (w->dtype == QM_MXFP4) {
        const uint8_t *bad = memchr(scales, 255, (size_t)w->k / QM_MXFP4_VALUES);
        if (!bad)
            return QM_OK;
        return qm_fail(err, QM_INPUT, "tensor %s: scale %lld of row %lld is 255 (NaN); expected finite weights",
                       r->scales->name, (long long)(bad - scales), (long long)published);
    }
    int64_t bad = l->kernels->find_nonfinite(row, r->tensor->dtype, w->k);
    if (bad < 0)
        return QM_OK;
    return qm_fail(err, QM_INPUT, "tensor %s: value %lld (row %lld, column %lld) is not finite; the file is damaged",
                   r->tensor->name, (long long)(published * w->k + bad), (long long)published, (long long)bad);
}

/* Reads the run's rows of panels [p0, p1) to `staging`, which it advances. */
static int read_piece(struct loader *l, const struct qm_weight *w, const struct qm_run *r, int64_t p0, int64_t p1,
                      uint8_t **staging, struct piece *out, struct qm_error *err) {
    int64_t begin, end, row, rows;
    *out = (struct piece){0};
    if (!run_in_panels(r, p0, p1, &begin, &row, &rows, &end))
        return QM_OK;
    out->begin = begin;
    uint64_t bytes = run_row_bytes(w, r);
    out->rows = *staging;
    *staging += (bytes * (uint64_t)rows + 63) / 64 * 64;
    int rc = read_rows(l->model->shards, r->tensor, bytes, row, rows, out->rows, err);
    if (!rc && r->scales) {
        out->scales = *staging;
        *staging += ((uint64_t)w->k / QM_MXFP4_VALUES * (uint64_t)rows + 63) / 64 * 64;
        rc = read_rows(l->model->shards, r->scales, (uint64_t)w->k / QM_MXFP4_VALUES, row, rows, out->scales, err);
    }
    for (int64_t i = begin; !rc && i < end; i++)
        rc = check_row(l, w, r, i, out->rows + (uint64_t)((i - begin) * r->step) * bytes,
                       out->scales ? out->scales + (i - begin) * r->step * (w->k / QM_MXFP4_VALUES) : NULL, err);
    return rc;
}

/* A published row as F32: of a router, and of weights whose tensors are of several types. */
static void widen(float *out, const void *row, enum qm_dtype t, int64_t k) {
    const uint16_t *h = row;
    if (t == QM_F32)
        memcpy(out, row, (size_t)k * sizeof *out);
    for (int64_t i = 0; i < k && t != QM_F32; i++)
        out[i] = t == QM_BF16 ? qm_f32_from_bf16(h[i]) : qm_f32_from_f16(h[i]);
}

static void pack_one(struct loader *l, const struct qm_weight *w, const struct qm_packed_weight *to, int64_t expert,
                     int64_t panel, const struct qm_run *runs, const struct piece *pieces, int64_t n, float *wide) {
    const void *rows[QM_PANEL_ROWS] = {0};
    const uint8_t *scales[QM_PANEL_ROWS] = {0};
    for (int64_t i = 0; i < n; i++) {
        int64_t begin, end, at;
        if (!pieces[i].rows || !run_in_panel(&runs[i], panel, &begin, &end, &at))
            continue;
        for (int64_t j = begin; j < end; j++, at++) {
            int64_t row = (j - pieces[i].begin) * runs[i].step;
            rows[at] = pieces[i].rows + (uint64_t)row * run_row_bytes(w, &runs[i]);
            scales[at] = pieces[i].scales ? pieces[i].scales + row * (w->k / QM_MXFP4_VALUES) : NULL;
            if (w->dtype != QM_MXFP4 && to->type != runs[i].tensor->dtype) {
                widen(wide + at * w->k, rows[at], runs[i].tensor->dtype, w->k);
                rows[at] = wide + at * w->k;
            }
        }
    }
    l->kernels->pack_panel((void *)qm_packed_panel(to, expert, panel), to->type, rows,
                           w->dtype == QM_MXFP4 ? scales : NULL, w->k);
}

/* The runs of one expert are consecutive. */
static void expert_runs(const struct qm_weight *w, int64_t expert, int64_t *first, int64_t *n) {
    int64_t i = 0;
    while (i < w->n_runs && w->runs[i].expert != expert)
        i++;
    *first = i;
    while (i < w->n_runs && w->runs[i].expert == expert)
        i++;
    *n = i - *first;
}

/* Weights of a model opened from its config alone: values of the size that trained ones have (uniform in about
 * +-0.06), the same for the same place, so that speed can be measured without a download. They repeat a block of
 * random values from a random start, since drawing each would take longer than reading it from a disk. Embeddings are
 * greater by so much that what the layers add (attention's mean of many tokens above all) does not drown them: rows
 * would become alike, and a prompt's tokens would all go to the same few experts. */
enum {
    RANDOM_BYTES = QM_MXFP4_BLOCK * 64, /* whole elements of every type, whole blocks of MXFP4 */
    EMBEDDING_FACTOR = 1024,
};

static uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void random_block(uint8_t *block, enum qm_dtype t, float factor, uint64_t *state) {
    if (t == QM_MXFP4) { /* scales of 2^-7 */
        for (size_t i = 0; i < RANDOM_BYTES; i++)
            block[i] = i % QM_MXFP4_BLOCK < offsetof(struct qm_mxfp4_block, scale) ? (uint8_t)next_random(state) : 120;
        return;
    }
    size_t size = qm_dtype_size(t);
    for (size_t i = 0; i < RANDOM_BYTES / size; i++) {
        float x = ((float)(next_random(state) & 0xFFFF) - 32767.5f) * 0x1p-19f * factor;
        uint16_t half = t == QM_BF16 ? qm_bf16_from_f32(x) : qm_f16_from_f32(x);
        memcpy(block + i * size, t == QM_F32 ? (const void *)&x : &half, size);
    }
}

static void fill_random(uint8_t *panels, enum qm_dtype t, float factor, uint64_t bytes, uint64_t seed) {
    uint8_t block[RANDOM_BYTES];
    uint64_t state = seed * 0x9E3779B97F4A7C15u + 1, unit = t == QM_MXFP4 ? QM_MXFP4_BLOCK : 64;
    random_block(block, t, factor, &state);
    while (bytes) {
        uint64_t from = next_random(&state) % (RANDOM_BYTES / unit) * unit, n = RANDOM_BYTES - from;
        n = n < bytes ? n : bytes;
        memcpy(panels, block + from, n);
        panels += n;
        bytes -= n;
    }
}

struct worker {
    uint8_t *staging;
    float *wide;
    struct piece *pieces;
};

/* Blocks of one expert in a range of panels. */
static int64_t range_blocks(const struct qm_packed_range *r, int64_t each) {
    return (r->end - r->first + each - 1) / each;
}

/* Panels [p0, p1) of an expert. */
struct block {
    int64_t weight, expert, p0, p1, first_run, runs;
};

/* Job number `job` of a node; false behind the last. weight: of a job before, where the search begins. */
static bool find_block(const struct loader *l, int node, int64_t job, int64_t weight, struct block *out) {
    const int64_t *first_block = l->first_block + node * (l->model->n_weights + 1);
    if (job >= first_block[l->model->n_weights])
        return false;
    while (job >= first_block[weight + 1])
        weight++;
    const struct qm_packed_range *range = &l->packed->weights[weight].ranges[node];
    int64_t each = l->block_panels[weight], blocks = range_blocks(range, each), block = job - first_block[weight];
    *out = (struct block){.weight = weight, .expert = block / blocks};
    out->p0 = range->first + block % blocks * each;
    out->p1 = out->p0 + each < range->end ? out->p0 + each : range->end;
    expert_runs(&l->model->weights[weight], out->expert, &out->first_run, &out->runs);
    return true;
}

/* Tells the system that a block will be read (POSIX_FADV_WILLNEED), or not again (POSIX_FADV_DONTNEED). */
static void advise(const struct loader *l, const struct block *b, int advice) {
    const struct qm_weight *w = &l->model->weights[b->weight];
    for (int64_t i = 0, begin, row, rows, end; i < b->runs; i++) {
        const struct qm_run *r = &w->runs[b->first_run + i];
        if (!run_in_panels(r, b->p0, b->p1, &begin, &row, &rows, &end))
            continue;
        advise_rows(l->model->shards, r->tensor, run_row_bytes(w, r), row, rows, advice);
        if (r->scales)
            advise_rows(l->model->shards, r->scales, (uint64_t)w->k / QM_MXFP4_VALUES, row, rows, advice);
    }
}

/* Panels of one piece: an even number, as gate and up are interleaved. */
static int64_t piece_panels(const struct qm_weight *w) {
    uint64_t panel = QM_PANEL_ROWS * row_bytes(w);
    int64_t panels = (int64_t)(PIECE_BYTES / (panel ? panel : 1)) & ~(int64_t)1;
    return panels < 2 ? 2 : panels;
}

static int load_block(struct loader *l, struct worker *k, const struct block *b, struct qm_error *err) {
    const struct qm_weight *w = &l->model->weights[b->weight];
    const struct qm_packed_weight *to = &l->packed->weights[b->weight];
    int64_t each = piece_panels(w);
    int rc = QM_OK;
    for (int64_t p0 = b->p0; p0 < b->p1 && !rc; p0 += each) {
        int64_t p1 = p0 + each < b->p1 ? p0 + each : b->p1;
        uint8_t *staging = k->staging;
        for (int64_t i = 0; !rc && i < b->runs; i++)
            rc = read_piece(l, w, &w->runs[b->first_run + i], p0, p1, &staging, &k->pieces[i], err);
        for (int64_t p = p0; p < p1 && !l->model->shards; p++) /* panel by panel: MXFP4's are padded */
            fill_random((uint8_t *)qm_packed_panel(to, b->expert, p), to->type,
                        w->role == QM_W_EMBED ? EMBEDDING_FACTOR : 1, to->panel_stride,
                        (uint64_t)((b->weight * to->experts + b->expert) * to->panels + p));
        for (int64_t p = p0; !rc && p < p1 && l->model->shards; p++)
            pack_one(l, w, to, b->expert, p, &w->runs[b->first_run], k->pieces, b->runs, k->wide);
        atomic_fetch_add(&l->bytes_done, (uint64_t)(p1 - p0) * to->panel_stride);
    }
    return rc;
}

static uint64_t staging_bytes(const struct qm_model *m, int64_t *max_runs, int64_t *max_k) {
    uint64_t most = 0;
    *max_runs = *max_k = 1;
    for (int64_t i = 0; i < m->n_weights; i++) {
        const struct qm_weight *w = &m->weights[i];
        uint64_t panel = QM_PANEL_ROWS * (row_bytes(w) + (uint64_t)w->k / QM_MXFP4_VALUES + 1);
        /* every other row of a tensor is read with what lies between; a piece is at least two panels */
        uint64_t need = 2 * (PIECE_BYTES + 2 * panel) + (uint64_t)w->n_runs * 128;
        most = need > most ? need : most;
        *max_runs = w->n_runs > *max_runs ? w->n_runs : *max_runs;
        *max_k = w->k > *max_k ? w->k : *max_k;
    }
    return most;
}

static int worker_open(const struct loader *l, struct worker *k, struct qm_error *err) {
    int64_t runs, columns;
    uint64_t bytes = staging_bytes(l->model, &runs, &columns);
    k->staging = aligned_alloc(64, (bytes + 63) / 64 * 64);
    k->wide = malloc((size_t)columns * QM_PANEL_ROWS * sizeof(float));
    k->pieces = calloc((size_t)runs, sizeof *k->pieces);
    return k->staging && k->wide && k->pieces ? QM_OK : qm_fail_memory(err, bytes, "reading weights");
}

static int report(struct loader *l, int thread, struct qm_error *err) {
    if (thread != 0 || !l->setup->progress)
        return QM_OK;
    if (!l->setup->progress(l->setup->progress_arg, "loading", atomic_load(&l->bytes_done), l->bytes_total))
        return QM_OK;
    return qm_fail(err, QM_INTERRUPTED, "interrupted while loading");
}

static void load_region(void *arg, int thread, int threads) {
    (void)threads;
    struct loader *l = arg;
    struct worker k = {0};
    struct qm_error e;
    struct qm_team_place place = qm_team_place(l->setup->team, thread);
    int64_t ahead = 2 * place.count < AHEAD_MOST ? 2 * place.count : AHEAD_MOST;
    struct block block = {0}, coming;
    int rc = worker_open(l, &k, &e);
    while (!rc && !atomic_load(&l->failed)) {
        int64_t job = atomic_fetch_add(&l->next[place.node], 1);
        if (!find_block(l, place.node, job, block.weight, &block))
            break;
        if (l->model->shards && find_block(l, place.node, job + ahead, block.weight, &coming))
            advise(l, &coming, POSIX_FADV_WILLNEED);
        rc = load_block(l, &k, &block, &e);
        if (l->setup->drop_cache)
            advise(l, &block, POSIX_FADV_DONTNEED);
        if (!rc)
            rc = report(l, thread, &e);
    }
    if (rc)
        fail(l, &e);
    free(k.staging);
    free(k.wide);
    free(k.pieces);
}

/* A vector becomes F32: runs of single elements. */
static int load_vector(const struct qm_model *m, const struct qm_weight *w, struct qm_packed_weight *to,
                       struct qm_error *err) {
    float *out = to->values;
    bool norm = w->role == QM_W_ATTN_NORM || w->role == QM_W_FFN_NORM || w->role == QM_W_FINAL_NORM ||
                w->role == QM_W_Q_NORM || w->role == QM_W_K_NORM;
    for (int64_t i = 0; i < w->experts * w->n && norm && !m->shards; i++)
        out[i] = 1.0f;
    for (int64_t i = 0; i < w->n_runs; i++) {
        const struct qm_run *r = &w->runs[i];
        enum qm_dtype type = r->tensor->dtype;
        uint64_t size = qm_dtype_size(type);
        int64_t span = (r->count - 1) * r->step + 1;
        uint8_t *raw = malloc((uint64_t)span * size);
        if (!raw)
            return qm_fail_memory(err, (uint64_t)span * size, "reading weights");
        int rc = read_rows(m->shards, r->tensor, size, r->src, span, raw, err);
        for (int64_t j = 0; !rc && j < r->count; j++) {
            const uint8_t *p = raw + (uint64_t)(j * r->step) * size;
            int64_t at = r->dst + j;
            if (r->interleave)
                at = at / QM_PANEL_ROWS * r->interleave + at % QM_PANEL_ROWS + r->shift;
            float *v = &out[r->expert * w->n + at];
            uint16_t h;
            memcpy(&h, p, 2);
            if (type == QM_F32)
                memcpy(v, p, 4);
            else
                *v = type == QM_BF16 ? qm_f32_from_bf16(h) : qm_f32_from_f16(h);
            if (*v - *v != 0.0f)
                rc = qm_fail(err, QM_INPUT, "tensor %s: value %lld is not finite; the file is damaged", r->tensor->name,
                             (long long)(r->src + j * r->step));
        }
        free(raw);
        if (rc)
            return rc;
    }
    return QM_OK;
}

static int64_t panels_of(const struct qm_weight *w) {
    return w->vector ? 0 : (w->n + QM_PANEL_ROWS - 1) / QM_PANEL_ROWS;
}

/* Which panels of a matrix are a node's. */
static struct qm_packed_range range_of(const struct qm_weight *w, const struct qm_team *team, int node) {
    struct qm_node_share s = qm_node_share_in(team, node);
    struct qm_packed_range r = {0};
    qm_node_panels(w, &s, &r.first, &r.end);
    r.expert_stride = (uint64_t)(r.end - r.first) * (w->vector ? 0 : qm_plan_panel_bytes(qm_packed_type(w), w->k));
    return r;
}

static uint64_t bytes_on(const struct qm_weight *w, const struct qm_team *team, int node) {
    struct qm_node_share s = qm_node_share_in(team, node);
    return qm_node_weight_bytes(w, w->experts, &s);
}

static void describe(const struct qm_weight *w, struct qm_packed_weight *to, struct qm_packed_range *ranges) {
    *to = (struct qm_packed_weight){
        .type = qm_packed_type(w), .vector = w->vector, .experts = w->experts, .n = w->n, .k = w->k, .ranges = ranges};
    to->panels = panels_of(w);
    to->unit = w->role == QM_W_GATE_UP ? 2 : 1;
    to->panel_stride = w->vector ? 0 : qm_plan_panel_bytes(to->type, w->k);
}

static int layout(const struct qm_model *m, const struct qm_team *team, const struct qm_home *homes,
                  struct qm_packed *out, struct qm_error *err) {
    int rc = QM_OK;
    for (int64_t i = 0; i < m->n_weights; i++)
        describe(&m->weights[i], &out->weights[i], out->ranges + i * out->nodes);
    for (int node = 0; !rc && node < out->nodes; node++) {
        const struct qm_node_share share = qm_node_share_in(team, node);
        uint64_t total = qm_node_all_weights(m, &share);
        if (total)
            rc = qm_memory_alloc_on(total, homes[node], "weights", &out->memory[node], err);
        uint8_t *at = out->memory[node].data;
        for (int64_t i = 0; !rc && i < m->n_weights; i++) {
            const struct qm_weight *w = &m->weights[i];
            struct qm_packed_weight *to = &out->weights[i];
            to->ranges[node] = range_of(w, team, node);
            to->ranges[node].data = at;
            if (w->vector && node == 0)
                to->values = (float *)(void *)at;
            at += bytes_on(w, team, node);
        }
    }
    return rc;
}

static void count_blocks(struct loader *l) {
    const struct qm_model *m = l->model;
    int64_t n = m->n_weights;
    for (int64_t i = 0; i < n; i++) {
        const struct qm_packed_weight *to = &l->packed->weights[i];
        uint64_t panel = QM_PANEL_ROWS * row_bytes(&m->weights[i]);
        int64_t each = (int64_t)(BLOCK_BYTES / (panel ? panel : 1));
        each = each < 2 ? 2 : each & ~(int64_t)1;
        l->block_panels[i] = each < to->panels || to->vector ? each : to->panels;
        for (int node = 0; node < l->packed->nodes; node++) {
            int64_t *first = l->first_block + node * (n + 1) + i;
            first[1] = first[0] + range_blocks(&to->ranges[node], l->block_panels[i]) * to->experts;
        }
        l->bytes_total += (uint64_t)(to->panels * to->experts) * to->panel_stride;
    }
}

static int load_all(struct loader *l, struct qm_error *err) {
    count_blocks(l);
    qm_team_run(l->setup->team, load_region, l);
    if (!atomic_load(&l->failed))
        return QM_OK;
    if (err)
        *err = l->err;
    return l->err.code;
}

int qm_packed_open(const struct qm_packed_setup *s, struct qm_packed *out, struct qm_error *err) {
    size_t n = (size_t)s->model->n_weights, nodes = (size_t)qm_team_nodes(s->team);
    *out = (struct qm_packed){.nodes = (int)nodes};
    out->weights = calloc(n + 1, sizeof *out->weights);
    out->ranges = calloc((n + 1) * nodes, sizeof *out->ranges);
    out->memory = calloc(nodes, sizeof *out->memory);
    bool lists = out->weights && out->ranges && out->memory;
    int rc = lists ? QM_OK : qm_fail_memory(err, n * nodes * 64, "the list of weights");
    if (!rc)
        rc = layout(s->model, s->team, s->homes, out, err);
    if (!rc)
        rc = qm_homes_take(s->team, s->homes, out->memory, err);
    if (rc)
        qm_packed_free(out);
    return rc;
}

int qm_packed_load(const struct qm_packed_setup *s, struct qm_packed *p, struct qm_error *err) {
    const struct qm_model *m = s->model;
    size_t n = (size_t)m->n_weights, nodes = (size_t)p->nodes;
    struct loader l = {.setup = s, .model = m, .kernels = s->kernels, .packed = p};
    l.block_panels = calloc(n + 1, sizeof *l.block_panels);
    l.first_block = calloc((n + 1) * nodes, sizeof *l.first_block);
    l.next = calloc(nodes, sizeof *l.next);
    bool lists = l.block_panels && l.first_block && l.next;
    int rc = lists ? QM_OK : qm_fail_memory(err, n * nodes * 64, "the list of weights");
    for (size_t i = 0; !rc && i < n; i++)
        if (p->weights[i].vector)
            rc = load_vector(m, &m->weights[i], &p->weights[i], err);
    if (!rc)
        rc = load_all(&l, err);
    free(l.block_panels);
    free(l.first_block);
    free(l.next);
    return rc;
}

void qm_packed_free(struct qm_packed *p) {
    for (int node = 0; p->memory && node < p->nodes; node++)
        qm_memory_free(&p->memory[node]);
    free(p->memory);
    free(p->ranges);
    free(p->weights);
    *p = (struct qm_packed){0};
}
