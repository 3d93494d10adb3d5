/* The scheduler over an engine that only counts: its clock is the work that it is given, its pool is small, its logits
 * follow from the tokens that a sequence holds; so what is alone and what is scheduled can be compared in a moment. The
 * scheduler, generate.c, decoding.c and the random loads are compiled in here with the names of the engine's functions
 * exchanged: for one test program's main file only. */
#ifndef QM_TESTS_COUNTING_ENGINE_H
#define QM_TESTS_COUNTING_ENGINE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define qm_engine_model fake_engine_model
#define qm_engine_context fake_engine_context
#define qm_engine_longest fake_engine_longest
#define qm_engine_chunk fake_engine_chunk
#define qm_engine_clock fake_engine_clock
#define qm_engine_sequences fake_engine_sequences
#define qm_engine_block_tokens fake_engine_block_tokens
#define qm_engine_pool fake_engine_pool
#define qm_engine_threads fake_engine_threads
#define qm_engine_isa fake_engine_isa
#define qm_engine_decode_bytes fake_engine_decode_bytes
#define qm_engine_step fake_engine_step
#define qm_engine_set_interrupt fake_engine_set_interrupt
#define qm_engine_quiet fake_engine_quiet
#define qm_sequence_open fake_sequence_open
#define qm_sequence_close fake_sequence_close
#define qm_sequence_length fake_sequence_length
#define qm_sequence_needs fake_sequence_needs
#define qm_sequence_truncate fake_sequence_truncate
#define qm_engine_run fake_engine_run
#define qm_prefix_cache_attach fake_prefix_cache_attach
#define qm_prefix_cache_read fake_prefix_cache_read
#define qm_prefix_cache_find fake_prefix_cache_find
#define qm_prefix_cache_add fake_prefix_cache_add
#define qm_prefix_cache_idle fake_prefix_cache_idle
#define qm_prefix_cache_shrink fake_prefix_cache_shrink

#define qm_feed fake_feed
#define qm_step_surely fake_step_surely
#define qm_generate fake_generate
#define qm_generate_result_free fake_generate_result_free
#define qm_finish_name fake_finish_name
#define qm_decoding_check fake_decoding_check
#define qm_decoding_new fake_decoding_new
#define qm_decoding_free fake_decoding_free
#define qm_decoding_tokens fake_decoding_tokens
#define qm_decoding_begins fake_decoding_begins
#define qm_decoding_sample fake_decoding_sample
#define qm_decoding_replay fake_decoding_redraw
#define qm_decoding_take fake_decoding_take
#define qm_decoding_interrupt fake_decoding_interrupt
#define qm_decoding_text fake_decoding_text
#define qm_scheduler_open fake_scheduler_open
#define qm_scheduler_bytes fake_scheduler_bytes
#define qm_scheduler_close fake_scheduler_close
#define qm_scheduler_context fake_scheduler_context
#define qm_scheduler_submit fake_scheduler_submit
#define qm_scheduler_prepare fake_scheduler_prepare
#define qm_scheduler_enter fake_scheduler_enter
#define qm_scheduler_discard fake_scheduler_discard
#define qm_scheduler_cancel fake_scheduler_cancel
#define qm_scheduler_idle fake_scheduler_idle
#define qm_scheduler_step fake_scheduler_step
#define qm_scheduler_view fake_scheduler_view
#define qm_scheduler_stats fake_scheduler_get_stats
#define scheduled_new fake_scheduled_new
#define scheduled_free fake_scheduled_free
#define scheduled_wait fake_scheduled_wait
#define scheduled_unwait fake_scheduled_unwait
#define scheduled_prepare fake_scheduled_prepare
#define scheduled_reads fake_scheduled_reads
#define scheduled_start fake_scheduled_start
#define scheduled_preempt fake_scheduled_preempt
#define scheduled_end fake_scheduled_end
#define scheduled_collect fake_scheduled_collect
#define scheduler_admit fake_scheduler_admit
#define scheduler_compose fake_scheduler_compose
#define scheduler_claim fake_scheduler_claim
#define scheduler_claim_more fake_scheduler_claim_more
#define scheduler_fits fake_scheduler_fits
#define scheduler_tokens fake_scheduler_tokens
#define scheduler_replay fake_scheduler_replay
#define scheduler_measure fake_scheduler_measure
#define scheduler_prefill_tokens fake_scheduler_prefill_tokens
#define load_new fake_load_new
#define load_free fake_load_free
#define load_sharing fake_load_sharing
#define load_run fake_load_run
#define load_run_alone fake_load_run_alone
#define load_drafter fake_load_drafter

