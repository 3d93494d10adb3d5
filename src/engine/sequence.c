/* Sequences and blocks: what the engine says of them, on the pages of kv.h. */
#include <stdlib.h>

#include "engine/engine_private.h"
#include "simd/kernels.h"

int qm_engine_check_pool(const struct qm_engine *e, int64_t missing, struct qm_error *err) {
    int64_t n_free = qm_kv_free_pages(&e->kv);
    if (missing <= n_free)
        return QM_OK;
    return qm_fail(err, QM_FIT, "the KV cache is full: %lld more pages of %d tokens needed, %lld free",
                   (long long)missing, QM_KV_PAGE_TOKENS, (long long)n_free);
}

int qm_engine_open_sequences(struct qm_engine *e, struct qm_error *err) {
    size_t n = (size_t)e->workload.sequences;
    e->sequences = calloc(n, sizeof *e->sequences);
    if (!e->sequences)
        return qm_fail_memory(err, n * sizeof *e->sequences, "the sequences");
    while (e->n_sequences < e->workload.sequences) {
        struct qm_sequence *s = &e->sequences[e->n_sequences];
        int rc = qm_kv_tables_open(&e->kv, &s->tables, err);
        if (rc)
            return rc;
        e->n_sequences++;
        s->engine = e;
        s->next = e->free_sequences;
        e->free_sequences = s;
    }
    return QM_OK;
}

void qm_engine_close_sequences(struct qm_engine *e) {
    for (int64_t i = 0; i < e->n_sequences; i++)
        qm_kv_tables_close(&e->kv, &e->sequences[i].tables);
    free(e->sequences);
}

int qm_sequence_open(struct qm_engine *e, struct qm_sequence **out, struct qm_error *err) {
    *out = NULL;
    struct qm_sequence *s = e->free_sequences;
    if (!s)
        return qm_fail(err, QM_FIT, "%lld sequences are open already, all that the engine was opened for",
                       (long long)e->workload.sequences);
    e->free_sequences = s->next;
    s->losses = e->losses;
    *out = s;
    return QM_OK;
}

void qm_sequence_close(struct qm_sequence *s) {
    if (!s)
        return;
    qm_kv_truncate(&s->engine->kv, &s->tables, 0);
    s->next = s->engine->free_sequences;
    s->engine->free_sequences = s;
}

int64_t qm_sequence_length(const struct qm_sequence *s) {
    return s->tables.length;
}

int64_t qm_sequence_truncate(struct qm_sequence *s, int64_t n) {
    bool lost = s->losses != s->engine->losses;
    int64_t left = qm_kv_truncate(&s->engine->kv, &s->tables, n < 0 || lost ? 0 : n);
    if (left == 0)
        s->losses = s->engine->losses;
    return left;
}

int qm_sequence_fill_random(struct qm_sequence *s, int64_t n, uint64_t seed, struct qm_error *err) {
    struct qm_engine *e = s->engine;
    int64_t held = s->tables.length;
    if (n < 0 || n > e->workload.context - held)
        return qm_fail(err, QM_INPUT, "%lld positions after %lld held: more than the context of %lld", (long long)n,
                       (long long)held, (long long)e->workload.context);
    const struct qm_kernels *kernels;
    int rc = qm_kernels_get(e->isa, &kernels, err);
    /* in pieces of a step: a window holds its last tokens and one step more */
    for (int64_t done = 0, piece; done < n && !rc; done += piece) {
        piece = n - done < e->workload.chunk ? n - done : e->workload.chunk;
        rc = qm_engine_check_pool(e, qm_kv_missing(&e->kv, &s->tables, piece), err);
        if (rc)
            break;
        qm_kv_reserve(&e->kv, &s->tables, piece);
        rc = qm_kv_fill_random(&e->kv, &s->tables, piece, seed, e->team, kernels, err);
        if (!rc)
            qm_kv_advance(&e->kv, &s->tables, piece);
    }
    if (rc)
        qm_sequence_truncate(s, held);
    return rc;
}

int64_t qm_engine_block_tokens(const struct qm_engine *e) {
    (void)e;
    return QM_KV_PAGE_TOKENS;
}

qm_block qm_sequence_keep(struct qm_sequence *s, int64_t i) {
    return qm_kv_keep(&s->engine->kv, &s->tables, i);
}

void qm_block_release(struct qm_engine *e, qm_block b) {
    qm_kv_release(&e->kv, b);
}

bool qm_block_complete(const struct qm_engine *e, qm_block b) {
    return qm_kv_complete(&e->kv, b);
}

bool qm_block_in_use(const struct qm_engine *e, qm_block b) {
    return qm_kv_in_use(&e->kv, b);
}

int64_t qm_blocks_usable(const struct qm_engine *e, const qm_block *blocks, int64_t n) {
    return qm_kv_usable(&e->kv, blocks, n);
}

int qm_sequence_attach(struct qm_sequence *s, const qm_block *blocks, int64_t n, struct qm_error *err) {
    struct qm_engine *e = s->engine;
    if (s->tables.length > 0)
        return qm_fail(err, QM_USAGE, "blocks are attached to a sequence that holds %lld tokens: it must be empty",
                       (long long)s->tables.length);
    if (n < 0 || n > e->workload.context / QM_KV_PAGE_TOKENS || qm_kv_usable(&e->kv, blocks, n) < n)
        return qm_fail(err, QM_USAGE,
                       "%lld blocks cannot be attached: a window is gone, or the context of %lld is less", (long long)n,
                       (long long)e->workload.context);
    qm_kv_truncate(&e->kv, &s->tables, 0);
    qm_kv_attach(&e->kv, &s->tables, blocks, n);
    return QM_OK;
}

uint64_t qm_engine_block_bytes(const struct qm_engine *e) {
    return qm_kv_block_bytes(&e->kv);
}

void qm_block_export(const struct qm_engine *e, qm_block b, void *out) {
    qm_kv_export(&e->kv, b, out);
}

int qm_block_import(struct qm_engine *e, const void *bytes, qm_block *out, struct qm_error *err) {
    return qm_kv_import(&e->kv, bytes, out, err);
}

void qm_engine_pool(const struct qm_engine *e, struct qm_pool_state *out) {
    const struct qm_kv_group *group = &e->kv.groups[e->kv.main];
    *out = (struct qm_pool_state){.blocks = group->pages, .free_blocks = qm_kv_free_pages(&e->kv)};
}

int64_t qm_engine_longest(const struct qm_engine *e) {
    const struct qm_kv_group *group = &e->kv.groups[e->kv.main];
    return group->pages < group->held ? group->pages * QM_KV_PAGE_TOKENS : e->workload.context;
}

int64_t qm_sequence_needs(const struct qm_sequence *s, int64_t n) {
    return n > 0 ? qm_kv_missing(&s->engine->kv, &s->tables, n) : 0;
}
