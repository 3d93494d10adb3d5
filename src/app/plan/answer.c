/* From what is asked to the answer: whether it fits, how fast it will be, what bounds it, what would help. */
#include <stdlib.h>
#include <string.h>

#include "app/plan/plan.h"
#include "base/size.h"
#include "engine/fit.h"
#include "engine/nodes.h"
#include "engine/units.h"
#include "session/draft/draft.h"

const char *qm_plan_device_name(const struct qm_machine_model *s, int device) {
    return device == QM_DEVICE_CPU ? "cpu" : s->device[device - 1].name;
}

void qm_plan_basis(const struct qm_machine_model *s, char *out, size_t size) {
    const char *how = s->efficiency_mark == QM_MARK_MEASURED    ? "measured"
                      : s->efficiency_mark == QM_MARK_ESTIMATED ? "estimated"
                                                                : "default";
    snprintf(out, size, "%s efficiencies%s%s%s%s", how, s->missing[0] ? ", default for " : "", s->missing,
             s->noise[0] ? "; measured beside noise, so less exact: " : "", s->noise);
}

static struct qm_workload make_workload(const struct qm_plan_ask *ask, const struct qm_config *c, int64_t context) {
    return (struct qm_workload){
        .context = context,
        .sequences = ask->scenario.sequences,
        .chunk = ask->chunk > ask->scenario.sequences ? ask->chunk : ask->scenario.sequences,
        .kv_memory = ask->kv_memory,
        .nodes = ask->speed->nodes,
        .drafts = ask->drafts,
        .map_tokens = ask->maps ? ask->scenario.depth + ask->scenario.prompt : 0,
        .kv_type = ask->kv_type < 0 ? qm_kv_default_type(c) : (enum qm_dtype)ask->kv_type,
        .threads = ask->threads ? ask->threads : ask->speed->cores,
    };
}

/* The largest context, in steps, that fits; 0: none. */
static int64_t largest_context(const struct qm_plan_ask *ask, const struct qm_model *m, uint64_t available) {
    struct qm_workload w = make_workload(ask, &m->config, 0);
    return qm_fit_context(m, NULL, &w, available);
}

static int refuse(const struct qm_plan_ask *ask, const struct qm_model *m, const struct qm_workload *w,
                  uint64_t available, struct qm_error *err) {
    struct qm_memory_table t;
    qm_memory_estimate(m, w, &t);
    struct qm_plan_ask less = *ask;
    less.kv_type = QM_BF16;
    int64_t context = largest_context(ask, m, available), with_bf16 = largest_context(&less, m, available);
    char way[160], maps[64] = "";
    if (t.maps)
        snprintf(maps, sizeof maps, ", attention maps %.2f", qm_gib(t.maps));
    bool weights = t.weights > available;
    const char *part = qm_memory_short_part(t.weights, t.scratch, t.maps, t.drafts, available);
    if (context >= 1)
        snprintf(way, sizeof way, "--context %lld fits", (long long)context);
    else if (with_bf16 >= 1)
        snprintf(way, sizeof way, "--kv-type bf16 --context %lld fits", (long long)with_bf16);
    else
        snprintf(way, sizeof way, "no context fits%s", weights ? ": the weights alone are more" : "");
    return qm_fail(err, QM_FIT,
                   "the %s are %.2f GiB short: %.2f GiB needed (weights %.2f, keys and values for %lld x %lld tokens "
                   "%.2f, activations %.2f%s), %.2f GiB available; %s",
                   part, qm_gib((weights ? t.weights : t.total) - available), qm_gib(t.total), qm_gib(t.weights),
                   (long long)w->sequences, (long long)w->context, qm_gib(t.kv), qm_gib(t.scratch), maps,
                   qm_gib(available), way);
}

