/* Drafts by lookup against a search through the whole text, and in texts that share a prefix, repeat themselves, or
 * are more than it keeps. */
#include "session/draft/lookup.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/support.h"

static uint64_t state;
static int32_t below(int32_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int32_t)((state >> 33) % (uint64_t)n);
}

struct fixture {
    struct qm_lookup *lookup;
    struct qm_drafter d;
};

static struct fixture open(uint64_t bytes) {
    struct fixture f;
    struct qm_error err;
    assert_int_equal(qm_lookup_new(bytes, &f.lookup, &err), QM_OK);
    f.d = qm_lookup_drafter(f.lookup);
    return f;
}

static int draft(struct fixture *f, void *text, int most, struct qm_draft *out) {
    const struct qm_draft_limit limit = {.most = most};
    return f->d.propose(f->d.self, text, &limit, out);
}

static void *open_text(struct fixture *f) {
    void *text;
    struct qm_error err;
    assert_int_equal(f->d.open(f->d.self, &text, &err), QM_OK);
    return text;
}

/* The longest end of text[0..n) that stands earlier in it with a token behind it, at most 32 tokens of it; *next:
 * whether that token follows one of the longest. */
static int longest(const int32_t *text, int64_t n, int32_t id, int at_least, bool *follows, int *places) {
    int best = 0;
    *follows = false;
    *places = 0;
    for (int64_t end = n - 1; end > 0; end--) {
        int m = 0;
        while (m < 32 && m < end && text[end - 1 - m] == text[n - 1 - m])
            m++;
        *places += m >= 4;
        if (m > best) {
            best = m;
            *follows = *follows && at_least;
        }
        if ((m == best || (at_least && m >= at_least)) && text[end] == id)
            *follows = true;
    }
    return best;
}

static void as_a_search(void **unused) {
    (void)unused;
    enum { N = 3000 };
    static int32_t text[N];
    for (int32_t alphabet = 8; alphabet <= 4096; alphabet *= 8) {
        struct fixture f = open(1 << 20);
        void *t = open_text(&f);
        int drafted = 0, compared = 0, missed = 0;
        state = (uint64_t)alphabet;
        for (int64_t i = 0; i < N; i++) { /* new tokens, and quotations of what was before */
            int64_t from = i > 100 && below(20) == 0 ? below((int32_t)i - 60) : -1, n = from < 0 ? 1 : 5 + below(40);
            for (int64_t j = 0; j < n && i + j < N; j++)
                text[i + j] = from < 0 ? below(alphabet) : text[from + j];
            i += n - 1;
        }
        for (int64_t i = 0; i < N; i++) {
            f.d.append(f.d.self, t, &text[i], 1);
            struct qm_draft out[QM_DRAFT_MAX];
            int n = draft(&f, t, QM_DRAFT_MAX, out);
            bool follows;
            int places;
            int most = longest(text, i + 1, n ? out[0].id : -1, 0, &follows, &places);
            if (most < 2)
                assert_int_equal(n, 0);
            else if (most >= 4)
                assert_true(n > 0);
            else
                missed += !n;             /* another pair of tokens has its place */
            if (most >= 4 && places <= 8) /* of more not all are compared */
                assert_true(follows);
            if (n && !follows) {
                longest(text, i + 1, out[0].id, 2, &follows, &places);
                assert_true(follows);
            }
            drafted += n > 0;
            compared += most >= 4 && places <= 8;
        }
        assert_true(drafted > 100);
        assert_true(missed < N / 20);
        assert_true(alphabet == 8 || compared > 100);
        f.d.close(f.d.self, t);
        qm_lookup_free(f.lookup);
    }
}

/* However the text is cut into pieces. */
static void pieces(void **unused) {
    (void)unused;
    enum { N = 1000 };
    int32_t text[N];
    struct qm_draft one[QM_DRAFT_MAX], other[QM_DRAFT_MAX];
    state = 5;
    for (int i = 0; i < N; i++)
        text[i] = i < 500 ? below(1000) : text[i - 500 + below(2) * (i % 7 == 0)];
    struct fixture f = open(1 << 20), g = open(1 << 20);
    void *t = open_text(&f), *u = open_text(&g);
    f.d.append(f.d.self, t, text, N);
    for (int i = 0; i < N;) {
        int n = 1 + below(150) < N - i ? 1 + below(150) : N - i;
        n = n < N - i ? n : N - i;
        g.d.append(g.d.self, u, text + i, n);
        i += n;
    }
    int n = draft(&f, t, QM_DRAFT_MAX, one), m = draft(&g, u, QM_DRAFT_MAX, other);
    assert_int_equal(n, m);
    for (int i = 0; i < n; i++)
        assert_int_equal(one[i].id, other[i].id);
    f.d.close(f.d.self, t);
    g.d.close(g.d.self, u);
    qm_lookup_free(f.lookup);
    qm_lookup_free(g.lookup);
}

