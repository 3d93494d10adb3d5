/* What of a job is ahead: rows with a prefix of their own and rows that follow another, read and not read. */
#include "tests/support/support.h"

#include "batch/outlook.h"

static struct qm_batch_prefix prefix(int n, uint64_t first) {
    struct qm_batch_prefix p = {.n = n};
    for (int i = 0; i < n; i++)
        p.hash[i] = first + (uint64_t)i;
    return p;
}

static void test_kinds(void **state) {
    (void)state;
    struct qm_batch_outlook o = {0};
    struct qm_batch_ahead a = {0};
    struct qm_batch_prefix one = prefix(3, 10), two = prefix(2, 50), none = prefix(0, 0), longer = prefix(4, 10);
    assert_false(qm_batch_outlook_read(&o, 4000, &one));
    assert_true(qm_batch_outlook_read(&o, 4000, &one));
    assert_false(qm_batch_outlook_read(&o, 400, &none)); /* too short to tell */
    assert_false(qm_batch_outlook_read(&o, 2000, &two));
    assert_true(qm_batch_outlook_read(&o, 4000, &one));      /* others between */
    assert_false(qm_batch_outlook_read(&o, 16000, &longer)); /* what is more of it is its own */
    /* nothing is known: 4 bytes a token, a tenth of those that follow */
    qm_batch_outlook_ahead(&o, 0, 0, &a);
    assert_float_equal(a.prompts, (4000 + 400 + 2000 + 16000 + 0.1 * 8000) / 4.0, 1e-6);
    assert_float_equal(a.answers, 6, 1e-9);
    /* 2 bytes a token; a row that follows computes a twentieth */
    qm_batch_outlook_begun(&o, false, 4000, 2);
    qm_batch_outlook_begun(&o, true, 4000, 2);
    qm_batch_outlook_done(&o, false, 4000, 2000, 0);
    qm_batch_outlook_done(&o, true, 4000, 2000, 1900);
    a = (struct qm_batch_ahead){0};
    qm_batch_outlook_ahead(&o, 0, 0, &a);
    assert_float_equal(a.prompts, (400 + 2000 + 16000 + 0.05 * 4000) / 2.0, 1e-6);
    assert_float_equal(a.answers, 4 * 2, 1e-9);
    /* not read: as what was read, by bytes or by rows */
    struct qm_batch_ahead more = {0}, rows = {0};
    double read = 4000 + 400 + 2000 + 16000 + 8000;
    qm_batch_outlook_ahead(&o, read, 0, &more);
    qm_batch_outlook_ahead(&o, 0, 6, &rows);
    assert_float_equal(more.prompts - a.prompts, (22400 + 0.05 * 8000) / 2.0, 1e-6);
    assert_float_equal(more.answers - a.answers, 6 * 2, 1e-9);
    assert_float_equal(rows.prompts, more.prompts, 1e-6);
    assert_float_equal(rows.answers, more.answers, 1e-9);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kinds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
