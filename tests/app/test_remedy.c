/* What helps, in the words of options: each remedy names options that exist; the mark is taken; a long message stays.
 */
#include "app/remedy.h"

#include <stdio.h>
#include <string.h>

#include "app/options.h"
#include "tests/support/support.h"

/* Every --name in the text is an option of the program. */
static int options_in(const char *text) {
    int n = 0;
    for (const char *at = strstr(text, "--"); at; at = strstr(at, "--")) {
        at += 2;
        size_t len = strspn(at, "abcdefghijklmnopqrstuvwxyz-");
        int found = 0;
        for (int o = 1; o < QM_OPT_COUNT; o++)
            found += strlen(qm_options[o].name) == len && !strncmp(qm_options[o].name, at, len);
        if (!found)
            fail_msg("no option is called --%.*s", (int)len, at);
        n++;
    }
    return n;
}

static void each_remedy_names_options(void **state) {
    (void)state;
    for (int r = QM_REMEDY_NONE + 1; r < QM_REMEDY_COUNT; r++) {
        struct qm_error e;
        assert_int_equal(qm_remedy(&e, (enum qm_remedy)r, qm_fail(&e, QM_FIT, "too large")), QM_FIT);
        assert_string_equal(e.message, "too large");
        qm_remedy_add(&e);
        assert_memory_equal(e.message, "too large; ", 11);
        assert_true(options_in(e.message) >= 1);
        char remedied[sizeof e.message];
        strcpy(remedied, e.message);
        qm_remedy_add(&e);
        assert_string_equal(e.message, remedied);
    }
    struct qm_error e;
    qm_fail(&e, QM_FIT, "too large");
    qm_remedy_add(&e);
    assert_string_equal(e.message, "too large");
}

static void a_full_message_stays(void **state) {
    (void)state;
    struct qm_error e;
    char text[sizeof e.message];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    qm_remedy(&e, QM_REMEDY_LARGER_CONTEXT, qm_fail(&e, QM_INPUT, "%s", text));
    qm_remedy_add(&e);
    assert_string_equal(e.message, text);
}

static void traits_name_options(void **state) {
    (void)state;
    int named = 0;
    for (int t = 0; t < QM_TRAIT_COUNT; t++) {
        const char *options = qm_trait_options((enum qm_trait)t);
        named += options_in(options) > 0;
        assert_null(strstr(qm_trait_name((enum qm_trait)t), "--"));
    }
    assert_int_equal(named, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_remedy_names_options),
        cmocka_unit_test(a_full_message_stays),
        cmocka_unit_test(traits_name_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
