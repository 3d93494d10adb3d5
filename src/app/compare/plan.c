/* The configurations of a comparison: from their names to devices, placements and predictions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/compare/run.h"
#include "app/offload.h"
#include "app/predictor.h"
#include "app/remedy.h"
#include "base/parse.h"
#include "base/size.h"
#include "engine/units.h"

static const double QUIET_PERCENT = 97, LEAST_PERCENT = 10;

void qm_compare_task_free(struct qm_compare_task *t) {
    for (int i = 0; i < t->prompts; i++)
        qm_ids_free(&t->prompt[i]);
    for (int i = 0; i < t->specs; i++) {
        qm_plan_answer_free(&t->spec[i].plan);
        free(t->spec[i].speed);
    }
}

static int parse_one(char *text, struct qm_compare_spec *s, struct qm_error *err) {
    static const struct {
        const char *name;
        enum qm_compare_kind kind;
    } kinds[] = {{"cpu", QM_COMPARE_CPU},
                 {"drafts", QM_COMPARE_DRAFTS},
                 {"quiet", QM_COMPARE_QUIET},
                 {"auto", QM_COMPARE_AUTO},
                 {"gpu", QM_COMPARE_GPU}};
    size_t n = strcspn(text, ":");
    double percent = QUIET_PERCENT;
    if (strlen(text) >= sizeof s->name)
        return qm_fail(err, QM_USAGE, "--configs: a configuration of more than %zu bytes", sizeof s->name - 1);
    memcpy(s->name, text, strlen(text) + 1);
    if (!strncmp(text, "emulated", 8) && text[n] == ':') {
        s->kind = QM_COMPARE_EMULATED;
        return QM_OK;
    }
    size_t i = 0;
    while (i < sizeof kinds / sizeof *kinds && (strlen(kinds[i].name) != n || strncmp(kinds[i].name, text, n) != 0))
        i++;
    bool argument = text[n] == ':';
    if (i == sizeof kinds / sizeof *kinds || (argument && kinds[i].kind != QM_COMPARE_QUIET))
        return qm_fail(
            err, QM_USAGE,
            "--configs: expected cpu, drafts, quiet, quiet:PERCENT, auto, gpu, emulated:auto or emulated:SIZE,... "
            "separated by commas, found \"%s\"",
            text);
    s->kind = kinds[i].kind;
    if (argument && (!qm_parse_real(text + n + 1, &percent) || percent < LEAST_PERCENT || percent > 100))
        return qm_fail(err, QM_USAGE, "--configs: quiet: expected %g to 100 percent, found \"%s\"", LEAST_PERCENT,
                       text + n + 1);
    s->share = s->kind == QM_COMPARE_QUIET ? percent / 100 : 0;
    return QM_OK;
}

int qm_compare_specs_parse(const char *text, struct qm_compare_task *t, struct qm_error *err) {
    char part[512];
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ",");
        /* a device's own fields */
        while (at[n] && strcspn(at + n + 1, "=") < strcspn(at + n + 1, ",:"))
            n += 1 + strcspn(at + n + 1, ",");
        if (t->specs == QM_COMPARE_CONFIGS)
            return qm_fail(err, QM_USAGE, "--configs: more than %d", QM_COMPARE_CONFIGS);
        if (n >= sizeof part)
            return qm_fail(err, QM_USAGE, "--configs: a configuration of more than %zu bytes", sizeof part - 1);
        memcpy(part, at, n);
        part[n] = 0;
        int rc = parse_one(part, &t->spec[t->specs], err);
        for (int i = 0; i < t->specs && !rc; i++)
            if (!strcmp(t->spec[i].name, part))
                rc = qm_fail(err, QM_USAGE, "--configs: \"%s\" is there twice", part);
        if (rc)
            return rc;
        t->specs++;
        at += n;
        if (!*at)
            return QM_OK;
    }
}

