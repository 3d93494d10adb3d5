/* Prefill, then token by token: step, decoding (decoding.h), callback. Between the engine's steps and whoever shows
 * or stores the text; it keeps no conversation and schedules nothing. */
#include "session/generate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "engine/report.h"
#include "engine/sequence.h"
#include "session/draft/speculation.h"
#include "session/feed.h"

struct run {
    const struct qm_generate *g;
    struct qm_generate_result *out;
    struct qm_error *err;
    int64_t room;  /* for generated tokens, in the context */
    int rows;      /* of logits: a token's, and those of its drafts */
    float *logits; /* [rows][vocab] */
    int32_t *past; /* history and prompt, for the penalties */
    struct qm_sampler_scratch *scratch;
    struct qm_decoding *decoding;
    struct qm_speculated *drafts; /* NULL: none */
    int64_t n_past;
    int32_t tokens[QM_DRAFT_MAX + 1]; /* of the step: the last one and its drafts */
    int32_t sampled[QM_DRAFT_MAX + 1];
};

static bool interrupted(const struct qm_generate *g) {
    return g->interrupt && *g->interrupt;
}

static int check(struct run *r) {
    const struct qm_generate *g = r->g;
    if (g->n_prompt < 1)
        return qm_fail(r->err, QM_INPUT, "the prompt has no tokens; at least one is needed");
    int64_t context = qm_engine_context(g->engine), prefix = qm_sequence_length(g->sequence);
    if (g->n_prompt > context - prefix)
        return qm_remedy(
            r->err, QM_REMEDY_SHORTER_PROMPT,
            qm_fail(r->err, QM_INPUT,
                    "the prompt has %lld token%s, but the context of %lld tokens has room for %lld (%lld token%s in it "
                    "already)",
                    (long long)g->n_prompt, qm_s(g->n_prompt), (long long)context, (long long)(context - prefix),
                    (long long)prefix, qm_s(prefix)));
    r->room = context - prefix - g->n_prompt;
    r->out->prefix_tokens = prefix;
    r->out->prompt_tokens = prefix + g->n_prompt;
    return QM_OK;
}

/* Everything that is allocated, before anything is computed. */
static int prepare(struct run *r) {
    const struct qm_generate *g = r->g;
    const struct qm_config *config = &qm_engine_model(g->engine)->config;
    struct qm_decoding_options o = g->decoding;
    o.room = r->room;
    int rc = qm_decoding_new(&o, config, &r->decoding, r->err);
    if (!rc)
        rc = qm_sampler_scratch_new(config->vocab, qm_engine_isa(g->engine), &r->scratch, r->err);
    if (rc)
        return rc;
    size_t n_ids = (size_t)(o.max_tokens >= 0 && o.max_tokens < r->room ? o.max_tokens : r->room);
    r->rows = 1 + qm_speculation_most(g->speculation);
    size_t bytes = (size_t)r->rows * (size_t)config->vocab * sizeof *r->logits;
    r->logits = malloc(bytes);
    r->out->ids.data = malloc((n_ids + 1) * sizeof *r->out->ids.data);
    size_t n_history = g->history ? (size_t)g->n_history : 0, n_past = n_history + (size_t)g->n_prompt;
    r->past = malloc(n_past * sizeof *r->past);
    if (!r->logits || !r->out->ids.data || !r->past)
        return qm_fail_memory(r->err, bytes + (n_ids + n_past) * sizeof *r->past, "a token's logits and the ids");
    r->out->ids.cap = n_ids + 1;
    if (n_history)
        memcpy(r->past, g->history, n_history * sizeof *r->past);
    memcpy(r->past + n_history, g->prompt, (size_t)g->n_prompt * sizeof *r->past);
    qm_decoding_tokens(r->decoding, r->past, (int64_t)n_past, r->out->ids.data);
    r->n_past = (int64_t)n_past;
    rc = qm_speculated_open(g->speculation, &r->drafts, r->err);
    qm_speculated_follow(rc ? NULL : r->drafts, 0, r->past, r->n_past);
    return rc;
}