#include "engine/report.h"
#include "session/decoding.c"
#include "session/feed.c"
#include "session/generate.c"
#include "session/scheduler.c"
#include "session/scheduler_admit.c"
#include "session/scheduler_compose.c"
#include "session/scheduler_pool.c"
#include "session/scheduler_rate.c"
#include "session/scheduler_request.c"
#include "session/scheduler_tokens.c"
#include "tests/support/load.c"

enum { VOCAB = 61, BLOCK = 8, HIDDEN = 4, FAKE_THREADS = 3 };

struct qm_engine {
    struct qm_model model;
    int64_t context, chunk, sequences, blocks;
    double step_cost, token_cost, depth_cost; /* seconds: of a step; of a token; of one that it attends to */
    /* so far */
    int64_t taken, open;
    double clock, longest; /* longest: a whole chunk's time at the greatest depth */
    int steps, fail_at;
    int32_t poison; /* a prompt that begins with it gives logits that are not finite; 0: none */
};

struct qm_sequence {
    struct qm_engine *engine;
    int64_t length, blocks;
    uint64_t hash;
    uint64_t *hashes; /* [context] before each token */
};

/* A cache that holds blocks of the pool that nobody uses. */
struct qm_prefix_cache {
    struct qm_engine *engine;
    int64_t idle, shrunk;
    int64_t stored;   /* blocks of every prefix that are in its store; */
    double read_cost; /* seconds to read one */
};

const struct qm_model *fake_engine_model(const struct qm_engine *e) {
    return &e->model;
}

int64_t fake_engine_context(const struct qm_engine *e) {
    return e->context;
}

int64_t fake_engine_longest(const struct qm_engine *e) {
    struct qm_pool_state pool;
    fake_engine_pool(e, &pool);
    int64_t tokens = pool.blocks * fake_engine_block_tokens(e);
    return tokens < e->context ? tokens : e->context;
}

void fake_engine_set_interrupt(struct qm_engine *e, const volatile sig_atomic_t *flag) {
    (void)e;
    (void)flag;
}

int64_t fake_engine_chunk(const struct qm_engine *e) {
    return e->chunk;
}

double fake_engine_clock(const struct qm_engine *e) {
    return e->clock;
}

int64_t fake_engine_sequences(const struct qm_engine *e) {
    return e->sequences;
}

int64_t fake_engine_block_tokens(const struct qm_engine *e) {
    (void)e;
    return BLOCK;
}

void fake_engine_pool(const struct qm_engine *e, struct qm_pool_state *out) {
    *out = (struct qm_pool_state){.blocks = e->blocks, .free_blocks = e->blocks - e->taken};
}

void fake_engine_run(struct qm_engine *e, int64_t n, qm_engine_item_fn *fn, void *arg) {
    (void)e;
    for (int64_t i = 0; i < n; i++)
        fn(arg, (int)(i * FAKE_THREADS / n), i);
}

int fake_engine_threads(const struct qm_engine *e) {
    (void)e;
    return FAKE_THREADS;
}

enum qm_isa fake_engine_isa(const struct qm_engine *e) {
    (void)e;
    return QM_ISA_SCALAR;
}

uint64_t fake_engine_decode_bytes(const struct qm_engine *e, int64_t depth) {
    (void)e;
    return (uint64_t)depth;
}

int fake_sequence_open(struct qm_engine *e, struct qm_sequence **out, struct qm_error *err) {
    if (e->open == e->sequences)
        return qm_fail(err, QM_FIT, "too many sequences");
    *out = calloc(1, sizeof **out);
    (*out)->engine = e;
    (*out)->hashes = calloc((size_t)e->context, sizeof *(*out)->hashes);
    e->open++;
    return QM_OK;
}

void fake_sequence_close(struct qm_sequence *s) {
    if (!s)
        return;
    s->engine->open--;
    s->engine->taken -= s->blocks;
    free(s->hashes);
    free(s);
}

int64_t fake_sequence_length(const struct qm_sequence *s) {
    return s->length;
}

int64_t fake_sequence_needs(const struct qm_sequence *s, int64_t n) {
    int64_t all = (s->length + n + BLOCK - 1) / BLOCK;
    return all > s->blocks ? all - s->blocks : 0;
}

int64_t fake_sequence_truncate(struct qm_sequence *s, int64_t n) {
    if (n >= s->length)
        return s->length;
    s->engine->taken -= s->blocks - (n + BLOCK - 1) / BLOCK;
    s->blocks = (n + BLOCK - 1) / BLOCK;
    s->hash = s->hashes[n];
    s->length = n;
    return n;
}

bool fake_engine_quiet(const struct qm_engine *e, struct qm_quiet_state *out) {
    (void)e, (void)out;
    return false;
}

