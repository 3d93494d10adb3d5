/* The time model against times by hand, on machines of round numbers; and what must hold whatever the numbers. */
#include <math.h>

#include "engine/units.h"
#include "planner/time.h"
#include "tests/planner/plan_models.h"

static double seconds(const struct plan_fixture *f, int64_t position, int64_t n) {
    struct qm_step_time t;
    qm_time_step(&f->setup, 1, position, n, 1, &t);
    return t.seconds;
}

static void near(double found, double expected, double share) {
    if (!(fabs(found / expected - 1) <= share))
        fail_msg("found %.9g, expected %.9g", found, expected);
}

static void place_all(struct plan_fixture *f, int device) {
    for (int64_t l = 0; l < f->placement.layers; l++) {
        bool moe = f->model->config.layer[l].moe;
        f->placement.layer[l].attention = (uint8_t)device;
        f->placement.layer[l].ffn = moe ? 0 : (uint8_t)device;
        for (int64_t e = 0; e < f->placement.experts; e++)
            f->placement.expert[l * f->placement.experts + e] = moe ? (uint8_t)device : 0;
    }
    f->placement.head = (uint8_t)device;
}

/* Matrices alone: norms are not products. */
static double matrix_bytes(const struct qm_model *m, bool of_experts) {
    double sum = 0;
    for (int64_t i = 0; i < m->n_weights; i++)
        if (!m->weights[i].vector && m->weights[i].role != QM_W_EMBED && m->weights[i].role != QM_W_ROUTER)
            sum += (m->weights[i].experts > 1) == of_experts ? (double)qm_weight_bytes(&m->weights[i]) : 0;
    return sum;
}

/* Seconds of a token's row of the embedding, read by all threads: all lines of its panel. */
static const double embedded = 16 * 1024 * 2 / 1e10;

/* One token deep in a context reads weights and keys, and nothing else takes time. */
static void test_reading(void **state) {
    (void)state;
    struct plan_fixture f;
    plan_open(&f, plan_model(3, 1024, 0), 0);
    double kv = 3 * 2 * 64 * 2 * 2, two = 2e10 / 3; /* bytes a token; what two threads read, one for each KV head */
    near(seconds(&f, 0, 1), matrix_bytes(f.model, false) / 1e10 + kv * 65 / two + embedded, 1e-6);
    near(seconds(&f, 4000, 1), (matrix_bytes(f.model, false) + kv * 4065) / 1e10 + embedded, 1e-6);
    f.setup.workload.threads = 1; /* reads half as fast */
    near(seconds(&f, 0, 1), (matrix_bytes(f.model, false) + kv * 65) / 5e9 + 2 * embedded, 1e-6);
    f.speed.efficiency.kernel[QM_KERNEL_DENSE][QM_BF16].efficiency[0] = 0.5;
    near(seconds(&f, 0, 1), (2 * matrix_bytes(f.model, false) + kv * 65) / 5e9 + 2 * embedded, 1e-6);
    f.speed.efficiency = (struct qm_efficiency){0}; /* nothing was measured: the limits */
    near(seconds(&f, 0, 1), (matrix_bytes(f.model, false) + kv * 65) / 5e9 + 2 * embedded, 1e-6);
    plan_close(&f);
}

/* Many tokens compute; the head computes for one. */
static void test_computing(void **state) {
    (void)state;
    struct plan_fixture f;
    plan_open(&f, plan_model(3, 1024, 0), 0);
    double head = 512 * 1024 * 2, layers = matrix_bytes(f.model, false) - head;
    double keys = 256.5 + (24 - 1) / 2.0 + 64, passes = 22; /* 96 rows of queries: 24 tokens with 4 heads each */
    double attention = 3 * 2 * passes * 24 * 4 * keys * 4 * 64 / 1e11;
    near(seconds(&f, 0, 512), layers * 512 / 1e11 + head / 1e10 + attention + 512 * embedded, 1e-3);
    plan_close(&f);
}

/* Between two measured numbers of rows times are interpolated, beyond the last the share stays. */
static void test_shares(void **state) {
    (void)state;
    struct plan_fixture f;
    plan_open(&f, plan_model(1, 1024, 0), 0);
    f.speed.efficiency.kernel[QM_KERNEL_DENSE][QM_BF16] =
        (struct qm_efficiency_curve){.n = 2, .rows = {1, 5}, .efficiency = {0.5, 0.25}};
    struct qm_step_time one, three, five;
    qm_time_step(&f.setup, 1, 0, 1, 0, &one);
    qm_time_step(&f.setup, 3, 0, 1, 0, &three);
    qm_time_step(&f.setup, 5, 0, 1, 0, &five);
    near(three.reading + three.computing, (one.reading + five.reading + one.computing + five.computing) / 2, 1e-6);
    near(five.reading - 5 * embedded, 2 * (one.reading - embedded), 1e-6);
    plan_close(&f);
}