/* What repeats itself up to the end goes on repeating. */
static void repeats(void **unused) {
    (void)unused;
    static const int32_t period[] = {7, 8, 9, 10, 11};
    struct fixture f = open(0);
    void *t = open_text(&f);
    struct qm_draft out[QM_DRAFT_MAX];
    for (int i = 0; i < 3; i++)
        f.d.append(f.d.self, t, period, 5);
    assert_int_equal(draft(&f, t, QM_DRAFT_MAX, out), QM_DRAFT_MAX);
    for (int i = 0; i < QM_DRAFT_MAX; i++)
        assert_int_equal(out[i].id, period[i % 5]);
    for (int i = 1; i < QM_DRAFT_MAX; i++) /* a longer match is more confident */
        assert_true(out[i].confidence >= out[i - 1].confidence);
    assert_int_equal(draft(&f, t, 3, out), 3);
    assert_int_equal(draft(&f, t, 0, out), 0);
    f.d.close(f.d.self, t);
    qm_lookup_free(f.lookup);
}

static void nothing_yet(void **unused) {
    (void)unused;
    struct fixture f = open(0);
    void *t = open_text(&f);
    struct qm_draft out[QM_DRAFT_MAX];
    assert_int_equal(draft(&f, t, QM_DRAFT_MAX, out), 0);
    static const int32_t ids[] = {1, 2, 3, 4, 5, 6};
    for (int i = 0; i < 6; i++) {
        f.d.append(f.d.self, t, &ids[i], 1);
        assert_int_equal(draft(&f, t, QM_DRAFT_MAX, out), 0);
    }
    f.d.close(f.d.self, t);
    qm_lookup_free(f.lookup);
}

/* Many questions about one document: it is kept once, each finds it, and the answers of the others. */
static void shared_prefix(void **unused) {
    (void)unused;
    enum { DOCUMENT = 6400, ROWS = 20 }; /* the document so often would be more than there is room for */
    static int32_t document[DOCUMENT];
    struct fixture f = open(16u * 40000);
    struct qm_draft out[QM_DRAFT_MAX];
    state = 11;
    for (int i = 0; i < DOCUMENT; i++)
        document[i] = below(30000);
    for (int row = 0; row < ROWS; row++) {
        void *t = open_text(&f);
        f.d.append(f.d.self, t, document, DOCUMENT);
        int32_t question[20];
        for (int i = 0; i < 20; i++)
            question[i] = 30000 + below(1000);
        f.d.append(f.d.self, t, question, 20);
        int from = below(DOCUMENT - 40); /* then it quotes */
        f.d.append(f.d.self, t, document + from, 4);
        assert_int_equal(draft(&f, t, 10, out), 10);
        for (int i = 0; i < 10; i++)
            assert_int_equal(out[i].id, document[from + 4 + i]);
        if (row) { /* what the first said */
            static const int32_t said[] = {40001, 40002, 40003};
            f.d.append(f.d.self, t, said, 3);
            assert_true(draft(&f, t, 2, out) == 2);
            assert_int_equal(out[0].id, 40004);
            assert_int_equal(out[1].id, 40005);
        } else {
            static const int32_t said[] = {40001, 40002, 40003, 40004, 40005};
            f.d.append(f.d.self, t, said, 5);
        }
        f.d.close(f.d.self, t);
    }
    qm_lookup_free(f.lookup);
}

/* Far more than it keeps, by texts that are open at once, some longer than all of it. */
static void written_over(void **unused) {
    (void)unused;
    enum { TEXTS = 8, N = 40000 };
    struct fixture f = open(0);
    void *texts[TEXTS];
    struct qm_draft out[QM_DRAFT_MAX];
    int32_t piece[300];
    state = 13;
    for (int i = 0; i < TEXTS; i++)
        texts[i] = open_text(&f);
    for (int64_t done = 0; done < N;) {
        void *t = texts[below(TEXTS)];
        int n = 1 + below(300);
        for (int i = 0; i < n; i++)
            piece[i] = below(3) ? below(6) : i;
        f.d.append(f.d.self, t, piece, n);
        done += n;
        int drafted = draft(&f, texts[below(TEXTS)], QM_DRAFT_MAX, out);
        assert_in_range(drafted, 0, QM_DRAFT_MAX);
        for (int i = 0; i < drafted; i++) {
            assert_in_range(out[i].id, 0, 299);
            assert_in_range(out[i].confidence, 0, QM_DRAFT_CLASSES - 1);
        }
        if (below(20) == 0) {
            int i = below(TEXTS);
            f.d.close(f.d.self, texts[i]);
            texts[i] = open_text(&f);
        }
    }
    /* and what is new is found */
    void *t = texts[0];
    for (int i = 0; i < 12; i++)
        piece[i] = 1000 + i;
    f.d.append(f.d.self, t, piece, 12);
    f.d.append(f.d.self, t, piece, 5);
    assert_int_equal(draft(&f, t, 4, out), 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(out[i].id, 1005 + i);
    for (int i = 0; i < TEXTS; i++)
        f.d.close(f.d.self, texts[i]);
    qm_lookup_free(f.lookup);
}

static void memory(void **unused) {
    (void)unused;
    for (uint64_t tokens = 65536; tokens <= 1 << 22; tokens *= 3) {
        struct fixture f = open(tokens * QM_LOOKUP_TOKEN_BYTES);
        assert_true(qm_lookup_bytes(f.lookup) <= tokens * QM_LOOKUP_TOKEN_BYTES);
        qm_lookup_free(f.lookup);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_a_search),   cmocka_unit_test(pieces),
                                       cmocka_unit_test(repeats),       cmocka_unit_test(nothing_yet),
                                       cmocka_unit_test(shared_prefix), cmocka_unit_test(written_over),
                                       cmocka_unit_test(memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