/* A card for half of the model, so that there is something to split; or a typical one's rates. */
static int own_device(const struct qm_compare_task *t, const struct qm_compare_spec *s, struct qm_device_model *out,
                      struct qm_error *err) {
    char text[160];
    if (s->kind == QM_COMPARE_GPU) { /* a card sold with 96 GB, as its driver shows it */
        int parsed = qm_device_model_parse("--configs", "gpu:97887MiB", out, err);
        out->reserve = QM_CARD_RESERVE;
        out->memory -= out->reserve;
        return parsed;
    }
    if (strcmp(strchr(s->name, ':') + 1, "auto") != 0)
        return qm_device_model_parse("--configs", s->name, out, err);
    struct qm_workload w = {.context = t->context,
                            .sequences = 1,
                            .chunk = t->chunk,
                            .kv_type =
                                t->kv_type < 0 ? qm_kv_default_type(&t->model->config) : (enum qm_dtype)t->kv_type,
                            .threads = 1};
    struct qm_memory_table m;
    qm_memory_estimate(t->model, &w, &m);
    snprintf(text, sizeof text, "%.*s:1GiB", (int)strcspn(s->name, ":"), s->name);
    int rc = qm_device_model_parse("--configs", text, out, err);
    out->memory = m.total / 2 + m.scratch + QM_PLAN_PAGE_ROOM;
    return rc;
}

static int choose_devices(const struct qm_compare_task *t, struct qm_compare_spec *s, struct qm_error *err) {
    bool emulated = s->kind == QM_COMPARE_EMULATED, own = emulated || s->kind == QM_COMPARE_GPU;
    bool any = own && (!emulated || !strcmp(strchr(s->name, ':') + 1, "auto"));
    if (!(s->speed = malloc(sizeof *s->speed)))
        return qm_fail_memory(err, sizeof *s->speed, "a configuration");
    *s->speed = t->speed;
    if (s->kind == QM_COMPARE_AUTO)
        return QM_OK;
    s->speed->devices = 0;
    /* described cards are more exact than a typical one's rates */
    for (int d = 0; d < t->speed.devices && any; d++)
        if (t->speed.device[d].emulated == emulated)
            s->speed->device[s->speed->devices++] = t->speed.device[d];
    if (!own || s->speed->devices)
        return QM_OK;
    s->speed->devices = 1;
    return own_device(t, s, &s->speed->device[0], err);
}

static void why_not(const struct qm_compare_spec *s, struct qm_compare_config *c) {
    bool real = false;
    for (int d = 0; d < s->speed->devices; d++) {
        real = real || !s->speed->device[d].emulated;
        c->emulated = c->emulated || s->speed->device[d].emulated;
    }
    const char *name = s->speed->devices ? s->speed->device[0].name : "";
    if (s->kind == QM_COMPARE_AUTO && s->speed->devices == 0)
        snprintf(c->why_not, sizeof c->why_not, "no --device given: the same as cpu");
    else if (real)
        snprintf(c->why_not, sizeof c->why_not,
                 "this build computes on no GPU; predicted for %s: %.1f GiB, reads %.0f GB/s, BF16 %.0f TFLOP/s", name,
                 qm_gib(s->speed->device[0].memory), s->speed->device[0].read * 1e-9, s->speed->device[0].bf16 * 1e-12);
}

static void take_memory(const struct qm_compare_spec *s, struct qm_compare_config *c) {
    for (int d = 0; d < s->plan.placement.devices; d++) {
        const struct qm_device_memory *m = &s->plan.memory[d];
        struct qm_compare_memory *to = &c->memory[c->n_memory];
        if (d && !m->total)
            continue;
        *to = (struct qm_compare_memory){.weights = m->weights,
                                         .kv = m->kv,
                                         .activations = m->activations,
                                         .workspace = m->workspace,
                                         .total = m->total};
        snprintf(to->device, sizeof to->device, "%s", qm_plan_device_name(s->speed, d));
        c->n_memory++;
    }
}

