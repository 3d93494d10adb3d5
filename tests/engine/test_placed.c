/* Steps that are computed by a placement: the bits of the CPU, wherever units are and whichever device fails when;
 * memory of devices; the clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "engine/bindings.h"
#include "engine/report.h"
#include "engine/sequence.h"
#include "engine/units.h"
#include "tests/support/reference.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { TOKENS = 40 };

struct fixture {
    struct qm_model *model;
    const int32_t *ids;
    struct reference reference;
    float *want; /* [vocab] of the last token, on the CPU */
    size_t bytes;
};

static struct qm_engine *open_with(const struct qm_model *m, const struct qm_placement *p,
                                   const struct qm_emulated_config *devices, bool required, int threads) {
    struct qm_error err = {0};
    struct qm_device_setup setup[QM_MAX_DEVICES];
    for (int d = 0; devices && d + 1 < p->devices; d++)
        setup[d] = test_device(&devices[d]);
    struct qm_engine *e;
    struct qm_engine_options o = {.threads = threads,
                                  .isa = run_model_isa(),
                                  .context = 256,
                                  .chunk = TOKENS,
                                  .kv_type = -1,
                                  .placement = p,
                                  .devices = devices ? setup : NULL,
                                  .devices_required = required};
    if (qm_engine_open(m, &o, &e, &err))
        fail_msg("%s", err.message);
    return e;
}

static struct qm_engine *open_engine(const struct qm_model *m, const struct qm_placement *p,
                                     const struct qm_emulated_config *devices, bool required) {
    return open_with(m, p, devices, required, 2);
}

static void fixture_open(struct fixture *f, const char *name) {
    struct qm_error err = {0};
    int64_t shape[4];
    reference_open(&f->reference, name);
    f->ids = reference_tensor(&f->reference, "ids", shape);
    if (qm_model_open(f->reference.dir, NULL, &f->model, &err))
        fail_msg("%s", err.message);
    f->bytes = (size_t)f->model->config.vocab * sizeof(float);
    struct qm_engine *e = open_engine(f->model, NULL, NULL, false);
    f->want = run_logits(e, f->ids, TOKENS, 7, 1);
    qm_engine_close(e);
}

static void fixture_close(struct fixture *f) {
    free(f->want);
    qm_model_close(f->model);
    reference_close(&f->reference);
}

static void whole_layer(struct qm_placement *p, const struct qm_model *m, int64_t l, uint8_t device) {
    p->layer[l].attention = device;
    if (m->config.layer[l].moe)
        memset(p->expert + l * p->experts, device, (size_t)p->experts);
    else
        p->layer[l].ffn = device;
}

static void same_bits(const struct fixture *f, const struct qm_placement *p, int64_t piece) {
    const struct qm_emulated_config devices[] = {test_card, test_card};
    struct qm_engine *e = open_engine(f->model, p, devices, false);
    float *found = run_logits(e, f->ids, TOKENS, piece, 1);
    assert_memory_equal(found, f->want, f->bytes);
    free(found);
    qm_engine_close(e);
}

/* Layers on the CPU and on two devices alternately; then all on one, streamed in long steps, and the head there. */
static void test_whole_layers(void **state) {
    struct fixture f;
    struct qm_placement p;
    fixture_open(&f, *state);
    assert_int_equal(qm_placement_open(f.model, 3, &p, NULL), QM_OK);
    for (int64_t l = 0; l < p.layers; l++)
        whole_layer(&p, f.model, l, (uint8_t)(l % 3));
    p.head = 1;
    same_bits(&f, &p, 1);
    same_bits(&f, &p, TOKENS);
    for (int64_t l = 0; l < p.layers; l++) {
        whole_layer(&p, f.model, l, QM_DEVICE_CPU);
        p.layer[l].stream_attention = p.layer[l].stream_ffn = 2;
    }
    p.stream_rows = 7;
    same_bits(&f, &p, 7);
    for (int64_t l = 0; l < p.layers; l++)
        p.layer[l].stream_attention = p.layer[l].stream_ffn = (uint8_t)(1 + l % 2);
    same_bits(&f, &p, 7);
    qm_placement_free(&p);
    fixture_close(&f);
}

