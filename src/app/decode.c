/* What the commands share of decoding arguments. */
#include "app/decode.h"

#include <string.h>

#include "base/parse.h"
#include "base/size.h"

static const double DEFAULT_PERCENT = 97, LEAST_PERCENT = 10;

struct qm_texts qm_decode_texts(const struct qm_args *args, enum qm_option option) {
    return (struct qm_texts){args->option[option].list, args->option[option].n_list};
}

struct qm_model_options qm_decode_model(const struct qm_args *args) {
    return (struct qm_model_options){
        .name = args->model,
        .overrides = {.experts_per_token = qm_args_int(args, QM_OPT_EXPERTS_PER_TOKEN, 0),
                      .rope_theta = qm_args_real(args, QM_OPT_ROPE_THETA, 0),
                      .rope_scaling = qm_args_text(args, QM_OPT_ROPE_SCALING, NULL),
                      .experts_name = "--experts-per-token",
                      .theta_name = "--rope-theta",
                      .scaling_name = "--rope-scaling"},
        .chat_template = qm_args_text(args, QM_OPT_CHAT_TEMPLATE, NULL),
        .context = qm_args_int(args, QM_OPT_CONTEXT, 0),
        .layers = qm_args_int(args, QM_OPT_LAYERS, 0),
        .dtype = qm_args_text(args, QM_OPT_DTYPE, NULL),
    };
}

int qm_decode_isa(const struct qm_args *args, enum qm_isa *out, struct qm_error *err) {
    const char *name = qm_args_text(args, QM_OPT_ISA, NULL);
    if (!name) {
        *out = qm_isa_auto();
        return QM_OK;
    }
    int rc = qm_isa_parse(name, out, err);
    return rc ? rc : qm_isa_check(*out, err);
}

int qm_decode_numa(const struct qm_args *args, struct qm_numa *out, struct qm_error *err) {
    int rc = qm_numa_parse(qm_args_text(args, QM_OPT_NUMA, "auto"), out, err);
    return rc ? qm_fail_context(err, "--numa") : QM_OK;
}

int qm_decode_kv_type(const struct qm_args *args, int *out, struct qm_error *err) {
    static const struct {
        const char *name;
        int type;
    } types[] = {{"bf16", QM_BF16}, {"f16", QM_F16}, {"f32", QM_F32}};
    const char *name = qm_args_text(args, QM_OPT_KV_TYPE, NULL);
    *out = -1;
    for (size_t i = 0; name && i < sizeof types / sizeof *types; i++)
        if (!strcmp(name, types[i].name))
            *out = types[i].type;
    if (name && *out < 0)
        return qm_fail(err, QM_USAGE, "--kv-type: expected bf16, f16 or f32, found \"%s\"", name);
    return QM_OK;
}

int qm_decode_quiet(const struct qm_args *args, struct qm_quiet_options *out, struct qm_error *err) {
    const struct qm_arg *quiet = &args->option[QM_OPT_QUIET], *nice = &args->option[QM_OPT_NICE];
    double percent = DEFAULT_PERCENT;
    *out = (struct qm_quiet_options){.idle = args->option[QM_OPT_IDLE].set, .nice = (int)nice->integer};
    out->watts = qm_args_real(args, QM_OPT_POWER_CAP, 0);
    out->priority = out->idle || nice->set;
    if (!quiet->set)
        return QM_OK;
    out->prefill = quiet->has_value && !strcmp(quiet->text, "max");
    if (quiet->has_value && !out->prefill &&
        (!qm_parse_real(quiet->text, &percent) || percent < LEAST_PERCENT || percent > 100))
        return qm_fail(err, QM_USAGE,
                       "--quiet: expected a share of the speed from %g to 100 percent, or max, found \"%s\"",
                       LEAST_PERCENT, quiet->text);
    out->share = percent / 100;
    return QM_OK;
}

