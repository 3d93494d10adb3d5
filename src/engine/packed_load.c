/* Loading: published rows to panels. The work of each node is cut into blocks of its panels of one expert; the
 * node's threads take blocks in order, so files are read nearly sequentially. The system is asked ahead for blocks that
 * are to come, so that the disk is busy while threads repack; within a block rows are read and repacked a piece at a
 * time, which stays in the cache of the core. What is on a device is handed to it piece by piece, and is nowhere else.
 */
#include "engine/packed.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "engine/bindings.h"
#include "engine/device.h"
#include "engine/memory.h"
#include "engine/nodes.h"
#include "engine/units.h"
#include "simd/mxfp4.h"

enum { BLOCK_BYTES = 4 << 20, PIECE_BYTES = 512 << 10, AHEAD_MAX = 32, FILE_PAGE = 4096 };

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

/* What of a weight an owner takes. */
struct share {
    int64_t experts, panel, panels, k, n_k;
    int64_t values; /* of a vector, from the panel's first row on */
    uint64_t stride;
};

/* The panels of a matrix are loaded in two runs, where an owner has those before a cut and another one the others; else
 * in one. */
enum { RUNS = 2 };

struct loader {
    const struct qm_packed_setup *setup;
    const struct qm_model *model;
    const struct qm_kernels *kernels;
    const struct qm_packed_owner *owners; /* [n_owners] */
    int n_owners, nodes;
    struct share *shares;          /* [n_owners][n_weights] */
    int64_t *block_panels;         /* [n_weights] */
    struct qm_packed_range *range; /* [nodes][n_weights][RUNS] */
    int64_t *first_block;          /* [nodes][n_weights * RUNS + 1] */
    uint64_t piece_bytes;          /* of the largest piece, packed */
    _Atomic int64_t *next;         /* [nodes] */
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

static void pack_one(struct loader *l, const struct qm_weight *w, enum qm_dtype type, void *to, int64_t panel,
                     const struct qm_run *runs, const struct piece *pieces, int64_t n, float *wide) {
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
            if (w->dtype != QM_MXFP4 && type != runs[i].tensor->dtype) {
                widen(wide + at * w->k, rows[at], runs[i].tensor->dtype, w->k);
                rows[at] = wide + at * w->k;
            }
        }
    }
    l->kernels->pack_panel(to, type, rows, w->dtype == QM_MXFP4 ? scales : NULL, w->k);
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
 * random values from a random start, since generating each would take longer than reading it from a disk. Embeddings
 * are greater by so much that what the layers add (attention's mean of many tokens above all) does not drown them: rows
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
    uint8_t *packed, *cut; /* a piece's panels, whole and the columns of an owner; NULL: nobody needs them */
};

/* --- who gets what ------------------------------------------------------------------------------------------ */

static bool is_owned(const struct qm_packed_owner *o) {
    return o->packed || o->device;
}

/* Whether an owner takes something of the expert. */
static bool takes(const struct loader *l, int g, int64_t weight, int64_t expert) {
    const struct qm_weight *w = &l->model->weights[weight];
    const struct qm_placement *p = l->setup->placement;
    if (!is_owned(&l->owners[g]) || !l->shares[g * l->model->n_weights + weight].experts)
        return false;
    return !p || qm_unit_of(l->model, w) != QM_UNIT_EXPERT || qm_placement_expert(p, w->layer, expert) == g;
}

/* An owner that takes panel p of the expert, from `g` on; -1: none. */
static int next_owner(const struct loader *l, int g, int64_t weight, int64_t expert, int64_t p) {
    for (; g < l->n_owners; g++) {
        const struct share *s = &l->shares[g * l->model->n_weights + weight];
        if (takes(l, g, weight, expert) && p >= s->panel && p < s->panel + s->panels)
            return g;
    }
    return -1;
}

/* Blocks of one expert in a range of panels. */
static int64_t range_blocks(const struct qm_packed_range *r, int64_t each) {
    return (r->end - r->first + each - 1) / each;
}

/* Panels [p0, p1) of an expert. */
struct block {
    int64_t run, weight, expert, p0, p1, first_run, runs;
};

