/* The device interface, held against the CPU op by op: what is transferred is enough, what is not is missed, nothing
 * happens before the host waits; weights, pages, budget, errors and time. */
#include "engine/device.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/cpu/cpu.h"
#include "engine/kv.h"
#include "engine/units.h"
#include "numa/memory.h"
#include "numa/team.h"
#include "tests/support/reference.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { ROWS = 5, CONTEXT = 256 };

struct fixture {
    struct qm_model *model;
    struct reference reference;
    struct qm_forward forward;
    struct qm_workload workload;
    struct qm_team *team;
    struct qm_kv kv;
    struct qm_kv_tables tables;
    struct qm_cpu *cpu;
    struct qm_host_clock clock;
    struct qm_device_memory memory;
    struct qm_device *device;
    int64_t ld;
    /* a step of one sequence */
    int32_t token[ROWS];
    int64_t position[ROWS];
    struct qm_batch_sequence part;
    struct qm_batch batch;
    float *want, *found;
    struct qm_host_range host[2]; /* what is transferred: the CPU's, and found */
    int64_t shapes;
};

static const struct qm_op_part whole = {0};

static int open_device(struct fixture *f, const struct qm_emulated_config *config, struct qm_error *err) {
    struct qm_device_load load = {.model = f->model,
                                  .forward = &f->forward,
                                  .workload = f->workload,
                                  .memory = f->memory,
                                  .host = f->host,
                                  .n_host = 2,
                                  .patience = 30,
                                  .weights = qm_cpu_panels(f->cpu),
                                  .kv = &f->kv,
                                  .cpu = f->cpu,
                                  .clock = &f->clock};
    return qm_emulated_driver.open(config, &load, &f->device, err);
}

/* With memory for layer 0. */
static void fixture_open(struct fixture *f, const struct qm_emulated_config *config) {
    struct qm_error err = {0};
    static const struct qm_binding anywhere = {.node = -1};
    *f = (struct fixture){0};
    reference_open(&f->reference, "llama");
    if (qm_model_open(f->reference.dir, NULL, &f->model, &err) || qm_forward_build(f->model, &f->forward, &err) ||
        qm_team_create(1, &f->team, &err))
        fail_msg("%s", err.message);
    const struct qm_config *c = &f->model->config;
    f->workload =
        (struct qm_workload){.context = CONTEXT, .sequences = 2, .chunk = 8, .threads = 1, .kv_type = c->dtype};
    assert_int_equal(qm_kv_open(c, &f->forward, &f->workload, NULL, &anywhere, 1, &f->kv, &err), QM_OK);
    assert_int_equal(qm_kv_tables_open(&f->kv, &f->tables, &err), QM_OK);
    const struct qm_cpu_setup cpu = {.model = f->model,
                                     .workload = f->workload,
                                     .isa = run_model_isa(),
                                     .team = f->team,
                                     .bindings = &anywhere,
                                     .kv = &f->kv};
    assert_int_equal(qm_cpu_open(&cpu, &f->cpu, &err), QM_OK);
    assert_int_equal(qm_cpu_load(f->cpu, NULL, &err), QM_OK);
    struct qm_placement p;
    assert_int_equal(qm_placement_open(f->model, 2, &p, &err), QM_OK);
    p.layer[0].attention = p.layer[0].ffn = 1;
    p.layer[1].stream_attention = 1;
    p.stream_rows = 1;
    qm_placement_memory(&p, f->model, &f->workload, 1, &f->memory);
    qm_placement_free(&p);
    struct qm_scratch_layout scratch;
    qm_scratch_plan(f->model, &f->workload, &scratch);
    f->ld = scratch.ld_hidden;
    size_t bytes = (size_t)(ROWS * f->ld) * sizeof *f->found;
    f->want = aligned_alloc(64, bytes);
    f->found = aligned_alloc(64, bytes);
    struct qm_transfer handed = qm_cpu_handed(f->cpu);
    f->host[0] = (struct qm_host_range){QM_HOST_TRANSFERS, -1, handed.at, handed.bytes};
    f->host[1] = (struct qm_host_range){QM_HOST_TRANSFERS, -1, f->found, bytes};
    if (open_device(f, config, &err))
        fail_msg("%s", err.message);
    for (int i = 0; i < ROWS; i++)
        f->token[i] = 7 + 31 * i;
}