static void test_experts(void **state) {
    (void)state;
    struct plan_fixture f;
    plan_open(&f, plan_model(2, 1024, 8), 0);
    struct qm_step_time t;
    qm_time_step(&f.setup, 1, 0, 1, 0, &t);
    double dense = matrix_bytes(f.model, false) - 512 * 1024 * 2;
    near(t.reading, (dense + matrix_bytes(f.model, true) * 4 / 8) / 1e10 + embedded, 1e-6);
    qm_time_step(&f.setup, 2, 0, 1, 0, &t); /* two tokens touch 8 (1 - 1/4) */
    near(t.reading, (dense + matrix_bytes(f.model, true) * 6 / 8) / 1e10 + 2 * embedded, 1e-6);
    struct qm_routing_profile p;
    struct qm_error err;
    assert_int_equal(qm_routing_profile_open(&f.model->config, &p, &err), QM_OK);
    int32_t same[4] = {0, 1, 2, 3};
    for (int l = 0; l < 2; l++)
        qm_routing_count(&p, l, same, 1, false);
    qm_routing_count_tokens(&p, 1, 1, false);
    f.setup.routing = &p; /* every token the same four */
    qm_time_step(&f.setup, 2, 0, 1, 0, &t);
    near(t.reading, (dense + matrix_bytes(f.model, true) * 4 / 8) / 1e10 + 2 * embedded, 1e-6);
    qm_routing_profile_free(&p);
    plan_close(&f);
}

/* Whole model on a card: its rate, two transfers, and the logits' way back. */
static void test_card(void **state) {
    (void)state;
    struct plan_fixture f;
    plan_open(&f, plan_model(3, 1024, 0), 1);
    place_all(&f, 1);
    struct qm_step_time t;
    qm_time_step(&f.setup, 1, 0, 1, 1, &t);
    near(t.transfer, 2 * 10e-6 + 1024 * 4 / 2e10 + 512 * 4 / 2e10, 1e-6);
    near(t.device, (matrix_bytes(f.model, false) + 3 * 512 * 65) / 1e12, 1e-6);
    near(t.seconds, t.transfer + t.device + embedded, 1e-9);
    plan_close(&f);
}

/* Half of the experts on a card take no longer than the CPU's half, since both work at once. */
static void test_split(void **state) {
    (void)state;
    struct plan_fixture f;
    plan_open(&f, plan_model(2, 1024, 8), 1);
    struct qm_step_time all, half;
    qm_time_step(&f.setup, 1, 0, 1, 0, &all);
    for (int i = 0; i < 2 * 8; i++)
        f.placement.expert[i] = i % 2;
    qm_time_step(&f.setup, 1, 0, 1, 0, &half);
    near(all.seconds - half.seconds, matrix_bytes(f.model, true) * 2 / 8 / 1e10, 1e-6);
    assert_true(half.device_busy[1] > 0 && half.device_busy[1] < half.cpu_busy);
    plan_close(&f);
}