/* The head on a device hands over a few rows of logits at once. */
static void test_logits(void **state) {
    struct fixture f;
    struct qm_placement p;
    fixture_open(&f, *state);
    assert_int_equal(qm_placement_open(f.model, 2, &p, NULL), QM_OK);
    p.head = 1;
    struct qm_engine *e = open_engine(f.model, NULL, NULL, false);
    for (int64_t n = 15; n <= TOKENS; n += n == 15 ? 1 : 24) { /* 15, 16, 40 */
        struct qm_engine *placed = open_engine(f.model, &p, &test_card, false);
        float *want = run_logits(e, f.ids, TOKENS, TOKENS, n), *found = run_logits(placed, f.ids, TOKENS, TOKENS, n);
        assert_memory_equal(found, want, (size_t)n * f.bytes);
        free(found);
        free(want);
        qm_engine_close(placed);
    }
    qm_engine_close(e);
    qm_placement_free(&p);
    fixture_close(&f);
}

/* Runs the tokens, over again without the device that fails. Ops that devices began. */
static uint64_t run_through(struct qm_engine *e, const struct fixture *f, int64_t piece, float *logits, int *failures) {
    struct qm_error err = {0};
    struct qm_sequence *s;
    assert_int_equal(qm_sequence_open(e, &s, &err), QM_OK);
    *failures = 0;
    for (int64_t at = 0; at < TOKENS;) {
        int64_t n = TOKENS - at < piece ? TOKENS - at : piece;
        struct qm_step_rows step = {.sequence = s, .tokens = f->ids + at, .n = n, .n_logits = 1, .logits = logits};
        int rc = qm_engine_step(e, &step, 1, &err);
        if (rc && qm_engine_device_failed(e)) {
            assert_int_equal(rc, QM_SYSTEM);
            assert_non_null(strstr(err.message, "card failed at"));
            assert_int_equal(qm_engine_step(e, &step, 1, NULL), QM_SYSTEM); /* until it falls back */
            assert_int_equal(qm_engine_fall_back(e, &err), QM_OK);
            if (at > 0)
                assert_int_equal(qm_engine_step(e, &step, 1, NULL), QM_USAGE); /* its keys and values are lost */
            assert_int_equal(qm_sequence_truncate(s, at), 0);
            ++*failures;
            at = 0;
            continue;
        }
        if (rc)
            fail_msg("%s", err.message);
        at += n;
    }
    qm_sequence_close(s);
    uint64_t ops = 0;
    for (int d = 1; d <= qm_engine_devices(e); d++) {
        struct qm_device_report report;
        qm_engine_device_report(e, d, &report);
        ops += report.ops;
    }
    return ops;
}

/* Layers on the CPU and two devices at once: other sums than the CPU's, but the same ones however the prompt is cut, on
 * any number of threads, and whoever computes a device's share after it has failed, at any op (`step` of them apart).
 */
static void check_split(const struct fixture *f, const struct qm_placement *p, double error, uint64_t step) {
    struct qm_emulated_config devices[] = {test_card, test_card};
    float *want = malloc(f->bytes), *found = malloc(f->bytes);
    int failures;
    struct qm_engine *e = open_engine(f->model, p, devices, false);
    uint64_t ops = run_through(e, f, 13, want, &failures);
    qm_engine_close(e);
    assert_int_equal(failures, 0);
    assert_true(ops > 8);
    assert_true(relative_error(want, f->want, f->model->config.vocab) < error);
    if (f->model->config.dtype == QM_F32) /* elsewhere rounding to the products' type may hide it */
        assert_memory_not_equal(want, f->want, f->bytes);
    for (int threads = 1; threads <= 3; threads++) {
        e = open_with(f->model, p, devices, false, threads);
        run_through(e, f, threads == 2 ? TOKENS : 1, found, &failures);
        qm_engine_close(e);
        assert_memory_equal(found, want, f->bytes);
    }
    for (uint64_t k = 0; k < ops; k += test_slow() ? step : 5 * step) {
        devices[0].fail_after = (int64_t)k / 2;
        devices[1].fail_after = (int64_t)k;
        e = open_engine(f->model, p, devices, false);
        run_through(e, f, 13, found, &failures);
        assert_true(failures >= 1 && failures <= 2);
        assert_true(strlen(qm_engine_failures(e)) > 0);
        qm_engine_close(e);
        assert_memory_equal(found, want, f->bytes);
    }
    free(want);
    free(found);
}

