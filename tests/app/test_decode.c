/* From arguments to options: what each value becomes, what is left as the model's, and what is refused. */
#include <string.h>

#include "app/command_list.h"
#include "app/decode.h"
#include "tests/support/support.h"

enum { MAX_ARGS = 16 };

/* The arguments of `quietmind run`, separated by '|'. */
static struct qm_args parse(const char *line) {
    static char text[512];
    char *argv[MAX_ARGS];
    struct qm_args a;
    struct qm_error err;
    int argc = 0;
    strcpy(text, line);
    for (char *p = text; p && *line; argc++) {
        argv[argc] = p;
        p = strchr(p, '|');
        if (p)
            *p++ = 0;
    }
    if (qm_args_parse(&qm_cmd_run, argc, argv, NULL, &a, &err))
        fail_msg("%s: %s", line, err.message);
    return a;
}

static struct qm_load_options load(const char *line) {
    struct qm_args a = parse(line);
    struct qm_load_options o;
    struct qm_error err;
    if (qm_decode_load(&a, &o, &err))
        fail_msg("%s: %s", line, err.message);
    qm_args_free(&a);
    return o;
}

static void refused(const char *line, const char *part) {
    struct qm_args a = parse(line);
    struct qm_load_options o;
    struct qm_error err;
    assert_int_equal(qm_decode_load(&a, &o, &err), QM_USAGE);
    if (!strstr(err.message, part))
        fail_msg("%s: %s", line, err.message);
    qm_args_free(&a);
}

static void test_model(void **state) {
    (void)state;
    struct qm_args a = parse("/m|--experts-per-token|3|--rope-theta|5000|--context|77");
    struct qm_model_options o = qm_decode_model(&a);
    assert_string_equal(o.name, "/m");
    assert_int_equal(o.overrides.experts_per_token, 3);
    assert_true(o.overrides.rope_theta == 5000);
    assert_null(o.overrides.rope_scaling);
    assert_int_equal(o.context, 77);
    assert_null(o.chat_template);
    qm_args_free(&a);
    a = parse("");
    assert_null(qm_decode_model(&a).name);
    qm_args_free(&a);
}

static void test_load(void **state) {
    (void)state;
    struct qm_load_options o = load("");
    assert_int_equal(o.threads, 0);
    assert_int_equal(o.context, 0);
    assert_int_equal(o.kv_type, -1);
    assert_int_equal(o.numa.mode, QM_NUMA_AUTO);
    assert_int_equal(o.isa, qm_isa_auto());
    assert_null(o.routing);
    o = load("--threads|3|--kv-type|f16|--numa|off|--isa|scalar|--profile-experts|/counts");
    assert_int_equal(o.threads, 3);
    assert_int_equal(o.kv_type, QM_F16);
    assert_int_equal(o.numa.mode, QM_NUMA_OFF);
    assert_int_equal(o.isa, QM_ISA_SCALAR);
    assert_string_equal(o.routing, "/counts");
    refused("--kv-type|f64", "f64");
    refused("--numa|x", "--numa");
    refused("--isa|x", "x");
    refused("--device|gpu:9GiB", "gpu");
    refused("--offload|require", "there is no device");
}

static void test_quiet(void **state) {
    (void)state;
    struct qm_quiet_options q = load("").quiet;
    assert_true(q.share == 0 && !q.prefill && !q.priority && q.watts == 0);
    q = load("--quiet").quiet;
    assert_true(q.share == 0.97 && !q.prefill);
    q = load("--quiet=max").quiet;
    assert_true(q.share == 0.97 && q.prefill);
    q = load("--quiet=50|--nice|5|--power-cap|60").quiet;
    assert_true(q.share == 0.5 && q.priority && q.nice == 5 && !q.idle && q.watts == 60);
    q = load("--idle").quiet;
    assert_true(q.priority && q.idle && q.share == 0);
    refused("--quiet=9", "from 10 to 100");
    refused("--quiet=101", "101");
    refused("--quiet=min", "min");
}

static void test_offload(void **state) {
    (void)state;
    static const struct {
        const char *line;
        enum qm_offload_wish wish;
        int64_t layers;
    } cases[] = {
        {"", QM_OFFLOAD_UNSAID, 0},
        {"--offload|auto", QM_OFFLOAD_AUTO, 0},
        {"--offload|require|--device|emulated:1GiB", QM_OFFLOAD_REQUIRE, 0},
        {"--offload|none", QM_OFFLOAD_NONE, 0},
        {"--offload|12", QM_OFFLOAD_LAYERS, 12},
        {"--offload|-1", QM_OFFLOAD_LAYERS, -1},
        {"--offload|autos", QM_OFFLOAD_FILE, 0},
        {"--offload|12a", QM_OFFLOAD_FILE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_args a = parse(cases[i].line);
        struct qm_offload_options o;
        struct qm_error err;
        assert_int_equal(qm_decode_offload(&a, &o, &err), QM_OK);
        assert_int_equal(o.wish, cases[i].wish);
        if (o.wish == QM_OFFLOAD_LAYERS)
            assert_int_equal(o.layers, cases[i].layers);
        if (o.wish == QM_OFFLOAD_FILE)
            assert_string_equal(o.text, a.option[QM_OPT_OFFLOAD].text);
        qm_args_free(&a);
    }
    struct qm_args a = parse("--device|emulated:1GiB|--device|emulated2:2GiB|--vram|3GiB");
    struct qm_offload_options o;
    struct qm_error err;
    assert_int_equal(qm_decode_offload(&a, &o, &err), QM_OK);
    assert_int_equal(o.devices.n, 2);
    assert_string_equal(o.devices.text[1], "emulated2:2GiB");
    assert_true(o.vram == (uint64_t)3 << 30);
    qm_args_free(&a);
    refused("--device|emulated:1GiB|--vram|much", "--vram");
    load("--vram|much"); /* means nothing without a device */
}

/* What is not said stays as the model has it. */
static void test_sampling(void **state) {
    (void)state;
    struct qm_args a = parse("--temperature|0|--top-k|7|--seed|9|--logit-bias|5=1|--logit-bias|6=-1");
    struct qm_sampling_options o = qm_decode_sampling(&a);
    struct qm_sampling s = {.temperature = 0.8, .top_k = 20, .top_p = 0.9, .min_p = 0.1, .seed = 1};
    qm_app_sampling_change(&o, &s);
    assert_true(s.temperature == 0 && s.top_p == 0.9 && s.min_p == 0.1);
    assert_int_equal(s.top_k, 7);
    assert_int_equal(s.seed, 9);
    assert_int_equal(o.bias.n, 2);
    assert_string_equal(o.bias.text[1], "6=-1");
    qm_args_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),   cmocka_unit_test(test_load),     cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_offload), cmocka_unit_test(test_sampling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
