/* Models and machines for tests of the planner: small configs, and machines of round numbers. */
#ifndef QM_TESTS_PLAN_MODELS_H
#define QM_TESTS_PLAN_MODELS_H

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "model/model.h"
#include "planner/machine.h"
#include "planner/time.h"
#include "tests/support/support.h"

/* experts 0: a dense model. */
static inline struct qm_model *plan_model_ffn(int layers, int hidden, int experts, int ffn) {
    char config[1024];
    json_t *root;
    struct qm_model *m = NULL;
    struct qm_error err;
    snprintf(config, sizeof config,
             "{\"model_type\":\"%s\",\"architectures\":[\"%s\"],\"vocab_size\":%d,\"hidden_size\":%d,"
             "\"num_hidden_layers\":%d,\"num_attention_heads\":8,\"num_key_value_heads\":2,\"head_dim\":64,"
             "\"intermediate_size\":%d,\"moe_intermediate_size\":%d,\"num_experts\":%d,\"num_experts_per_tok\":%d,"
             "\"norm_topk_prob\":true,\"decoder_sparse_step\":1,\"mlp_only_layers\":[],\"rms_norm_eps\":1e-6,"
             "\"rope_theta\":10000,\"max_position_embeddings\":65536,\"hidden_act\":\"silu\","
             "\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\"}",
             experts ? "qwen3_moe" : "qwen3", experts ? "Qwen3MoeForCausalLM" : "Qwen3ForCausalLM", 512, hidden, layers,
             ffn, hidden / 2, experts ? experts : 8, experts ? (experts > 4 ? 4 : 2) : 2);
    if (qm_json_parse(config, strlen(config), "config", &root, &err) ||
        qm_model_from_config(root, "config", NULL, &m, &err))
        fail_msg("%s", err.message);
    json_decref(root);
    return m;
}

static inline struct qm_model *plan_model(int layers, int hidden, int experts) {
    return plan_model_ffn(layers, hidden, experts, 2 * hidden);
}

/* 10 GB/s, 100 GFLOP/s, nothing else costs anything; kernels reach their limits. */
static inline struct qm_machine_model plan_machine(void) {
    struct qm_machine_model s = {.name = "a machine",
                                 .isa = "avx2",
                                 .nodes = 1,
                                 .memory = (uint64_t)64 << 30,
                                 .cores = 4,
                                 .read = 1e10,
                                 .bf16 = 1e11,
                                 .f32 = 5e10};
    s.node[0] = (struct qm_node_model){.memory = s.memory, .cores = 4, .n = 2};
    s.node[0].read[0].threads = 1;
    s.node[0].read[0].rate = 5e9;
    s.node[0].read[1].threads = 4;
    s.node[0].read[1].rate = 1e10;
    for (int k = 0; k < QM_KERNEL_CLASSES; k++)
        s.efficiency.kernel[k][QM_BF16] = (struct qm_efficiency_curve){.n = 1, .rows = {1}, .efficiency = {1}};
    return s;
}

static inline void plan_add_card(struct qm_machine_model *s, uint64_t memory) {
    struct qm_device_model *d = &s->device[s->devices++];
    *d = (struct qm_device_model){.memory = memory,
                                  .read = 1e12,
                                  .bf16 = 1e14,
                                  .f32 = 1e13,
                                  .read_efficiency = 1,
                                  .flops_efficiency = 1,
                                  .attention_efficiency = 1,
                                  .up = 2e10,
                                  .down = 2e10,
                                  .up_busy = 1e10,
                                  .down_busy = 1e10,
                                  .cpu_read_busy = 0.5,
                                  .transfer_us = 10};
    snprintf(d->name, sizeof d->name, "card%d", s->devices);
}

/* A model on that machine and so many cards, for the time model. */
struct plan_fixture {
    struct qm_model *model;
    struct qm_machine_model speed;
    struct qm_placement placement;
    struct qm_time_setup setup;
};

static inline void plan_open(struct plan_fixture *f, struct qm_model *m, int cards) {
    struct qm_error err;
    f->model = m;
    f->speed = plan_machine();
    for (int i = 0; i < cards; i++)
        plan_add_card(&f->speed, (uint64_t)8 << 30);
    assert_int_equal(qm_placement_open(m, 1 + cards, &f->placement, &err), QM_OK);
    f->setup = (struct qm_time_setup){
        .model = m,
        .speed = &f->speed,
        .placement = &f->placement,
        .workload = {.context = 8192, .sequences = 1, .chunk = 512, .kv_type = QM_BF16, .threads = 4}};
}

static inline void plan_close(struct plan_fixture *f) {
    qm_placement_free(&f->placement);
    qm_model_close(f->model);
}

#endif
