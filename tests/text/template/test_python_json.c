/* JSON against Python's own module: tests/data/json/python.tsv holds texts and what Python 3.11 prints of them. Each is
 * read, written on one line, read again and printed by a template's tojson, which must print the same or be refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/support/support.h"
#include "text/template/template.h"

static int print(const struct qm_template *t, bool spaced, const char *text, size_t len, struct qm_buf *out,
                 struct qm_error *err) {
    json_t *v = NULL, *again = NULL;
    int rc = qm_json_parse(text, len, "text", &v, err);
    char *line = rc ? NULL : qm_json_text(v, spaced);
    if (!rc)
        rc = line ? qm_json_parse(line, strlen(line), "line", &again, err) : QM_SYSTEM;
    json_t *context = again ? json_pack("{s:O}", "x", again) : NULL;
    if (!rc)
        rc = qm_template_render(t, context, &(struct tm){0}, out, err);
    json_decref(context);
    json_decref(again);
    json_decref(v);
    free(line);
    return rc;
}

/* Hexadecimal up to the tab, in place. */
static size_t bytes_of(char *line) {
    size_t n = 0;
    for (const char *c = line; *c != '\t'; c += 2) {
        unsigned x;
        assert_int_equal(sscanf(c, "%2x", &x), 1);
        line[n++] = (char)x;
    }
    return n;
}

static void as_python(void **state) {
    (void)state;
    struct qm_template *t;
    struct qm_error err = {0};
    static const char source[] = "{{ x | tojson }}";
    assert_int_equal(qm_template_compile(source, sizeof source - 1, "t", &t, &err), QM_OK);
    FILE *f = fopen("tests/data/json/python.tsv", "r");
    assert_non_null(f);
    char *line = NULL;
    size_t cap = 0, cases = 0, wrong = 0;
    for (ssize_t n; (n = getline(&line, &cap, f)) > 0; cases++) {
        struct qm_buf out = {0};
        char *want = strchr(line, '\t') + 1;
        line[n - 1] = 0;
        size_t len = bytes_of(line);
        int rc = print(t, cases % 2, line, len, &out, &err);
        bool same = strcmp(want, "!") ? !rc && !strcmp(out.data, want) : rc == QM_INPUT;
        if (!same && wrong++ < 20)
            print_message("%.*s\n  Python: %.200s\n  here:   %.200s\n", (int)(len < 200 ? len : 200), line, want,
                          rc ? err.message : out.data);
        qm_buf_free(&out);
    }
    free(line);
    fclose(f);
    qm_template_free(t);
    assert_int_equal(wrong, 0);
    assert_true(cases > 2000);
}

/* Integers beyond 128 bits are kept as digits: printed, compared, and refused where they would be computed with. */
static void big_integers_in_templates(void **state) {
    (void)state;
    static const char context[] =
        "{\"u64\": 18446744073709551615, \"most\": 170141183460469231731687303715884105727, \"b\": "
        "115792089237316195423570985008687907853269984665640564039457584007913129639935, \"m\": "
        "-115792089237316195423570985008687907853269984665640564039457584007913129639936, \"c\": "
        "115792089237316195423570985008687907853269984665640564039457584007913129639936, \"f\": 1e77, \"g\": "
        "1.157920892373162e77, \"inf\": Infinity, \"nan\": NaN}";
    static const struct {
        const char *source, *want; /* NULL: refused */
    } all[] = {
        {"{{ u64 }} {{ u64 + 1 }} {{ '%d' % u64 }}", "18446744073709551615 18446744073709551616 18446744073709551615"},
        {"{{ most }}", "170141183460469231731687303715884105727"},
        {"{{ [b] }}{{ m ~ '' }}", "[115792089237316195423570985008687907853269984665640564039457584007913129639935]"
                                  "-115792089237316195423570985008687907853269984665640564039457584007913129639936"},
        {"{{ -m == c }} {{ m | abs == c }} {{ -(-b) == b }} {{ b == c }} {{ b | int == b }} {{ b | round == b }}",
         "True True True False True True"},
        {"{{ b < c }} {{ m < b }} {{ m < 0 }} {{ 0 < b }} {{ b < 5.5 }} {{ most < b }} {{ f < b }} {{ g == c }}",
         "True True True True False True True True"},
        {"{{ b < inf }} {{ inf < b }} {{ m < -inf }} {{ b == nan }} {{ nan < b }} {{ [c, m, b] | sort == [m, b, c] }}",
         "True False False False False True"},
        {"{{ b is number }} {{ b is integer }} {{ b is float }} {{ b is string }} {{ 1 if b else 0 }} {{ {b: 1}[b] }}",
         "True True False False 1 1"},
        {"{{ b | float }} {{ b * 1.0 }} {{ {b: 1} | tojson }}",
         "1.157920892373162e+77 1.157920892373162e+77 "
         "{\"115792089237316195423570985008687907853269984665640564039457584007913129639935\": 1}"},
        {"{{ inf }} {{ -inf }} {{ nan }} {{ [inf, nan] | tojson }}", "inf -inf nan [Infinity, NaN]"},
        {"{{ b + 1 }}", NULL},
        {"{{ 'a' * b }}", NULL},
        {"{{ '%d' % b }}", NULL},
        {"{{ range(b) }}", NULL},
        {"{{ [1][b] }}", ""},
    };
    json_t *v = NULL;
    struct qm_error err = {0};
    assert_int_equal(qm_json_parse(context, sizeof context - 1, "context", &v, &err), QM_OK);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct qm_template *t;
        struct qm_buf out = {0};
        assert_int_equal(qm_template_compile(all[i].source, strlen(all[i].source), "t", &t, &err), QM_OK);
        int rc = qm_template_render(t, v, &(struct tm){0}, &out, &err);
        if (all[i].want ? rc || strcmp(out.data ? out.data : "", all[i].want) : rc != QM_INPUT)
            fail_msg("%s: %s", all[i].source, rc ? err.message : out.data);
        qm_buf_free(&out);
        qm_template_free(t);
    }
    json_decref(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_python), cmocka_unit_test(big_integers_in_templates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
