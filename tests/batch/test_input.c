/* The streamed input: lines, limits, seeking, fingerprints. */
#include "tests/support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "batch/input.h"

static char dir[TEST_PATH], path[TEST_PATH];

static int set_up(void **state) {
    (void)state;
    test_temp_dir(dir);
    test_path(path, dir, "in.jsonl");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    test_remove_tree(dir);
    return 0;
}

static struct qm_batch_input *open_input(uint64_t limit) {
    struct qm_batch_input *in;
    struct qm_error err = {0};
    if (qm_batch_input_open(path, limit, &in, &err))
        fail_msg("%s", err.message);
    return in;
}

static struct qm_batch_input *open_text(const char *text, uint64_t limit) {
    test_write_file(path, text, strlen(text));
    return open_input(limit);
}

static bool next(struct qm_batch_source *s, struct qm_batch_line *line) {
    bool end;
    struct qm_error err = {0};
    if (s->next(s->self, line, &end, &err))
        fail_msg("%s", err.message);
    return !end;
}

static void is_line(struct qm_batch_source *s, int64_t number, uint64_t offset, const char *text) {
    struct qm_batch_line line;
    assert_true(next(s, &line));
    assert_int_equal(line.number, number);
    assert_int_equal(line.offset, offset);
    if (!text) {
        assert_null(line.text);
        return;
    }
    assert_int_equal(line.length, strlen(text));
    assert_memory_equal(line.text, text, line.length);
    struct qm_buf again = {0};
    assert_int_equal(s->read(s->self, &line, &again, NULL), 0);
    assert_int_equal(again.len, line.length);
    assert_string_equal(again.data, text);
    qm_buf_free(&again);
}

static int seek(const struct qm_batch_source *s, int64_t number, int64_t file_line, uint64_t offset) {
    const struct qm_batch_line at = {.number = number, .file_line = file_line, .offset = offset};
    return s->seek(s->self, &at, NULL);
}

static void is_end(struct qm_batch_source *s) {
    struct qm_batch_line line;
    assert_false(next(s, &line));
    assert_false(next(s, &line));
}

static void test_lines(void **state) {
    (void)state;
    struct qm_batch_input *in = open_text("{1}\n\n  \t\r\n{22}\r\n{333}", 100);
    struct qm_batch_source s = qm_batch_input_source(in);
    is_line(&s, 1, 0, "{1}");
    is_line(&s, 2, 10, "{22}");
    is_line(&s, 3, 16, "{333}");
    is_end(&s);
    assert_int_equal(seek(&s, 2, 5, 10), 0);
    is_line(&s, 2, 10, "{22}");
    assert_int_equal(seek(&s, 4, 6, 21), 0);
    is_end(&s);
    assert_int_equal(seek(&s, 4, 6, 22), QM_INPUT);
    assert_int_equal(seek(&s, 0, 6, 1), QM_INPUT);
    assert_int_equal(seek(&s, 1, 0, 0), QM_INPUT);
    qm_batch_input_close(in);
}

/* Lines of the file are counted with those that are no rows, and from where reading goes on. */
static void test_file_lines(void **state) {
    (void)state;
    struct qm_batch_input *in = open_text("\n{1}\r\n\n{22}\n \n{3}", 100);
    struct qm_batch_source s = qm_batch_input_source(in);
    struct qm_batch_line line;
    static const int64_t lines[] = {2, 4, 6};
    for (int from = 0; from < 3; from++) {
        struct qm_batch_line at = {.number = 1, .file_line = 1};
        assert_int_equal(s.seek(s.self, &at, NULL), 0);
        for (int i = 0; i < 3; i++) {
            assert_true(next(&s, &line));
            assert_int_equal(line.number, i + 1);
            assert_int_equal(line.file_line, lines[i]);
            if (i == from) { /* as a job notes it: after what it has read */
                at = line;
                at.number++;
                at.offset += line.length;
                assert_int_equal(s.seek(s.self, &at, NULL), 0);
            }
        }
        assert_false(next(&s, &line));
    }
    qm_batch_input_close(in);
}

/* A line that is not what it was is not given again; nor is one that was written while it was read. */
static void test_read_twice(void **state) {
    (void)state;
    struct qm_batch_input *in = open_text("{1}\n{2}\n", 100);
    struct qm_batch_source s = qm_batch_input_source(in);
    struct qm_batch_line one, two;
    struct qm_buf text = {0};
    struct qm_error err;
    bool same;
    assert_true(next(&s, &one));
    assert_true(next(&s, &two));
    assert_int_not_equal(one.hash, two.hash);
    FILE *f = fopen(path, "r+b");
    fseek(f, 5, SEEK_SET);
    fputc('7', f);
    fclose(f);
    assert_int_equal(s.read(s.self, &two, &text, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "changed while it was read"));
    assert_int_equal(s.read(s.self, &one, &text, &err), 0);
    assert_string_equal(text.data, "{1}");
    assert_int_equal(s.unchanged(s.self, &same, &err), 0);
    assert_false(same);
    /* read from its beginning, the change is seen before a line is given */
    bool end;
    assert_int_equal(seek(&s, 1, 1, 0), 0);
    assert_int_equal(s.next(s.self, &one, &end, &err), QM_INPUT);
    qm_buf_free(&text);
    qm_batch_input_close(in);
    /* another file in its place */
    char other[TEST_PATH + 8];
    in = open_text("{1}\n", 100);
    s = qm_batch_input_source(in);
    snprintf(other, sizeof other, "%s.new", path);
    test_write_file(other, "{2}\n", 4);
    assert_int_equal(rename(other, path), 0);
    assert_int_equal(s.unchanged(s.self, &same, &err), 0);
    assert_false(same);
    qm_batch_input_close(in);
}

