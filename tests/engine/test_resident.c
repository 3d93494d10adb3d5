/* What the planner says is what the process takes: resident memory of a shape of more than 2 GiB, its context filled
 * and a step of full length done, within 1 % and 64 MiB; and the most while files are loaded, so that no weight is ever
 * there twice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/shapes.h"
#include "engine/engine.h"
#include "tests/support/support.h"

#include "engine/report.h"
#include "engine/sequence.h"
#include "tests/support/model_files.h"
#include "tests/support/run_model.h"

static uint64_t resident(void) {
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*u %llu", &pages) != 1)
        fail_msg("/proc/self/statm");
    fclose(f);
    return pages * 4096;
}

/* The most that was resident at once, in pages of all sizes. */
static uint64_t most_resident(void) {
    char line[256];
    unsigned long long kib, sum = 0;
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %llu kB", &kib) == 1 || sscanf(line, "HugetlbPages: %llu kB", &kib) == 1)
            sum += kib;
    fclose(f);
    assert_true(sum > 0);
    return sum * 1024;
}

struct header {
    char text[4096];
    int used;
    long long bytes;
};

static void add_tensor(struct header *h, const char *name, int rows, int columns) {
    long long begin = h->bytes;
    h->bytes += 2ll * rows * columns;
    char shape[32];
    snprintf(shape, sizeof shape, columns > 1 ? "%d,%d" : "%d", rows, columns);
    h->used += snprintf(h->text + h->used, sizeof h->text - (size_t)h->used,
                        "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%s],\"data_offsets\":[%lld,%lld]}",
                        h->used ? "," : "{", name, shape, begin, h->bytes);
}

/* A model of one layer with a very wide feed-forward network, all weights 0: a file without blocks on the disk. */
static void write_wide_model(const char *folder) {
    enum { HIDDEN = 64, KV = 32, WIDE = 1 << 19, VOCAB = 512 };
    const char *dense = "model.layers.0.mlp.%s_proj.weight", *attention = "model.layers.0.self_attn.%s_proj.weight";
    struct header h = {0};
    char name[128];
    test_copy_model("tests/data/reference/llama", folder);
    test_edit_config(folder, "num_hidden_layers", "1");
    snprintf(name, sizeof name, "%d", WIDE);
    test_edit_config(folder, "intermediate_size", name);
    add_tensor(&h, "lm_head.weight", VOCAB, HIDDEN);
    add_tensor(&h, "model.embed_tokens.weight", VOCAB, HIDDEN);
    add_tensor(&h, "model.norm.weight", HIDDEN, 1);
    add_tensor(&h, "model.layers.0.input_layernorm.weight", HIDDEN, 1);
    add_tensor(&h, "model.layers.0.post_attention_layernorm.weight", HIDDEN, 1);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, dense, (const char *const[]){"gate", "up", "down"}[i]);
        add_tensor(&h, name, i < 2 ? WIDE : HIDDEN, i < 2 ? HIDDEN : WIDE);
    }
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, attention, (const char *const[]){"q", "k", "v", "o"}[i]);
        add_tensor(&h, name, i == 1 || i == 2 ? KV : HIDDEN, HIDDEN);
    }
    h.used += snprintf(h.text + h.used, sizeof h.text - (size_t)h.used, "}");
    test_write_safetensors(folder, "model.safetensors", h.text, 0);
    snprintf(name, sizeof name, "%s/model.safetensors", folder);
    assert_int_equal(truncate(name, 8 + h.used + h.bytes), 0);
}

static void test_loading(void **state) {
    (void)state;
    if (!test_slow()) {
        printf("skipped: sanitizers take memory of their own\n");
        skip();
    }
    struct qm_model *m;
    struct qm_engine *e;
    struct qm_error err;
    char *folder = test_folder();
    write_wide_model(folder);
    if (qm_model_open(folder, NULL, &m, &err))
        fail_msg("%s", err.message);
    uint64_t before = resident();
    struct qm_engine_options o = {.threads = 2, .isa = qm_isa_best(), .context = 512, .chunk = 8, .kv_type = QM_BF16};
    if (qm_engine_open(m, &o, &e, &err))
        fail_msg("%s", err.message);
    uint64_t taken = most_resident() - before, planned = qm_engine_memory(e)->total;
    assert_true(planned > 192ull << 20);
    if (taken > planned + (32 << 20)) /* half of the least matrix */
        fail_msg("planned %.1f MiB, at most %.1f MiB while loading", (double)planned / (1 << 20),
                 (double)taken / (1 << 20));
    qm_engine_close(e);
    qm_model_close(m);
    test_folder_remove(folder);
}