static void fixture_close(struct fixture *f) {
    if (f->device)
        f->device->close(f->device);
    qm_cpu_close(f->cpu);
    qm_kv_tables_close(&f->kv, &f->tables);
    qm_kv_close(&f->kv);
    qm_team_destroy(f->team);
    qm_forward_free(&f->forward);
    qm_model_close(f->model);
    reference_close(&f->reference);
    free(f->want);
    free(f->found);
}

/* The next n rows of the sequence, embedded on the CPU. */
static void embed(struct fixture *f, int64_t n) {
    qm_kv_reserve(&f->kv, &f->tables, n);
    for (int64_t i = 0; i < n; i++)
        f->position[i] = f->tables.length + i;
    f->part = (struct qm_batch_sequence){.tables = &f->tables, .n = n, .position = f->tables.length};
    f->batch = (struct qm_batch){
        .rows = n, .token = f->token, .position = f->position, .sequences = &f->part, .n_sequences = 1};
    qm_cpu_execute(f->cpu, &f->forward.ops[0], NULL, &f->batch, NULL);
}

/* Ops [first, end) of the forward pass; 1 to 3 are layer 0's attention, 4 and 5 its FFN. */
static void on_the_cpu(struct fixture *f, int first, int end, float *out) {
    for (int i = first; i < end; i++)
        qm_cpu_execute(f->cpu, &f->forward.ops[i], NULL, &f->batch, NULL);
    memcpy(out, qm_cpu_residual(f->cpu, f->batch.rows).at, (size_t)(f->batch.rows * f->ld) * sizeof *out);
}

/* The CPU has all weights too, and gives the device its part, in pieces. */
static void put(struct fixture *f, int32_t index) {
    struct qm_error err;
    if (index < 0)
        return;
    const struct qm_packed_weight *w = &qm_cpu_panels(f->cpu)[index];
    if (w->vector)
        assert_int_equal(f->device->put(f->device, index, 0, 0, 0, w->values, &err), QM_OK);
    for (int64_t p = 0, n; p < w->panels; p += n) {
        n = w->panels - p < 3 ? w->panels - p : 3;
        assert_int_equal(f->device->put(f->device, index, 0, p, n, qm_packed_panel(w, 0, p), &err), QM_OK);
    }
}

static void place(struct fixture *f, int first, int end) {
    struct qm_error err;
    for (int i = first; i < end; i++) {
        const struct qm_op *op = &f->forward.ops[i];
        if (f->device->place(f->device, op, &whole, &err))
            fail_msg("%s", err.message);
        const int32_t all[] = {op->norm, op->matrix, op->bias, op->q_norm, op->k_norm, op->sinks};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            put(f, all[k]);
    }
}

/* A step that is like no other. */
static void begin(struct fixture *f) {
    f->device->begin(f->device, &f->batch, ++f->shapes);
}

static void enqueue(struct fixture *f, int first, int end) {
    for (int i = first; i < end; i++)
        f->device->enqueue(f->device, &f->forward.ops[i], &whole, QM_TO_RESIDUAL);
}

static qm_ticket receive(struct fixture *f) {
    struct qm_transfer to = {f->found, (uint64_t)(f->batch.rows * f->ld) * sizeof *f->found};
    return f->device->receive(f->device, QM_TRANSFER_RESIDUAL, to);
}

static int64_t differing(const struct fixture *f) {
    int64_t n = 0;
    for (int64_t r = 0; r < f->batch.rows; r++)
        n += memcmp(f->want + r * f->ld, f->found + r * f->ld, (size_t)f->model->config.hidden * sizeof(float)) != 0;
    return n;
}