static int choose_context(const struct qm_plan_ask *ask, const struct qm_model *m, uint64_t available,
                          struct qm_workload *w, struct qm_error *err) {
    int64_t wanted = ask->scenario.depth + ask->scenario.prompt + ask->scenario.generate,
            most = m->config.default_positions;
    struct qm_memory_table t;
    if (ask->context && ask->context < wanted)
        return qm_fail(err, QM_USAGE,
                       "--context %lld: the scenario needs %lld tokens (depth %lld, prompt %lld, generate %lld)",
                       (long long)ask->context, (long long)wanted, (long long)ask->scenario.depth,
                       (long long)ask->scenario.prompt, (long long)ask->scenario.generate);
    *w = make_workload(ask, &m->config, ask->context ? ask->context : wanted > most ? wanted : most);
    qm_memory_estimate(m, w, &t);
    if (t.total <= available)
        return QM_OK;
    int64_t fits = ask->context ? 0 : largest_context(ask, m, available);
    if (fits < wanted || fits == 0) {
        *w = make_workload(ask, &m->config, ask->context ? ask->context : wanted);
        qm_memory_estimate(m, w, &t);
        return t.total <= available ? QM_OK : refuse(ask, m, w, available, err);
    }
    *w = make_workload(ask, &m->config, fits);
    return QM_OK;
}

static struct qm_time_setup setup_of(const struct qm_plan_ask *ask, const struct qm_plan_answer *a) {
    return (struct qm_time_setup){.model = a->model,
                                  .speed = ask->speed,
                                  .placement = &a->placement,
                                  .routing = ask->routing,
                                  .workload = a->workload};
}

static void predict(const struct qm_plan_ask *ask, struct qm_plan_answer *a) {
    static const int64_t depths[QM_PLAN_DEPTHS] = {0, 4096, 16384, 65536, 131072};
    struct qm_time_setup t = setup_of(ask, a);
    struct qm_scenario prompt = ask->scenario, generate = ask->scenario;
    generate.prompt = prompt.generate = 0;
    qm_time_scenario(&t, &prompt, &a->prompt);
    qm_time_scenario(&t, &generate, &a->generate);
    qm_time_scenario(&t, &ask->scenario, &a->scenario);
    int64_t middle = ask->scenario.depth + ask->scenario.prompt + ask->scenario.generate / 2;
    qm_time_drafted(&t, ask->scenario.sequences, middle, ask->acceptance > 0 ? ask->acceptance : 0, QM_DRAFT_MAX,
                    &a->drafted);
    int64_t context = a->workload.context, chunk = a->workload.chunk < context ? a->workload.chunk : context;
    for (int i = 0; i < QM_PLAN_DEPTHS && depths[i] + chunk <= context; i++) {
        struct qm_scenario at = {.sequences = ask->scenario.sequences, .depth = depths[i], .prompt = chunk};
        struct qm_scenario_time prefill, decode;
        qm_time_scenario(&t, &at, &prefill);
        at.prompt = 0;
        at.generate = 1;
        qm_time_scenario(&t, &at, &decode);
        a->at[a->n_at++] = (struct qm_plan_speed){depths[i], prefill.prefill_tps, decode.decode_tps};
    }
}

static double scenario_seconds(const struct qm_scenario_time *t) {
    return t->prefill.seconds + t->decode.seconds;
}

static void add_hint(struct qm_plan_answer *a, const char *change, double seconds) {
    struct qm_plan_hint hint = {.seconds = seconds};
    snprintf(hint.change, sizeof hint.change, "%s", change);
    if (hint.seconds > 0.98 * scenario_seconds(&a->scenario))
        return;
    int at = a->n_hints;
    while (at > 0 && a->hint[at - 1].seconds > hint.seconds)
        at--;
    if (at == QM_PLAN_HINTS)
        return;
    int last = a->n_hints < QM_PLAN_HINTS ? a->n_hints++ : QM_PLAN_HINTS - 1;
    memmove(&a->hint[at + 1], &a->hint[at], (size_t)(last - at) * sizeof *a->hint);
    a->hint[at] = hint;
}