/* A model of several GiB, all of it on the CPU or every other layer and half of the experts of another one on an
 * emulated device, whose memory is this process's too: what the plan says, each of both, is what is resident. */
static void check_resident(bool placed) {
    enum { CONTEXT = 4096, CHUNK = 64, LAYERS = 4 };
    struct qm_model *m;
    struct qm_engine *e;
    struct qm_sequence *s;
    struct qm_error err;
    struct qm_placement p;
    if (qm_shape_open("gpt-oss-20b", LAYERS, NULL, NULL, &m, &err))
        fail_msg("%s", err.message);
    assert_int_equal(qm_placement_open(m, 2, &p, &err), QM_OK);
    p.layer[1].attention = 1;
    memset(p.expert + p.experts, 1, (size_t)p.experts);
    memset(p.expert + 2 * p.experts, 1, (size_t)p.experts / 2);
    p.head = 1;
    struct qm_emulated_config card = test_card;
    card.memory = (uint64_t)64 << 30;
    const struct qm_device_setup device = test_device(&card);
    uint64_t before = resident();
    struct qm_engine_options o = {.threads = 2,
                                  .isa = qm_isa_best(),
                                  .context = CONTEXT,
                                  .chunk = CHUNK,
                                  .kv_type = QM_BF16,
                                  .placement = placed ? &p : NULL,
                                  .devices = placed ? &device : NULL};
    int rc = qm_engine_open(m, &o, &e, &err);
    if (rc == QM_FIT) {
        printf("skipped: %s\n", err.message);
        qm_placement_free(&p);
        qm_model_close(m);
        skip();
    }
    assert_int_equal(rc, QM_OK);
    int32_t tokens[CHUNK];
    for (int i = 0; i < CHUNK; i++)
        tokens[i] = i * 37 % (int32_t)m->config.vocab;
    float *logits = malloc((size_t)m->config.vocab * sizeof *logits);
    assert_int_equal(qm_sequence_open(e, &s, &err), QM_OK);
    assert_int_equal(qm_sequence_fill_random(s, CONTEXT - CHUNK, 1, &err), QM_OK);
    struct qm_step_rows step = {.sequence = s, .tokens = tokens, .n = CHUNK, .n_logits = 1, .logits = logits};
    assert_int_equal(qm_engine_step(e, &step, 1, &err), QM_OK);
    double taken = (double)(resident() - before), planned = (double)qm_engine_memory(e)->total;
    if (placed) {
        struct qm_device_report on;
        struct qm_device_memory plan;
        struct qm_workload w = {.context = CONTEXT, .sequences = 1, .chunk = CHUNK, .kv_type = QM_BF16, .threads = 2};
        qm_engine_device_report(e, 1, &on);
        qm_placement_memory(&p, m, &w, QM_DEVICE_CPU, &plan);
        assert_int_equal(plan.total, qm_engine_memory(e)->total);
        qm_placement_memory(&p, m, &w, 1, &plan);
        assert_int_equal(plan.total, on.memory.total);
        assert_true(on.memory.total > (uint64_t)1 << 30);
        planned += (double)on.memory.total;
    }
    assert_true(planned > 2.0 * (1 << 30));
    if (!(taken > 0.99 * planned - (64 << 20) && taken < 1.01 * planned + (64 << 20)))
        fail_msg("planned %.1f MiB, taken %.1f MiB", planned / (1 << 20), taken / (1 << 20));
    free(logits);
    qm_sequence_close(s);
    qm_engine_close(e);
    qm_placement_free(&p);
    qm_model_close(m);
}

static void test_resident(void **state) {
    (void)state;
    if (!test_slow()) {
        printf("skipped: reads several GiB\n");
        skip();
    }
    check_resident(false);
}

static void test_placed(void **state) {
    (void)state;
    if (!test_slow()) {
        printf("skipped: reads several GiB\n");
        skip();
    }
    check_resident(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loading), /* first: the most is the process's */
        cmocka_unit_test(test_resident),
        cmocka_unit_test(test_placed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
