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

static void test_resident(void **state) {
    (void)state;
    enum { CONTEXT = 4096, CHUNK = 64 };
    if (!test_slow()) {
        printf("skipped: reads several GiB\n");
        skip();
    }
    struct qm_model *m;
    struct qm_engine *e;
    struct qm_sequence *s;
    struct qm_error err;
    if (qm_shape_open("gpt-oss-20b", 4, NULL, NULL, &m, &err))
        fail_msg("%s", err.message);
    uint64_t before = resident();
    struct qm_engine_options o = {
        .threads = 2, .isa = qm_isa_best(), .context = CONTEXT, .chunk = CHUNK, .kv_type = QM_BF16};
    int rc = qm_engine_open(m, &o, &e, &err);
    if (rc == QM_FIT) {
        printf("skipped: %s\n", err.message);
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
    struct qm_step step = {.sequence = s, .tokens = tokens, .n = CHUNK, .n_logits = 1, .logits = logits};
    assert_int_equal(qm_engine_step(e, &step, 1, &err), QM_OK);
    double taken = (double)(resident() - before), planned = (double)qm_engine_memory(e)->total;
    assert_true(planned > 2.0 * (1 << 30));
    if (!(taken > 0.99 * planned - (64 << 20) && taken < 1.01 * planned + (64 << 20)))
        fail_msg("planned %.1f MiB, taken %.1f MiB", planned / (1 << 20), taken / (1 << 20));
    free(logits);
    qm_sequence_close(s);
    qm_engine_close(e);
    qm_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loading), /* first: the most is the process's */
        cmocka_unit_test(test_resident),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