/* Two steps of a whole layer: the device's own activations and pages, the CPU's bits. */
static void test_enough(void **state) {
    (void)state;
    struct fixture f;
    struct qm_error err;
    float want[2][ROWS * 128];
    fixture_open(&f, &test_card);
    assert_true(f.ld <= 128);
    for (int step = 0; step < 2; step++) {
        embed(&f, step ? 1 : ROWS);
        on_the_cpu(&f, 1, 6, want[step]);
        qm_kv_advance(&f.kv, &f.tables, f.batch.rows);
    }
    assert_int_equal(qm_kv_truncate(&f.kv, &f.tables, 0), 0);
    place(&f, 1, 6);
    memset(f.kv.memory[0].data, 0xFF, f.kv.memory[0].bytes); /* the CPU's pages have no part in it */
    f.kv.owner[0] = f.device;
    for (int step = 0; step < 2; step++) {
        embed(&f, step ? 1 : ROWS);
        struct qm_transfer x = qm_cpu_residual(f.cpu, f.batch.rows);
        begin(&f);
        f.device->send(f.device, QM_TRANSFER_RESIDUAL, x);
        enqueue(&f, 1, 6);
        qm_ticket t = receive(&f);
        memset(f.found, 0, (size_t)(f.batch.rows * f.ld) * sizeof *f.found);
        assert_int_equal(f.device->wait(f.device, t, &err), QM_OK);
        memcpy(f.want, want[step], (size_t)(f.batch.rows * f.ld) * sizeof *f.want);
        assert_int_equal(differing(&f), 0);
        assert_int_equal(f.device->finish(f.device, &err), QM_OK);
        qm_kv_advance(&f.kv, &f.tables, f.batch.rows);
        if (!step)
            continue;
        struct qm_device_report r;
        f.device->report(f.device, &r);
        assert_int_equal(r.ops, 2 * 7);
        assert_true(r.seconds[QM_OP_QKV] > 0 && r.seconds[QM_OP_FFN_DOWN] > 0 && !r.failed);
    }
    fixture_close(&f);
}

/* Without the residual every value is NaN; with one that the host changed before it waited, another one. */
static void test_missed(void **state) {
    (void)state;
    struct fixture f;
    struct qm_error err;
    fixture_open(&f, &test_card);
    place(&f, 1, 6);
    embed(&f, ROWS);
    on_the_cpu(&f, 0, 0, f.want);
    begin(&f);
    enqueue(&f, 4, 6);
    assert_int_equal(f.device->wait(f.device, receive(&f), &err), QM_OK);
    for (int64_t i = 0; i < ROWS * f.model->config.hidden; i++)
        assert_true(isnan(f.found[i / f.model->config.hidden * f.ld + i % f.model->config.hidden]));
    assert_int_equal(f.device->finish(f.device, &err), QM_OK);

    struct qm_transfer x = qm_cpu_residual(f.cpu, ROWS);
    begin(&f);
    qm_ticket sent = f.device->send(f.device, QM_TRANSFER_RESIDUAL, x);
    memset(f.found, 0x55, sizeof *f.found);
    qm_ticket back = receive(&f);
    uint32_t untouched;
    memcpy(&untouched, f.found, sizeof untouched);
    assert_int_equal(untouched, 0x55555555);
    ((float *)x.at)[0] += 1; /* too early */
    assert_int_equal(f.device->wait(f.device, sent, &err), QM_OK);
    ((float *)x.at)[f.ld] += 1; /* in time */
    assert_int_equal(f.device->wait(f.device, back, &err), QM_OK);
    assert_int_equal(differing(&f), 1);
    assert_int_equal(f.device->finish(f.device, &err), QM_OK);
    fixture_close(&f);
}

