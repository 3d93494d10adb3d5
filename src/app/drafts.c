/* Drafts as the commands that generate ask for them. */
#include "app/drafts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/signals.h"
#include "base/words.h"

/* Texts of about four million tokens, of all requests together. */
static const uint64_t most_bytes = 64u << 20;

int qm_drafts_describe(const struct qm_draft_options *o, const struct qm_app_model *target, int64_t texts,
                       struct qm_progress *progress, struct qm_drafts *out, struct qm_error *err) {
    uint64_t tokens = (uint64_t)(texts * target->model->config.default_positions);
    if (o->off)
        return QM_OK;
    out->memory.bytes =
        tokens && tokens < most_bytes / QM_LOOKUP_TOKEN_BYTES ? tokens * QM_LOOKUP_TOKEN_BYTES : most_bytes;
    if (!o->model)
        return QM_OK;
    int rc = qm_app_open(&(struct qm_model_options){.name = o->model}, QM_TOKENIZER_YES, progress, &out->small, err);
    if (!rc)
        rc = qm_app_check_head(&out->small, err);
    if (!rc && !target->tokenizer)
        rc = qm_fail(err, QM_INPUT, "%s has no tokenizer, so it cannot be seen whether %s has the same tokens",
                     target->dir, o->model);
    if (!rc)
        rc = qm_draft_model_check(target->tokenizer, out->small.tokenizer, err);
    out->memory.model = rc ? NULL : out->small.model;
    return rc;
}

static int load_progress(void *arg, const char *what, uint64_t done, uint64_t total) {
    (void)what;
    qm_progress_update(arg, "draft model", done, total, QM_PROGRESS_BYTES);
    return *qm_signals_flag() != 0;
}

/* On the target's threads, for as many sequences. */
static int open_model(const struct qm_app_model *target, struct qm_progress *progress, struct qm_drafts *out,
                      struct qm_error *err) {
    struct qm_engine *engine = target->engine;
    struct qm_app_model *small = &out->small;
    struct qm_workload all = *qm_engine_workload(engine), w;
    all.drafts = out->memory;
    qm_memory_draft_workload(target->model, &all, &w);
    const struct qm_engine_options options = {
        .beside = engine,
        .isa = qm_engine_isa(engine),
        .context = w.context,
        .sequences = w.sequences,
        .chunk = w.chunk,
        .kv_memory = w.kv_memory,
        .kv_type = (int)w.kv_type,
        .progress = load_progress,
        .progress_arg = progress,
    };
    int rc = qm_engine_open(small->model, &options, &small->engine, err);
    qm_progress_end(progress);
    if (rc)
        return qm_fail_context(err, "the draft model");
    qm_engine_set_interrupt(small->engine, qm_signals_flag());
    if (all.context > w.context)
        qm_note(progress, "the draft model drafts for texts of up to %lld tokens", (long long)w.context);
    return qm_draft_model_new(small->engine, target->model->config.vocab, &out->model, err);
}

int qm_drafts_open(const struct qm_draft_options *o, const struct qm_app_model *target, struct qm_progress *progress,
                   struct qm_drafts *out, struct qm_error *err) {
    if (o->off)
        return QM_OK;
    int rc = qm_lookup_new(out->memory.bytes, &out->lookup, err);
    if (!rc && out->small.model)
        rc = open_model(target, progress, out, err);
    if (rc)
        return rc;
    struct qm_speculation_options options = {.drafter = qm_lookup_drafter(out->lookup), .most = o->most};
    if (out->model) {
        out->pair = (struct qm_draft_pair){options.drafter, qm_draft_model_drafter(out->model)};
        options.drafter = qm_draft_pair_drafter(&out->pair);
    }
    return qm_speculation_new(&options, &out->speculation, err);
}

void qm_drafts_close(struct qm_drafts *d) {
    qm_speculation_free(d->speculation);
    qm_draft_model_free(d->model);
    qm_lookup_free(d->lookup);
    qm_app_close(&d->small);
    *d = (struct qm_drafts){0};
}

void qm_drafts_text(const struct qm_drafts *d, char *out, size_t size) {
    struct qm_speculation_stats s = {0};
    if (d->speculation)
        qm_speculation_stats(d->speculation, &s);
    *out = 0;
    if (!s.drafted)
        return;
    snprintf(out, size, "drafts: %lld of %lld drafted token%s %s right (%.0f %%), which %s about %.2f s",
             (long long)s.accepted, (long long)s.drafted, qm_s(s.drafted), s.drafted == 1 ? "was" : "were",
             100.0 * (double)s.accepted / (double)s.drafted, s.saved < 0 ? "cost" : "saved", fabs(s.saved));
}

void qm_drafts_report(const struct qm_drafts *d, struct qm_progress *progress) {
    char text[160];
    qm_drafts_text(d, text, sizeof text);
    if (*text)
        qm_note(progress, "%s", text);
    if (d->model && qm_draft_model_failed(d->model))
        qm_note(progress, "the draft model's logits were not finite; it drafted no more from there on");
}

json_t *qm_drafts_json(const struct qm_drafts *d) {
    struct qm_speculation_stats s;
    if (!d->speculation)
        return json_null();
    qm_speculation_stats(d->speculation, &s);
    return json_pack("{s:I, s:I, s:I, s:f}", "steps", (json_int_t)s.steps, "drafted", (json_int_t)s.drafted, "accepted",
                     (json_int_t)s.accepted, "saved_seconds", s.saved);
}
