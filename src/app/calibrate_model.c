/* Opening a small model of random weights, and timing steps of it. */
#include "app/calibrate_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum { DEEPEST = 33792, STEPS = 32, MIN_STEPS = 3, MODELS = 9 };
static const double SECONDS = 0.08;

int qm_calibration_open(struct qm_calibration_setup *s, const char *config, int64_t chunk,
                        struct qm_calibration_model *out, struct qm_error *err) {
    json_t *root = NULL;
    const struct qm_kernels *kernels;
    *out = (struct qm_calibration_model){.state = 1, .chunk = chunk};
    qm_progress_update(s->progress, "measuring the kernels", (uint64_t)s->done++, MODELS, QM_UNIT_STEPS);
    int rc = qm_json_parse(config, strlen(config), "calibration", &root, err);
    if (!rc)
        rc = qm_model_from_config(root, "calibration", NULL, &out->model, err);
    json_decref(root);
    if (rc)
        return rc;
    int64_t most = out->model->config.max_positions;
    struct qm_engine_options options = {
        .isa = s->isa, .context = most < DEEPEST ? most : DEEPEST, .sequences = 1, .chunk = chunk, .kv_type = -1};
    out->logits = calloc((size_t)out->model->config.vocab, sizeof *out->logits);
    out->tokens = calloc((size_t)chunk, sizeof *out->tokens);
    if (!out->logits || !out->tokens)
        return qm_fail_memory(err, (uint64_t)chunk * 4, "calibration");
    rc = qm_engine_open(out->model, &options, &out->engine, err);
    if (!rc)
        rc = qm_sequence_open(out->engine, &out->sequence, err);
    if (!rc)
        rc = qm_kernels_get(s->isa, &kernels, err);
    struct qm_limits_probe *probe = NULL;
    if (!rc)
        rc = qm_limits_open(qm_engine_team(out->engine), kernels, true, &probe, err);
    if (rc)
        return rc;
    out->limits = qm_limits_measure(probe);
    qm_limits_close(probe);
    out->threads = qm_engine_threads(out->engine);
    return QM_OK;
}

void qm_calibration_close(struct qm_calibration_model *m) {
    qm_sequence_close(m->sequence);
    qm_engine_close(m->engine);
    qm_model_close(m->model);
    free(m->logits);
    free(m->tokens);
    *m = (struct qm_calibration_model){0};
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int one_step(struct qm_calibration_model *m, int64_t n, struct qm_error *err) {
    for (int64_t i = 0; i < n; i++) {
        m->state = m->state * 1664525u + 1013904223u;
        m->tokens[i] = (int32_t)((m->state >> 8) % (uint32_t)m->model->config.vocab);
    }
    struct qm_step step = {.sequence = m->sequence, .tokens = m->tokens, .n = n, .n_logits = 1, .logits = m->logits};
    return qm_engine_step(m->engine, &step, 1, err);
}

int qm_calibration_time(struct qm_calibration_model *m, int64_t depth, int64_t n, double seconds[QM_OP_COUNT],
                        struct qm_error *err) {
    double samples[QM_OP_COUNT][STEPS], begin = qm_now();
    int steps = 0;
    qm_sequence_truncate(m->sequence, 0);
    int rc = qm_sequence_fill_random(m->sequence, depth, 1, err);
    if (!rc)
        rc = one_step(m, n, err); /* warms up */
    for (; !rc && steps < STEPS && (steps < MIN_STEPS || qm_now() - begin < SECONDS); steps++) {
        struct qm_engine_profile profile = {0};
        qm_sequence_truncate(m->sequence, depth);
        qm_engine_set_profile(m->engine, &profile);
        rc = one_step(m, n, err);
        qm_engine_set_profile(m->engine, NULL);
        for (int k = 0; k < QM_OP_COUNT; k++)
            samples[k][steps] = profile.seconds[k];
    }
    for (int k = 0; k < QM_OP_COUNT && !rc; k++) {
        qsort(samples[k], (size_t)steps, sizeof **samples, ascending);
        seconds[k] = samples[k][steps / 2];
    }
    return rc;
}
