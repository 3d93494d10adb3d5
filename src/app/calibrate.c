/* Measuring shares: steps of small models, timed op by op by the engine's own profile, against limits measured by the
 * same threads just before and after. */
#include "app/calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/calibrate_model.h"
#include "app/limits.h"
#include "plan/work.h"

enum { CONFIG = 1024, LAYER_BYTES = 69 << 20, MOST_LAYERS = 24, DEEP = 32768, HALF_DEEP = 8192 };
static const double SECONDS = 45; /* a machine busy with other things is not measured well anyway */

struct calibration {
    const struct qm_machine_profile *profile;
    struct qm_calibration_setup setup;
    struct qm_efficiency *out;
    int dense_layers;
    double begin;
};

static void add_point(struct qm_shares *s, double rows, double share) {
    if (s->n == QM_SHARE_POINTS || !(share > 0))
        return;
    s->rows[s->n] = rows;
    s->share[s->n++] = share < 0.001 ? 0.001 : share > 1.5 ? 1.5 : share;
}

static double region_seconds(const struct calibration *c, int64_t rows) {
    return (c->profile->region_us + (rows > 4 ? c->profile->barrier_us : 0)) * 1e-6;
}

static double limit_seconds(const struct qm_limits *l, enum qm_dtype t, double bytes, double flops) {
    double reading = bytes / l->read, computing = flops / (t == QM_F16 || t == QM_F32 ? l->f32 : l->bf16);
    return reading > computing ? reading : computing;
}

/* Bytes and multiply-adds (times 2, a row) of the layers' matrices of some roles, one expert of each. */
static void count(const struct qm_model *m, bool experts, double *bytes, double *flops) {
    *bytes = *flops = 0;
    for (int64_t i = 0; i < m->n_weights; i++) {
        const struct qm_weight *w = &m->weights[i];
        bool of_experts = w->role == QM_W_GATE_UP || w->role == QM_W_DOWN;
        bool dense = w->role == QM_W_QKV || w->role == QM_W_O || (of_experts && w->experts == 1);
        if (experts ? !of_experts : !dense)
            continue;
        *bytes += (double)qm_weight_part_bytes(w, 1);
        *flops += 2 * (double)w->n * (double)w->k;
    }
}

static int dense(struct calibration *c, enum qm_dtype type, const char *name, struct qm_error *err) {
    static const int64_t rows[] = {1, 4, 16, 64, 256};
    char config[CONFIG];
    struct qm_calibration_model m;
    snprintf(config, sizeof config,
             "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":4096,"
             "\"hidden_size\":1536,\"num_hidden_layers\":%d,\"num_attention_heads\":12,\"num_key_value_heads\":4,"
             "\"head_dim\":128,\"intermediate_size\":6144,\"rms_norm_eps\":1e-5,\"rope_theta\":10000,"
             "\"max_position_embeddings\":4096,\"hidden_act\":\"silu\",\"tie_word_embeddings\":true,"
             "\"torch_dtype\":\"%s\"}",
             type == QM_F32 ? (c->dense_layers + 1) / 2 : c->dense_layers, name);
    int rc = qm_calibration_open(&c->setup, config, 256, &m, err);
    for (size_t i = 0; !rc && i < sizeof rows / sizeof *rows; i++) {
        double seconds[QM_OP_COUNT], bytes, flops;
        rc = qm_calibration_time(&m, 0, rows[i], seconds, err);
        count(m.model, false, &bytes, &flops);
        double time = seconds[QM_OP_QKV] + seconds[QM_OP_ATTENTION_OUT] + seconds[QM_OP_FFN_UP] +
                      seconds[QM_OP_FFN_DOWN] - 4 * (double)m.model->config.layers * region_seconds(c, rows[i]);
        if (!rc)
            add_point(&c->out->kernel[QM_KERNEL_DENSE][type], (double)rows[i],
                      limit_seconds(&m.limits, type, bytes, flops * (double)rows[i]) / time);
    }
    qm_calibration_close(&m);
    return rc;
}

