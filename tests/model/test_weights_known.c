/* Hashes of weights that a file keeps: made, believed, and done without. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/weights_known.h"
#include "tests/support/support.h"

static char dir[TEST_PATH], weights[TEST_PATH], cache[TEST_PATH];
static struct qm_shard_file file;
static struct qm_shards shards;
static struct qm_model model;

static int set_up(void **state) {
    struct stat st;
    (void)state;
    test_temp_dir(dir);
    test_path(weights, dir, "weights");
    test_path(cache, dir, "new/folder/weights.known");
    test_write_file(weights, "some weights", 12);
    file = (struct qm_shard_file){.path = weights, .fd = open(weights, O_RDONLY | O_CLOEXEC)};
    assert_int_equal(fstat(file.fd, &st), 0);
    file.bytes = (uint64_t)st.st_size;
    shards = (struct qm_shards){.files = &file, .n_files = 1};
    model.shards = &shards;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    close(file.fd);
    test_remove_tree(dir);
    return 0;
}

/* Nothing may be read. */
static int refuse(void *arg, uint64_t done, uint64_t total) {
    (void)arg, (void)done, (void)total;
    return 1;
}

/* The hash; *text: what is known then, as if it had been hashed long after it was written. */
static int known(const char *path, const char *text, qm_hash_progress_fn *progress, char out[QM_HASH_TEXT],
                 struct qm_buf *after) {
    struct qm_files_known k = {0};
    struct qm_error err;
    int rc = qm_weights_known(&model, path, text, progress, NULL, out, &k, &err);
    for (int i = 0; i < k.n; i++)
        k.file[i].hashed += 3000000000;
    if (after)
        assert_int_equal(qm_files_known_text(&k, NULL, after, &err), 0);
    qm_files_known_free(&k);
    return rc;
}

static void what_is_kept_is_not_read_again(void **state) {
    (void)state;
    char first[QM_HASH_TEXT], again[QM_HASH_TEXT];
    struct qm_buf text = {0};
    assert_int_equal(known(cache, NULL, NULL, first, &text), 0);
    assert_int_equal(access(cache, R_OK), 0); /* and the folders before it */
    test_write_file(cache, text.data, text.len);
    assert_int_equal(known(cache, NULL, refuse, again, NULL), 0);
    assert_string_equal(again, first);
    /* by what the caller has kept */
    assert_int_equal(known(NULL, text.data, refuse, again, NULL), 0);
    assert_string_equal(again, first);
    assert_int_equal(known(NULL, NULL, refuse, again, NULL), QM_INTERRUPTED);
    qm_buf_free(&text);
}

static void a_bad_cache_is_done_without(void **state) {
    (void)state;
    char first[QM_HASH_TEXT], again[QM_HASH_TEXT];
    assert_int_equal(known(NULL, NULL, NULL, first, NULL), 0);
    test_path(cache, dir, "garbage");
    test_write_file(cache, "\x01garbage\n\n\xFF", 11);
    assert_int_equal(known(cache, NULL, NULL, again, NULL), 0);
    assert_string_equal(again, first);
    assert_int_equal(known(dir, NULL, NULL, again, NULL), 0); /* a folder can't be written */
    assert_string_equal(again, first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_kept_is_not_read_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bad_cache_is_done_without, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
