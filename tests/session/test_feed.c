/* Feeding tokens: whatever the pieces, logits are those of run_logits(); what ends it, and what the sequence holds
 * then. (A device's failure: test_devices.c.) */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sequence.h"
#include "session/feed.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { N = 21, CHUNK = 8 };

struct watch {
    struct run_model m;
    struct qm_sequence *sequence;
    int32_t ids[N];
    int64_t vocab;
    float *piece, *found; /* [N][vocab] each */
    int64_t n_logits, pieces, done;
    int64_t end_at; /* pieces */
    volatile sig_atomic_t flag;
};

static int setup(void **state) {
    struct qm_error err;
    struct watch *w = calloc(1, sizeof *w);
    run_model_open(
        &w->m, "tests/data/reference/llama", NULL,
        (struct qm_engine_options){
            .threads = 1, .isa = run_model_isa(), .context = 64, .sequences = 2, .chunk = CHUNK, .kv_type = -1});
    for (int i = 0; i < N; i++)
        w->ids[i] = (i * 37 + 11) % 200;
    w->vocab = w->m.model->config.vocab;
    w->piece = calloc(N * (size_t)w->vocab, sizeof *w->piece);
    w->found = calloc(N * (size_t)w->vocab, sizeof *w->found);
    assert_int_equal(qm_sequence_open(w->m.engine, &w->sequence, &err), QM_OK);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct watch *w = *state;
    qm_sequence_close(w->sequence);
    run_model_close(&w->m);
    free(w->piece);
    free(w->found);
    free(w);
    return 0;
}

static int on_piece(void *arg, const struct qm_fed *f, struct qm_error *err) {
    struct watch *w = arg;
    assert_int_equal(f->done, w->done + f->n);
    assert_true(f->n_logits <= f->n && f->seconds >= 0);
    assert_int_equal(qm_sequence_length(w->sequence), f->done);
    memcpy(w->found + w->n_logits * w->vocab, w->piece, (size_t)(f->n_logits * w->vocab) * sizeof *w->piece);
    w->n_logits += f->n_logits;
    w->done = f->done;
    return ++w->pieces == w->end_at ? qm_fail(err, QM_INPUT, "enough") : QM_OK;
}

static struct qm_feed feed(struct watch *w, int64_t piece, int64_t n_logits) {
    qm_sequence_truncate(w->sequence, 0);
    w->n_logits = w->pieces = w->done = w->end_at = 0;
    return (struct qm_feed){
        .engine = w->m.engine,
        .step = {.sequence = w->sequence, .tokens = w->ids, .n = N, .n_logits = n_logits, .logits = w->piece},
        .piece = piece,
        .on_piece = on_piece,
        .arg = w,
        .interrupt = &w->flag};
}

static void test_pieces(void **state) {
    struct watch *w = *state;
    struct qm_error err;
    for (int64_t piece = 0; piece <= CHUNK; piece++)
        for (int64_t n_logits = 0; n_logits <= N; n_logits += n_logits < 3 ? 1 : 9) {
            struct qm_feed f = feed(w, piece, n_logits);
            assert_int_equal(qm_feed(&f, &err), QM_OK);
            int64_t each = piece ? piece : CHUNK;
            assert_int_equal(w->pieces, (N + each - 1) / each);
            assert_int_equal(w->done, N);
            assert_int_equal(w->n_logits, n_logits);
            float *want = run_logits(w->m.engine, w->ids, N, 5, n_logits);
            assert_memory_equal(w->found, want, (size_t)(n_logits * w->vocab) * sizeof *want);
            free(want);
        }
}

static void test_hidden_of_the_last(void **state) {
    struct watch *w = *state;
    struct qm_error err;
    int64_t hidden = w->m.model->config.hidden;
    float *whole = calloc((size_t)hidden, sizeof *whole), *pieces = calloc((size_t)hidden, sizeof *pieces);
    struct qm_feed f = feed(w, 0, 0);
    f.step.hidden = whole;
    assert_int_equal(qm_feed(&f, &err), QM_OK);
    f = feed(w, 3, 0);
    f.step.hidden = pieces;
    f.on_piece = NULL;
    assert_int_equal(qm_feed(&f, &err), QM_OK);
    assert_memory_equal(whole, pieces, (size_t)hidden * sizeof *whole);
    free(whole);
    free(pieces);
}

static void test_ends(void **state) {
    struct watch *w = *state;
    struct qm_error err;
    struct qm_feed f = feed(w, 0, 1);
    w->end_at = 2;
    assert_int_equal(qm_feed(&f, &err), QM_INPUT);
    assert_string_equal(err.message, "enough");
    assert_int_equal(qm_sequence_length(w->sequence), 2 * CHUNK);
    f = feed(w, 0, 1);
    w->flag = 1;
    assert_int_equal(qm_feed(&f, &err), QM_INTERRUPTED);
    w->flag = 0;
    assert_int_equal(qm_sequence_length(w->sequence), 0);
    f = feed(w, 0, 0);
    f.step.n = 0;
    assert_int_equal(qm_feed(&f, &err), QM_OK);
    assert_int_equal(w->pieces, 0);
    f = feed(w, 0, 1);
    w->ids[10] = (int32_t)w->vocab; /* refused by the engine; what came before stays */
    assert_int_equal(qm_feed(&f, &err), QM_INPUT);
    assert_int_equal(qm_sequence_length(w->sequence), CHUNK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hidden_of_the_last, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
