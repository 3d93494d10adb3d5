/* One prompt read and one answer written, as each configuration of a comparison does it, and what is measured of that.
 */
#include <math.h>
#include <stdlib.h>

#include "app/compare/compare_private.h"
#include "engine/report.h"
#include "engine/sequence.h"
#include "session/feed.h"

static void add_point(struct qm_compare_curve *curve, double depth, double low, double high, double tokens,
                      double seconds) {
    int at = high > low ? (int)((depth - low) / (high - low) * QM_COMPARE_POINTS) : 0;
    at = at < 0 ? 0 : at < QM_COMPARE_POINTS ? at : QM_COMPARE_POINTS - 1;
    curve->depth[at] += depth * tokens;
    curve->tokens[at] += tokens;
    curve->seconds[at] += seconds;
}

struct reading {
    struct qm_compare_runner *runner;
    int config;
    int64_t n;
};

static int note_piece(void *arg, const struct qm_fed *f, struct qm_error *err) {
    (void)err;
    const struct reading *of = arg;
    const struct qm_compare_task *t = of->runner->task;
    struct qm_compare_samples *s = &of->runner->samples[of->config];
    qm_meter_tick(t->meter);
    s->prefill_now += f->seconds;
    add_point(&s->prefill, (double)f->done, 0, (double)t->context, (double)f->n, f->seconds);
    qm_work_add_step(t->model, qm_engine_kv_type(of->runner->lane[of->config].engine), 1, f->done - f->n, f->n,
                     f->done == of->n, &s->prefill_work);
    return QM_OK;
}

static int read_prompt(struct qm_compare_runner *r, int i, int p, struct qm_error *err) {
    const struct qm_compare_task *t = r->task;
    struct qm_compare_lane *l = &r->lane[i];
    struct qm_compare_samples *s = &r->samples[i];
    int64_t n = (int64_t)t->prompt[p].len;
    struct reading reading = {r, i, n};
    const struct qm_feed f = {
        .engine = l->engine,
        .step = {.sequence = l->sequence, .tokens = t->prompt[p].data, .n = n, .n_logits = 1, .logits = r->logits},
        .piece = t->chunk,
        .device_needed = true,
        .on_piece = note_piece,
        .arg = &reading,
        .interrupt = t->stop};
    qm_sequence_truncate(l->sequence, 0);
    qm_meter_begin(t->meter);
    int rc = qm_feed(&f, err);
    qm_meter_end(t->meter);
    s->read_joules += t->meter->joules;
    s->read_tokens += (double)n;
    return rc;
}

struct sampling {
    struct qm_sampler sampler;
    struct qm_sampler_scratch *scratch;
    struct qm_past_tokens past;
};

/* The token after those in ids so far. */
static int sample(struct sampling *d, const float *logits, int32_t *ids, struct qm_error *err) {
    int rc = qm_sampler_next(&d->sampler, d->scratch, &d->past, logits, &ids[d->past.n_output], err);
    d->past.n_output += !rc;
    return rc;
}

/* How many drafts the next step checks, of at most `left` tokens that are still to be written. */
static int draft(struct qm_compare_runner *r, const struct qm_compare_lane *l, struct qm_speculated *drafts,
                 const struct sampling *d, int64_t left) {
    if (!drafts || !qm_speculation_looks(r->speculation, 1))
        return 0;
    qm_speculated_follow(drafts, d->past.n_prompt, d->past.output, d->past.n_output);
    qm_speculated_offer(drafts, 1, left - 1);
    qm_speculation_choose(r->speculation, &drafts, 1, qm_engine_chunk(l->engine) - 1);
    return qm_speculated_chosen(drafts);
}

/* A step of the last token and of drafts behind it, and the tokens sampled from its logits. low: the least depth of any
 * answer. */
