/* Log-probabilities and speeds. */
#include "app/generation_report.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/quiet.h"
#include "base/words.h"
#include "engine/report.h"
#include "planner/limits.h"

static void append_entry(char *line, size_t size, size_t *n, const json_t *entry) {
    char *text = json_dumps(json_object_get(entry, "token"), JSON_ENCODE_ANY);
    int more =
        snprintf(line + *n, size - *n, "  %lld %s %.4f", (long long)json_integer_value(json_object_get(entry, "id")),
                 text ? text : "", json_real_value(json_object_get(entry, "logprob")));
    *n = *n + (size_t)more < size ? *n + (size_t)more : size - 1;
    free(text);
}

void qm_report_logprobs_print(struct qm_progress *progress, const json_t *list) {
    const json_t *entry, *top;
    size_t i, j;
    json_array_foreach(list, i, entry) {
        char line[4096];
        size_t n = (size_t)snprintf(line, sizeof line, "logprob");
        append_entry(line, sizeof line, &n, entry);
        if (json_array_size(json_object_get(entry, "top_logprobs")))
            n += (size_t)snprintf(line + n, sizeof line - n, n + 8 < sizeof line ? "  of" : "");
        json_array_foreach(json_object_get(entry, "top_logprobs"), j, top) append_entry(line, sizeof line, &n, top);
        qm_note(progress, "%s", line);
    }
}

double qm_report_prefill_tps(const struct qm_generate_result *r) {
    return r->prefill_seconds > 0 ? (double)r->prefill_tokens / r->prefill_seconds : 0;
}

double qm_report_decode_tps(const struct qm_generate_result *r) {
    return r->decode_tokens > 0 && r->decode_seconds > 0 ? (double)r->decode_tokens / r->decode_seconds : 0;
}

/* What the engine's own threads reach now; false where that can't be measured. */
static bool limits_now(const struct qm_engine *engine, struct qm_limits *out) {
    const struct qm_kernels *kernels;
    struct qm_limits_probe *probe;
    if (qm_kernels_get(qm_engine_isa(engine), &kernels, NULL) ||
        qm_limits_open(qm_engine_team(engine), kernels, &probe, NULL))
        return false;
    *out = qm_limits_measure(probe);
    qm_limits_close(probe);
    return true;
}

/* Predicted beside measured, and both in the history. */
static void report_predicted(struct qm_progress *progress, const struct qm_engine *engine,
                             const struct qm_generate_result *r, const struct qm_predicted_run *p,
                             const struct qm_rates *around) {
    struct qm_quiet_state quiet;
    struct qm_rates profile;
    struct qm_scenario prompt = {
        .sequences = 1, .depth = r->prefix_tokens, .prompt = r->prompt_tokens - r->prefix_tokens};
    struct qm_scenario decode = {.sequences = 1, .depth = r->prompt_tokens, .generate = r->decode_tokens};
    double of_prefill = 0, of_decode = 0;
    char text[240];
    if (qm_engine_quiet(engine, &quiet) || qm_engine_power_cap(engine) || r->drafted)
        return; /* slower on purpose */
    if (prompt.prompt > 0)
        of_prefill = qm_predictor_tps(p->predictor, engine, &prompt, around);
    if (decode.generate > 0)
        of_decode = qm_predictor_tps(p->predictor, engine, &decode, around);
    if (of_prefill <= 0 && of_decode <= 0)
        return;
    int n = snprintf(text, sizeof text, "predicted:");
    if (of_prefill > 0)
        n += snprintf(text + n, sizeof text - (size_t)n, " prefill %.1f tokens/s", of_prefill);
    if (of_decode > 0)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s decode %.1f tokens/s", of_prefill > 0 ? ";" : "",
                      of_decode);
    if (qm_predictor_differs(p->predictor, engine, around, &profile))
        snprintf(text + n, sizeof text - (size_t)n,
                 " (for %.1f GB/s and BF16 %.0f GFLOP/s now; profile: %.1f GB/s, %.0f GFLOP/s)", around->read * 1e-9,
                 around->bf16 * 1e-9, profile.read * 1e-9, profile.bf16 * 1e-9);
    qm_note(progress, "%s", text);
    if (*qm_predictor_noise(p->predictor))
        qm_note(progress, "predicted beside noise: %s", qm_predictor_noise(p->predictor));
    /* not the prompt: it is the first after loading, and what it meets is cold */
    qm_predictor_keep(p->predictor, progress, engine, p->command, p->model, &decode, of_decode,
                      qm_report_decode_tps(r));
}

void qm_report_speed(struct qm_progress *progress, const struct qm_engine *engine, const struct qm_generate_result *r,
                     const struct qm_meter *meter, const struct qm_predicted_run *predicted) {
    if (progress->quiet)
        return;
    struct qm_limits now;
    bool whole = r->finish != QM_FINISH_INTERRUPTED && !qm_engine_devices(engine);
    bool known = whole && limits_now(engine, &now);
    char speed[160] = "", quiet[160], metered[1400];
    qm_quiet_text(engine, quiet, sizeof quiet);
    if (r->decode_tokens > 0 && r->decode_seconds > 0) {
        double rate = (double)r->decode_bytes / r->decode_seconds;
        int n = snprintf(speed, sizeof speed, ", %.1f tokens/s, %.1f GB/s", qm_report_decode_tps(r), rate / 1e9);
        if (known)
            snprintf(speed + n, sizeof speed - (size_t)n, " (%.0f %% of %.1f GB/s, the best that this machine reads)",
                     100 * rate / now.peak.read, now.peak.read / 1e9);
    }
    qm_note(progress, "prefill: %lld token%s, %.1f tokens/s; decode: %zu token%s%s%s", (long long)r->prefill_tokens,
            qm_s(r->prefill_tokens), qm_report_prefill_tps(r), r->ids.len, qm_s((long long)r->ids.len), speed, quiet);
    if (predicted->predictor && known)
        report_predicted(progress, engine, r, predicted, &now.median);
    qm_meter_text(meter, (double)r->decode_tokens, metered, sizeof metered);
    if (*metered)
        qm_note(progress, "%s", metered);
}