static void test_split_experts(void **state) {
    struct fixture f;
    struct qm_placement p;
    fixture_open(&f, *state);
    assert_int_equal(qm_placement_open(f.model, 3, &p, NULL), QM_OK);
    for (int64_t l = 0; l < p.layers; l++)
        for (int64_t x = 0; x < p.experts && f.model->config.layer[l].moe; x++)
            p.expert[l * p.experts + x] = (uint8_t)((x + l) % 3);
    p.layer[0].attention = 1;
    check_split(&f, &p, 0.02, 4);
    qm_placement_free(&p);
    fixture_close(&f);
}

/* Each dense FFN on the CPU and one of the devices, more of it on the one or on the other; the residual on the CPU, on
 * the same device, on the other one; the CPU's columns streamed in long steps. */
static void test_split_ffn(void **state) {
    struct fixture f;
    struct qm_placement p;
    fixture_open(&f, *state);
    assert_int_equal(qm_placement_open(f.model, 3, &p, NULL), QM_OK);
    for (int64_t l = 0; l < p.layers; l++) {
        if (f.model->config.layer[l].moe)
            continue;
        p.layer[l].ffn = (uint8_t)(1 + l % 2);
        p.layer[l].ffn_cpu = (int32_t)(l % 2 ? QM_FFN_UNIT : 4 * QM_FFN_UNIT);
        p.layer[l].attention = (uint8_t)(l % 3);
    }
    bool f32 = f.model->config.dtype == QM_F32;
    check_split(&f, &p, f32 ? 1e-6 : 0.02, 1);
    p.layer[0].stream_ffn = 2;
    p.stream_rows = 13;
    check_split(&f, &p, f32 ? 1e-6 : 0.02, 7);
    qm_placement_free(&p);
    fixture_close(&f);
}

/* A device with whole layers fails at each of its ops: the CPU's own bits. */
static void test_failures(void **state) {
    struct fixture f;
    struct qm_placement p;
    fixture_open(&f, *state);
    assert_int_equal(qm_placement_open(f.model, 2, &p, NULL), QM_OK);
    for (int64_t l = 0; l < p.layers; l += 2)
        whole_layer(&p, f.model, l, 1);
    struct qm_emulated_config device = test_card;
    float *found = malloc(f.bytes);
    int failures;
    struct qm_engine *e = open_engine(f.model, &p, &device, false);
    uint64_t ops = run_through(e, &f, 13, found, &failures);
    assert_memory_equal(found, f.want, f.bytes);
    assert_string_equal(qm_engine_failures(e), "");
    qm_engine_close(e);
    for (uint64_t k = 0; k < ops; k += test_slow() ? 1 : 5) {
        device.fail_after = (int64_t)k;
        e = open_engine(f.model, &p, &device, false);
        run_through(e, &f, 13, found, &failures);
        assert_int_equal(failures, 1);
        qm_engine_close(e);
        assert_memory_equal(found, f.want, f.bytes);
    }
    device.fail_after = 3;
    e = open_engine(f.model, &p, &device, true);
    struct qm_error err;
    struct qm_sequence *s;
    assert_int_equal(qm_sequence_open(e, &s, &err), QM_OK);
    struct qm_step_rows step = {.sequence = s, .tokens = f.ids, .n = TOKENS};
    assert_int_equal(qm_engine_step(e, &step, 1, &err), QM_SYSTEM);
    assert_int_equal(qm_engine_fall_back(e, &err), QM_SYSTEM);
    assert_non_null(strstr(err.message, "required"));
    qm_sequence_close(s);
    qm_engine_close(e);
    free(found);
    qm_placement_free(&p);
    fixture_close(&f);
}

