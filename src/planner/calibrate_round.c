/* Measuring efficiency: steps of small models, timed op by op by the engine's own profile, against limits measured by
 * the same threads just before and after. */
#include "planner/calibrate_round.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/work.h"
#include "planner/calibrate_model.h"
#include "planner/limits.h"

enum { CONFIG = 1024, FEWEST_LAYERS = 2, MAX_LAYERS = 24 };

struct calibration {
    const struct qm_calibration_setup *setup;
    struct qm_calibration_samples *samples;
};

/* As many layers as hold `times` the caches, so that they are read from memory. */
static int layers_of(const struct calibration *c, uint64_t bytes, int times) {
    uint64_t wanted = (uint64_t)times * qm_machine_cache_bytes(c->setup->machine),
             most = c->setup->machine->available / 8;
    uint64_t layers = (wanted < most ? wanted : most) / bytes + 1;
    return layers < FEWEST_LAYERS ? FEWEST_LAYERS : layers > MAX_LAYERS ? MAX_LAYERS : (int)layers;
}

static bool wanted(const struct calibration *c, int point) {
    return !qm_calibration_settled(&c->samples->point[point]);
}

static void add_efficiency(struct calibration *c, int point, double rows, double efficiency) {
    struct qm_calibration_point *p = &c->samples->point[point];
    p->rows = rows;
    if (efficiency > 0)
        p->efficiency[p->n++] = efficiency < 0.001 ? 0.001 : efficiency > 1.5 ? 1.5 : efficiency;
    c->samples->points = point < c->samples->points ? c->samples->points : point + 1;
}