static void test_empty_and_mark(void **state) {
    (void)state;
    struct qm_batch_input *in = open_text("", 100);
    struct qm_batch_source s = qm_batch_input_source(in);
    is_end(&s);
    qm_batch_input_close(in);
    in = open_text("\xEF\xBB\xBF{1}\n\xEF\xBB\xBF\n", 100);
    s = qm_batch_input_source(in);
    is_line(&s, 1, 3, "{1}");
    is_line(&s, 2, 7, "\xEF\xBB\xBF"); /* only the first is a mark */
    is_end(&s);
    qm_batch_input_close(in);
}

static void test_limit(void **state) {
    (void)state;
    struct qm_batch_input *in = open_text("12345\n123456\n1\n", 5);
    struct qm_batch_source s = qm_batch_input_source(in);
    is_line(&s, 1, 0, "12345");
    is_line(&s, 2, 6, NULL);
    is_line(&s, 3, 13, "1");
    is_end(&s);
    qm_batch_input_close(in);
    /* one of several pieces of reading, and at the end of the file */
    size_t n = 5 << 20;
    char *text = malloc(n);
    memset(text, 'a', n);
    memcpy(text, "x\n", 2);
    text[n - 3] = '\n';
    test_write_file(path, text, n);
    in = open_input(1000);
    s = qm_batch_input_source(in);
    is_line(&s, 1, 0, "x");
    struct qm_batch_line line;
    assert_true(next(&s, &line));
    assert_null(line.text);
    assert_int_equal(line.offset, 2);
    assert_int_equal(line.length, n - 5);
    is_line(&s, 3, n - 2, "aa");
    is_end(&s);
    qm_batch_input_close(in);
    free(text);
}

struct blocks {
    int n;
    char hash[8][QM_HASH_TEXT];
};

static int keep_block(void *arg, int64_t block, const char *hash, struct qm_error *err) {
    struct blocks *b = arg;
    (void)err;
    assert_in_range(block, 0, 7);
    snprintf(b->hash[block], QM_HASH_TEXT, "%s", hash);
    b->n++;
    return QM_OK;
}

/* 2 blocks and a half, lines of 1000 bytes. */
static void write_blocks(void) {
    FILE *f = fopen(path, "wb");
    for (int i = 0; i < QM_BATCH_BLOCK / 400; i++)
        fprintf(f, "%0999d\n", i);
    assert_int_equal(fclose(f), 0);
}

static void test_blocks(void **state) {
    (void)state;
    write_blocks();
    struct blocks first = {0}, second = {0};
    struct qm_batch_input *in = open_input(1000);
    struct qm_batch_source s = qm_batch_input_source(in);
    struct qm_batch_line line, at = {0};
    qm_batch_input_on_block(in, keep_block, &first);
    for (int64_t i = 0; next(&s, &line); i++) {
        assert_int_equal(line.number, i + 1);
        if (i == 20000)
            at = line;
    }
    assert_int_equal(first.n, 3);
    /* Reading from the middle of a block reports the same of the whole block. */
    qm_batch_input_on_block(in, keep_block, &second);
    assert_int_equal(s.seek(s.self, &at, NULL), 0);
    assert_true(next(&s, &line));
    assert_int_equal(line.number, at.number);
    assert_int_equal(strtoll(line.text, NULL, 10), 20000);
    while (next(&s, &line))
        ;
    assert_int_equal(second.n, 2);
    assert_string_equal(second.hash[0], "");
    assert_string_equal(second.hash[1], first.hash[1]);
    assert_string_equal(second.hash[2], first.hash[2]);
    bool same;
    assert_int_equal(s.unchanged(s.self, &same, NULL), 0);
    assert_true(same);
    qm_batch_input_close(in);
}

static void test_changes(void **state) {
    (void)state;
    write_blocks();
    struct qm_batch_input *a = open_input(1000), *b;
    struct qm_batch_source s = qm_batch_input_source(a);
    FILE *f = fopen(path, "r+b");
    fputc('9', f); /* the first byte is always sampled */
    fclose(f);
    b = open_input(1000);
    assert_string_not_equal(qm_batch_input_identity(a)->sample, qm_batch_input_identity(b)->sample);
    assert_int_equal(qm_batch_input_identity(a)->size, qm_batch_input_identity(b)->size);
    qm_batch_input_close(b);
    assert_int_equal(truncate(path, 100000), 0);
    struct qm_error err;
    bool same;
    assert_int_equal(s.unchanged(s.self, &same, &err), 0);
    assert_false(same);
    struct qm_batch_line line;
    bool end;
    int rc;
    while (!(rc = s.next(s.self, &line, &end, &err)) && !end)
        ;
    assert_int_equal(rc, QM_INPUT);
    assert_non_null(strstr(err.message, "shrank"));
    qm_batch_input_close(a);
}

static void test_what_is_no_file(void **state) {
    (void)state;
    struct qm_batch_input *in;
    struct qm_error err;
    assert_int_equal(qm_batch_input_open(dir, 1000, &in, &err), QM_INPUT);
    assert_int_equal(qm_batch_input_open("/dev/null", 1000, &in, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "regular file"));
    assert_int_equal(qm_batch_input_open("/nonexistent/x", 1000, &in, &err), QM_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),      cmocka_unit_test(test_file_lines),
        cmocka_unit_test(test_read_twice), cmocka_unit_test(test_empty_and_mark),
        cmocka_unit_test(test_limit),      cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_changes),    cmocka_unit_test(test_what_is_no_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