static int take_placement(const struct qm_compare_spec *s, struct qm_compare_config *c, struct qm_error *err) {
    const struct qm_placement *p = &s->plan.placement;
    struct qm_buf text = {0};
    if (p->devices < 2)
        return QM_OK;
    int rc = qm_plan_placement_text(&s->ask, &s->plan, &text, err);
    snprintf(c->placement, sizeof c->placement, "%s", text.data ? text.data : "");
    qm_buf_free(&text);
    c->n_layers = p->layers < QM_COMPARE_LAYERS ? (int)p->layers : QM_COMPARE_LAYERS;
    for (int l = 0; l < c->n_layers; l++) {
        bool moe = s->plan.model->config.layer[l].moe;
        double here = moe ? (double)qm_placement_experts_on(p, l, QM_DEVICE_CPU) / (double)p->experts
                          : (double)qm_placement_columns_on(p, s->plan.model, l, QM_DEVICE_CPU) /
                                (double)s->plan.model->config.ffn;
        c->layer[l] = (struct qm_compare_layer){p->layer[l].attention, (float)(1 - here)};
    }
    return rc;
}

/* Plans again where a device has less free than was planned with. */
static int plan_with_free(struct qm_compare_task *t, struct qm_compare_spec *s, struct qm_error *err) {
    bool again = qm_offload_is_short(s->speed, &s->plan);
    qm_offload_note_short(s->speed, &s->plan, t->progress);
    qm_offload_take_free(s->speed);
    if (!again)
        return QM_OK;
    qm_plan_answer_free(&s->plan);
    return qm_plan_answer(&s->ask, t->model, t->model_name, &s->plan, err);
}

static int plan_one(struct qm_compare_task *t, int i, struct qm_compare_config *c, struct qm_error *err) {
    struct qm_compare_spec *s = &t->spec[i];
    struct qm_error why = {0};
    int64_t longest = 0;
    for (int p = 0; p < t->prompts; p++)
        longest = (int64_t)t->prompt[p].len > longest ? (int64_t)t->prompt[p].len : longest;
    int rc = choose_devices(t, s, err);
    if (rc)
        return rc;
    s->ask = (struct qm_plan_ask){.context = t->context,
                                  .chunk = t->chunk,
                                  .scenario = {.sequences = 1, .prompt = longest, .generate = t->generate},
                                  .kv_type = t->kv_type,
                                  .threads = t->threads,
                                  .ram = t->ram,
                                  .last_layers = -1,
                                  .speed = s->speed};
    why_not(s, c);
    rc = qm_plan_answer(&s->ask, t->model, t->model_name, &s->plan, &why);
    if (!rc)
        rc = plan_with_free(t, s, &why);
    if (rc == QM_FIT) {
        qm_remedy_add(&why);
        snprintf(c->why_not, sizeof c->why_not, "%.255s", why.message);
        qm_plan_answer_free(&s->plan);
        s->plan = (struct qm_plan_answer){0};
        return QM_OK;
    }
    if (rc) {
        if (err)
            *err = why;
        return rc;
    }
    take_memory(s, c);
    rc = take_placement(s, c, err);
    qm_compare_predict(t, i, 0, c);
    return rc;
}

int qm_compare_plan(struct qm_compare_task *t, struct qm_compare_report *r, struct qm_error *err) {
    int rc = QM_OK;
    r->configs = t->specs;
    for (int i = 0; i < t->specs && !rc; i++) {
        struct qm_compare_config *c = &r->config[i];
        struct qm_figure none = qm_figure_of(NULL, 0);
        memcpy(c->name, t->spec[i].name, sizeof c->name);
        c->prefill = c->decode = c->first = (struct qm_compare_rate){none, NAN};
        c->gb_s = c->limit_gb_s = c->prefill_efficiency = c->decode_efficiency = NAN;
        c->joules_per_token = c->joules_per_prompt_token = c->watts = c->predicted_joules = NAN;
        c->celsius = c->fan_rpm = c->job.seconds = c->job.low = c->job.high = c->job.joules = NAN;
        c->agreement.first_difference = -1;
        c->agreement.kl_mean = c->agreement.kl_max = NAN;
        rc = plan_one(t, i, c, err);
    }
    return rc;
}