/* A device so slow that its clock is known: bytes by its rate. */
static void test_clock(void **state) {
    struct fixture f;
    struct qm_placement p;
    fixture_open(&f, *state);
    assert_int_equal(qm_placement_open(f.model, 2, &p, NULL), QM_OK);
    whole_layer(&p, f.model, 0, 1);
    double bytes = (double)qm_unit_weight_bytes(f.model, QM_UNIT_ATTENTION, 0, 0) +
                   (double)qm_unit_weight_bytes(f.model, QM_UNIT_FFN, 0, 0);
    struct qm_emulated_config slow = test_card;
    slow.read = 0.001 * bytes; /* a thousand seconds for the layer's weights */
    struct qm_engine *e = open_engine(f.model, &p, &slow, false);
    double clock = qm_engine_clock(e);
    free(run_logits(e, f.ids, 2, 1, 1)); /* does not last that long */
    clock = qm_engine_clock(e) - clock;
    struct qm_device_report report;
    qm_engine_device_report(e, 1, &report);
    assert_true(clock > 1800);
    assert_true(report.work_seconds > 1800 && report.work_seconds <= clock);
    assert_true(report.up_seconds > 0 && report.down_seconds > 0);
    qm_engine_close(e);
    qm_placement_free(&p);
    fixture_close(&f);
}

static void test_memory(void **state) {
    struct fixture f;
    struct qm_placement p;
    struct qm_error err;
    struct qm_engine *e;
    fixture_open(&f, *state);
    assert_int_equal(qm_placement_open(f.model, 2, &p, NULL), QM_OK);
    whole_layer(&p, f.model, 1, 1);
    struct qm_emulated_config card = test_card;
    const struct qm_device_setup device = test_device(&card);
    struct qm_engine_options o = {
        .threads = 1, .isa = run_model_isa(), .context = 256, .kv_type = -1, .placement = &p, .devices = &device};
    assert_int_equal(qm_engine_open(f.model, &o, &e, &err), QM_OK);
    struct qm_device_report report;
    qm_engine_device_report(e, 1, &report);
    qm_engine_close(e);
    card.memory = report.memory.total;
    assert_int_equal(qm_engine_open(f.model, &o, &e, &err), QM_OK);
    qm_engine_close(e);
    card.memory = report.memory.total - 1;
    assert_int_equal(qm_engine_open(f.model, &o, &e, &err), QM_FIT);
    assert_non_null(strstr(err.message, "card"));
    p.layers--;
    assert_int_equal(qm_engine_open(f.model, &o, &e, &err), QM_INPUT);
    p.layers++;
    qm_placement_free(&p);
    fixture_close(&f);
}

/* A model for which there is too little memory fits where a part of it is on a device; whether that part would fit
 * too, should the device fail, is said. */
static void test_fits(void **state) {
    struct fixture f;
    struct qm_placement p;
    struct qm_error err;
    struct qm_memory_table whole, less, found;
    struct qm_device_memory on;
    struct qm_buf notes = {0};
    static const char *const names[] = {"card"};
    struct qm_workload w = {.context = 256, .sequences = 1, .chunk = TOKENS, .threads = 2, .kv_type = QM_BF16};
    fixture_open(&f, *state);
    assert_int_equal(qm_placement_open(f.model, 2, &p, NULL), QM_OK);
    for (int64_t l = 0; l < p.layers; l++)
        whole_layer(&p, f.model, l, 1);
    qm_memory_estimate(f.model, &w, &whole);
    qm_placement_estimate(&p, f.model, &w, &less);
    qm_placement_memory(&p, f.model, &w, 1, &on);
    assert_true(less.weights < whole.weights && less.kv == 0 && less.total < whole.total);
    uint64_t most = less.total + QM_MEMORY_RESERVE;
    assert_int_equal(qm_bindings_fit(f.model, &p, 256, most, &w, &found, &err), QM_OK);
    assert_int_equal(found.total, less.total);
    assert_int_equal(qm_bindings_fit(f.model, &p, 256, most - 1, &w, &found, &err), QM_FIT);
    assert_int_equal(qm_bindings_fit(f.model, NULL, 256, most, &w, &found, &err), QM_FIT);
    uint64_t enough = most + on.weights + on.kv;
    assert_int_equal(qm_bindings_check_devices(f.model, &p, &w, names, enough, &notes, &err), QM_OK);
    assert_int_equal(notes.len, 0);
    assert_int_equal(qm_bindings_check_devices(f.model, &p, &w, names, enough - 1, &notes, &err), QM_OK);
    assert_non_null(strstr(notes.data, "if card fails, this ends"));
    qm_buf_free(&notes);
    qm_placement_free(&p);
    fixture_close(&f);
}