static int fed(void *arg, const struct qm_fed *f, struct qm_error *err) {
    const struct qm_generate *g = arg;
    return g->on_prefill && g->on_prefill(g->arg, f->done, g->n_prompt) ? qm_fail(err, QM_INTERRUPTED, "interrupted")
                                                                        : QM_OK;
}

/* *stopped: interrupted before the last token was computed. */
static int prefill(struct run *r, bool *stopped) {
    const struct qm_generate *g = r->g;
    const struct qm_feed f = {
        .engine = g->engine,
        .step = {.sequence = g->sequence, .tokens = g->prompt, .n = g->n_prompt, .n_logits = 1, .logits = r->logits},
        .held = g->history,
        .on_piece = fed,
        .arg = (void *)(uintptr_t)g,
        .interrupt = g->interrupt};
    *stopped = g->on_prefill && g->on_prefill(g->arg, 0, g->n_prompt);
    int rc = *stopped ? QM_OK : qm_feed(&f, r->err);
    *stopped = *stopped || rc == QM_INTERRUPTED;
    return *stopped ? QM_OK : rc;
}

/* How many drafts the next step checks, behind the last token. */
static int draft(struct run *r) {
    const struct qm_generate *g = r->g;
    const struct qm_ids *ids = &r->out->ids;
    struct qm_quiet_state quiet;
    struct qm_pool_state pool;
    int64_t room = (int64_t)ids->cap - 1 - (int64_t)ids->len, chunk = qm_engine_chunk(g->engine);
    /* while the engine looks for the fewest threads it compares steps of one token */
    if ((qm_engine_quiet(g->engine, &quiet) && !quiet.found) || !qm_speculation_looks(g->speculation, 1))
        return 0;
    qm_speculated_follow(r->drafts, r->n_past, ids->data, (int64_t)ids->len);
    qm_speculated_offer(r->drafts, 1, room - 1);
    qm_speculation_choose(g->speculation, &r->drafts, 1, chunk - 1);
    int n = qm_speculated_chosen(r->drafts);
    qm_engine_pool(g->engine, &pool);
    while (n && qm_sequence_needs(g->sequence, 1 + n) > pool.free_blocks)
        n--;
    qm_speculated_choose_fewer(r->drafts, n);
    return n;
}

/* Computes the logits after the last generated token, and after each of n drafts. */
static int decode_step(struct run *r, int n) {
    const struct qm_generate *g = r->g;
    const struct qm_ids *ids = &r->out->ids;
    r->out->decode_bytes += qm_engine_decode_bytes(g->engine, qm_sequence_length(g->sequence));
    r->tokens[0] = ids->data[ids->len - 1];
    for (int i = 0; i < n; i++)
        r->tokens[1 + i] = qm_speculated_draft(r->drafts, i);
    struct qm_step_rows step = {
        .sequence = g->sequence, .tokens = r->tokens, .n = 1 + n, .n_logits = 1 + n, .logits = r->logits};
    const struct qm_known_tokens known[] = {
        {g->history, r->out->prefix_tokens}, {g->prompt, g->n_prompt}, {ids->data, (int64_t)ids->len}};
    return qm_step_surely(g->engine, &step, known, 3, r->err);
}

/* Samples a token from its logits and hands it out. *ended: it was the last, out->finish says why. */
static int take_token(struct run *r, const float *logits, int32_t *id, bool *ended) {
    const struct qm_generate *g = r->g;
    struct qm_generate_result *out = r->out;
    struct qm_generate_token t = {0};
    int rc = qm_decoding_sample(r->decoding, r->scratch, logits, id, r->err);
    if (!rc)
        rc = qm_decoding_take(r->decoding, *id, logits, &t, ended, &out->finish, r->err);
    if (!rc)
        rc = qm_ids_push(&out->ids, t.id, r->err);
    if (!rc && g->on_token && g->on_token(g->arg, &t) && !*ended) {
        *ended = true;
        out->finish = QM_FINISH_INTERRUPTED;
    }
    return rc;
}