int qm_decode_offload(const struct qm_args *args, struct qm_offload_options *out, struct qm_error *err) {
    const char *text = qm_args_text(args, QM_OPT_OFFLOAD, NULL), *vram = qm_args_text(args, QM_OPT_VRAM, NULL);
    *out = (struct qm_offload_options){.devices = qm_decode_texts(args, QM_OPT_DEVICE), .text = text};
    if (!text)
        out->wish = QM_OFFLOAD_UNSAID;
    else if (!strcmp(text, "auto"))
        out->wish = QM_OFFLOAD_AUTO;
    else if (!strcmp(text, "require"))
        out->wish = QM_OFFLOAD_REQUIRE;
    else if (!strcmp(text, "none"))
        out->wish = QM_OFFLOAD_NONE;
    else
        out->wish = qm_parse_int(text, &out->layers) ? QM_OFFLOAD_LAYERS : QM_OFFLOAD_FILE;
    /* without a device it means nothing, as the environment may have it */
    return vram && out->devices.n ? qm_size_parse("--vram", vram, &out->vram, err) : QM_OK;
}

int qm_decode_load(const struct qm_args *args, struct qm_load_options *out, struct qm_error *err) {
    *out = (struct qm_load_options){.threads = (int)qm_args_int(args, QM_OPT_THREADS, 0),
                                    .context = qm_args_int(args, QM_OPT_CONTEXT, 0),
                                    .routing = qm_args_text(args, QM_OPT_PROFILE_EXPERTS, NULL)};
    int rc = qm_decode_offload(args, &out->offload, err);
    if (!rc)
        rc = qm_offload_refuse_cards(&out->offload, err);
    if (!rc)
        rc = qm_decode_quiet(args, &out->quiet, err);
    if (!rc)
        rc = qm_decode_isa(args, &out->isa, err);
    if (!rc)
        rc = qm_decode_kv_type(args, &out->kv_type, err);
    return rc ? rc : qm_decode_numa(args, &out->numa, err);
}

struct qm_sampling_options qm_decode_sampling(const struct qm_args *args) {
    const struct qm_arg *o = args->option;
    return (struct qm_sampling_options){
        .temperature = {o[QM_OPT_TEMPERATURE].set, o[QM_OPT_TEMPERATURE].real},
        .top_p = {o[QM_OPT_TOP_P].set, o[QM_OPT_TOP_P].real},
        .min_p = {o[QM_OPT_MIN_P].set, o[QM_OPT_MIN_P].real},
        .repetition_penalty = {o[QM_OPT_REPEAT_PENALTY].set, o[QM_OPT_REPEAT_PENALTY].real},
        .presence_penalty = {o[QM_OPT_PRESENCE_PENALTY].set, o[QM_OPT_PRESENCE_PENALTY].real},
        .frequency_penalty = {o[QM_OPT_FREQUENCY_PENALTY].set, o[QM_OPT_FREQUENCY_PENALTY].real},
        .top_k = {o[QM_OPT_TOP_K].set, o[QM_OPT_TOP_K].integer},
        .seed = {o[QM_OPT_SEED].set, o[QM_OPT_SEED].integer},
        .bias = qm_decode_texts(args, QM_OPT_LOGIT_BIAS),
    };
}

int qm_decode_drafts(const struct qm_args *args, struct qm_draft_options *out, struct qm_error *err) {
    const char *kind = qm_args_text(args, QM_OPT_DRAFT, "auto");
    int64_t number;
    *out = (struct qm_draft_options){.off = !strcmp(kind, "off"),
                                     .most = (int)qm_args_int(args, QM_OPT_DRAFT_TOKENS, QM_DRAFT_MAX)};
    if (!*kind || qm_parse_int(kind, &number))
        return qm_fail(err, QM_USAGE, "--draft: expected auto, lookup, off or a model, found \"%s\"%s", kind,
                       *kind ? "; how many tokens is --draft-tokens N" : "");
    if (!out->off && strcmp(kind, "auto") && strcmp(kind, "lookup"))
        out->model = kind;
    return QM_OK;
}

int qm_decode_size(const struct qm_args *args, enum qm_option option, uint64_t *out, struct qm_error *err) {
    char name[40];
    snprintf(name, sizeof name, "--%s", qm_options[option].name);
    return args->option[option].set ? qm_size_parse(name, args->option[option].text, out, err) : QM_OK;
}