/* Task number `task` of a node; false behind the last. run: of a task before, where the search begins. */
static bool find_block(const struct loader *l, int node, int64_t task, int64_t run, struct block *out) {
    int64_t runs = l->model->n_weights * RUNS;
    const int64_t *first_block = l->first_block + node * (runs + 1);
    if (task >= first_block[runs])
        return false;
    while (task >= first_block[run + 1])
        run++;
    const struct qm_packed_range *range = &l->range[node * runs + run];
    *out = (struct block){.run = run, .weight = run / RUNS};
    int64_t each = l->block_panels[out->weight], blocks = range_blocks(range, each), block = task - first_block[run];
    out->expert = block / blocks;
    out->p0 = range->first + block % blocks * each;
    out->p1 = out->p0 + each < range->end ? out->p0 + each : range->end;
    expert_runs(&l->model->weights[out->weight], out->expert, &out->first_run, &out->runs);
    return true;
}

static bool is_wanted(const struct loader *l, const struct block *b) {
    return next_owner(l, 0, b->weight, b->expert, b->p0) >= 0;
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

/* The panels' columns [s->k, s->k + s->n_k), one behind the other. */
static void cut_columns(const struct share *s, enum qm_dtype type, const uint8_t *from, uint64_t stride, int64_t panels,
                        uint8_t *to, uint64_t to_stride) {
    size_t bytes = (size_t)qm_panel_bytes(type, s->n_k), padding = (size_t)s->stride - bytes;
    for (int64_t i = 0; i < panels; i++) {
        memcpy(to + (uint64_t)i * to_stride, from + (uint64_t)i * stride + qm_panel_bytes(type, s->k), bytes);
        memset(to + (uint64_t)i * to_stride + bytes, 0, padding);
    }
}

/* Panels [p0, p1) of a block, which are in k->packed, go to all who own them. */
static int give(const struct loader *l, struct worker *k, const struct block *b, int64_t p0, int64_t p1,
                struct qm_error *err) {
    const struct qm_weight *w = &l->model->weights[b->weight];
    enum qm_dtype type = qm_packed_type(w);
    uint64_t stride = qm_plan_panel_bytes(type, w->k);
    int rc = QM_OK;
    for (int g = -1; !rc && (g = next_owner(l, g + 1, b->weight, b->expert, p0)) >= 0;) {
        const struct share *s = &l->shares[g * l->model->n_weights + b->weight];
        const struct qm_packed_owner *o = &l->owners[g];
        const uint8_t *from = k->packed;
        if (o->packed) {
            uint8_t *to = (uint8_t *)qm_packed_panel(&o->packed->weights[b->weight], b->expert, p0);
            cut_columns(s, type, from, stride, p1 - p0, to, s->stride);
            continue;
        }
        if (s->n_k != w->k) {
            cut_columns(s, type, from, stride, p1 - p0, k->cut, s->stride);
            from = k->cut;
        }
        rc = o->device->put(o->device, (int32_t)b->weight, b->expert, p0, p1 - p0, from, err);
    }
    return rc;
}

/* The one owner of a block, where that is memory of the host and all columns are its; else NULL. */
static const struct qm_packed_weight *sole_owner(const struct loader *l, const struct block *b) {
    int g = next_owner(l, 0, b->weight, b->expert, b->p0);
    const struct share *s = &l->shares[g * l->model->n_weights + b->weight];
    bool alone = next_owner(l, g + 1, b->weight, b->expert, b->p0) < 0 && s->n_k == l->model->weights[b->weight].k;
    return alone && l->owners[g].packed ? &l->owners[g].packed->weights[b->weight] : NULL;
}

static int load_block(struct loader *l, struct worker *k, const struct block *b, struct qm_error *err) {
    const struct qm_weight *w = &l->model->weights[b->weight];
    const struct qm_packed_weight *sole = sole_owner(l, b);
    enum qm_dtype type = qm_packed_type(w);
    int64_t each = piece_panels(w), panels = (w->n + QM_PANEL_ROWS - 1) / QM_PANEL_ROWS;
    uint64_t stride = qm_plan_panel_bytes(type, w->k);
    int rc = QM_OK;
    for (int64_t p0 = b->p0; p0 < b->p1 && !rc; p0 += each) {
        int64_t p1 = p0 + each < b->p1 ? p0 + each : b->p1;
        uint8_t *staging = k->staging;
        for (int64_t i = 0; !rc && i < b->runs; i++)
            rc = read_piece(l, w, &w->runs[b->first_run + i], p0, p1, &staging, &k->pieces[i], err);
        for (int64_t p = p0; !rc && p < p1; p++) {
            uint8_t *to =
                sole ? (uint8_t *)qm_packed_panel(sole, b->expert, p) : k->packed + (uint64_t)(p - p0) * stride;
            if (l->model->shards)
                pack_one(l, w, type, to, p, &w->runs[b->first_run], k->pieces, b->runs, k->wide);
            else /* panel by panel: MXFP4's are padded */
                fill_random(to, type, w->role == QM_W_EMBED ? EMBEDDING_FACTOR : 1, stride,
                            (uint64_t)((b->weight * w->experts + b->expert) * panels + p));
        }
        if (!rc && !sole)
            rc = give(l, k, b, p0, p1, err);
        atomic_fetch_add(&l->bytes_done, (uint64_t)(p1 - p0) * stride);
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
    if (l->piece_bytes) {
        k->packed = aligned_alloc(64, l->piece_bytes);
        k->cut = aligned_alloc(64, l->piece_bytes);
    }
    bool buffers = k->staging && k->wide && k->pieces && (!l->piece_bytes || (k->packed && k->cut));
    return buffers ? QM_OK : qm_fail_memory(err, bytes + 2 * l->piece_bytes, "reading weights");
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
    int64_t ahead = 2 * place.count < AHEAD_MAX ? 2 * place.count : AHEAD_MAX;
    struct block block = {0}, coming;
    int rc = worker_open(l, &k, &e);
    while (!rc && !atomic_load(&l->failed)) {
        int64_t task = atomic_fetch_add(&l->next[place.node], 1);
        if (!find_block(l, place.node, task, block.run, &block))
            break;
        if (l->model->shards && find_block(l, place.node, task + ahead, block.run, &coming) && is_wanted(l, &coming))
            advise(l, &coming, POSIX_FADV_WILLNEED);
        if (!is_wanted(l, &block))
            continue;
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
    free(k.packed);
    free(k.cut);
}

/* A vector becomes F32: runs of single elements. */
static int load_vector(const struct qm_model *m, const struct qm_weight *w, float *out, struct qm_error *err) {
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

/* A vector goes to all who own some of it. */
static int load_vectors(const struct loader *l, int64_t i, struct qm_error *err) {
    const struct qm_weight *w = &l->model->weights[i];
    size_t n = (size_t)w->n;
    bool owned = false;
    for (int g = 0; g < l->n_owners; g++)
        owned |= is_owned(&l->owners[g]) && l->shares[g * l->model->n_weights + i].experts;
    if (!owned)
        return QM_OK;
    float *values = calloc((size_t)w->experts * n, sizeof *values);
    if (!values)
        return qm_fail_memory(err, (size_t)w->experts * n * sizeof *values, "reading weights");
    int rc = load_vector(l->model, w, values, err);
    for (int g = 0; g < l->n_owners; g++)
        for (int64_t e = 0; !rc && e < w->experts; e++) {
            const struct qm_packed_owner *o = &l->owners[g];
            if (!takes(l, g, i, e))
                continue;
            const struct share *s = &l->shares[g * l->model->n_weights + i];
            const float *from = values + (size_t)e * n + s->panel * QM_PANEL_ROWS;
            if (o->packed)
                memcpy((float *)qm_packed_vector(&o->packed->weights[i], e), from, (size_t)s->values * sizeof *from);
            else
                rc = o->device->put(o->device, (int32_t)i, e, 0, 0, from, err);
        }
    free(values);
    return rc;
}

/* Where the panels of a weight are loaded in two runs. */
static int64_t cut_of(const struct loader *l, int64_t i) {
    int64_t panels = qm_panels_of(&l->model->weights[i]), cut = panels;
    for (int g = 0; g < l->n_owners; g++) {
        const struct share *s = &l->shares[g * l->model->n_weights + i];
        if (s->experts && s->panel > 0)
            cut = s->panel;
    }
    return cut;
}

/* Counts each node's panels and blocks of a weight's run. */
static void count_run(struct loader *l, int64_t i, int run, int64_t first, int64_t end) {
    struct qm_weight_part part = {.panel = first, .weight = l->model->weights[i]};
    int64_t runs = l->model->n_weights * RUNS, at = i * RUNS + run;
    if (end - first < qm_panels_of(&part.weight))
        part.weight.n = (end - first) * QM_PANEL_ROWS;
    for (int node = 0; node < l->nodes; node++) {
        struct qm_packed_range *range = &l->range[node * runs + at];
        int64_t *first_block = l->first_block + node * (runs + 1) + at;
        *range = qm_packed_range_of(&part, l->setup->team, node);
        first_block[1] = first_block[0] + range_blocks(range, l->block_panels[i]) * l->model->weights[i].experts;
    }
    for (int64_t e = 0; e < l->model->weights[i].experts && first < end; e++)
        if (next_owner(l, 0, i, e, first) >= 0)
            l->bytes_total += (uint64_t)(end - first) *
                              qm_plan_panel_bytes(qm_packed_type(&l->model->weights[i]), l->model->weights[i].k);
}

static void count_blocks(struct loader *l) {
    const struct qm_model *m = l->model;
    for (int64_t i = 0; i < m->n_weights; i++) {
        const struct qm_weight *w = &m->weights[i];
        int64_t panels = qm_panels_of(w), cut = cut_of(l, i);
        uint64_t panel = QM_PANEL_ROWS * row_bytes(w);
        int64_t each = (int64_t)(BLOCK_BYTES / (panel ? panel : 1));
        each = each < 2 ? 2 : each & ~(int64_t)1;
        l->block_panels[i] = each < panels || w->vector ? each : panels;
        count_run(l, i, 0, 0, cut);
        count_run(l, i, 1, cut, panels);
    }
}

/* What each owner takes, and whether somebody needs pieces packed beside. */
static void find_shares(struct loader *l) {
    const struct qm_model *m = l->model;
    bool beside = l->setup->placement != NULL;
    for (int g = 0; g < l->n_owners; g++)
        for (int64_t i = 0; i < m->n_weights; i++) {
            struct qm_weight_part part = qm_placement_part(l->setup->placement, m, &m->weights[i], g);
            l->shares[g * m->n_weights + i] = (struct share){
                .experts = part.experts,
                .panel = part.panel,
                .panels = qm_panels_of(&part.weight),
                .values = part.weight.n,
                .k = part.k,
                .n_k = part.weight.k,
                .stride = part.weight.vector ? 0 : qm_plan_panel_bytes(qm_packed_type(&part.weight), part.weight.k)};
            uint64_t piece = (uint64_t)piece_panels(&m->weights[i]) *
                             qm_plan_panel_bytes(qm_packed_type(&m->weights[i]), m->weights[i].k);
            if (beside && !part.weight.vector && piece > l->piece_bytes)
                l->piece_bytes = piece;
        }
}

static int load_all(struct loader *l, struct qm_error *err) {
    find_shares(l);
    count_blocks(l);
    int rc = QM_OK;
    for (int64_t i = 0; !rc && i < l->model->n_weights; i++)
        if (l->model->weights[i].vector)
            rc = load_vectors(l, i, err);
    if (rc)
        return rc;
    qm_team_run(l->setup->team, load_region, l);
    if (!atomic_load(&l->failed))
        return QM_OK;
    if (err)
        *err = l->err;
    return l->err.code;
}

int qm_packed_load(const struct qm_packed_setup *s, const struct qm_packed_owner *owners, int n_owners,
                   struct qm_error *err) {
    size_t n = (size_t)s->model->n_weights, nodes = (size_t)qm_team_nodes(s->team);
    struct loader l = {.setup = s,
                       .model = s->model,
                       .kernels = s->kernels,
                       .owners = owners,
                       .n_owners = n_owners,
                       .nodes = (int)nodes};
    l.shares = calloc((size_t)n_owners * n + 1, sizeof *l.shares);
    l.range = calloc((n * RUNS + 1) * nodes, sizeof *l.range);
    l.block_panels = calloc(n + 1, sizeof *l.block_panels);
    l.first_block = calloc((n * RUNS + 1) * nodes, sizeof *l.first_block);
    l.next = calloc(nodes, sizeof *l.next);
    bool lists = l.shares && l.range && l.block_panels && l.first_block && l.next;
    int rc = lists ? load_all(&l, err) : qm_fail_memory(err, n * nodes * 64, "the list of weights");
    free(l.shares);
    free(l.range);
    free(l.block_panels);
    free(l.first_block);
    free(l.next);
    return rc;
}
