/* Measuring shares: steps of small models, timed op by op by the engine's own profile, against limits measured by the
 * same threads just before and after. */
#include "app/machine/calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/machine/calibrate_model.h"
#include "app/machine/limits.h"
#include "plan/work.h"

enum { CONFIG = 1024, FEWEST_LAYERS = 2, MOST_LAYERS = 24 };

struct calibration {
    const struct qm_machine *machine;
    const struct qm_machine_profile *profile;
    struct qm_calibration_setup *setup;
    struct qm_efficiency *out;
};

/* As many layers as hold `times` the caches, so that they are read from memory. */
static int layers_of(const struct calibration *c, uint64_t bytes, int times) {
    uint64_t wanted = (uint64_t)times * qm_machine_cache_bytes(c->machine), most = c->machine->available / 8;
    uint64_t layers = (wanted < most ? wanted : most) / bytes + 1;
    return layers < FEWEST_LAYERS ? FEWEST_LAYERS : layers > MOST_LAYERS ? MOST_LAYERS : (int)layers;
}

static void add_point(struct qm_shares *s, double rows, double share) {
    if (s->n == QM_SHARE_POINTS || !(share > 0))
        return;
    s->rows[s->n] = rows;
    s->share[s->n++] = share < 0.001 ? 0.001 : share > 1.5 ? 1.5 : share;
}

