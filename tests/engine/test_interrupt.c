/* A step that is ended in its midst leaves everything as it was: a prompt computed with any number of them has the
 * same bits, under sliding windows too. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/sequence.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { TOKENS = 240, PIECE = 24, ENOUGH = 3, TRIES = 20000 };

static volatile sig_atomic_t flag;
static atomic_bool end;

/* Raises and lowers the flag. */
static void *toggle(void *arg) {
    (void)arg;
    while (!atomic_load(&end)) {
        usleep(200);
        flag = 1;
        usleep(20);
        flag = 0;
    }
    return NULL;
}

static void interrupted_steps(const char *dir) {
    struct run_model r;
    struct qm_error err = {0};
    struct qm_sequence *s;
    int32_t ids[TOKENS];
    run_model_open(&r, dir, NULL,
                   (struct qm_engine_options){
                       .threads = 2, .isa = run_model_isa(), .context = TOKENS, .chunk = PIECE, .kv_type = -1});
    int64_t vocab = qm_engine_model(r.engine)->config.vocab;
    for (int i = 0; i < TOKENS; i++)
        ids[i] = (int32_t)((i * 37 + 11) % vocab);
    float *whole = run_logits(r.engine, ids, TOKENS, PIECE, 1), *logits = malloc((size_t)vocab * sizeof *logits);
    assert_int_equal(qm_sequence_open(r.engine, &s, &err), 0);
    qm_engine_set_interrupt(r.engine, &flag);
    pthread_t thread;
    atomic_store(&end, false);
    assert_int_equal(pthread_create(&thread, NULL, toggle, NULL), 0);
    int stopped = 0;
    for (int try = 0; try < TRIES && stopped < ENOUGH; try++) {
        assert_int_equal(qm_sequence_truncate(s, 0), 0);
        for (int64_t at = 0; at < TOKENS;) {
            struct qm_step_rows step = {
                .sequence = s, .tokens = ids + at, .n = PIECE, .n_logits = at + PIECE == TOKENS, .logits = logits};
            int rc = qm_engine_step(r.engine, &step, 1, &err);
            assert_true(rc == QM_OK || rc == QM_INTERRUPTED);
            stopped += rc == QM_INTERRUPTED;
            at += rc ? 0 : PIECE;
            assert_int_equal(qm_sequence_length(s), at);
        }
        assert_memory_equal(logits, whole, (size_t)vocab * sizeof *logits);
    }
    assert_true(stopped >= ENOUGH);
    atomic_store(&end, true);
    pthread_join(thread, NULL);
    flag = 1; /* a step of one token is not interrupted */
    assert_int_equal(qm_sequence_truncate(s, 0), 0);
    struct qm_step_rows step = {.sequence = s, .tokens = ids, .n = 1};
    assert_int_equal(qm_engine_step(r.engine, &step, 1, &err), 0);
    step.n = 2;
    assert_int_equal(qm_engine_step(r.engine, &step, 1, &err), QM_INTERRUPTED);
    assert_int_equal(qm_sequence_length(s), 1);
    qm_engine_set_interrupt(r.engine, NULL);
    assert_int_equal(qm_engine_step(r.engine, &step, 1, &err), 0);
    flag = 0;
    qm_sequence_close(s);
    free(whole);
    free(logits);
    run_model_close(&r);
}

static void full_attention(void **state) {
    (void)state;
    interrupted_steps("tests/data/reference/qwen3");
}

static void windows(void **state) {
    (void)state;
    interrupted_steps("tests/data/reference/gpt_oss");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(full_attention), cmocka_unit_test(windows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