/* What is read once stays, and holds no pages. */
int64_t fake_prefix_cache_read(struct qm_prefix_cache *c, const int32_t *tokens, int64_t n, int64_t most) {
    (void)tokens;
    int64_t blocks = n / BLOCK < c->stored ? n / BLOCK : c->stored;
    most = most < blocks ? most : blocks;
    c->stored -= most;
    c->engine->clock += (double)most * c->read_cost;
    return most;
}

int fake_prefix_cache_attach(struct qm_prefix_cache *c, struct qm_sequence *s, const int32_t *tokens, int64_t n,
                             int64_t *held, int64_t *from_disk, struct qm_error *err) {
    (void)s, (void)err, (void)from_disk;
    fake_prefix_cache_read(c, tokens, n, n);
    *held = 0;
    return QM_OK;
}

int64_t fake_prefix_cache_find(const struct qm_prefix_cache *c, const int32_t *tokens, int64_t n) {
    (void)c, (void)tokens, (void)n;
    return 0;
}

void fake_prefix_cache_add(struct qm_prefix_cache *c, struct qm_sequence *s, const int32_t *tokens, int64_t *known) {
    (void)c, (void)s, (void)tokens, (void)known;
}

int64_t fake_prefix_cache_idle(const struct qm_prefix_cache *c) {
    return c->idle;
}

int64_t fake_prefix_cache_shrink(struct qm_prefix_cache *c, int64_t n) {
    if (n > c->idle)
        n = c->idle;
    c->idle -= n;
    c->engine->taken -= n;
    c->shrunk += n;
    return n;
}

static void fake_logits(uint64_t hash, float *logits) {
    for (int i = 0; i < VOCAB; i++) {
        hash = hash * 6364136223846793005u + 1442695040888963407u;
        logits[i] = (float)(hash >> 40) * 0x1p-20f;
    }
}

static double cost(const struct qm_engine *e, int64_t tokens, double depths) {
    return e->step_cost + e->token_cost * (double)tokens + e->depth_cost * depths;
}

int fake_engine_step(struct qm_engine *e, const struct qm_step_rows *steps, int n_steps, struct qm_error *err) {
    int64_t tokens = 0, deepest = 0;
    double depths = 0;
    if (++e->steps == e->fail_at)
        return qm_fail(err, QM_SYSTEM, "scripted failure");
    for (int i = 0; i < n_steps; i++) {
        struct qm_sequence *s = steps[i].sequence;
        assert_true(steps[i].n >= 1 && steps[i].n_logits >= 0 && steps[i].n_logits <= steps[i].n);
        assert_true(s->length + steps[i].n <= e->context);
        int64_t more = fake_sequence_needs(s, steps[i].n);
        s->blocks += more;
        e->taken += more;
        for (int64_t t = 0; t < steps[i].n; t++) {
            s->hashes[s->length + t] = s->hash;
            s->hash = (s->hash ^ (uint64_t)(uint32_t)steps[i].tokens[t]) * 0x9E3779B97F4A7C15u + 1;
            int64_t row = t - (steps[i].n - steps[i].n_logits);
            if (row >= 0)
                fake_logits(s->hash, steps[i].logits + row * VOCAB);
            for (int64_t j = 0; row >= 0 && s->length == 0 && e->poison && steps[i].tokens[0] == e->poison && j < VOCAB;
                 j++)
                steps[i].logits[row * VOCAB + j] = NAN;
        }
        if (steps[i].hidden)
            for (int j = 0; j < HIDDEN; j++)
                steps[i].hidden[j] = (float)(s->hash >> (8 * j) & 0xFF);
        s->length += steps[i].n;
        tokens += steps[i].n;
        depths += (double)steps[i].n * (double)s->length;
        deepest = s->length > deepest ? s->length : deepest;
    }
    assert_true(tokens <= e->chunk);
    assert_true(e->taken <= e->blocks);
    double chunk = cost(e, e->chunk, (double)e->chunk * (double)deepest);
    e->longest = chunk > e->longest ? chunk : e->longest;
    e->clock += cost(e, tokens, depths);
    return QM_OK;
}

static double fake_now(void *arg) {
    const struct qm_engine *e = arg;
    return e->clock;
}

static inline struct qm_engine engine(int64_t context, int64_t chunk, int64_t sequences, int64_t blocks) {
    return (struct qm_engine){.model.config = {.vocab = VOCAB, .hidden = HIDDEN, .end_tokens = {7}, .n_end_tokens = 1},
                              .context = context,
                              .chunk = chunk,
                              .sequences = sequences,
                              .blocks = blocks,
                              .step_cost = 10,
                              .token_cost = 1,
                              .depth_cost = 0.001};
}

static inline struct qm_scheduler_options options(struct qm_engine *e) {
    return (struct qm_scheduler_options){.engine = e, .now = fake_now, .now_arg = e};
}

#endif