static void try_change(const struct qm_plan_ask *ask, struct qm_plan_answer *a, const char *change,
                       const struct qm_machine_model *speed, const struct qm_workload *w) {
    struct qm_time_setup t = setup_of(ask, a);
    struct qm_scenario_time time;
    t.speed = speed;
    t.workload = *w;
    qm_time_scenario(&t, &ask->scenario, &time);
    add_hint(a, change, scenario_seconds(&time));
}

/* Another placement, with twice the memory on each device. */
static void try_more_vram(const struct qm_plan_ask *ask, struct qm_plan_answer *a) {
    struct qm_search_ask look = {.setup = setup_of(ask, a), .scenario = ask->scenario, .last_layers = -1};
    struct qm_search_result found;
    memcpy(look.budget, a->available, sizeof look.budget);
    for (int d = 1; d <= ask->speed->devices; d++)
        look.budget[d] *= 2;
    if (qm_search(&look, &found, NULL))
        return;
    add_hint(a, "twice the memory on each device", found.seconds);
    qm_placement_free(&found.placement);
}

/* Changes that a reader could make, those that win most first. */
static int find_hints(const struct qm_plan_ask *ask, struct qm_plan_answer *a, struct qm_error *err) {
    struct qm_machine_model *other = malloc(sizeof *other);
    struct qm_workload w = a->workload;
    char text[96];
    if (!other)
        return qm_fail_memory(err, sizeof *other, "the plan");
    if (w.kv_type == QM_F32) {
        w.kv_type = QM_BF16;
        try_change(ask, a, "keys and values in BF16 (--kv-type bf16)", ask->speed, &w);
        w = a->workload;
    }
    for (int threads = 1; threads <= ask->speed->cores; threads *= 2) {
        w.threads = threads;
        snprintf(text, sizeof text, "%s threads (--threads %d)", threads < a->workload.threads ? "fewer" : "more",
                 threads);
        if (threads != a->workload.threads)
            try_change(ask, a, text, ask->speed, &w);
    }
    w = a->workload;
    w.chunk *= 4;
    snprintf(text, sizeof text, "more tokens at once in a prompt (--chunk %lld)", (long long)w.chunk);
    if (w.chunk <= w.context)
        try_change(ask, a, text, ask->speed, &w);
    if (ask->speed->devices && !ask->on_cpu)
        try_more_vram(ask, a);
    w = a->workload;
    *other = *ask->speed;
    other->read *= 2;
    try_change(ask, a, "memory twice as fast", other, &w);
    *other = *ask->speed;
    other->bf16 *= 2;
    other->f32 *= 2;
    try_change(ask, a, "twice the multiply-adds (cores)", other, &w);
    free(other);
    return QM_OK;
}

int qm_plan_bounds(const struct qm_step_time *t, struct qm_plan_bound out[QM_PLAN_BOUNDS]) {
    const struct qm_plan_bound all[] = {{"reading weights", t->reading}, {"multiply-adds", t->computing},
                                        {"attention", t->attention},     {"barriers", t->regions},
                                        {"routing", t->routing},         {"transfers", t->transfer},
                                        {"the device", t->device},       {"the link", t->link}};
    int n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct qm_plan_bound b = {all[i].what, t->seconds > 0 ? all[i].share / t->seconds : 0};
        int at = n;
        if (b.share < 0.005)
            continue;
        for (; at > 0 && out[at - 1].share < b.share; at--)
            out[at] = out[at - 1];
        out[at] = b;
        n++;
    }
    return n;
}

/* The devices that may be used, and their bytes. */
static uint64_t budgets(const struct qm_plan_ask *ask, struct qm_plan_answer *a) {
    uint64_t memory = ask->ram ? ask->ram : ask->speed->memory, devices = 0;
    a->available[QM_DEVICE_CPU] = qm_fit_usable(memory);
    for (int d = 1; d <= ask->speed->devices; d++) {
        uint64_t has = ask->speed->device[d - 1].memory;
        a->available[d] = ask->on_cpu ? 0 : ask->vram && ask->vram < has ? ask->vram : has;
        devices += a->available[d];
    }
    return devices;
}

