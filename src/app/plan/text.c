/* The answer for people: lines of at most 80 columns. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app/out.h"
#include "app/plan/plan.h"
#include "app/predictor.h"
#include "base/path.h"
#include "base/size.h"
#include "base/words.h"
#include "engine/nodes.h"
#include "engine/routing_file.h"
#include "report/numbers.h"

/* A line that begins with a head, wrapped. */
__attribute__((format(printf, 3, 4))) static int line(struct qm_error *err, const char *head, const char *format, ...) {
    char padded[16], text[1200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(padded, sizeof padded, "%-14s", head);
    return qm_out_wrapped(padded, text, 15, err);
}

/* What is measured are the typical rates, as `machine` calls them. */
static const char *mark_of(enum qm_mark m) {
    return m == QM_MARK_MEASURED ? "typical, measured" : qm_mark_name(m);
}

static int print_device(const char *head, const struct qm_device_model *v, struct qm_error *err) {
    char read[32], bf16[32], reserve[64] = "";
    if (v->reserve)
        snprintf(reserve, sizeof reserve, ", less %.1f GiB for driver and desktop (%s)", qm_gib(v->reserve),
                 qm_mark_name(QM_MARK_ESTIMATED));
    return line(err, head, "%s%s, %.1f GiB (%s)%s, reads %sB/s (%s), BF16 %sFLOP/s (%s)", v->name,
                v->emulated ? " (emulated)" : "", qm_gib(v->memory + v->reserve), qm_mark_name(v->memory_mark), reserve,
                qm_rate_text(v->read, read, sizeof read), qm_mark_name(v->read_mark),
                qm_rate_text(v->bf16, bf16, sizeof bf16), qm_mark_name(v->bf16_mark));
}

static int print_head(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err) {
    const struct qm_config *c = &a->model->config;
    const struct qm_machine_model *s = ask->speed;
    char read[32], bf16[32], all[32], active[32], basis[1000];
    int rc = line(err, "model", "%s: %s, %lld layer%s, %s parameters, %s active", qm_path_last(a->name), c->model_type,
                  (long long)c->layers, qm_s(c->layers), qm_count_text((double)a->model->parameters, all, sizeof all),
                  qm_count_text((double)a->model->active_parameters, active, sizeof active));
    if (!rc)
        rc = line(err, "machine", "%s, %d core%s, %.1f GiB", s->name, s->cores, qm_s(s->cores), qm_gib(s->memory));
    if (!rc)
        rc = line(err, "", "reads %sB/s (%s), BF16 %sFLOP/s (%s)", qm_rate_text(s->read, read, sizeof read),
                  mark_of(s->read_mark), qm_rate_text(s->bf16, bf16, sizeof bf16), mark_of(s->bf16_mark));
    qm_plan_basis(s, basis, sizeof basis);
    if (!rc)
        rc = line(err, "", "%s", basis);
    for (int d = 0; d < s->devices && !rc; d++)
        rc = print_device(d ? "" : "devices", &s->device[d], err);
    if (!rc)
        rc = line(err, "workload", "%lld sequence%s of %lld tokens, chunks of %lld, KV %s, %d thread%s",
                  (long long)a->workload.sequences, qm_s(a->workload.sequences), (long long)a->workload.context,
                  (long long)a->workload.chunk, qm_dtype_name(a->workload.kv_type), a->workload.threads,
                  qm_s(a->workload.threads));
    char routing[200];
    if (!rc && ask->routing)
        rc = line(err, "routing", "%s", qm_routing_text(ask->routing, routing, sizeof routing));
    else if (!rc && c->experts)
        rc = line(err, "routing", "uniform: no profile (run --profile-experts FILE makes one)");
    return rc;
}

/* A row of the memory table: a device a column, "-" for nothing. */
static int print_row(const struct qm_plan_answer *a, const char *head, const uint64_t *first, size_t stride,
                     struct qm_error *err) {
    int rc = qm_out_printf(err, "%-14s", head);
    for (int d = 0; d < a->placement.devices && !rc; d++) {
        uint64_t bytes = first[(size_t)d * stride];
        rc = bytes ? qm_out_printf(err, " %14.2f", qm_gib(bytes)) : qm_out_printf(err, " %14s", "-");
    }
    return rc ? rc : qm_out_text("\n", err);
}

/* Where there are several NUMA nodes: how the CPU's column divides among them. */
static int print_nodes(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err) {
    const struct qm_machine_model *s = ask->speed;
    int rc = s->nodes > 1 ? qm_out_printf(err, "\n%-14s %14s %14s %14s %14s\n", "node, GiB", "weights", "keys, values",
                                          "activations", "of memory")
                          : QM_OK;
    for (int node = 0; s->nodes > 1 && node < s->nodes && !rc; node++) {
        struct qm_node_memory m;
        qm_node_memory(a->model, &a->workload, &a->placement, node, &m);
        rc = qm_out_printf(err, "%-14d %14.2f %14.2f %14.2f %14.2f\n", node, qm_gib(m.weights), qm_gib(m.kv),
                           qm_gib(m.activations), qm_gib(s->node[node].memory));
    }
    return rc;
}

static int print_memory(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err) {
    enum { STRIDE = sizeof *a->memory / sizeof(uint64_t) };
    const struct qm_device_memory *m = a->memory;
    uint64_t total[QM_MAX_DEVICES];
    int rc = qm_out_printf(err, "\n%-14s", "memory, GiB");
    for (int d = 0; d < a->placement.devices && !rc; d++) {
        total[d] = m[d].total + a->slack[d];
        rc = qm_out_printf(err, " %14.14s", qm_plan_device_name(ask->speed, d));
    }
    if (!rc)
        rc = qm_out_text("\n", err);
    const struct {
        const char *head;
        const uint64_t *first;
        size_t stride;
        bool shown;
    } rows[] = {{"weights", &m->weights, STRIDE, true},
                {"keys, values", &m->kv, STRIDE, true},
                {"activations", &m->activations, STRIDE, true},
                {"attention maps", &m->maps, STRIDE, m->maps > 0},
                {"drafts", &m->drafts, STRIDE, m->drafts > 0},
                {"workspace", &m->workspace, STRIDE, a->placement.devices > 1},
                {"slack", a->slack, 1, true},
                {"total", total, 1, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !rc; i++)
        if (rows[i].shown)
            rc = print_row(a, rows[i].head, rows[i].first, rows[i].stride, err);
    if (!rc)
        rc = qm_out_printf(err, "%-14s", "left");
    for (int d = 0; d < a->placement.devices && !rc; d++)
        rc = qm_out_printf(err, " %14.2f", qm_gib(a->available[d]) - qm_gib(total[d]));
    if (!rc)
        rc = qm_out_text("\n", err);
    return rc ? rc : print_nodes(ask, a, err);
}

static int print_placement(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err) {
    struct qm_buf text = {0};
    int rc = qm_plan_placement_text(ask, a, &text, err);
    const char *at = text.data ? text.data : "";
    for (int first = 1; *at && !rc; first = 0) {
        int n = (int)strcspn(at, "\n");
        rc = qm_out_printf(err, "%s%-14s %.*s\n", first ? "\n" : "", first ? "placement" : "", n, at);
        at += n + (at[n] == '\n');
    }
    qm_buf_free(&text);
    double seconds = a->scenario.prefill.seconds + a->scenario.decode.seconds;
    if (!rc && a->exact)
        rc = line(err, "search", "the best of all, %lld tried", (long long)a->tried);
    else if (!rc && a->bound > 0)
        rc = line(err, "search", "best of %lld tried; at most %.0f %% less time is possible", (long long)a->tried,
                  100 * (1 - a->bound / seconds));
    return rc;
}

static int print_speeds(const struct qm_plan_answer *a, struct qm_error *err) {
    int rc = qm_out_text("\ntokens/s       ", err);
    for (int i = 0; i < a->n_at && !rc; i++) {
        char head[32];
        snprintf(head, sizeof head, "depth %lld%s", (long long)a->at[i].depth / (a->at[i].depth ? 1024 : 1),
                 a->at[i].depth ? "k" : "");
        rc = qm_out_printf(err, " %12s", head);
    }
    if (!rc)
        rc = qm_out_text("\nprefill        ", err);
    for (int i = 0; i < a->n_at && !rc; i++)
        rc = qm_out_printf(err, " %12.1f", a->at[i].prefill_tps);
    if (!rc)
        rc = qm_out_text("\ndecode         ", err);
    for (int i = 0; i < a->n_at && !rc; i++)
        rc = qm_out_printf(err, " %12.2f", a->at[i].decode_tps);
    return rc ? rc : qm_out_text("\n", err);
}

static int print_bounds(const char *head, const struct qm_step_time *t, struct qm_error *err) {
    struct qm_plan_bound bound[QM_PLAN_BOUNDS];
    int n = qm_plan_bounds(t, bound), rc = QM_OK;
    if (n)
        rc = qm_out_printf(err, "%-14s ", head);
    for (int i = 0; i < n && i < 3 && !rc; i++)
        rc = qm_out_printf(err, "%s%s %.0f %%", i ? ", " : "", bound[i].what, 100 * bound[i].share);
    return rc || !n ? rc : qm_out_text("\n", err);
}

/* "(123.4 tokens/s)": of so few tokens nothing is predicted. */
static const char *rate_text(int64_t tokens, double tps, int decimals, char out[48]) {
    if (tokens < QM_PREDICTED_TOKENS)
        return "(too few tokens to predict a speed)";
    snprintf(out, 48, "(%.*f tokens/s)", decimals, tps);
    return out;
}

static int print_drafts(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err) {
    const struct qm_drafted *d = &a->drafted;
    char pays[64];
    if (d->pays > 1)
        return line(err, "drafts", "never pay here: a step of more rows takes as much longer");
    snprintf(pays, sizeof pays, "pay where %.0f %% of them or more are right", ceil(100 * d->pays));
    if (ask->acceptance < 0)
        return line(err, "drafts", "%s", pays);
    return line(err, "drafts", "%s; with %.0f %%: %.2f tokens/s by %d of them a step", pays, 100 * ask->acceptance,
                d->tps, d->drafts);
}

static int print_job(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err) {
    char read[32], write[32], all[32], prompt[48], generated[48];
    const struct qm_scenario *j = &ask->scenario;
    double seconds = a->scenario.prefill.seconds + a->scenario.decode.seconds;
    int rc = qm_out_text("\n", err);
    if (!rc)
        rc = line(err, "scenario", "prefill %lld x %lld tokens in %s %s; decode %lld x %lld tokens in %s %s",
                  (long long)j->sequences, (long long)j->prompt,
                  qm_calculated_duration_text(a->scenario.prefill.seconds, read, sizeof read),
                  rate_text(j->prompt, a->scenario.prefill_tps, 1, prompt), (long long)j->sequences,
                  (long long)j->generate, qm_calculated_duration_text(a->scenario.decode.seconds, write, sizeof write),
                  rate_text(j->generate, a->scenario.decode_tps, 2, generated));
    if (!rc)
        rc = qm_out_printf(err, "               total %s", qm_calculated_duration_text(seconds, all, sizeof all));
    if (!rc && isfinite(a->scenario.joules))
        rc = qm_out_printf(err, ", %.0f J", a->scenario.joules);
    if (!rc)
        rc = qm_out_text("\n", err);
    if (!rc)
        rc = print_bounds("prefill", &a->scenario.prefill, err);
    if (!rc)
        rc = print_bounds("decode", &a->scenario.decode, err);
    if (!rc && ask->scenario.generate)
        rc = print_drafts(ask, a, err);
    for (int i = 0; i < a->n_hints && !rc; i++)
        rc = line(err, i ? "" : "would help", "%s: %.0f %% less time", a->hint[i].change,
                  100 * (1 - a->hint[i].seconds / seconds));
    return rc;
}

int qm_plan_text(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err) {
    int rc = print_head(ask, a, err);
    if (!rc)
        rc = print_memory(ask, a, err);
    if (!rc && a->placement.devices > 1)
        rc = print_placement(ask, a, err);
    if (!rc)
        rc = print_speeds(a, err);
    return rc ? rc : print_job(ask, a, err);
}
