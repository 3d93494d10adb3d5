/* From the result of a case to its row: statistics, and the fields of llama-bench with ours after them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/bench/bench.h"
#include "app/load_report.h"
#include "app/offload.h"
#include "app/version.h"
#include "base/parse.h"
#include "base/path.h"
#include "base/size.h"
#include "engine/report.h"
#include "report/numbers.h"

const char qm_bench_scaling[] =
    "all layers: tokens/s of the whole model, estimated = t/s x T(layers run) / T(all layers), where T = max(bytes / "
    "read\nbandwidth, FLOPs / multiply-add peak) of the case, embedding and head counted once in both: the same share "
    "of the\nlimit is assumed.\n";

int qm_bench_list_parse(const char *option, const char *text, int64_t min, int64_t max, struct qm_bench_list *out,
                        struct qm_error *err) {
    out->n = 0;
    for (const char *at = text;; at++) {
        char number[32];
        size_t n = strcspn(at, ",");
        int64_t v = 0;
        snprintf(number, sizeof number, "%.*s", n < sizeof number ? (int)n : 0, at);
        if (!qm_parse_int(number, &v) || v < min || v > max)
            return qm_fail(err, QM_USAGE, "%s: expected integers from %lld to %lld separated by commas, found \"%s\"",
                           option, (long long)min, (long long)max, text);
        if (out->n == QM_BENCH_LIST)
            return qm_fail(err, QM_USAGE, "%s: more than %d values", option, QM_BENCH_LIST);
        out->value[out->n++] = v;
        at += n;
        if (!*at)
            return QM_OK;
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double mean(const double *v, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += v[i];
    return sum / n;
}

/* The standard deviation of a sample, as llama-bench computes it. */
static double deviation(const double *v, int n) {
    double m = mean(v, n), squares = 0;
    for (int i = 0; i < n; i++)
        squares += (v[i] - m) * (v[i] - m);
    return n > 1 ? sqrt(squares / (n - 1)) : 0;
}

void qm_bench_figure(const struct qm_bench_result *r, struct qm_bench_figures *out) {
    const struct qm_bench_case *c = &r->which;
    double ns[QM_BENCH_REPETITIONS] = {0}, ts[QM_BENCH_REPETITIONS] = {0};
    *out = (struct qm_bench_figures){.tokens = (double)((c->n_prompt + c->n_gen) * c->batch)};
    for (int i = 0; i < r->n; i++) {
        ns[i] = r->seconds[i] * 1e9;
        ts[i] = out->tokens / r->seconds[i];
    }
    out->avg_ns = mean(ns, r->n);
    out->stddev_ns = deviation(ns, r->n);
    out->avg_ts = mean(ts, r->n);
    out->stddev_ts = deviation(ts, r->n);
    qsort(ts, (size_t)r->n, sizeof *ts, ascending);
    out->median_ts = r->n % 2 ? ts[r->n / 2] : (ts[r->n / 2 - 1] + ts[r->n / 2]) / 2;
    double seconds = out->tokens / out->median_ts, bytes = r->work.weight_bytes + r->work.kv_bytes;
    bool wide = r->product == QM_F32 || r->product == QM_F16;
    double flops = wide ? r->limits.peak.f32 : r->limits.peak.bf16;
    out->gb_s = bytes / seconds * 1e-9;
    out->gflop_s = r->work.flops / seconds * 1e-9;
    out->limit_gb_s = r->limits.peak.read * 1e-9;
    out->limit_gflop_s = flops * 1e-9;
    double limit = qm_work_seconds(&r->work, r->limits.peak.read, flops);
    out->limit_is_read = bytes / r->limits.peak.read >= r->work.flops / flops;
    out->limit_share = limit / seconds;
    out->joules_per_token = r->joules / (out->tokens * r->n);
    out->watts = r->metered_seconds > 0 ? r->joules / r->metered_seconds : NAN;
    out->whole_ts = r->whole_work.flops > 0
                        ? out->median_ts * limit / qm_work_seconds(&r->whole_work, r->limits.peak.read, flops)
                        : NAN;
}

