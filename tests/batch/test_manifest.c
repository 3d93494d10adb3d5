/* What a job is: every file that makes text to tokens or a prompt of messages counts, and no other. */
#include "tests/support/support.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "batch/manifest.h"

static char dir[TEST_PATH];

static int set_up(void **state) {
    (void)state;
    test_temp_dir(dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    test_remove_tree(dir);
    return 0;
}

static void texts(char out[QM_HASH_TEXT]) {
    struct qm_manifest m = {0};
    struct qm_error err = {0};
    if (qm_manifest_add_texts(&m, dir, NULL, &err))
        fail_msg("%s", err.message);
    assert_int_equal(m.n, 1);
    strcpy(out, m.item[0].value);
}

static void every_text_counts(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool counts;
    } files[] = {{"tokenizer.json", true},
                 {"tokenizer.model", true},
                 {"chat_template.jinja", true},
                 {"generation_config.json", true},
                 {"additional_chat_templates/default.jinja", true},
                 {"additional_chat_templates/tool_use.jinja", true},
                 {"config.json", false},
                 {"README.md", false},
                 {"model.safetensors", false}};
    char folder[TEST_PATH + 64], before[QM_HASH_TEXT], now[QM_HASH_TEXT];
    texts(before);
    snprintf(folder, sizeof folder, "%s/additional_chat_templates", dir);
    assert_int_equal(mkdir(folder, 0777), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[TEST_PATH + 64];
        snprintf(path, sizeof path, "%s/%s", dir, files[i].name);
        for (int content = 0; content < 2; content++) {
            test_write_file(path, content ? "b" : "a", 1);
            texts(now);
            if ((strcmp(before, now) != 0) != files[i].counts)
                fail_msg("%s: %s", files[i].name, files[i].counts ? "does not count" : "counts");
            strcpy(before, now);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(every_text_counts, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
