/* Opening a small model of random weights, and timing steps of it. */
#include "planner/calibrate_model.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/stats.h"
#include "engine/report.h"
#include "engine/sequence.h"

enum { STEPS = 16, MIN_STEPS = 2 };
static const double SECONDS = 0.1 /* of a window */, FRESH = 0.5 /* seconds that limits hold */;

int qm_calibration_open(enum qm_isa isa, double until, const char *config, int64_t chunk, int64_t context,
                        struct qm_calibration_model *out, struct qm_error *err) {
    json_t *root = NULL;
    const struct qm_kernels *kernels;
    *out = (struct qm_calibration_model){.state = 1, .chunk = chunk, .until = until};
    int rc = qm_json_parse(config, strlen(config), "calibration", &root, err);
    if (!rc)
        rc = qm_model_from_config(root, "calibration", NULL, &out->model, err);
    json_decref(root);
    if (rc)
        return rc;
    struct qm_engine_options options = {.isa = isa,
                                        .context = context ? context : out->model->config.max_positions,
                                        .sequences = 1,
                                        .chunk = chunk,
                                        .kv_type = -1};
    out->logits = calloc((size_t)out->model->config.vocab, sizeof *out->logits);
    out->tokens = calloc((size_t)chunk, sizeof *out->tokens);
    if (!out->logits || !out->tokens)
        return qm_fail_memory(err, (uint64_t)chunk * 4, "calibration");
    rc = qm_engine_open(out->model, &options, &out->engine, err);
    if (!rc)
        rc = qm_sequence_open(out->engine, &out->sequence, err);
    if (!rc)
        rc = qm_kernels_get(isa, &kernels, err);
    if (!rc)
        rc = qm_limits_open(qm_engine_team(out->engine), kernels, &out->probe, err);
    if (rc)
        return rc;
    out->threads = qm_engine_threads(out->engine);
    return QM_OK;
}

void qm_calibration_close(struct qm_calibration_model *m) {
    qm_limits_close(m->probe);
    qm_sequence_close(m->sequence);
    qm_engine_close(m->engine);
    qm_model_close(m->model);
    free(m->logits);
    free(m->tokens);
    *m = (struct qm_calibration_model){0};
}

static int one_step(struct qm_calibration_model *m, int64_t n, struct qm_error *err) {
    for (int64_t i = 0; i < n; i++) {
        m->state = m->state * 1664525u + 1013904223u;
        m->tokens[i] = (int32_t)((m->state >> 8) % (uint32_t)m->model->config.vocab);
    }
    struct qm_step_rows step = {
        .sequence = m->sequence, .tokens = m->tokens, .n = n, .n_logits = 1, .logits = m->logits};
    return qm_engine_step(m->engine, &step, 1, err);
}

/* Median seconds by kind of op. */
static int time_window(struct qm_calibration_model *m, int64_t depth, int64_t n, double seconds[QM_OP_COUNT],
                       struct qm_error *err) {
    double samples[QM_OP_COUNT][STEPS], begin = qm_now();
    int rc = QM_OK, steps = 0;
    for (; !rc && steps < STEPS && (steps < MIN_STEPS || qm_now() - begin < SECONDS); steps++) {
        struct qm_engine_profile profile = {0};
        qm_sequence_truncate(m->sequence, depth);
        qm_engine_set_profile(m->engine, &profile);
        rc = one_step(m, n, err);
        qm_engine_set_profile(m->engine, NULL);
        for (int k = 0; k < QM_OP_COUNT; k++)
            samples[k][steps] = profile.seconds[k];
    }
    for (int k = 0; k < QM_OP_COUNT; k++)
        seconds[k] = qm_figure_of(samples[k], steps).median;
    return rc;
}

static struct qm_limits limits_now(struct qm_calibration_model *m) {
    m->limits = qm_limits_measure(m->probe);
    m->limits_at = qm_now();
    return m->limits;
}

int qm_calibration_time(struct qm_calibration_model *m, int64_t depth, int64_t n, enum qm_dtype type, double bytes,
                        double flops, struct qm_calibration_timing *out, struct qm_error *err) {
    if (qm_now() > m->until)
        return qm_fail(err, QM_STOPPED, "it takes long");
    qm_sequence_truncate(m->sequence, 0);
    int rc = qm_sequence_fill_random(m->sequence, depth, 1, err);
    if (!rc)
        rc = one_step(m, n, err); /* warms up */
    struct qm_limits before = qm_now() - m->limits_at < FRESH ? m->limits : limits_now(m);
    if (!rc)
        rc = time_window(m, depth, n, out->seconds, err);
    struct qm_limits both[] = {before, limits_now(m)};
    out->around = qm_limits_median(both, 2).median;
    double computing = type == QM_F16 || type == QM_F32 ? out->around.f32 : out->around.bf16;
    out->limit = fmax(bytes / out->around.read, flops / computing);
    return rc;
}
