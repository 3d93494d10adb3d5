/* Finding a model by folder and by its name in the Hugging Face cache's layout. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/locate.h"
#include "tests/support/model_files.h"

static void expect_found(const char *name, const char *hub, const char *wanted) {
    char *dir;
    struct qm_error err;
    if (qm_model_locate(name, hub, &dir, &err))
        fail_msg("%s", err.message);
    assert_string_equal(dir, wanted);
    free(dir);
}

static void expect_refused(const char *name, const char *hub, const char *wanted) {
    char *dir;
    struct qm_error err = {0};
    int rc = qm_model_locate(name, hub, &dir, &err);
    if (rc != QM_INPUT || !strstr(err.message, wanted))
        fail_msg("%s: expected 3, \"%s\", found %d, \"%s\"", name, wanted, rc, err.message);
    assert_null(dir);
}

static void locate(void **state) {
    (void)state;
    char *hub = test_folder(), wanted[256];
    test_write(hub, "models--Qwen--Qwen3-4B/refs/main", "0123abcd", 8);
    test_write(hub, "models--Qwen--Qwen3-4B/snapshots/0123abcd/config.json", "{}", 2);
    snprintf(wanted, sizeof wanted, "%s/models--Qwen--Qwen3-4B/snapshots/0123abcd", hub);
    expect_found(hub, hub, hub);
    expect_found("Qwen/Qwen3-4B", hub, wanted);
    expect_refused("Qwen/Qwen3-8B", hub,
                   "models--Qwen--Qwen3-8B. Nothing is downloaded here: get it with `hf download "
                   "Qwen/Qwen3-8B`");
    expect_refused("Qwen/Qwen3-4B", NULL, "no Hugging Face cache to look in");
    expect_refused("nothing-here", hub, "found no such folder");
    expect_refused("../x", hub, "found no such folder");
    expect_refused("a/../x", hub, "found no such folder");
    expect_refused("a/x--y", hub, "found no such folder");
    expect_refused("", hub, "found no such folder");

    test_write(hub, "models--a--no-ref/x", "", 0);
    expect_refused("a/no-ref", hub, "the download is not complete");
    test_write(hub, "models--a--bad-ref/refs/main", "../../x", 7);
    expect_refused("a/bad-ref", hub, "expected a commit hash");
    test_write(hub, "models--a--empty-ref/refs/main", "", 0);
    expect_refused("a/empty-ref", hub, "expected a commit hash");
    test_write(hub, "models--a--no-snapshot/refs/main", "ff\n", 3);
    expect_refused("a/no-snapshot", hub, "snapshots/ff, found no such folder");
    test_folder_remove(hub);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(locate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
