/* Files of the planner: plans, described machines, profiles of routing. Good ones come back the same; of bad ones the
 * message names what is wrong. */
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "engine/plan_file.h"
#include "engine/routing.h"
#include "tests/planner/plan_models.h"

static const char *const names[] = {"cpu", "card", "other"};

/* The text with the first `from` replaced, to be freed. */
static char *edited(const char *text, const char *from, const char *to) {
    const char *at = strstr(text, from);
    if (!at)
        fail_msg("\"%s\" is not there", from);
    char *out = malloc(strlen(text) + strlen(to) + 1);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static void refuse_plan(const struct qm_model *m, const char *text, const char *from, const char *to,
                        const char *says) {
    struct qm_placement p;
    struct qm_error err;
    char *bad = edited(text, from, to);
    assert_int_equal(qm_plan_parse(bad, strlen(bad), "plan.json", m, names, 3, &p, &err), QM_INPUT);
    if (!strstr(err.message, says))
        fail_msg("%s: expected %s", err.message, says);
    free(bad);
}

static void test_split_ffn(void **state) {
    (void)state;
    struct qm_model *m = plan_model(2, 128, 0);
    struct qm_placement p, back;
    struct qm_error err;
    char *text;
    assert_int_equal(qm_placement_open(m, 3, &p, &err), QM_OK);
    p.layer[1].ffn = 2;
    p.layer[1].ffn_cpu = 64;
    assert_int_equal(qm_plan_write(&p, m, names, &text, &err), QM_OK);
    assert_non_null(strstr(text, "\"ffn\": {\"cpu\": 64, \"other\": 192}"));
    if (qm_plan_parse(text, strlen(text), "plan.json", m, names, 3, &back, &err))
        fail_msg("%s", err.message);
    assert_memory_equal(back.layer, p.layer, 2 * sizeof *p.layer);
    qm_placement_free(&back);
    static const char *const bad[] = {"64, \"other\": 191",     "65, \"other\": 191",
                                      "0, \"other\": 256",      "256, \"other\": 0",
                                      "-64, \"other\": 320",    "64",
                                      "64, \"other\": \"192\"", "320, \"other\": -64",
                                      "64.0, \"other\": 192",   "64, \"other\": 1, \"card\": 191"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuse_plan(m, text, "64, \"other\": 192", bad[i], "layer 1: \"ffn\": expected the columns of \"cpu\"");
    refuse_plan(m, text, "\"other\": 192", "\"moon\": 192", "name of a device");
    free(text);
    qm_placement_free(&p);
    qm_model_close(m);
}

static void test_plan(void **state) {
    (void)state;
    struct qm_model *m = plan_model(3, 128, 8);
    struct qm_placement p, back;
    struct qm_error err;
    char *text;
    assert_int_equal(qm_placement_open(m, 3, &p, &err), QM_OK);
    p.head = 1;
    p.stream_rows = 64;
    p.layer[0].attention = 2;
    p.layer[1].stream_attention = p.layer[1].stream_ffn = 1;
    for (int e = 0; e < 8; e++)
        p.expert[e] = (uint8_t)(e < 4 || e == 6 ? 1 : e == 7 ? 2 : 0);
    assert_int_equal(qm_plan_write(&p, m, names, &text, &err), QM_OK);
    assert_non_null(strstr(text, "\"experts\": {\"card\": \"0-3,6\", \"other\": \"7\"}"));
    if (qm_plan_parse(text, strlen(text), "plan.json", m, names, 3, &back, &err))
        fail_msg("%s", err.message);
    assert_memory_equal(back.layer, p.layer, 3 * sizeof *p.layer);
    assert_memory_equal(back.expert, p.expert, 24);
    assert_int_equal(back.head, 1);
    assert_int_equal(back.stream_rows, 64);
    qm_placement_free(&back);
    refuse_plan(m, text, "\"head\": \"card\"", "\"head\": \"moon\"", "name of a device");
    refuse_plan(m, text, "\"layers\": 3", "\"layers\": 4", "another model");
    refuse_plan(m, text, "qwen3_moe", "mixtral", "another model");
    refuse_plan(m, text, "0-3,6", "0-3,3", "placed twice");
    refuse_plan(m, text, "0-3,6", "0-3,8", "from 0 to 7");
    refuse_plan(m, text, "0-3,6", "3-0", "from 0 to 7");
    refuse_plan(m, text, "0-3,6", "0-99999999999999999999", "from 0 to 7");
    refuse_plan(m, text, "\"attention\": \"other\"", "\"ffn\": \"cpu\", \"attention\": \"other\"", "nothing else");
    refuse_plan(m, text, "\"stream_rows\": 64", "\"stream_rows\": -1", "stream_rows");
    refuse_plan(m, text, "\"version\": 1", "\"version\": 2", "version");
    refuse_plan(m, text, "\"head\"", "\"more\": 1, \"head\"", "expected version");
    free(text);
    qm_placement_free(&p);
    qm_model_close(m);
}

static void refuse_machine(const char *text, const char *from, const char *to, const char *says) {
    struct qm_machine_model *s = malloc(sizeof *s);
    struct qm_error err;
    char *bad = edited(text, from, to);
    assert_int_equal(qm_machine_model_parse(bad, strlen(bad), "machine.json", s, &err), QM_INPUT);
    if (!strstr(err.message, says))
        fail_msg("%s: expected %s", err.message, says);
    free(bad);
    free(s);
}

static void test_machine(void **state) {
    (void)state;
    size_t n;
    char *text = test_read_file("tests/fuzz/corpus/speed/small", &n);
    struct qm_machine_model *s = malloc(sizeof *s);
    struct qm_error err;
    if (qm_machine_model_parse(text, n, "machine.json", s, &err))
        fail_msg("%s", err.message);
    assert_int_equal(s->nodes, 1);
    assert_int_equal(s->cores, 4);
    assert_int_equal(s->read_mark, QM_MARK_ESTIMATED);
    assert_int_equal(s->marks[QM_MARK_PUBLISHED], 1);
    assert_true(fabs(qm_machine_model_read(s, 2) / 3.333e10 - 1) < 1e-3); /* between 20 and 60 GB/s at 1 and 4 */
    assert_true(qm_machine_model_read(s, 0) == 6e10);
    assert_int_equal(s->devices, 1);
    assert_true(s->device[0].up == 55e9);
    free(s);
    refuse_machine(text, "\"read\": 1.8e12", "\"read\": 0", "\"read\": expected a number");
    refuse_machine(text, "\"read\": 1.8e12", "\"read\": 1e999", "");
    refuse_machine(text, "\"bf16\": 1e12", "\"bf16\": -1", "\"bf16\": expected a number");
    refuse_machine(text, "\"bf16\": 1e12", "\"bf16\": \"NaN\"", "\"bf16\": expected a number");
    refuse_machine(text, "\"is\": \"estimated\"", "\"is\": \"guessed\"", "\"estimated\"");
    refuse_machine(text, "[4, {", "[1, {", "ascending");
    refuse_machine(text, "\"cores\": 4", "\"cores\": 0", "\"cores\"");
    refuse_machine(text, "\"watts\": 90,", "\"watts\": 90, \"colour\": 1,", "not known");
    refuse_machine(text, "[[1, 0.9], [512, 0.9]]", "[[2, 0.9], [1, 0.9]]", "ascending rows");
    refuse_machine(text, "[[1, 0.9], [512, 0.9]]", "[[1, 0], [512, 0.9]]", "efficiencies from");
    refuse_machine(text, "\"name\": \"card\"", "\"name\": \"\"", "\"name\"");
    refuse_machine(text, "\"nodes\": [", "\"nodes\": [], \"knots\": [", "a list of 1 to");
    free(text);
}

static void test_device(void **state) {
    (void)state;
    struct qm_device_model d;
    struct qm_error err;
    assert_int_equal(qm_device_model_parse("--device", "emulated:90GiB,bandwidth=1792,bf16=500T,pcie=55", &d, &err),
                     QM_OK);
    assert_true(d.emulated && d.memory == (uint64_t)90 << 30 && d.read == 1792e9 && d.bf16 == 500e12 && d.down == 55e9);
    assert_int_equal(qm_device_model_parse("--device", "card:8GB", &d, &err), QM_OK);
    assert_true(!d.emulated && d.memory == 8000000000u && d.read > 0);
    const char *const bad[] = {"",           ":1G", "x:0", "x:1G,bandwidth=nan", "x:1G,bf16=-1", "x:1G,speed=1",
                               "x:1G,pcie=", "x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(qm_device_model_parse("--device", bad[i], &d, &err), QM_USAGE);
    uint64_t bytes;
    assert_int_equal(qm_size_parse("--ram", "1.5TB", &bytes, &err), QM_OK);
    assert_int_equal(bytes, 1500000000000);
    const char *const sizes[] = {"", "G", "-1G", "1X", "1e30", "nan", "inf", "0x10G"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_int_equal(qm_size_parse("--ram", sizes[i], &bytes, &err), QM_USAGE);
}

static void test_routing(void **state) {
    (void)state;
    struct qm_model *m = plan_model(2, 128, 8);
    struct qm_routing_profile p, back;
    struct qm_routing_skew skew;
    struct qm_error err;
    const int32_t first[] = {0, 1, 2, 3, 0, 1, 2, 7}, second[] = {4, 5, 6, 7};
    char *text;
    assert_int_equal(qm_routing_profile_open(&m->config, &p, &err), QM_OK);
    assert_true(qm_routing_share(&p, &m->config, 0, 0) == 0.5);
    qm_routing_count_tokens(&p, 2, 1, false); /* two tokens, then one more, then one of another sequence */
    qm_routing_count_tokens(&p, 1, 1, true);
    qm_routing_count_tokens(&p, 1, 1, false);
    for (int l = 0; l < 2; l++) {
        qm_routing_count(&p, l, first, 2, false);
        qm_routing_count(&p, l, second, 1, true);
        qm_routing_count(&p, l, first, 1, false);
    }
    assert_int_equal(p.tokens, 4);
    assert_int_equal(p.pairs, 2);
    assert_int_equal(p.again[0], 3 + 1);
    assert_int_equal(p.count[0], 3);
    assert_int_equal(p.count[7], 2);
    assert_true(qm_routing_share(&p, &m->config, 1, 0) == 0.75);
    qm_routing_measure(&p, &skew);
    assert_true(fabs(skew.static_share - 3.0 / 16) < 1e-9); /* the busiest of 8 has 3 of 16 */
    assert_true(fabs(skew.local_share - 4.0 / 8) < 1e-9);
    assert_int_equal(qm_routing_profile_write(&p, &m->config, &text, &err), QM_OK);
    if (qm_routing_profile_parse(text, strlen(text), "routing.json", &back, &err))
        fail_msg("%s", err.message);
    assert_memory_equal(back.count, p.count, 16 * sizeof *p.count);
    assert_int_equal(qm_routing_profile_check(&back, &m->config, "routing.json", &err), QM_OK);
    qm_routing_profile_free(&back);
    static const char *const bad[][3] = {{"\"tokens\": 4", "\"tokens\": 5", "add up to"},
                                         {"\"pairs\": 2", "\"pairs\": 9", "pairs"},
                                         {"[3, ", "[-3, ", "integers from 0"},
                                         {"[3, ", "[99, ", "integers from 0"},
                                         {"\"experts\": 8", "\"experts\": 9", "a list of 9"},
                                         {"\"version\": 1", "\"version\": 7", "version"},
                                         {"\"pairs\"", "\"more\": 1, \"pairs\"", "expected version"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *t = edited(text, bad[i][0], bad[i][1]);
        assert_int_equal(qm_routing_profile_parse(t, strlen(t), "routing.json", &back, &err), QM_INPUT);
        if (!strstr(err.message, bad[i][2]))
            fail_msg("%s: expected %s", err.message, bad[i][2]);
        free(t);
    }
    free(text);
    qm_routing_profile_free(&p);
    qm_model_close(m);
}

/* The cards that come with quietmind have the memory that nvidia-smi shows, less a reserve, and say what is published.
 */
static void test_cards(void **state) {
    (void)state;
    static const struct {
        const char *path;
        uint64_t mib;
    } cards[] = {{"bench/machines/rtx-pro-6000.json", 97887},
                 {"bench/machines/rtx-5090.json", 32607},
                 {"bench/machines/h200.json", 143771}};
    struct qm_machine_model *s = calloc(1, sizeof *s);
    struct qm_error err = {0};
    assert_non_null(s);
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++) {
        struct qm_buf text = {0};
        s->devices = s->n_sources = 0;
        assert_int_equal(qm_read_file(cards[i].path, 1 << 20, &text, &err), QM_OK);
        if (qm_machine_model_add_device(text.data, text.len, cards[i].path, s, &err))
            fail_msg("%s", err.message);
        const struct qm_device_model *d = &s->device[0];
        assert_int_equal(d->memory + d->reserve, cards[i].mib << 20);
        assert_in_range(d->reserve, UINT64_C(512) << 20, UINT64_C(4) << 30);
        assert_int_equal(d->memory_mark, QM_MARK_PUBLISHED);
        assert_int_equal(d->read_mark, QM_MARK_PUBLISHED);
        assert_int_equal(d->bf16_mark, QM_MARK_ESTIMATED);
        /* one that names no reserve has the default one; 0 is none */
        char *at = strstr(text.data, "\"reserve\": {\"value\": "), *end = at ? strstr(at, "}, ") : NULL;
        assert_non_null(end);
        memset(at, ' ', (size_t)(end + 2 - at));
        s->devices = s->n_sources = 0;
        assert_int_equal(qm_machine_model_add_device(text.data, text.len, cards[i].path, s, &err), QM_OK);
        assert_int_equal(s->device[0].reserve, QM_CARD_RESERVE);
        memcpy(at, "\"reserve\": 0,", 13);
        s->devices = s->n_sources = 0;
        assert_int_equal(qm_machine_model_add_device(text.data, text.len, cards[i].path, s, &err), QM_OK);
        assert_int_equal(s->device[0].memory, cards[i].mib << 20);
        qm_buf_free(&text);
    }
    struct qm_device_model d;
    assert_int_equal(qm_device_model_parse("--device", "card:8GiB,bf16=100T", &d, &err), QM_OK);
    assert_int_equal(d.memory, UINT64_C(8) << 30); /* what is given may be used */
    assert_int_equal(d.memory_mark, QM_MARK_GIVEN);
    assert_int_equal(d.read_mark, QM_MARK_ESTIMATED);
    assert_int_equal(d.bf16_mark, QM_MARK_GIVEN);
    free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan),   cmocka_unit_test(test_split_ffn), cmocka_unit_test(test_machine),
        cmocka_unit_test(test_device), cmocka_unit_test(test_routing),   cmocka_unit_test(test_cards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