/* A device fails and nothing is left for what was on it: that is said, and so it stays until there is. */
static void test_no_room(void **state) {
    if (!test_slow()) {
        printf("skipped: sanitizers take address space of their own\n");
        skip();
    }
    struct fixture f;
    struct qm_placement p;
    struct qm_error err;
    struct rlimit before, none;
    struct qm_sequence *s;
    fixture_open(&f, *state);
    assert_int_equal(qm_placement_open(f.model, 2, &p, NULL), QM_OK);
    whole_layer(&p, f.model, 0, 1);
    struct qm_emulated_config device = test_card;
    device.fail_after = 3;
    struct qm_engine *e = open_engine(f.model, &p, &device, false);
    float *found = malloc(f.bytes);
    assert_int_equal(qm_sequence_open(e, &s, &err), QM_OK);
    struct qm_step_rows step = {.sequence = s, .tokens = f.ids, .n = TOKENS, .n_logits = 1, .logits = found};
    assert_int_equal(qm_engine_step(e, &step, 1, &err), QM_SYSTEM);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    none = before;
    none.rlim_cur = 1 << 20;
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    int rc = qm_engine_fall_back(e, &err);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(rc, QM_FIT);
    assert_non_null(strstr(err.message, "card failed at"));
    assert_non_null(strstr(err.message, "what was on card has to be taken over"));
    assert_true(qm_engine_device_failed(e));
    assert_int_equal(qm_engine_step(e, &step, 1, &err), QM_SYSTEM);
    assert_int_equal(qm_engine_fall_back(e, &err), QM_OK);
    assert_int_equal(qm_sequence_truncate(s, 0), 0);
    assert_int_equal(qm_engine_step(e, &step, 1, &err), QM_OK);
    assert_memory_equal(found, f.want, f.bytes);
    free(found);
    qm_sequence_close(s);
    qm_engine_close(e);
    qm_placement_free(&p);
    fixture_close(&f);
}

#define ON(test, name)                                                                                                 \
    { #test ", " name, test, NULL, NULL, name }

int main(void) {
    const struct CMUnitTest tests[] = {
        ON(test_whole_layers, "llama"),
        ON(test_whole_layers, "qwen3_moe_mixed"),
        ON(test_whole_layers, "gpt_oss"),
        ON(test_whole_layers, "mixtral"),
        ON(test_whole_layers, "llama_f16"),
        ON(test_whole_layers, "glm4_moe"), /* with shared experts */
        ON(test_whole_layers, "minimax_m2"),
        ON(test_whole_layers, "olmo3"), /* norms behind, two rotary embeddings */
        ON(test_logits, "llama"),
        ON(test_split_experts, "qwen3_moe"),
        ON(test_split_experts, "gpt_oss"),
        ON(test_split_experts, "mixtral"),
        ON(test_split_experts, "glm4_moe"),
        ON(test_split_ffn, "llama"),
        ON(test_split_ffn, "llama_linear"), /* with biases */
        ON(test_split_ffn, "llama_f16"),
        ON(test_split_ffn, "qwen3_f32"),
        ON(test_split_ffn, "qwen3_moe_mixed"),
        ON(test_failures, "llama"),
        ON(test_failures, "qwen3_moe_mixed"),
        ON(test_clock, "llama"),
        ON(test_memory, "llama"),
        ON(test_fits, "llama"),
        ON(test_fits, "qwen3_moe"),
        ON(test_no_room, "llama"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