/* Attention of a layer of the CPU, streamed: weights and pages go up, the new keys and values come back. */
static void test_streamed(void **state) {
    (void)state;
    enum { FIRST = 6 }; /* layer 1's attention: 6 to 8 */
    struct fixture f;
    struct qm_error err;
    struct qm_transfer x;
    fixture_open(&f, &test_card);
    x = qm_cpu_residual(f.cpu, 1);
    embed(&f, ROWS);
    on_the_cpu(&f, 1, 9, f.want);
    qm_kv_advance(&f.kv, &f.tables, ROWS);
    for (int streamed = 0; streamed < 2; streamed++) { /* position 5 to 6 by the CPU, 6 to 7 by the device, 7 to 8 */
        embed(&f, 1);
        begin(&f);
        f.device->send(f.device, QM_TRANSFER_RESIDUAL, x);
        for (int i = FIRST; i < FIRST + 3; i++) {
            f.device->stream(f.device, &f.forward.ops[i], &whole);
            f.device->enqueue(f.device, &f.forward.ops[i], &whole, QM_TO_RESIDUAL);
        }
        assert_int_equal(f.device->wait(f.device, receive(&f), &err), QM_OK);
        assert_int_equal(f.device->finish(f.device, &err), QM_OK);
        int state1 = f.forward.ops[FIRST + 1].state;
        size_t bytes = f.kv.page_bytes * (size_t)f.kv.kv_heads;
        uint8_t *by_device = malloc(bytes);
        for (int64_t h = 0; h < f.kv.kv_heads; h++) /* what came back */
            memcpy(by_device + (size_t)h * f.kv.page_bytes, qm_kv_page(&f.kv, &f.tables, state1, h, 0),
                   f.kv.page_bytes);
        on_the_cpu(&f, FIRST, FIRST + 3, f.want); /* the same again, over it */
        assert_int_equal(differing(&f), 0);
        for (int64_t h = 0; h < f.kv.kv_heads; h++)
            assert_memory_equal(by_device + (size_t)h * f.kv.page_bytes, qm_kv_page(&f.kv, &f.tables, state1, h, 0),
                                f.kv.page_bytes);
        free(by_device);
        qm_kv_advance(&f.kv, &f.tables, 1);
    }
    fixture_close(&f);
}

/* What was not put there is not computed with; the error stays. */
static void test_errors(void **state) {
    (void)state;
    struct fixture f;
    struct qm_error err;
    fixture_open(&f, &test_card);
    struct qm_transfer x = qm_cpu_residual(f.cpu, ROWS);
    place(&f, 1, 4);
    embed(&f, ROWS);
    begin(&f);
    f.device->send(f.device, QM_TRANSFER_RESIDUAL, x);
    enqueue(&f, 1, 5);
    qm_ticket t = receive(&f);
    assert_int_equal(f.device->wait(f.device, t - 2, &err), QM_OK); /* up to attention's output */
    assert_int_equal(f.device->wait(f.device, t, &err), QM_SYSTEM);
    assert_string_equal(err.message, "card failed at ffn_up of layer 0: its weights are not there");
    memset(&err, 0, sizeof err);
    assert_int_equal(f.device->finish(f.device, &err), QM_SYSTEM);
    begin(&f);
    f.device->send(f.device, QM_TRANSFER_RESIDUAL, x);
    assert_int_equal(f.device->finish(f.device, &err), QM_SYSTEM);
    assert_string_equal(err.message, "card failed at ffn_up of layer 0: its weights are not there");
    struct qm_device_report r;
    f.device->report(f.device, &r);
    assert_true(r.failed);
    float *block = malloc(f.kv.page_bytes * (size_t)(f.kv.kv_heads * f.kv.n_states));
    f.device->block_read(f.device, (int32_t[]){0}, block);
    assert_true(isnan(block[0]));
    free(block);
    fixture_close(&f);
}

