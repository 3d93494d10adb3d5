/* The report of a comparison as JSON. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/compare/compare.h"

static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *integer(uint64_t x) {
    return json_integer((json_int_t)x);
}

static json_t *rate(const struct qm_compare_rate *r) {
    return json_pack("{s:o, s:o, s:o, s:i, s:o}", "median", number(r->measured.median), "low", number(r->measured.low),
                     "high", number(r->measured.high), "n", r->measured.n, "predicted", number(r->predicted));
}

static json_t *curve(const struct qm_compare_point *at, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:f, s:o, s:o}", "depth", at[i].depth, "measured",
                                              number(at[i].measured), "predicted", number(at[i].predicted)));
    return list;
}

static json_t *memory(const struct qm_compare_config *c) {
    json_t *list = json_array();
    for (int i = 0; i < c->n_memory; i++) {
        const struct qm_compare_memory *m = &c->memory[i];
        json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "device", m->device, "weights",
                                              integer(m->weights), "kv", integer(m->kv), "activations",
                                              integer(m->activations), "workspace", integer(m->workspace), "total",
                                              integer(m->total)));
    }
    return list;
}

static json_t *nodes(const struct qm_compare_config *c) {
    json_t *list = json_array();
    for (int i = 0; i < c->n_nodes; i++) {
        const struct qm_compare_node *n = &c->node[i];
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:o, s:o}", "node", n->number < 0 ? json_null() : json_integer(n->number),
                            "weights", integer(n->weights), "kv", integer(n->kv), "placed_share", number(n->placed)));
    }
    return list;
}

static json_t *layers(const struct qm_compare_config *c) {
    json_t *list = json_array();
    for (int i = 0; i < c->n_layers; i++)
        json_array_append_new(list, json_pack("{s:i, s:f}", "attention", (int)c->layer[i].attention, "ffn_away",
                                              (double)c->layer[i].away));
    return list;
}

static json_t *agreement(const struct qm_compare_config *c) {
    const struct qm_agreement *a = &c->agreement;
    if (!a->compared)
        return json_null();
    return json_pack("{s:b, s:I, s:I, s:o, s:i, s:I, s:o, s:o}", "identical", a->first_difference < 0, "tokens",
                     (json_int_t)a->tokens, "same", (json_int_t)a->same, "first_difference",
                     a->first_difference < 0 ? json_null() : json_integer(a->first_difference), "prompt",
                     a->first_prompt, "positions", (json_int_t)a->positions, "kl_mean", number(a->kl_mean), "kl_max",
                     number(a->kl_max));
}

static json_t *answers(const struct qm_compare_report *r, const struct qm_compare_config *c) {
    json_t *list = json_array();
    for (int p = 0; p < r->prompts && c->answer[p]; p++) {
        json_t *ids = json_array();
        for (int64_t k = 0; k < c->n_answer[p]; k++)
            json_array_append_new(ids, json_integer(c->answer[p][k]));
        json_array_append_new(list, ids);
    }
    return list;
}

static json_t *traits(const struct qm_compare_config *c) {
    json_t *o = json_object();
    for (int t = 0; t < QM_TRAIT_COUNT; t++)
        if (c->traits.value[t][0])
            json_object_set_new(o, qm_trait_key((enum qm_trait)t), json_string(c->traits.value[t]));
    return o;
}

static json_t *text_or_null(const char *s) {
    return s[0] ? json_string(s) : json_null();
}

static json_t *config(const struct qm_compare_report *r, const struct qm_compare_config *c) {
    const struct {
        const char *key;
        json_t *value;
    } fields[] = {
        {"name", json_string(c->name)},
        {"measured", json_boolean(qm_compare_measured(c))},
        {"why_not", text_or_null(c->why_not)},
        {"failed", text_or_null(c->failed)},
        {"emulated", json_boolean(c->emulated)},
        {"threads", json_integer(c->threads)},
        {"threads_used", json_integer(c->threads_used)},
        {"drafted", json_integer(c->drafted)},
        {"accepted", json_integer(c->accepted)},
        {"prefill_tps", rate(&c->prefill)},
        {"decode_tps", rate(&c->decode)},
        {"first_token_seconds", rate(&c->first)},
        {"gb_s", number(c->gb_s)},
        {"limit_gb_s", number(c->limit_gb_s)},
        {"prefill_limit_share", number(c->prefill_efficiency)},
        {"decode_limit_share", number(c->decode_efficiency)},
        {"joules_per_token", number(c->joules_per_token)},
        {"joules_per_prompt_token", number(c->joules_per_prompt_token)},
        {"predicted_joules_per_token", number(c->predicted_joules)},
        {"watts", number(c->watts)},
        {"celsius", number(c->celsius)},
        {"fan_rpm", number(c->fan_rpm)},
        {"prefill_at", curve(c->prefill_at, c->n_prefill_at)},
        {"decode_at", curve(c->decode_at, c->n_decode_at)},
        {"memory", memory(c)},
        {"nodes", nodes(c)},
        {"placement", text_or_null(c->placement)},
        {"layers", layers(c)},
        {"agreement", agreement(c)},
        {"steady", json_boolean(!c->unsteady)},
        {"job_seconds", number(c->job.seconds)},
        {"job_seconds_low", number(c->job.low)},
        {"job_seconds_high", number(c->job.high)},
        {"job_joules", number(c->job.joules)},
        {"traits", traits(c)},
        {"answers", answers(r, c)},
    };
    json_t *o = json_object();
    bool failed = !o;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        failed = json_object_set_new(o, fields[i].key, fields[i].value) || failed;
    if (failed) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static json_t *job(const struct qm_compare_report *r) {
    if (!r->job[0])
        return json_null();
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "file", r->job, "rows", (json_int_t)r->job_rows,
                     "refused", (json_int_t)r->job_bad, "prompt_tokens", (json_int_t)r->job_prompt, "shared_tokens",
                     (json_int_t)r->job_shared, "answer_tokens", (json_int_t)r->job_answers, "without_max_tokens",
                     (json_int_t)r->job_open, "at_once", (json_int_t)r->job_at_once);
}

json_t *qm_compare_json(const struct qm_compare_report *r) {
    json_t *configs = json_array();
    for (int i = 0; i < r->configs; i++)
        if (json_array_append_new(configs, config(r, &r->config[i]))) {
            json_decref(configs);
            return NULL;
        }
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:s, s:i, s:I, s:f, s:f, s:b, s:o, s:b, s:o, s:o, "
        "s:o, s:o}",
        "version", QM_COMPARE_VERSION, "build", r->build, "when", r->when, "model", r->model, "machine", r->machine,
        "isa", r->isa, "prompts", r->prompts, "prompt_tokens", (json_int_t)r->prompt_tokens, "generate",
        (json_int_t)r->generate, "prompts_hash", r->text_hash, "rounds", r->rounds, "seed", (json_int_t)r->seed,
        "temperature", r->temperature, "bound_nats", r->bound, "reopened", r->reopened, "reference",
        r->reference < 0 ? json_null() : json_string(r->config[r->reference].name), "agree", r->agree, "not_readable",
        text_or_null(r->not_readable), "noise", text_or_null(r->noise), "job", job(r), "configs", configs);
}