static double region_seconds(const struct calibration *c, int64_t rows) {
    return (c->profile->region_us + (rows > 4 ? c->profile->barrier_us : 0)) * 1e-6;
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

/* Few rows are bound by reading: of many layers. Many rows by computing, which takes its time. */
static int dense(struct calibration *c, enum qm_dtype type, bool few, struct qm_error *err) {
    enum { BYTES = 69 << 20, MANY_LAYERS = 3 };
    static const int64_t rows[2][3] = {{64, 256, 512}, {1, 4, 16}};
    const char *name = type == QM_BF16 ? "bfloat16" : type == QM_F16 ? "float16" : "float32";
    char config[CONFIG];
    struct qm_calibration_model m;
    snprintf(config, sizeof config,
             "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":4096,"
             "\"hidden_size\":1536,\"num_hidden_layers\":%d,\"num_attention_heads\":12,\"num_key_value_heads\":4,"
             "\"head_dim\":128,\"intermediate_size\":6144,\"rms_norm_eps\":1e-5,\"rope_theta\":10000,"
             "\"max_position_embeddings\":4096,\"hidden_act\":\"silu\",\"tie_word_embeddings\":true,"
             "\"torch_dtype\":\"%s\"}",
             few ? layers_of(c, type == QM_F32 ? 2 * BYTES : BYTES, 4) : MANY_LAYERS, name);
    int rc = qm_calibration_open(c->setup, config, rows[few][2], 0, &m, err);
    for (int i = 0; !rc && i < 3; i++) {
        struct qm_calibration_timing t;
        double bytes, flops, n = (double)rows[few][i];
        count(m.model, false, &bytes, &flops);
        rc = qm_calibration_time(&m, 0, rows[few][i], type, bytes, flops * n, &t, err);
        if (rc)
            break;
        double time = t.seconds[QM_OP_QKV] + t.seconds[QM_OP_ATTENTION_OUT] + t.seconds[QM_OP_FFN_UP] +
                      t.seconds[QM_OP_FFN_DOWN] - 4 * (double)m.model->config.layers * region_seconds(c, rows[few][i]);
        add_point(&c->out->kernel[QM_KERNEL_DENSE][type], n, t.limit / time);
    }
    qm_calibration_close(&m);
    return rc;
}

static int experts(struct calibration *c, enum qm_dtype type, const char *config, struct qm_error *err) {
    static const int64_t tokens[] = {1, 16, 64, 256, 512};
    const size_t n_tokens = sizeof tokens / sizeof *tokens;
    struct qm_calibration_model m;
    int rc = qm_calibration_open(c->setup, config, tokens[n_tokens - 1], 0, &m, err);
    for (size_t i = 0; !rc && i < n_tokens; i++) {
        struct qm_calibration_timing t;
        double bytes, flops, n = (double)tokens[i];
        const struct qm_config *g = &m.model->config;
        double all = (double)g->experts, each = (double)g->experts_per_token, layers = (double)g->layers;
        double touched = all * (1 - pow(1 - each / all, n)), rows = n * each / touched;
        count(m.model, true, &bytes, &flops);
        rc = qm_calibration_time(&m, 0, tokens[i], type, touched * bytes, flops * n * each, &t, err);
        if (rc)
            break;
        double time = t.seconds[QM_OP_MOE_UP] + t.seconds[QM_OP_MOE_DOWN] - 2 * layers * region_seconds(c, tokens[i]);
        add_point(&c->out->kernel[QM_KERNEL_EXPERTS][type], rows, t.limit / time);
        double share = ceil(n / m.threads), choices = all * each * (each + 1) / 2;
        double matrix = 2 * all * (double)g->hidden * share / (t.around.f32 / m.threads) / 0.8;
        double left = t.seconds[QM_OP_ROUTE] / layers - region_seconds(c, tokens[i]) - matrix;
        if (type == QM_BF16) /* the last, of many rows, stays */
            c->out->route_ns = left > 0 ? left / (share * choices) * 1e9 : 0;
    }
    qm_calibration_close(&m);
    return rc;
}

static int bf16_experts(struct calibration *c, struct qm_error *err) {
    char config[CONFIG];
    snprintf(config, sizeof config,
             "{\"model_type\":\"qwen3_moe\",\"architectures\":[\"Qwen3MoeForCausalLM\"],\"vocab_size\":4096,"
             "\"hidden_size\":1536,\"num_hidden_layers\":%d,\"num_attention_heads\":4,\"num_key_value_heads\":4,"
             "\"head_dim\":128,\"intermediate_size\":1024,\"moe_intermediate_size\":1024,\"num_experts\":32,"
             "\"num_experts_per_tok\":4,\"norm_topk_prob\":true,\"decoder_sparse_step\":1,\"mlp_only_layers\":[],"
             "\"rms_norm_eps\":1e-6,\"rope_theta\":10000,\"max_position_embeddings\":4096,\"hidden_act\":\"silu\","
             "\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\"}",
             layers_of(c, 302 << 20, 4));
    return experts(c, QM_BF16, config, err);
}

static int mxfp4_experts(struct calibration *c, struct qm_error *err) {
    char config[CONFIG];
    snprintf(config, sizeof config,
             "{\"model_type\":\"gpt_oss\",\"architectures\":[\"GptOssForCausalLM\"],\"vocab_size\":4096,"
             "\"hidden_size\":1536,\"num_hidden_layers\":%d,\"num_attention_heads\":8,\"num_key_value_heads\":4,"
             "\"head_dim\":64,\"intermediate_size\":1536,\"num_local_experts\":32,\"num_experts_per_tok\":4,"
             "\"sliding_window\":128,\"rms_norm_eps\":1e-5,\"rope_theta\":10000,\"max_position_embeddings\":4096,"
             "\"attention_bias\":true,\"swiglu_limit\":7.0,\"hidden_act\":\"silu\",\"tie_word_embeddings\":false,"
             "\"torch_dtype\":\"bfloat16\",\"quantization_config\":{\"quant_method\":\"mxfp4\"}}",
             layers_of(c, 120 << 20, 4));
    return experts(c, QM_MXFP4, config, err);
}

enum { KV_HEADS = 4 };

/* One number of query heads for each KV head. */
static int open_attention(struct calibration *c, int64_t head_dim, int64_t group, int layers, int64_t chunk,
                          int64_t context, struct qm_calibration_model *m, struct qm_error *err) {
    char config[CONFIG];
    snprintf(config, sizeof config,
             "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":1024,"
             "\"hidden_size\":256,\"num_hidden_layers\":%d,\"num_attention_heads\":%d,\"num_key_value_heads\":%d,"
             "\"head_dim\":%d,\"intermediate_size\":256,\"rms_norm_eps\":1e-5,\"rope_theta\":10000,"
             "\"max_position_embeddings\":65536,\"hidden_act\":\"silu\",\"tie_word_embeddings\":true,"
             "\"torch_dtype\":\"bfloat16\"}",
             layers, (int)(KV_HEADS * group), KV_HEADS, (int)head_dim);
    return qm_calibration_open(c->setup, config, chunk, context, m, err);
}

static struct qm_shares *attention_shares(struct calibration *c, int64_t head_dim) {
    return &c->out->kernel[head_dim < 96 ? QM_KERNEL_ATTENTION_64 : QM_KERNEL_ATTENTION_128][QM_BF16];
}

/* A token deep in a context, whose keys and values no cache holds. */
static int attention_token(struct calibration *c, int64_t head_dim, int64_t group, struct qm_error *err) {
    enum { DEPTH = 32768, CHUNK = 64 };
    struct qm_calibration_model m;
    struct qm_calibration_timing t = {0};
    double hd = (double)head_dim, keys = DEPTH + QM_KV_PAGE_TOKENS / 2.0;
    double key = 2 * hd * 2 * KV_HEADS, flops = 4 * hd * (double)(KV_HEADS * group); /* of a key, all heads */
    int layers = layers_of(c, (uint64_t)key * DEPTH, 2);
    int rc = open_attention(c, head_dim, group, layers, CHUNK, DEPTH + CHUNK, &m, err);
    if (!rc)
        rc = qm_calibration_time(&m, DEPTH, 1, QM_BF16, layers * key * keys, layers * flops * keys, &t, err);
    if (!rc)
        add_point(attention_shares(c, head_dim), (double)group,
                  t.limit / (t.seconds[QM_OP_ATTENTION] - layers * region_seconds(c, 1)));
    qm_calibration_close(&m);
    return rc;
}

/* A prompt, whose queries are taken in blocks of QM_QUERY_ROWS rows, and the cost of a value. */
static int attention_prompt(struct calibration *c, int64_t head_dim, struct qm_error *err) {
    enum { DEPTH = 16384, PROMPT = 512, FEW = 64, GROUP = 8, HEADS = KV_HEADS * GROUP };
    struct qm_calibration_model m;
    struct qm_calibration_timing few = {0}, t = {0};
    double hd = (double)head_dim, key = 2 * hd * 2 * KV_HEADS, flops = 4 * hd * HEADS;
    double token = (HEADS + 2 * KV_HEADS) * hd, block = floor(QM_QUERY_ROWS / (double)GROUP);
    double passes = ceil(PROMPT / block), keys = DEPTH + PROMPT / 2.0 + block / 2 + QM_KV_PAGE_TOKENS / 2.0;
    int rc = open_attention(c, head_dim, GROUP, 1, PROMPT, DEPTH + PROMPT, &m, err);
    if (!rc)
        rc = qm_calibration_time(&m, 0, FEW, QM_BF16, 0, FEW * flops * QM_KV_PAGE_TOKENS, &few, err);
    if (!rc)
        rc = qm_calibration_time(&m, DEPTH, PROMPT, QM_BF16, key * keys * passes, flops * block * keys * passes, &t,
                                 err);
    if (!rc) {
        double value = (few.seconds[QM_OP_ATTENTION] - region_seconds(c, FEW) - few.limit / 0.6) /
                       (token * ceil(FEW / (double)m.threads));
        value = value > 0 ? value : 0;
        if (head_dim == 128 || !(c->out->value_ns > 0))
            c->out->value_ns = value * 1e9;
        double prepare = token * ceil(PROMPT / (double)m.threads) * value;
        add_point(attention_shares(c, head_dim), block * GROUP,
                  t.limit / (t.seconds[QM_OP_ATTENTION] - region_seconds(c, PROMPT) - prepare));
    }
    qm_calibration_close(&m);
    return rc;
}

static int attention(struct calibration *c, int64_t head_dim, struct qm_error *err) {
    int rc = QM_OK;
    for (int64_t group = 1; group <= 16 && !rc; group *= 2)
        rc = attention_token(c, head_dim, group, err);
    return rc ? rc : attention_prompt(c, head_dim, err);
}

int qm_calibrate_part(enum qm_calibration_part part, const struct qm_machine *m,
                      const struct qm_machine_profile *profile, struct qm_calibration_setup *s,
                      struct qm_efficiency *out, struct qm_error *err) {
    struct qm_efficiency measured = *out;
    struct calibration c = {.machine = m, .profile = profile, .setup = s, .out = &measured};
    static const enum qm_dtype dense_types[] = {
        [QM_PART_DENSE_BF16] = QM_BF16, [QM_PART_DENSE_F16] = QM_F16, [QM_PART_DENSE_F32] = QM_F32};
    int rc;
    switch (part) {
    case QM_PART_ATTENTION_64: rc = attention(&c, 64, err); break;
    case QM_PART_ATTENTION_128: rc = attention(&c, 128, err); break;
    case QM_PART_EXPERTS_BF16: rc = bf16_experts(&c, err); break;
    case QM_PART_EXPERTS_MXFP4: rc = mxfp4_experts(&c, err); break;
    default:
        rc = dense(&c, dense_types[part], true, err);
        if (!rc)
            rc = dense(&c, dense_types[part], false, err);
    }
    if (!rc)
        *out = measured;
    return rc;
}