static struct qm_time_setup setup_of(const struct qm_compare_spec *s, int threads) {
    struct qm_time_setup t = {
        .model = s->plan.model, .speed = s->speed, .placement = &s->plan.placement, .workload = s->plan.workload};
    if (threads)
        t.workload.threads = threads;
    return t;
}

struct qm_time_setup qm_compare_setup(const struct qm_compare_task *t, int config) {
    return setup_of(&t->spec[config], 0);
}

void qm_compare_predict_scenario(const struct qm_compare_task *t, int config, int decode_threads,
                                 const struct qm_scenario *job, struct qm_scenario_time *out) {
    const struct qm_compare_spec *s = &t->spec[config];
    struct qm_time_setup prefill_setup = setup_of(s, 0), decode_setup = setup_of(s, decode_threads);
    struct qm_scenario prefill_only = *job, decode_only = *job;
    struct qm_scenario_time prefill, decode;
    prefill_only.generate = 0;
    decode_only.depth += decode_only.prompt;
    decode_only.prompt = 0;
    qm_time_scenario(&prefill_setup, &prefill_only, &prefill);
    qm_time_scenario(&decode_setup, &decode_only, &decode);
    *out = prefill;
    out->decode = decode.decode;
    out->decode_tps = decode.decode_tps;
    out->joules = (job->prompt ? prefill.joules : 0) + (job->generate ? decode.joules : 0);
}

void qm_compare_predict(const struct qm_compare_task *t, int config, int decode_threads, struct qm_compare_config *c) {
    const struct qm_compare_spec *s = &t->spec[config];
    double prefill_only = 0, decode_only = 0, joules = 0, tokens = 0;
    if (!s->plan.model)
        return;
    for (int p = 0; p < t->prompts; p++) {
        struct qm_scenario job = {.sequences = 1, .prompt = (int64_t)t->prompt[p].len, .generate = t->generate - 1};
        struct qm_scenario_time time;
        qm_compare_predict_scenario(t, config, decode_threads, &job, &time);
        prefill_only += time.prefill.seconds;
        decode_only += time.decode.seconds;
        joules += time.joules;
        tokens += (double)t->prompt[p].len;
    }
    if (s->kind == QM_COMPARE_DRAFTS) /* what will be right is not known */
        decode_only = joules = 0;
    double written = (double)((t->generate - 1) * t->prompts);
    bool long_prompts = tokens >= (double)(QM_PREDICTED_TOKENS * t->prompts),
         long_answers = t->generate >= QM_PREDICTED_TOKENS;
    c->prefill.predicted = prefill_only > 0 && long_prompts ? tokens / prefill_only : NAN;
    c->decode.predicted = decode_only > 0 && long_answers ? written / decode_only : NAN;
    c->first.predicted = prefill_only / t->prompts;
    c->predicted_joules = joules > 0 ? joules / (double)(t->generate * t->prompts) : NAN;
    struct qm_time_setup prefill_setup = setup_of(s, 0), decode_setup = setup_of(s, decode_threads);
    for (int i = 0; i < c->n_prefill_at + c->n_decode_at; i++) {
        bool prefill = i < c->n_prefill_at;
        struct qm_compare_point *at = prefill ? &c->prefill_at[i] : &c->decode_at[i - c->n_prefill_at];
        int64_t depth = (int64_t)at->depth, chunk = depth < t->chunk ? depth : t->chunk;
        struct qm_scenario job = {.sequences = 1, .depth = depth, .generate = 1};
        struct qm_scenario_time time;
        if (prefill) /* the depth is that of the chunk's end */
            job = (struct qm_scenario){.sequences = 1, .depth = depth - chunk, .prompt = chunk};
        qm_time_scenario(prefill ? &prefill_setup : &decode_setup, &job, &time);
        at->predicted = prefill ? time.prefill_tps : s->kind == QM_COMPARE_DRAFTS ? NAN : time.decode_tps;
    }
}