static int write_more(struct qm_compare_runner *r, int i, struct sampling *d, struct qm_speculated *drafts, double low,
                      int32_t *ids, struct qm_error *err) {
    const struct qm_compare_task *t = r->task;
    struct qm_compare_lane *l = &r->lane[i];
    struct qm_compare_samples *s = &r->samples[i];
    int64_t held = qm_sequence_length(l->sequence), first = d->past.n_output, vocab = t->model->config.vocab;
    double start = qm_engine_clock(l->engine);
    int32_t tokens[QM_COMPARE_LOGITS];
    int k = draft(r, l, drafts, d, t->generate - first), n = 0;
    tokens[0] = ids[first - 1];
    for (int j = 0; j < k; j++)
        tokens[1 + j] = qm_speculated_draft(drafts, j);
    double step = qm_engine_clock(l->engine);
    int rc = qm_compare_step(r, l, tokens, 1 + k, r->logits, err);
    step = qm_engine_clock(l->engine) - step;
    for (bool same = true; same && n <= k && !rc; n += !rc) {
        rc = sample(d, r->logits + n * vocab, ids, err);
        same = !rc && n < k && ids[first + n] == tokens[1 + n];
    }
    if (rc)
        return rc;
    qm_speculated_sampled(drafts, ids + first, n);
    qm_speculation_took(r->speculation, 1, step);
    qm_sequence_truncate(l->sequence, held + n);
    double seconds = qm_engine_clock(l->engine) - start;
    s->decode_now += seconds;
    add_point(&s->decode, (double)held, low, (double)t->context, n, seconds);
    for (int j = 0; j < n; j++)
        qm_work_add_step(t->model, qm_engine_kv_type(l->engine), 1, held + j, 1, 1, &s->decode_work);
    return QM_OK;
}

static int write_answer(struct qm_compare_runner *r, int i, int p, struct sampling *d, int32_t *ids,
                        struct qm_error *err) {
    const struct qm_compare_task *t = r->task;
    struct qm_compare_lane *l = &r->lane[i];
    struct qm_compare_samples *s = &r->samples[i];
    struct qm_speculated *drafts = NULL;
    double low = (double)t->prompt[0].len;
    for (int k = 0; k < t->prompts; k++)
        low = fmin(low, (double)t->prompt[k].len);
    int rc = qm_speculated_open(r->speculation, &drafts, err);
    qm_speculated_follow(rc ? NULL : drafts, 0, t->prompt[p].data, (int64_t)t->prompt[p].len);
    double start = qm_engine_clock(l->engine);
    if (!rc)
        rc = sample(d, r->logits, ids, err);
    s->first_now += qm_engine_clock(l->engine) - start;
    qm_meter_begin(t->meter);
    while (!rc && d->past.n_output < t->generate)
        rc = write_more(r, i, d, drafts, low, ids, err);
    qm_meter_end(t->meter);
    qm_speculated_close(drafts);
    s->decode_joules += t->meter->joules;
    s->write_metered += t->meter->seconds;
    s->written += (double)(t->generate - 1);
    r->report->config[i].celsius = fmax(r->report->config[i].celsius, t->meter->celsius);
    r->report->config[i].fan_rpm = fmax(r->report->config[i].fan_rpm, t->meter->fan_rpm);
    return rc;
}

int qm_compare_answer(struct qm_compare_runner *r, int i, int p, int round, struct qm_error *err) {
    const struct qm_compare_task *t = r->task;
    struct qm_compare_config *c = &r->report->config[i];
    struct qm_sampling sampling = t->sampling;
    int32_t *ids = calloc((size_t)t->generate, sizeof *ids);
    struct sampling d = {.past = {.prompt = t->prompt[p].data, .n_prompt = (int64_t)t->prompt[p].len, .output = ids}};
    sampling.seed += (uint64_t)p;
    int rc = qm_sampling_check(&sampling, t->model->config.vocab, err);
    if (!rc)
        rc = ids ? qm_sampler_scratch_new(t->model->config.vocab, qm_engine_isa(r->lane[i].engine), &d.scratch, err)
                 : qm_fail_memory(err, (uint64_t)t->generate * sizeof *ids, "an answer");
    qm_sampler_start(&d.sampler, &sampling);
    if (!rc)
        rc = read_prompt(r, i, p, err);
    if (!rc)
        rc = write_answer(r, i, p, &d, ids, err);
    qm_sampler_scratch_free(d.scratch);
    if (!rc && round == 0) {
        c->answer[p] = ids;
        c->n_answer[p] = t->generate;
        return QM_OK;
    }
    if (!rc && qm_first_difference(c->answer[p], t->generate, ids, t->generate) >= 0)
        c->unsteady = true;
    free(ids);
    return rc;
}