static int experts(struct calibration *c, enum qm_dtype type, const char *config, struct qm_error *err) {
    static const int64_t tokens[] = {1, 16, 64, 256};
    struct qm_calibration_model m;
    int rc = qm_calibration_open(&c->setup, config, 256, &m, err);
    for (size_t i = 0; !rc && i < sizeof tokens / sizeof *tokens; i++) {
        double seconds[QM_OP_COUNT], bytes, flops, n = (double)tokens[i];
        rc = qm_calibration_time(&m, 0, tokens[i], seconds, err);
        const struct qm_config *g = &m.model->config;
        double all = (double)g->experts, each = (double)g->experts_per_token, layers = (double)g->layers;
        double touched = all * (1 - pow(1 - each / all, n)), rows = n * each / touched;
        count(m.model, true, &bytes, &flops);
        double time = seconds[QM_OP_MOE_UP] + seconds[QM_OP_MOE_DOWN] - 2 * layers * region_seconds(c, tokens[i]);
        if (rc)
            break;
        add_point(&c->out->kernel[QM_KERNEL_EXPERTS][type], rows,
                  limit_seconds(&m.limits, type, touched * bytes, flops * n * each) / time);
        double share = ceil(n / m.threads), choices = all * each * (each + 1) / 2;
        double matrix = 2 * all * (double)g->hidden * share / (m.limits.f32 / m.threads) / 0.8;
        double left = seconds[QM_OP_ROUTE] / layers - region_seconds(c, tokens[i]) - matrix;
        c->out->route_ns = left > 0 ? left / (share * choices) * 1e9 : 0; /* the last, of many rows, stays */
    }
    qm_calibration_close(&m);
    return rc;
}

/* One number of query heads for each KV head, by one token deep in a context; with 8 of them also a prompt, whose
 * queries are taken in blocks of QM_QUERY_ROWS rows, and the cost of a value. */
static int attention(struct calibration *c, int64_t head_dim, int64_t group, struct qm_error *err) {
    enum { KV_HEADS = 4, PROMPT = 256, FEW = 64 };
    enum qm_kernel_class k = head_dim < 96 ? QM_KERNEL_ATTENTION_64 : QM_KERNEL_ATTENTION_128;
    struct qm_shares *shares = &c->out->kernel[k][QM_BF16];
    char config[CONFIG];
    struct qm_calibration_model m;
    snprintf(config, sizeof config,
             "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":1024,"
             "\"hidden_size\":256,\"num_hidden_layers\":1,\"num_attention_heads\":%d,\"num_key_value_heads\":%d,"
             "\"head_dim\":%d,\"intermediate_size\":256,\"rms_norm_eps\":1e-5,\"rope_theta\":10000,"
             "\"max_position_embeddings\":65536,\"hidden_act\":\"silu\",\"tie_word_embeddings\":true,"
             "\"torch_dtype\":\"bfloat16\"}",
             (int)(KV_HEADS * group), KV_HEADS, (int)head_dim);
    double seconds[QM_OP_COUNT], few[QM_OP_COUNT], hd = (double)head_dim, heads = (double)(KV_HEADS * group);
    double key = 2 * hd * 2 * KV_HEADS, flops = 4 * hd * heads; /* of a key, all heads */
    int rc = qm_calibration_open(&c->setup, config, PROMPT, &m, err);
    if (!rc)
        rc = qm_calibration_time(&m, DEEP, 1, seconds, err);
    double keys = DEEP + QM_KV_PAGE_TOKENS / 2.0;
    if (!rc)
        add_point(shares, (double)group,
                  limit_seconds(&m.limits, QM_BF16, key * keys, flops * keys) /
                      (seconds[QM_OP_ATTENTION] - region_seconds(c, 1)));
    if (!rc && group == 8) {
        rc = qm_calibration_time(&m, 0, FEW, few, err);
        double values = (heads + 2 * KV_HEADS) * hd * ceil(FEW / (double)m.threads);
        double value =
            (few[QM_OP_ATTENTION] - region_seconds(c, FEW) - FEW * flops * QM_KV_PAGE_TOKENS / (0.6 * m.limits.bf16)) /
            values;
        c->out->value_ns = value > 0 ? value * 1e9 : 0;
    }
    if (!rc && group == 8) {
        rc = qm_calibration_time(&m, HALF_DEEP, PROMPT, seconds, err);
        double block = floor(QM_QUERY_ROWS / (double)group), passes = ceil(PROMPT / block);
        keys = HALF_DEEP + PROMPT / 2.0 + block / 2 + QM_KV_PAGE_TOKENS / 2.0;
        double prepare = (heads + 2 * KV_HEADS) * hd * ceil(PROMPT / (double)m.threads) * c->out->value_ns * 1e-9;
        if (!rc)
            add_point(shares, block * (double)group,
                      limit_seconds(&m.limits, QM_BF16, key * keys * passes, flops * block * keys * passes) /
                          (seconds[QM_OP_ATTENTION] - region_seconds(c, PROMPT) - prepare));
    }
    qm_calibration_close(&m);
    return rc;
}

