/* Bit-identity: the logits of a token are the same to the last bit however its prompt is cut into steps, whatever
 * runs beside it, and by however many threads on however many NUMA nodes; for every architecture and instruction
 * set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/report.h"
#include "engine/sequence.h"
#include "numa/team.h"
#include "tests/support/reference.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

struct which {
    const char *name;
    enum qm_isa isa;
};

struct prompt {
    const int32_t *ids;
    int64_t n, n_logits, context;
};

static struct qm_engine_options options(const struct which *w, const struct prompt *p, int threads, int64_t chunk) {
    return (struct qm_engine_options){
        .threads = threads, .isa = w->isa, .context = p->context, .sequences = 3, .chunk = chunk, .kv_type = -1};
}

static void same(const struct which *w, const char *how, const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s on %s, %s: logit %lld is %a, not %a", w->name, qm_isa_name(w->isa), how, (long long)i,
                     (double)a[i], (double)b[i]);
}

/* The prompt in pieces of 5 while another sequence takes pieces of 3 and a third one starts late, in shared steps. */
static float *run_beside(struct qm_engine *e, const struct prompt *p) {
    struct qm_error err = {0};
    struct qm_sequence *s[3];
    int64_t vocab = qm_engine_model(e)->config.vocab, at[3] = {0}, piece[3] = {3, 5, 1};
    float *logits = malloc((size_t)(p->n_logits * vocab) * sizeof *logits),
          *others = malloc((size_t)vocab * sizeof *others);
    int32_t *reversed = malloc((size_t)p->n * sizeof *reversed);
    for (int64_t i = 0; i < p->n; i++)
        reversed[i] = p->ids[p->n - 1 - i];
    for (int i = 0; i < 3; i++)
        assert_int_equal(qm_sequence_open(e, &s[i], &err), 0);
    for (int round = 0; at[1] < p->n; round++) {
        struct qm_step_rows steps[3];
        int n = 0;
        for (int i = 0; i < 3; i++) {
            int64_t m = p->n - at[i] < piece[i] ? p->n - at[i] : piece[i];
            if (m == 0 || (i == 2 && round < 4))
                continue;
            steps[n] = (struct qm_step_rows){.sequence = s[i], .tokens = (i == 1 ? p->ids : reversed) + at[i], .n = m};
            int64_t first = at[i] + m - (p->n - p->n_logits);
            steps[n].n_logits = i != 1 ? 1 : first < 0 ? 0 : first < m ? first : m;
            steps[n].logits = i != 1 ? others : logits + (at[i] + m - steps[n].n_logits - (p->n - p->n_logits)) * vocab;
            at[i] += m;
            n++;
        }
        assert_int_equal(qm_engine_step(e, steps, n, &err), 0);
    }
    for (int i = 0; i < 3; i++)
        qm_sequence_close(s[i]);
    free(others);
    free(reversed);
    return logits;
}

static void check_pieces(const struct which *w, struct qm_engine *e, const struct prompt *p, const float *whole,
                         const char *who) {
    static const int64_t pieces[] = {1, 512, 7, 64};
    int64_t size = p->n_logits * qm_engine_model(e)->config.vocab;
    for (size_t i = 0; i < (test_slow() ? 4 : 2); i++) { /* all four without sanitizers */
        if (pieces[i] > qm_engine_chunk(e))
            continue;
        char how[96];
        snprintf(how, sizeof how, "%s, pieces of %lld", who, (long long)pieces[i]);
        float *logits = run_logits(e, p->ids, p->n, pieces[i], p->n_logits);
        same(w, how, logits, whole, size);
        free(logits);
    }
}

/* Nodes that are made up of the cores that there are, with two threads on the first and one on each other: their
 * memory is of the system's node 0 where it distinguishes nodes. */
enum { MADE_UP = 3 };
static int made_up_cpu[MADE_UP + 1], made_up_node[] = {0, 0, 1, 2}, made_up_number[MADE_UP];