static int search(const struct qm_plan_ask *ask, struct qm_plan_answer *a, struct qm_error *err) {
    struct qm_search_ask look = {.setup = setup_of(ask, a),
                                 .scenario = ask->scenario,
                                 .pins = ask->pins,
                                 .n_pins = ask->n_pins,
                                 .last_layers = ask->on_cpu ? 0 : ask->last_layers};
    struct qm_search_result found;
    memcpy(look.budget, a->available, sizeof look.budget);
    for (int d = 1; d <= ask->speed->devices; d++)
        look.budget[d] -= look.budget[d] < QM_PLAN_PAGE_ROOM ? look.budget[d] : QM_PLAN_PAGE_ROOM;
    int rc = qm_search(&look, &found, err);
    if (rc)
        return rc;
    a->placement = found.placement;
    a->bound = found.bound;
    a->exact = found.exact;
    a->tried = found.tried;
    return QM_OK;
}

/* A given placement is kept, if it fits. */
static int take_given(const struct qm_plan_ask *ask, struct qm_plan_answer *a, struct qm_error *err) {
    int rc = qm_placement_copy(ask->given, &a->placement, err);
    for (int d = 0; d < a->placement.devices && !rc; d++) {
        struct qm_device_memory m;
        qm_placement_memory(&a->placement, a->model, &a->workload, d, &m);
        if (m.total > a->available[d])
            rc = qm_fail(
                err, QM_FIT, "the plan: %s is %.2f GiB short, for the %s: %.2f GiB needed, %.2f GiB available; %s",
                qm_plan_device_name(ask->speed, d), qm_gib(m.total - a->available[d]),
                qm_memory_short_part(m.weights, m.activations + m.workspace, m.maps, m.drafts, a->available[d]),
                qm_gib(m.total), qm_gib(a->available[d]),
                ask->given_alone ? "it can have no other placement"
                                 : "a smaller --context needs less, --offload auto plans anew");
    }
    return rc;
}

/* Where the context is not given and does not fit, half of it is tried. */
static int place(const struct qm_plan_ask *ask, struct qm_plan_answer *a, struct qm_error *err) {
    int64_t wanted = ask->scenario.depth + ask->scenario.prompt + ask->scenario.generate;
    for (;;) {
        int rc = ask->given ? take_given(ask, a, err) : search(ask, a, err);
        int64_t half = a->workload.context / 2 / QM_CONTEXT_STEP * QM_CONTEXT_STEP;
        if (rc != QM_FIT || ask->context || ask->given || half < wanted || half == 0)
            return rc;
        a->workload = make_workload(ask, &a->model->config, half);
    }
}

static void take_memory(struct qm_plan_answer *a, int device) {
    qm_placement_memory(&a->placement, a->model, &a->workload, device, &a->memory[device]);
    a->slack[device] = qm_slack(&a->placement, a->model, &a->workload, device);
}

int qm_plan_check(const struct qm_plan_ask *ask, const struct qm_model *m, struct qm_error *err) {
    struct qm_plan_answer a = {.model = m};
    uint64_t devices = budgets(ask, &a);
    int rc = choose_context(ask, m, a.available[QM_DEVICE_CPU] + devices, &a.workload, err);
    if (!rc && ask->given)
        rc = take_given(ask, &a, err);
    qm_plan_answer_free(&a);
    return rc;
}

int qm_plan_answer(const struct qm_plan_ask *ask, const struct qm_model *m, const char *name,
                   struct qm_plan_answer *out, struct qm_error *err) {
    *out = (struct qm_plan_answer){.model = m, .name = name};
    uint64_t devices = budgets(ask, out);
    int rc = choose_context(ask, m, out->available[QM_DEVICE_CPU] + devices, &out->workload, err);
    if (!rc)
        rc = place(ask, out, err);
    for (int d = 0; d < out->placement.devices && !rc; d++)
        take_memory(out, d);
    if (!rc) {
        predict(ask, out);
        rc = find_hints(ask, out, err);
    }
    return rc;
}

void qm_plan_answer_free(struct qm_plan_answer *a) {
    qm_placement_free(&a->placement);
}