static double region_seconds(const struct calibration *c, int64_t rows) {
    return (c->setup->profile->region_us + (rows > QM_PRIVATE_ROWS ? c->setup->profile->barrier_us : 0)) * 1e-6;
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

enum { FEW_ROWS = 6, DENSE_POINTS = 9 };
_Static_assert((int)DENSE_POINTS <= (int)QM_EFFICIENCY_POINTS, "each point has a place");

/* Points [first, end): few rows are bound by reading, of many layers; many rows by computing, which takes its time. The
 * share falls and rises with how rows fill the kernels' micro-panels (of 8 and 12), so that points are dense where
 * micro-panels are few. */
static int dense(struct calibration *c, enum qm_dtype type, int first, int end, struct qm_error *err) {
    enum { BYTES = 69 << 20, MANY_LAYERS = 3 };
    static const int64_t rows[DENSE_POINTS] = {1, QM_PRIVATE_ROWS, 8, 12, 16, 32, 64, 256, 512};
    const char *name = type == QM_BF16 ? "bfloat16" : type == QM_F16 ? "float16" : "float32";
    _Static_assert(QM_PRIVATE_ROWS > 1 && QM_PRIVATE_ROWS < 8, "points in ascending order");
    char config[CONFIG];
    struct qm_calibration_model m;
    snprintf(config, sizeof config,
             "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":4096,"
             "\"hidden_size\":1536,\"num_hidden_layers\":%d,\"num_attention_heads\":12,\"num_key_value_heads\":4,"
             "\"head_dim\":128,\"intermediate_size\":6144,\"rms_norm_eps\":1e-5,\"rope_theta\":10000,"
             "\"max_position_embeddings\":4096,\"hidden_act\":\"silu\",\"tie_word_embeddings\":true,"
             "\"torch_dtype\":\"%s\"}",
             first == 0 ? layers_of(c, type == QM_F32 ? 2 * BYTES : BYTES, 4) : MANY_LAYERS, name);
    int rc = qm_calibration_open(c->setup->isa, c->setup->until, config, rows[end - 1], 0, &m, err);
    for (int i = first; !rc && i < end; i++) {
        struct qm_calibration_timing t = {0};
        double bytes, flops;
        if (!wanted(c, i))
            continue;
        count(m.model, false, &bytes, &flops);
        rc = qm_calibration_time(&m, 0, rows[i], type, bytes, flops * (double)rows[i], &t, err);
        if (rc)
            break;
        double time = t.seconds[QM_OP_QKV] + t.seconds[QM_OP_ATTENTION_OUT] + t.seconds[QM_OP_FFN_UP] +
                      t.seconds[QM_OP_FFN_DOWN] - 4 * (double)m.model->config.layers * region_seconds(c, rows[i]);
        add_efficiency(c, i, (double)rows[i], t.limit / time);
    }
    qm_calibration_close(&m);
    return rc;
}

/* What choosing experts costs, of a step of many rows. */
static void add_route(struct calibration *c, const struct qm_calibration_model *m, double n,
                      const struct qm_calibration_timing *t) {
    const struct qm_config *g = &m->model->config;
    double all = (double)g->experts, each = (double)g->experts_per_token;
    double efficiency = ceil(n / m->threads), choices = all * each * (each + 1) / 2;
    double matrix = 2 * all * (double)g->hidden * efficiency / (t->around.f32 / m->threads) / 0.8;
    double left = t->seconds[QM_OP_ROUTE] / (double)g->layers - region_seconds(c, (int64_t)n) - matrix;
    c->samples->route_ns[c->samples->routes++] = left > 0 ? left / (efficiency * choices) * 1e9 : 0;
}

static int experts(struct calibration *c, enum qm_dtype type, const char *config, struct qm_error *err) {
    enum { POINTS = 5 };
    static const int64_t tokens[POINTS] = {1, 16, 64, 256, 512};
    struct qm_calibration_model m;
    int rc = qm_calibration_open(c->setup->isa, c->setup->until, config, tokens[POINTS - 1], 0, &m, err);
    for (int i = 0; !rc && i < POINTS; i++) {
        struct qm_calibration_timing t = {0};
        double bytes, flops, n = (double)tokens[i];
        if (!wanted(c, i))
            continue;
        const struct qm_config *g = &m.model->config;
        double all = (double)g->experts, each = (double)g->experts_per_token;
        double touched = all * (1 - pow(1 - each / all, n));
        count(m.model, true, &bytes, &flops);
        rc = qm_calibration_time(&m, 0, tokens[i], type, touched * bytes, flops * n * each, &t, err);
        if (rc)
            break;
        double time =
            t.seconds[QM_OP_MOE_UP] + t.seconds[QM_OP_MOE_DOWN] - 2 * (double)g->layers * region_seconds(c, tokens[i]);
        add_efficiency(c, i, n * each / touched, t.limit / time);
        if (i == POINTS - 1)
            add_route(c, &m, n, &t);
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
    return qm_calibration_open(c->setup->isa, c->setup->until, config, chunk, context, m, err);
}

/* A token deep in a context, whose keys and values no cache holds. */
static int attention_token(struct calibration *c, int64_t head_dim, int point, struct qm_error *err) {
    enum { DEPTH = 32768, CHUNK = 64 };
    int64_t group = (int64_t)1 << point;
    struct qm_calibration_model m;
    struct qm_calibration_timing t = {0};
    double hd = (double)head_dim, keys = DEPTH + QM_KV_PAGE_TOKENS / 2.0;
    double key = 2 * hd * 2 * KV_HEADS, flops = 4 * hd * (double)(KV_HEADS * group); /* of a key, all heads */
    int layers = layers_of(c, (uint64_t)key * DEPTH, 2);
    int rc = open_attention(c, head_dim, group, layers, CHUNK, DEPTH + CHUNK, &m, err);
    if (!rc)
        rc = qm_calibration_time(&m, DEPTH, 1, QM_BF16, layers * key * keys, layers * flops * keys, &t, err);
    if (!rc)
        add_efficiency(c, point, (double)group, t.limit / (t.seconds[QM_OP_ATTENTION] - layers * region_seconds(c, 1)));
    qm_calibration_close(&m);
    return rc;
}

/* A prompt, whose queries are taken in blocks of QM_QUERY_ROWS rows, and the cost of a value. */
static int attention_prompt(struct calibration *c, int64_t head_dim, int point, struct qm_error *err) {
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
        c->samples->value_ns[c->samples->values++] = value * 1e9;
        double prepare = token * ceil(PROMPT / (double)m.threads) * value;
        add_efficiency(c, point, block * GROUP,
                       t.limit / (t.seconds[QM_OP_ATTENTION] - region_seconds(c, PROMPT) - prepare));
    }
    qm_calibration_close(&m);
    return rc;
}

static int attention(struct calibration *c, int64_t head_dim, struct qm_error *err) {
    enum { TOKEN_POINTS = 5 };
    int rc = QM_OK;
    for (int i = 0; i < TOKEN_POINTS && !rc; i++)
        if (wanted(c, i))
            rc = attention_token(c, head_dim, i, err);
    return !rc && wanted(c, TOKEN_POINTS) ? attention_prompt(c, head_dim, TOKEN_POINTS, err) : rc;
}

int qm_calibrate_round(enum qm_calibration_kernels part, const struct qm_calibration_setup *s,
                       struct qm_calibration_samples *samples, struct qm_error *err) {
    struct calibration c = {.setup = s, .samples = samples};
    static const enum qm_dtype dense_types[] = {
        [QM_KERNELS_DENSE_BF16] = QM_BF16, [QM_KERNELS_DENSE_F16] = QM_F16, [QM_KERNELS_DENSE_F32] = QM_F32};
    int rc;
    switch (part) {
    case QM_KERNELS_ATTENTION_64: return attention(&c, 64, err);
    case QM_KERNELS_ATTENTION_128: return attention(&c, 128, err);
    case QM_KERNELS_EXPERTS_BF16: return bf16_experts(&c, err);
    case QM_KERNELS_EXPERTS_MXFP4: return mxfp4_experts(&c, err);
    default:
        rc = dense(&c, dense_types[part], 0, FEW_ROWS, err);
        return rc ? rc : dense(&c, dense_types[part], FEW_ROWS, DENSE_POINTS, err);
    }
}