/* It fails at any piece where it is asked to, and names it. */
static void test_fails_anywhere(void **state) {
    (void)state;
    static const char *const names[] = {"card failed at a transfer to it", "card failed at ffn_up of layer 0",
                                        "card failed at ffn_down of layer 0", "card failed at adding its sum",
                                        "card failed at a transfer from it"};
    for (int k = 0; k < 6; k++) {
        struct fixture f;
        struct qm_error err;
        struct qm_emulated_config card = test_card;
        card.fail_after = k;
        fixture_open(&f, &card);
        struct qm_transfer x = qm_cpu_residual(f.cpu, ROWS);
        place(&f, 4, 6);
        embed(&f, ROWS);
        begin(&f);
        f.device->send(f.device, QM_TRANSFER_RESIDUAL, x);
        for (int i = 4; i < 6; i++)
            f.device->enqueue(f.device, &f.forward.ops[i], &whole, QM_TO_SUM);
        f.device->add(f.device);
        receive(&f);
        int rc = f.device->finish(f.device, &err);
        assert_int_equal(rc, k < 5 ? QM_SYSTEM : QM_OK);
        if (k < 5)
            assert_string_equal(err.message, names[k]);
        on_the_cpu(&f, 4, 6, f.want);
        if (k == 5)
            assert_int_equal(differing(&f), 0);
        fixture_close(&f);
    }
}

/* The memory taken is what the units take, to the byte. */
static void test_memory(void **state) {
    (void)state;
    struct fixture f;
    struct qm_error err;
    fixture_open(&f, &test_card);
    place(&f, 1, 6);
    assert_int_equal(f.device->place(f.device, &f.forward.ops[6], &whole, &err), QM_FIT);
    assert_int_equal(f.device->place(f.device, &f.forward.ops[7], &whole, &err), QM_FIT);
    assert_non_null(strstr(err.message, "keys and values of layer 1"));
    f.device->close(f.device);
    f.memory.weights -= 64;
    assert_int_equal(open_device(&f, &test_card, &err), QM_OK);
    place(&f, 1, 5);
    assert_int_equal(f.device->place(f.device, &f.forward.ops[5], &whole, &err), QM_FIT);
    f.device->close(f.device);
    struct qm_emulated_config small = test_card;
    small.memory = f.memory.total - 1;
    assert_int_equal(open_device(&f, &small, &err), QM_FIT);
    assert_null(f.device);
    fixture_close(&f);
}

static void test_pages(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, &test_card);
    place(&f, 1, 6);
    assert_int_equal(f.kv.n_groups, 1);
    size_t kept = f.kv.page_bytes * (size_t)f.kv.kv_heads, all = kept * (size_t)f.kv.n_states;
    uint8_t *in = malloc(all), *out = malloc(all);
    for (size_t i = 0; i < all; i++)
        in[i] = (uint8_t)(i * 7 + i / 251);
    f.device->block_write(f.device, (int32_t[]){3}, in);
    f.device->page_copy(f.device, 0, 3, 1);
    f.device->page_copy(f.device, 0, -1, 3);
    memset(out, 0x55, all);
    f.device->block_read(f.device, (int32_t[]){1}, out);
    assert_memory_equal(in, out, kept);
    for (size_t i = kept; i < all; i++) /* what is not placed there is not touched */
        assert_int_equal(out[i], 0x55);
    f.device->block_read(f.device, (int32_t[]){3}, out);
    memset(in, 0, kept);
    assert_memory_equal(in, out, kept);
    memset(out, 0x55, all);
    f.device->block_read(f.device, (int32_t[]){-1}, out);
    assert_int_equal(out[0], 0x55);
    for (int i = 0; i < 5000; i++) /* as many as one likes, in order */
        f.device->page_copy(f.device, 0, i % 2 ? 1 : -1, i % 2 ? 2 : 1);
    f.device->block_read(f.device, (int32_t[]){2}, out);
    assert_memory_equal(in, out, kept);
    free(in);
    free(out);
    fixture_close(&f);
}