static void check_nodes(const struct which *w, const char *dir, const struct prompt *p, const float *whole, int nodes) {
    struct qm_topology t = {.packages = 1,
                            .nodes = nodes,
                            .cores = nodes + 1,
                            .cpus = nodes + 1,
                            .core_cpu = made_up_cpu,
                            .core_node = made_up_node,
                            .node_number = made_up_number};
    struct qm_engine_options o = options(w, p, 0, 64);
    struct run_model m;
    char how[48];
    o.topology = &t;
    run_model_open(&m, dir, NULL, o);
    assert_int_equal(qm_team_nodes(qm_engine_team(m.engine)), nodes);
    for (int64_t piece = p->n < 200 ? 1 : 64; piece <= 64; piece *= 64) {
        snprintf(how, sizeof how, "%d nodes, pieces of %lld", nodes, (long long)piece);
        float *logits = run_logits(m.engine, p->ids, p->n, piece, p->n_logits);
        same(w, how, logits, whole, p->n_logits * m.model->config.vocab);
        free(logits);
    }
    float *beside = run_beside(m.engine, p);
    same(w, "on nodes, beside others", beside, whole, p->n_logits * m.model->config.vocab);
    free(beside);
    run_model_close(&m);
}

static void check_prompt(const struct which *w, const char *dir, const struct prompt *p) {
    struct run_model m;
    run_model_open(&m, dir, NULL, options(w, p, 1, 512));
    float *whole = run_logits(m.engine, p->ids, p->n, 512, p->n_logits);
    check_pieces(w, m.engine, p, whole, "1 thread");
    run_model_close(&m);
    for (int threads = 2; threads <= 4; threads += 2) {
        run_model_open(&m, dir, NULL, options(w, p, threads, threads == 2 ? 512 : 64));
        char who[32];
        snprintf(who, sizeof who, "%d threads", threads);
        check_pieces(w, m.engine, p, whole, who);
        float *beside = run_beside(m.engine, p);
        same(w, "beside others", beside, whole, p->n_logits * m.model->config.vocab);
        free(beside);
        run_model_close(&m);
    }
    for (int nodes = 2; nodes <= MADE_UP && w->isa == run_model_isa(); nodes++)
        check_nodes(w, dir, p, whole, nodes);
    free(whole);
}

static void check_model(void **state) {
    const struct which *w = *state;
    if (qm_isa_check(w->isa, NULL)) {
        print_message("skipped: this CPU has no %s\n", qm_isa_name(w->isa));
        skip();
    }
    if (!test_slow() && w->isa != run_model_isa())
        skip(); /* one is enough for sanitizers: kernels have tests of their own */
    struct reference r;
    reference_open(&r, w->name);
    int64_t n[4];
    struct prompt p = {.ids = reference_tensor(&r, "ids", n)};
    p.n = p.n_logits = n[0];
    check_prompt(w, r.dir, &p);
    const int32_t *long_ids = reference_tensor(&r, "long_ids", n);
    if (long_ids && w->isa == qm_isa_best() && test_slow()) {
        p = (struct prompt){long_ids, n[0] < 1300 ? n[0] : 1300, 4, (int64_t)reference_number(&r, "long_context", 0)};
        check_prompt(w, r.dir, &p);
    }
    reference_close(&r);
}