/* An FFN's columns on the CPU and on a card: the longer of both, and of a card that is as fast, half of the time. */
static void test_split_ffn(void **state) {
    (void)state;
    struct plan_fixture f;
    plan_open(&f, plan_model(2, 1024, 0), 1);
    struct qm_device_model *d = &f.speed.device[0];
    d->read = f.speed.read;
    d->transfer_us = 0;
    d->up = d->down = d->up_busy = d->down_busy = 1e15;
    int64_t all = f.model->config.ffn;
    double ffn = 0;
    for (int l = 0; l < 2; l++)
        ffn += (double)(qm_weight_bytes(qm_model_weight(f.model, l, QM_W_GATE_UP)) +
                        qm_weight_bytes(qm_model_weight(f.model, l, QM_W_DOWN))) /
               f.speed.read;
    struct qm_step_time cpu, t;
    qm_time_step(&f.setup, 1, 0, 1, 0, &cpu);
    for (int l = 0; l < 2; l++) {
        f.placement.layer[l].ffn = 1;
        f.placement.layer[l].ffn_cpu = (int32_t)(all / 2);
    }
    qm_time_step(&f.setup, 1, 0, 1, 0, &t);
    near(cpu.seconds - t.seconds, ffn / 2, 1e-6);
    near(t.device_busy[1], ffn / 2, 1e-6);
    near(t.cpu_busy, cpu.cpu_busy - ffn / 2, 1e-6);
    for (int l = 0; l < 2; l++)
        f.placement.layer[l].ffn_cpu = (int32_t)(all / 4); /* the card's three quarters take longest */
    qm_time_step(&f.setup, 1, 0, 1, 0, &t);
    near(cpu.seconds - t.seconds, ffn / 4, 1e-6);
    near(t.device, ffn * 3 / 4, 1e-6);
    near(t.reading, cpu.reading - ffn, 1e-6); /* what is in the card's time does not bound the step */
    f.placement.stream_rows = 8;
    for (int l = 0; l < 2; l++)
        f.placement.layer[l].stream_ffn = 1;
    qm_time_step(&f.setup, 1, 0, 64, 0, &t);
    near(t.link_busy[1], 2 * (double)qm_unit_ffn_bytes(f.model, 0, all / 4, true) / 1e15, 1e-6);
    plan_close(&f);
}

/* Streaming costs the link: the longer of path and transfers, and the first transfer. */
static void test_streaming(void **state) {
    (void)state;
    struct plan_fixture f;
    plan_open(&f, plan_model(4, 1024, 0), 1);
    struct qm_step_time t;
    for (int l = 0; l < 4; l++)
        f.placement.layer[l].stream_ffn = f.placement.layer[l].stream_attention = 1;
    f.placement.stream_rows = 64;
    double cpu = seconds(&f, 0, 63);
    qm_time_step(&f.setup, 1, 0, 512, 0, &t);
    double bytes = 0, first = (double)qm_unit_weight_bytes(f.model, QM_UNIT_ATTENTION, 0, 0);
    for (int l = 0; l < 4; l++)
        bytes += (double)(qm_unit_weight_bytes(f.model, QM_UNIT_ATTENTION, l, 0) +
                          qm_unit_weight_bytes(f.model, QM_UNIT_FFN, l, 0));
    near(t.link_busy[1], bytes / 1e10, 1e-6);
    near(t.seconds, (bytes + first) / 1e10, 1e-6);
    f.placement.stream_rows = 0;
    near(seconds(&f, 0, 63), cpu, 1e-9);
    plan_close(&f);
}

static void test_job(void **state) {
    (void)state;
    struct plan_fixture f;
    plan_open(&f, plan_model(2, 1024, 0), 0);
    struct qm_scenario scenario = {.sequences = 1, .prompt = 1100, .generate = 3},
                       many = {.sequences = 1, .prompt = 100000};
    struct qm_scenario_time t;
    qm_time_scenario(&f.setup, &scenario, &t);
    double prefill = 0, decode = 0;
    struct qm_step_time one;
    for (int64_t at = 0; at < 1100; at += 512) {
        qm_time_step(&f.setup, 1, at, at == 1024 ? 76 : 512, at == 1024, &one);
        prefill += one.seconds;
    }
    for (int i = 0; i < 3; i++) {
        qm_time_step(&f.setup, 1, 1100 + i, 1, 1, &one);
        decode += one.seconds;
    }
    near(t.prefill.seconds, prefill, 1e-9);
    near(t.decode.seconds, decode, 1e-9);
    near(t.prefill_tps, 1100 / prefill, 1e-9);
    near(t.decode_tps, 3 / decode, 1e-9);
    assert_true(isnan(t.joules));
    f.speed.watts = 100;
    f.speed.idle_watts = 10;
    qm_time_scenario(&f.setup, &scenario, &t);
    near(t.joules, 100 * (prefill + decode), 1e-9);
    qm_time_scenario(&f.setup, &many, &t); /* samples stand for steps */
    prefill = 0;
    for (int64_t at = 0; at < 100000; at += 512) {
        qm_time_step(&f.setup, 1, at, 100000 - at < 512 ? 100000 - at : 512, at + 512 >= 100000, &one);
        prefill += one.seconds;
    }
    near(t.prefill.seconds, prefill, 1e-3);
    plan_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),   cmocka_unit_test(test_computing), cmocka_unit_test(test_shares),
        cmocka_unit_test(test_experts),   cmocka_unit_test(test_card),      cmocka_unit_test(test_split),
        cmocka_unit_test(test_streaming), cmocka_unit_test(test_job),       cmocka_unit_test(test_split_ffn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