/* One that does not answer has failed after the patience that it was opened with. */
static void test_hangs(void **state) {
    (void)state;
    struct fixture f;
    struct qm_error err;
    struct qm_emulated_config card = test_card;
    card.fail_after = 1;
    card.hangs = true;
    fixture_open(&f, &card);
    struct qm_transfer x = qm_cpu_residual(f.cpu, ROWS);
    place(&f, 4, 6);
    embed(&f, ROWS);
    double start = qm_host_now(&f.clock);
    begin(&f);
    f.device->send(f.device, QM_TRANSFER_RESIDUAL, x);
    enqueue(&f, 4, 6);
    assert_int_equal(f.device->wait(f.device, receive(&f), &err), QM_SYSTEM);
    assert_string_equal(err.message, "card failed at ffn_up of layer 0: it does not answer");
    double waited = qm_host_now(&f.clock) - start;
    assert_true(waited >= 30);
    assert_int_equal(f.device->finish(f.device, &err), QM_SYSTEM);
    begin(&f);
    assert_int_equal(f.device->finish(f.device, &err), QM_SYSTEM);
    assert_true(f.clock.ahead < 2 * 30); /* it is not waited for again */
    fixture_close(&f);
}

/* What the device may rely on ends the program where it does not hold: in a child, since it does. */
static bool dies(void (*what)(struct fixture *f)) {
    struct fixture f;
    int status = 0;
    fixture_open(&f, &test_card);
    place(&f, 4, 6);
    embed(&f, ROWS);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        what(&f);
        _exit(0);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    fixture_close(&f);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void one_step(struct fixture *f, int64_t shape, int ops) {
    struct qm_error err;
    f->device->begin(f->device, &f->batch, shape);
    f->device->send(f->device, QM_TRANSFER_RESIDUAL, qm_cpu_residual(f->cpu, ROWS));
    enqueue(f, 4, 4 + ops);
    receive(f);
    if (f->device->finish(f->device, &err))
        _exit(3);
}

static void same_shape(struct fixture *f) {
    one_step(f, 1, 2);
    one_step(f, 2, 1);
    one_step(f, 1, 2);
}

static void other_calls(struct fixture *f) {
    one_step(f, 1, 2);
    one_step(f, 1, 1);
}

static void unknown_memory(struct fixture *f) {
    struct qm_transfer to = {f->want, (uint64_t)(ROWS * f->ld) * sizeof *f->want};
    begin(f);
    f->device->receive(f->device, QM_TRANSFER_RESIDUAL, to);
}

static void test_strict(void **state) {
    (void)state;
    assert_false(dies(same_shape));
    assert_true(dies(other_calls));
    assert_true(dies(unknown_memory));
}

/* Seconds that are simulated are on the host's clock, once it waits; those of emulating are not. */
static void test_time(void **state) {
    (void)state;
    struct fixture f;
    struct qm_error err;
    struct qm_emulated_config slow = test_card;
    slow.transfer_us = 100e6;
    slow.launch_us = 1000e6;
    fixture_open(&f, &slow);
    struct qm_transfer x = qm_cpu_residual(f.cpu, ROWS);
    place(&f, 4, 6);
    embed(&f, ROWS);
    double start = qm_host_now(&f.clock);
    begin(&f);
    qm_ticket sent = f.device->send(f.device, QM_TRANSFER_RESIDUAL, x);
    enqueue(&f, 4, 6);
    qm_ticket back = receive(&f);
    assert_true(f.clock.ahead < 60);
    assert_int_equal(f.device->wait(f.device, sent, &err), QM_OK);
    double at = qm_host_now(&f.clock) - start;
    assert_true(at >= 100 && f.clock.ahead < 160); /* the simulated part: a busy machine cannot lengthen it */
    f.clock.ahead += 500;                          /* what else the host does meanwhile */
    assert_int_equal(f.device->wait(f.device, back, &err), QM_OK);
    at = qm_host_now(&f.clock) - start;
    assert_true(at >= 2200 && f.clock.ahead < 2260);
    assert_int_equal(f.device->finish(f.device, &err), QM_OK);
    assert_true(f.clock.ahead < 2260);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enough), cmocka_unit_test(test_missed),         cmocka_unit_test(test_streamed),
        cmocka_unit_test(test_errors), cmocka_unit_test(test_fails_anywhere), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_pages),  cmocka_unit_test(test_hangs),          cmocka_unit_test(test_strict),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