static bool in_time(const struct calibration *c) {
    return qm_now() - c->begin < SECONDS;
}

static int measure(struct calibration *c, struct qm_error *err) {
    static const char with_experts[] =
        "{\"model_type\":\"qwen3_moe\",\"architectures\":[\"Qwen3MoeForCausalLM\"],\"vocab_size\":4096,"
        "\"hidden_size\":1536,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":4,"
        "\"head_dim\":128,\"intermediate_size\":1024,\"moe_intermediate_size\":1024,\"num_experts\":32,"
        "\"num_experts_per_tok\":4,\"norm_topk_prob\":true,\"decoder_sparse_step\":1,\"mlp_only_layers\":[],"
        "\"rms_norm_eps\":1e-6,\"rope_theta\":10000,\"max_position_embeddings\":4096,\"hidden_act\":\"silu\","
        "\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\"}";
    static const char with_mxfp4[] =
        "{\"model_type\":\"gpt_oss\",\"architectures\":[\"GptOssForCausalLM\"],\"vocab_size\":4096,"
        "\"hidden_size\":1536,\"num_hidden_layers\":4,\"num_attention_heads\":8,\"num_key_value_heads\":4,"
        "\"head_dim\":64,\"intermediate_size\":1536,\"num_local_experts\":32,\"num_experts_per_tok\":4,"
        "\"sliding_window\":128,\"rms_norm_eps\":1e-5,\"rope_theta\":10000,\"max_position_embeddings\":4096,"
        "\"attention_bias\":true,\"swiglu_limit\":7.0,\"hidden_act\":\"silu\",\"tie_word_embeddings\":false,"
        "\"torch_dtype\":\"bfloat16\",\"quantization_config\":{\"quant_method\":\"mxfp4\"}}";
    static const int64_t of_heads[][2] = {{64, 8}, {128, 1}, {128, 8}, {128, 16}};
    int rc = dense(c, QM_BF16, "bfloat16", err);
    for (size_t i = 0; !rc && in_time(c) && i < sizeof of_heads / sizeof *of_heads; i++)
        rc = attention(c, of_heads[i][0], of_heads[i][1], err);
    if (!rc && in_time(c))
        rc = experts(c, QM_BF16, with_experts, err);
    if (!rc && in_time(c))
        rc = experts(c, QM_MXFP4, with_mxfp4, err);
    if (!rc && in_time(c))
        rc = dense(c, QM_F16, "float16", err);
    if (!rc && in_time(c))
        rc = dense(c, QM_F32, "float32", err);
    return rc;
}

/* Attention's points come in the order of measuring; by rows they are wanted. */
static void sort_points(struct qm_shares *s) {
    for (int i = 1; i < s->n; i++)
        for (int j = i; j > 0 && s->rows[j] < s->rows[j - 1]; j--) {
            double rows = s->rows[j], share = s->share[j];
            s->rows[j] = s->rows[j - 1];
            s->share[j] = s->share[j - 1];
            s->rows[j - 1] = rows;
            s->share[j - 1] = share;
        }
}

int qm_calibrate(const struct qm_machine *m, const struct qm_machine_profile *profile, enum qm_isa isa,
                 struct qm_progress *progress, struct qm_efficiency *out, bool *whole, struct qm_error *err) {
    struct qm_efficiency usual;
    struct calibration c = {
        .profile = profile, .out = out, .setup = {.isa = isa, .progress = progress}, .begin = qm_now()};
    uint64_t wanted = 4 * qm_machine_cache_bytes(m), most = m->available / 8;
    uint64_t layers = (wanted < most ? wanted : most) / LAYER_BYTES;
    c.dense_layers = layers < 2 ? 2 : layers > MOST_LAYERS ? MOST_LAYERS : (int)layers;
    *out = (struct qm_efficiency){0};
    int rc = measure(&c, err);
    qm_efficiency_usual(&usual);
    for (int k = 0; k < QM_KERNEL_CLASSES; k++) {
        sort_points(&out->kernel[k][QM_BF16]);
        if (out->kernel[k][QM_BF16].n == 0)
            out->kernel[k][QM_BF16] = usual.kernel[k][QM_BF16];
    }
    *whole = in_time(&c);
    qm_progress_end(progress);
    return rc;
}