/* Truncating and going on gives what never having been there gives. */
static void check_truncate(void **state) {
    (void)state;
    static const char *const names[] = {"qwen3", "mistral", "gpt_oss"};
    for (size_t i = 0; i < 3; i++) {
        struct reference r;
        reference_open(&r, names[i]);
        int64_t n[4];
        const int32_t *ids = reference_tensor(&r, i == 2 ? "ids" : "long_ids", n);
        struct prompt p = {ids, n[0], 1, 0};
        struct which w = {names[i], run_model_isa()};
        struct run_model m;
        run_model_open(&m, r.dir, NULL, options(&w, &p, 2, 64));
        struct qm_error err = {0};
        struct qm_sequence *s;
        float *whole = run_logits(m.engine, ids, 100, 64, 1), *logits = malloc((size_t)m.model->config.vocab * 4);
        assert_int_equal(qm_sequence_open(m.engine, &s, &err), 0);
        for (int64_t at = 0; at < 150; at += 50) {
            struct qm_step_rows step = {.sequence = s, .tokens = ids + at, .n = 50};
            assert_int_equal(qm_engine_step(m.engine, &step, 1, &err), 0);
        }
        int64_t left = qm_sequence_truncate(s, 70);
        assert_true(left == 70 || left == 0);
        assert_int_equal(qm_sequence_length(s), left);
        for (int64_t at = left; at < 100;) {
            int64_t piece = 100 - at < 30 ? 100 - at : 30;
            struct qm_step_rows step = {
                .sequence = s, .tokens = ids + at, .n = piece, .n_logits = at + piece == 100, .logits = logits};
            assert_int_equal(qm_engine_step(m.engine, &step, 1, &err), 0);
            at += piece;
        }
        same(&w, "after truncation", logits, whole, m.model->config.vocab);
        free(whole);
        free(logits);
        qm_sequence_close(s);
        run_model_close(&m);
        reference_close(&r);
    }
}

static int find_core(void **state) {
    (void)state;
    struct qm_topology here;
    if (qm_topology_load(NULL, &here, NULL))
        return -1;
    for (int i = 0; i <= MADE_UP; i++)
        made_up_cpu[i] = here.core_cpu[i % here.cores];
    qm_topology_free(&here);
    return 0;
}

/* While the fewest threads are searched for, with steps on different numbers of them, and after. */
static void check_quiet(void **state) {
    (void)state;
    static const char *const names[] = {"qwen3", "gpt_oss", "mixtral"};
    for (size_t i = 0; i < 3; i++) {
        struct reference r;
        reference_open(&r, names[i]);
        int64_t n[4];
        const int32_t *ids = reference_tensor(&r, "long_ids", n);
        if (!ids)
            ids = reference_tensor(&r, "ids", n);
        struct prompt p = {ids, n[0] < 200 ? n[0] : 200, 1, 0};
        p.n_logits = p.n;
        struct which w = {names[i], run_model_isa()};
        struct run_model m;
        struct qm_error err = {0};
        struct qm_quiet_state quiet;
        run_model_open(&m, r.dir, NULL, options(&w, &p, 4, 64));
        assert_false(qm_engine_quiet(m.engine, &quiet));
        float *whole = run_logits(m.engine, ids, p.n, 64, p.n);
        for (int prefill = 0; prefill < 2; prefill++) {
            assert_int_equal(qm_engine_set_quiet(m.engine, 0.5, prefill, 3, &err), 0);
            check_pieces(&w, m.engine, &p, whole, prefill ? "quiet, prompts too" : "quiet");
            assert_true(qm_engine_quiet(m.engine, &quiet));
            assert_true(quiet.steps > 0);
        }
        assert_int_equal(qm_engine_set_quiet(m.engine, 2, false, 0, &err), QM_USAGE);
        assert_int_equal(qm_engine_set_quiet(m.engine, 0, false, 0, &err), 0);
        assert_int_equal(qm_team_used(qm_engine_team(m.engine)), 4);
        free(whole);
        run_model_close(&m);
        reference_close(&r);
    }
}

int main(void) {
    enum { MOST = 128 };
    static struct CMUnitTest tests[MOST];
    static struct which which[MOST];
    static char names[MOST][64];
    size_t n = 0;
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(check_truncate);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(check_quiet);
    for (int i = 0; reference_names[i]; i++)
        for (int isa = 0; isa < QM_ISA_COUNT && n < MOST; isa++, n++) {
            which[n] = (struct which){reference_names[i], (enum qm_isa)isa};
            snprintf(names[n], sizeof names[n], "%s on %s", reference_names[i], qm_isa_name((enum qm_isa)isa));
            tests[n] = (struct CMUnitTest){names[n], check_model, NULL, NULL, &which[n]};
        }
    return _cmocka_run_group_tests("bit-identity", tests, n, find_core, NULL);
}