/* A step after the prompt: tokens are sampled for as long as they are what was drafted, and what was computed behind
 * them is cut back. */
static int decode_more(struct run *r, bool *ended) {
    const struct qm_generate *g = r->g;
    int64_t held = qm_sequence_length(g->sequence), vocab = qm_engine_model(g->engine)->config.vocab;
    int n = draft(r), n_sampled = 0;
    double begin = qm_engine_clock(g->engine);
    int rc = decode_step(r, n);
    double seconds = qm_engine_clock(g->engine) - begin;
    if (rc)
        return rc;
    bool same = true;
    for (int i = 0; i <= n && same && !*ended && !rc; i++) {
        rc = take_token(r, r->logits + i * vocab, &r->sampled[i], ended);
        n_sampled += !rc;
        same = i < n && r->sampled[i] == r->tokens[1 + i];
    }
    r->out->decode_tokens += n_sampled;
    r->out->drafted += n;
    r->out->accepted += n_sampled > n ? n : n_sampled - 1;
    qm_speculated_sampled(r->drafts, r->sampled, n_sampled);
    qm_speculation_took(g->speculation, 1, seconds);
    if (n > 0 && n_sampled > 0 && n_sampled <= n) {
        int64_t left = qm_sequence_truncate(g->sequence, held + n_sampled);
        assert(left == held + n_sampled); /* windows keep what a step's tokens need, and those are more */
        (void)left;
    }
    return rc;
}

static int decode(struct run *r) {
    const struct qm_generate *g = r->g;
    bool ended = !qm_decoding_begins(r->decoding, &r->out->finish);
    int rc = QM_OK;
    while (!rc && !ended) {
        if ((ended = interrupted(g)))
            r->out->finish = QM_FINISH_INTERRUPTED;
        else if (r->out->ids.len == 0)
            rc = take_token(r, r->logits, &r->sampled[0], &ended);
        else
            rc = decode_more(r, &ended);
        if (rc == QM_INTERRUPTED) { /* while drafts were checked */
            rc = QM_OK;
            ended = true;
            r->out->finish = QM_FINISH_INTERRUPTED;
        }
    }
    return rc || r->out->finish != QM_FINISH_INTERRUPTED ? rc : qm_decoding_interrupt(r->decoding, r->err);
}

int qm_generate(const struct qm_generate *g, struct qm_generate_result *out, struct qm_error *err) {
    *out = (struct qm_generate_result){0};
    struct run r = {.g = g, .out = out, .err = err};
    int rc = check(&r);
    if (!rc)
        rc = prepare(&r);
    if (!rc) {
        bool stopped;
        qm_engine_set_interrupt(g->engine, g->interrupt);
        double begin = qm_engine_clock(g->engine);
        rc = prefill(&r, &stopped);
        double middle = qm_engine_clock(g->engine);
        out->prefill_seconds = middle - begin;
        out->prefill_tokens = qm_sequence_length(g->sequence) - out->prefix_tokens;
        if (stopped)
            out->finish = QM_FINISH_INTERRUPTED;
        else if (!rc)
            rc = decode(&r);
        out->decode_seconds = qm_engine_clock(g->engine) - middle;
        qm_engine_set_interrupt(g->engine, NULL);
    }
    if (r.decoding) {
        out->text = *qm_decoding_text(r.decoding);
        *qm_decoding_text(r.decoding) = (struct qm_buf){0};
    }
    free(r.logits);
    free(r.past);
    qm_sampler_scratch_free(r.scratch);
    qm_decoding_free(r.decoding);
    qm_speculated_close(r.drafts);
    if (rc)
        qm_generate_result_free(out);
    return rc;
}

void qm_generate_result_free(struct qm_generate_result *r) {
    qm_ids_free(&r->ids);
    qm_buf_free(&r->text);
    *r = (struct qm_generate_result){0};
}