static json_t *real_or_null(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *reason(const struct qm_bench_subject *s, enum qm_sensor which) {
    return s->not_readable[which][0] ? json_string(s->not_readable[which]) : json_null();
}

static json_t *samples(const struct qm_bench_result *r, double tokens) {
    json_t *list = json_array();
    for (int i = 0; i < r->n; i++)
        json_array_append_new(list, tokens > 0 ? json_real(tokens / r->seconds[i])
                                               : json_integer((json_int_t)(r->seconds[i] * 1e9)));
    return list;
}

/* Microseconds a step by kind of op, regions a step and barriers a layer. */
static json_t *profile(const struct qm_bench_result *r) {
    if (!r->profiled)
        return json_null();
    const struct qm_engine_profile *p = &r->profile;
    json_t *us = json_object();
    double steps = p->steps ? (double)p->steps : 1;
    for (int k = 0; k < QM_OP_COUNT; k++)
        if (p->calls[k])
            json_object_set_new(us, qm_op_name((enum qm_op_kind)k), json_real(p->seconds[k] * 1e6 / steps));
    return json_pack("{s:I, s:f, s:f, s:o}", "steps", (json_int_t)p->steps, "regions_per_step",
                     (double)p->regions / steps, "barriers_per_layer", qm_profile_layer_barriers(p), "us_per_step", us);
}

static void put(json_t *row, const char *key, json_t *value, bool *failed) {
    if (json_object_set_new(row, key, value))
        *failed = true;
}

static void put_subject(json_t *row, const struct qm_bench_subject *s, const struct qm_engine *e, bool *failed) {
    const struct qm_config *c = &s->model->config;
    const char *kv = qm_dtype_name(qm_engine_kv_type(e));
    put(row, "build_commit", json_string(qm_version_commit()), failed);
    put(row, "build_version", json_string(QM_VERSION), failed);
    put(row, "cpu_info", json_string(s->cpu), failed);
    put(row, "backends", json_string(qm_engine_devices(e) ? "CPU, emulated device" : "CPU"), failed);
    put(row, "isa", json_string(qm_isa_name(s->isa)), failed);
    put(row, "model_filename", json_string(s->name), failed);
    put(row, "model_type", json_sprintf("%s %s", c->model_type, qm_dtype_name(c->expert_dtype)), failed);
    put(row, "model_size", json_integer((json_int_t)qm_engine_load(e).bytes), failed);
    put(row, "model_n_params", json_integer(s->model->parameters), failed);
    put(row, "random_weights", json_boolean(s->random_weights), failed);
    put(row, "n_layers", json_integer(c->layers), failed);
    put(row, "n_layers_model", json_integer(s->whole ? s->whole->config.layers : c->layers), failed);
    put(row, "n_batch", json_integer(qm_engine_chunk(e)), failed);
    put(row, "n_ubatch", json_integer(qm_engine_chunk(e)), failed);
    put(row, "n_threads", json_integer(qm_engine_threads(e)), failed);
    put(row, "load", qm_load_json(e), failed);
    put(row, "type_k", json_string(kv), failed);
    put(row, "type_v", json_string(kv), failed);
}

/* What drafts gave. */
static json_t *drafted(const struct qm_bench_result *r, double acceptance) {
    const struct qm_bench_drafted *d = &r->drafted;
    if (!r->which.drafts)
        return json_null();
    json_t *costs = json_array();
    for (int k = 0; k < QM_BENCH_DRAFTED; k++)
        json_array_append_new(costs, real_or_null(d->seconds[k]));
    return json_pack("{s:f, s:I, s:I, s:I, s:f, s:f, s:o}", "acceptance", acceptance, "steps",
                     (json_int_t)d->stats.steps, "drafted", (json_int_t)d->stats.drafted, "accepted",
                     (json_int_t)d->stats.accepted, "saved_seconds", d->stats.saved, "best_ts", d->best_ts,
                     "step_seconds", costs);
}

json_t *qm_bench_row(const struct qm_bench_subject *s, const struct qm_engine *e, const struct qm_bench_result *r) {
    struct qm_bench_figures f;
    const struct qm_bench_case *c = &r->which;
    json_t *row = json_object();
    bool failed = !row;
    qm_bench_figure(r, &f);
    put_subject(row, s, e, &failed);
    put(row, "n_threads_used", json_integer(r->quiet ? r->quiet_state.use.threads : qm_engine_threads(e)), &failed);
    put(row, "devices", qm_offload_json(e), &failed);
    put(row, "quiet_share", r->quiet && r->quiet_state.found ? json_real(r->quiet_state.kept) : json_null(), &failed);
    put(row, "n_seqs", json_integer(c->batch), &failed);
    put(row, "n_prompt", json_integer(c->n_prompt), &failed);
    put(row, "n_gen", json_integer(c->n_gen), &failed);
    put(row, "n_depth", json_integer(c->n_depth), &failed);
    put(row, "depth_filled", json_string(c->n_depth == 0 ? "none" : s->fill_depth ? "random" : "computed"), &failed);
    put(row, "test_time", json_string(r->when), &failed);
    put(row, "avg_ns", json_integer((json_int_t)f.avg_ns), &failed);
    put(row, "stddev_ns", json_integer((json_int_t)f.stddev_ns), &failed);
    put(row, "avg_ts", json_real(f.avg_ts), &failed);
    put(row, "stddev_ts", json_real(f.stddev_ts), &failed);
    put(row, "median_ts", json_real(f.median_ts), &failed);
    put(row, "bytes", json_real(r->work.weight_bytes + r->work.kv_bytes), &failed);
    put(row, "bytes_kv", json_real(r->work.kv_bytes), &failed);
    put(row, "flops", json_real(r->work.flops), &failed);
    put(row, "gb_s", json_real(f.gb_s), &failed);
    put(row, "gflop_s", json_real(f.gflop_s), &failed);
    put(row, "limit_gb_s", json_real(f.limit_gb_s), &failed);
    put(row, "limit_gflop_s", json_real(f.limit_gflop_s), &failed);
    put(row, "limit_by", json_string(f.limit_is_read ? "read" : "flops"), &failed);
    put(row, "limit_share", json_real(f.limit_share), &failed);
    put(row, "joules_per_token", real_or_null(f.joules_per_token), &failed);
    put(row, "joules_reason", reason(s, QM_SENSOR_ENERGY), &failed);
    put(row, "watts", real_or_null(f.watts), &failed);
    put(row, "temp_c", real_or_null(r->celsius), &failed);
    put(row, "temp_reason", reason(s, QM_SENSOR_TEMPERATURE), &failed);
    put(row, "fan_rpm", real_or_null(r->fan_rpm), &failed);
    put(row, "fan_reason", reason(s, QM_SENSOR_FAN), &failed);
    put(row, "whole_model_ts", real_or_null(f.whole_ts), &failed);
    put(row, "samples_ns", samples(r, 0), &failed);
    put(row, "samples_ts", samples(r, f.tokens), &failed);
    put(row, "drafts", drafted(r, s->acceptance), &failed);
    put(row, "profile", profile(r), &failed);
    if (failed) {
        json_decref(row);
        row = NULL;
    }
    return row;
}

static double number(const json_t *row, const char *key) {
    return json_number_value(json_object_get(row, key));
}

static long long integer(const json_t *row, const char *key) {
    return (long long)json_integer_value(json_object_get(row, key));
}

static int cell_model(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    const char *name = json_string_value(json_object_get(row, "model_filename"));
    int rc = qm_buf_str(out, qm_path_last(name), err);
    if (!rc && integer(row, "n_layers") != integer(row, "n_layers_model"))
        rc = qm_buf_printf(out, err, ", %lld of %lld layers", integer(row, "n_layers"), integer(row, "n_layers_model"));
    return rc;
}

static int cell_size(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    char text[32];
    return qm_buf_str(out, qm_size_text((uint64_t)integer(row, "model_size"), text, sizeof text), err);
}

static int cell_params(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    char text[32];
    return qm_buf_str(out, qm_count_text(number(row, "model_n_params"), text, sizeof text), err);
}

static int cell_threads(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    long long all = integer(row, "n_threads"), used = integer(row, "n_threads_used");
    int rc = used < all ? qm_buf_printf(out, err, "%lld of ", used) : QM_OK;
    return rc ? rc : qm_buf_printf(out, err, "%lld", all);
}

static int cell_test(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    long long gen = integer(row, "n_gen"), depth = integer(row, "n_depth"), seqs = integer(row, "n_seqs");
    int rc = qm_buf_printf(out, err, "%s%lld", gen ? "tg" : "pp", gen ? gen : integer(row, "n_prompt"));
    if (!rc && seqs > 1)
        rc = qm_buf_printf(out, err, " x %lld", seqs);
    if (!rc && json_is_object(json_object_get(row, "drafts")))
        rc = qm_buf_str(out, " drafts", err);
    if (!rc && depth)
        rc = qm_buf_printf(out, err, " @ d%lld%s", depth,
                           !strcmp(json_string_value(json_object_get(row, "depth_filled")), "random") ? " filled" : "");
    return rc;
}

static int cell_speed(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return qm_buf_printf(out, err, "%.2f ± %.2f", number(row, "median_ts"), number(row, "stddev_ts"));
}

static int cell_gb(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return qm_buf_printf(out, err, "%.1f", number(row, "gb_s"));
}

static int cell_gflop(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return qm_buf_printf(out, err, "%.1f", number(row, "gflop_s"));
}

static int cell_limit(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    bool read = !strcmp(json_string_value(json_object_get(row, "limit_by")), "read");
    return qm_buf_printf(out, err, "%.0f %% of %.1f %s", 100 * number(row, "limit_share"),
                         number(row, read ? "limit_gb_s" : "limit_gflop_s"), read ? "GB/s" : "GFLOP/s");
}

static int number_or_dash(const json_t *row, const char *key, const char *format, struct qm_buf *out,
                          struct qm_error *err) {
    char text[32] = "-";
    if (!json_is_null(json_object_get(row, key)))
        snprintf(text, sizeof text, format, number(row, key));
    return qm_buf_str(out, text, err);
}

static int cell_joules(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return number_or_dash(row, "joules_per_token", "%.3g", out, err);
}

static int cell_watts(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return number_or_dash(row, "watts", "%.1f", out, err);
}

static int cell_temperature(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return number_or_dash(row, "temp_c", "%.0f", out, err);
}

static int cell_fan(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return number_or_dash(row, "fan_rpm", "%.0f", out, err);
}

static int cell_whole(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return number_or_dash(row, "whole_model_ts", "%.2f", out, err);
}

static int cell_predicted(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return number_or_dash(row, "predicted_ts", "%.2f", out, err);
}

/* "61 % right, 93 % of best" */
static int cell_drafts(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    const json_t *d = json_object_get(row, "drafts");
    if (!json_is_object(d))
        return qm_buf_str(out, "-", err);
    double checked = number(d, "drafted");
    return qm_buf_printf(out, err, "%.0f %% right, %.0f %% of best",
                         checked > 0 ? 100 * number(d, "accepted") / checked : 0,
                         100 * number(row, "median_ts") / number(d, "best_ts"));
}

const struct qm_column qm_bench_columns[] = {
    {"model", 30, false, cell_model},
    {"size", 10, true, cell_size},
    {"params", 10, true, cell_params},
    {"threads", 7, true, cell_threads},
    {"test", 20, true, cell_test},
    {"tokens/s", 18, true, cell_speed},
    {"predicted", 9, true, cell_predicted},
    {"drafts", 24, true, cell_drafts},
    {"GB/s", 7, true, cell_gb},
    {"GFLOP/s", 9, true, cell_gflop},
    {"limit (best)", 24, true, cell_limit},
    {"J/token", 8, true, cell_joules},
    {"W", 6, true, cell_watts},
    {"°C", 4, true, cell_temperature},
    {"fan, rpm", 8, true, cell_fan},
    {"all layers (est.)", 17, true, cell_whole},
    {NULL, 0, false, NULL},
};

/* Sensors that are not there, and what is not known, have no column. */
void qm_bench_columns_for(const struct qm_bench_subject *s, bool predicted, struct qm_column out[QM_BENCH_COLUMNS]) {
    int n = 0;
    for (const struct qm_column *c = qm_bench_columns; c->title; c++) {
        enum qm_sensor sensor = c->cell == cell_temperature ? QM_SENSOR_TEMPERATURE
                                : c->cell == cell_fan       ? QM_SENSOR_FAN
                                                            : QM_SENSOR_ENERGY;
        bool of_sensor = c->cell == cell_joules || c->cell == cell_watts || sensor != QM_SENSOR_ENERGY;
        if ((of_sensor && s->not_readable[sensor][0]) || (c->cell == cell_whole && !s->whole) ||
            (c->cell == cell_predicted && !predicted) || (c->cell == cell_drafts && !s->drafts))
            continue;
        out[n++] = *c;
    }
    out[n] = (struct qm_column){0};
}
