/* Prefill, then token by token: step, decoding (decoding.h), callback. Between the engine's steps and whoever shows
 * or stores the text; it keeps no conversation and schedules nothing. */
#include "session/generate.h"
#include "base/words.h"

#include <stdlib.h>
#include <string.h>

#include "session/feed.h"

struct run {
    const struct qm_generate *g;
    struct qm_generate_result *out;
    struct qm_error *err;
    int64_t room; /* for generated tokens, in the context */
    float *logits;
    int32_t *past; /* history and prompt, for the penalties */
    struct qm_sampler_scratch *scratch;
    struct qm_decoding *decoding;
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
    size_t bytes = (size_t)config->vocab * sizeof *r->logits;
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
    return QM_OK;
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

/* Computes the logits after the last generated token. */
static int decode_step(struct run *r) {
    const struct qm_generate *g = r->g;
    const struct qm_ids *ids = &r->out->ids;
    r->out->decode_bytes += qm_engine_decode_bytes(g->engine, qm_sequence_length(g->sequence));
    r->out->decode_steps++;
    struct qm_step step = {
        .sequence = g->sequence, .tokens = &ids->data[ids->len - 1], .n = 1, .n_logits = 1, .logits = r->logits};
    const struct qm_known_tokens known[] = {
        {g->history, r->out->prefix_tokens}, {g->prompt, g->n_prompt}, {ids->data, (int64_t)ids->len}};
    return qm_step_surely(g->engine, &step, known, 3, r->err);
}

/* Draws a token from r->logits and hands it out. *ended: it was the last, out->finish says why. */
static int take_token(struct run *r, bool *ended) {
    const struct qm_generate *g = r->g;
    struct qm_generate_result *out = r->out;
    struct qm_generate_token t = {0};
    int rc = qm_decoding_draw(r->decoding, r->scratch, r->logits, r->err);
    if (!rc)
        rc = qm_decoding_take(r->decoding, &t, ended, &out->finish, r->err);
    if (!rc)
        rc = qm_ids_push(&out->ids, t.id, r->err);
    if (!rc && g->on_token && g->on_token(g->arg, &t) && !*ended) {
        *ended = true;
        out->finish = QM_FINISH_INTERRUPTED;
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
        else if (r->out->ids.len == 0 || !(rc = decode_step(r)))
            rc = take_token(r, &ended);
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
    if (rc)
        qm_generate_result_free(out);
    return rc;
}

void qm_generate_result_free(struct qm_generate_result *r) {
    qm_ids_free(&r->ids);
    qm_buf_free(&r->text);
    *r = (struct qm_generate_result){0};
}
