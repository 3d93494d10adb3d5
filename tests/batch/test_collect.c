/* Documents of folders: what is one, what is passed over, what is refused; PDFs through a program under limits. */
#include "tests/support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "batch/collect.h"
#include "batch/journal.h"
#include "batch/names.h"
#include "batch/pdf.h"

static char dir[TEST_PATH], folder[TEST_PATH], programs[TEST_PATH];

static int set_up(void **state) {
    (void)state;
    test_temp_dir(dir);
    test_path(folder, dir, "docs");
    test_path(programs, dir, "bin");
    return mkdir(folder, 0777) || mkdir(programs, 0777);
}

static int tear_down(void **state) {
    (void)state;
    test_remove_tree(dir);
    return 0;
}

static void put(const char *name, const char *bytes, size_t n) {
    char path[TEST_PATH];
    test_path(path, folder, name);
    for (char *slash = path + strlen(folder); (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        mkdir(path, 0777);
        *slash = '/';
    }
    test_write_file(path, bytes, n);
}

static void text(const char *name) {
    put(name, "text\n", 5);
}

static void note(void *arg, const char *line) {
    fprintf(arg, "%s\n", line);
}

/* What is said goes to a file. */
static int collect(struct qm_collect *c, struct qm_documents *out, char **shown, struct qm_error *err) {
    static const char *const paths[] = {folder};
    static struct qm_batch_ui ui;
    char notes[TEST_PATH];
    test_path(notes, dir, "notes");
    if (!c->n_paths) {
        c->paths = paths;
        c->n_paths = 1;
    }
    ui = qm_batch_silent;
    ui.arg = fopen(notes, "w");
    ui.note = note;
    c->ui = &ui;
    assert_non_null(ui.arg);
    *err = (struct qm_error){0};
    int rc = qm_documents_collect(c, out, err);
    fclose(ui.arg);
    *shown = test_read_file(notes, NULL);
    return rc;
}

static void names_are(const struct qm_documents *d, const char *want) {
    char all[1000] = "";
    for (size_t i = 0; i < d->n; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s ", d->document[i].name);
    assert_string_equal(all, want);
}

static void has(const char *text_, const char *part) {
    if (!strstr(text_, part))
        fail_msg("expected \"%s\" in \"%s\"", part, text_);
}

static void folders_below_are_read_and_hidden_files_passed_over(void **state) {
    (void)state;
    struct qm_collect c = {0};
    struct qm_documents d;
    struct qm_error err;
    char *shown;
    text("b.txt");
    text("a/z.md");
    text("a/deep/er/x");
    text(".hidden");
    text(".git/config");
    text("a/.DS_Store");
    assert_int_equal(collect(&c, &d, &shown, &err), 0);
    names_are(&d, "a/deep/er/x a/z.md b.txt ");
    has(shown, "skipped, hidden: .git/, .hidden, a/.DS_Store\n");
    free(shown);
    qm_documents_free(&d);
    char link[TEST_PATH];
    test_path(link, folder, "again");
    assert_int_equal(symlink(".", link), 0); /* a folder in itself */
    assert_int_equal(collect(&c, &d, &shown, &err), QM_INPUT);
    has(err.message, "again (a link to a folder");
    free(shown);
    qm_documents_free(&d);
}

static void what_is_no_text_is_listed_whole_and_refused_or_left_out(void **state) {
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t n;
        const char *why;
    } files[] = {
        {"1.pdf", "%PDF-1.7\n", 9, "a PDF: install pdftotext"},
        {"2.docx", "PK\3\4\0\0", 6, "a zip archive, as .docx"},
        {"3.png", "\x89PNG\r\n\x1a\n", 8, "an image"},
        {"4.txt", "caf\xE9 au lait", 12, "not valid UTF-8: byte 0xe9 at offset 3; convert it (iconv"},
        {"5.txt", "\xFF\xFEt\0e\0", 6, "UTF-16 text: convert it"},
        {"6.bin", "ab\0cd", 5, "no text: a zero byte at offset 2"},
        {"7.txt", "", 0, "the document is empty"},
        {"8.txt", "\xEF\xBB\xBF \n", 5, NULL},
        {"9.txt", "cut \xC3", 5, "not valid UTF-8: byte 0xc3 at offset 4"},
    };
    enum { FILES = sizeof files / sizeof *files };
    struct qm_collect c = {0};
    struct qm_documents d;
    struct qm_error err;
    char *shown, want[300], pipe_path[TEST_PATH];
    text("good.txt");
    for (int i = 0; i < FILES; i++)
        put(files[i].name, files[i].bytes, files[i].n);
    test_path(pipe_path, folder, "pipe");
    assert_int_equal(mkfifo(pipe_path, 0666), 0);
    for (int skip = 0; skip < 2; skip++) {
        c.skip_unreadable = skip;
        assert_int_equal(collect(&c, &d, &shown, &err), skip ? 0 : QM_INPUT);
        for (int i = 0; i < FILES; i++) {
            snprintf(want, sizeof want, "  %s: %s", files[i].name, files[i].why ? files[i].why : "");
            if (files[i].why)
                has(shown, want);
        }
        has(shown, "  pipe: a named pipe");
        if (!skip) {
            has(err.message, "of 11 files can't be read as text: ");
            has(err.message, "1.pdf (a PDF");
            assert_int_equal(err.remedy, QM_REMEDY_LEAVE_OUT);
        } else {
            assert_string_equal(d.document[d.n - 1].name, "good.txt");
        }
        free(shown);
        qm_documents_free(&d);
    }
}

static void a_byte_order_mark_is_no_part_of_a_document(void **state) {
    (void)state;
    struct qm_collect c = {0};
    struct qm_documents d;
    struct qm_error err;
    struct qm_buf out = {0};
    char *shown;
    put("a", "\xEF\xBB\xBFtext", 7);
    assert_int_equal(collect(&c, &d, &shown, &err), 0);
    assert_int_equal(qm_document_text(&d.document[0], &out, &err), 0);
    assert_int_equal(out.len, 4);
    assert_string_equal(out.data, "text");
    free(shown);
    qm_buf_free(&out);
    qm_documents_free(&d);
}

static void the_programs_own_files_are_no_documents(void **state) {
    (void)state;
    struct qm_collect c = {0};
    struct qm_documents d;
    struct qm_error err;
    char *shown, out[TEST_PATH], ask[TEST_PATH], other[TEST_PATH];
    static const char *const own[] = {"out.md",       "out.md.partial",         "out.md.journal", "out.md.journal-wal",
                                      "out.md.lock",  "out.md.partial.aside-2", "out.md.kv",      "out.md.tmp-aB3xYz",
                                      "questions.txt"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        text(own[i]);
    text("out.md.notes");
    text("out.mdx");
    text("below/out.md");
    test_path(out, folder, "../docs/./out.md");
    test_path(ask, folder, "questions.txt");
    const char *const others[] = {NULL, ask};
    c.output = out;
    c.others = others;
    c.n_others = 2;
    assert_int_equal(collect(&c, &d, &shown, &err), 0);
    names_are(&d, "below/out.md out.md.notes out.mdx ");
    assert_string_equal(shown, "");
    free(shown);
    qm_documents_free(&d);
    /* nor are those of another job */
    struct qm_journal *j;
    bool created;
    test_path(other, folder, "before.md.journal");
    text("before.md");
    text("before.md.partial");
    assert_int_equal(qm_journal_open(other, &j, &created, &err), 0);
    qm_journal_close(j);
    assert_int_equal(collect(&c, &d, &shown, &err), 0);
    names_are(&d, "below/out.md out.md.notes out.mdx ");
    has(shown, "files of other batch jobs: before.md, before.md.journal, before.md.partial\n");
    free(shown);
    qm_documents_free(&d);
}

static void two_documents_of_one_name_are_refused(void **state) {
    (void)state;
    struct qm_collect c = {0};
    struct qm_documents d;
    struct qm_error err;
    char *shown, a[TEST_PATH];
    text("x");
    test_path(a, folder, "x");
    const char *const paths[] = {folder, a};
    c.paths = paths;
    c.n_paths = 2;
    assert_int_equal(collect(&c, &d, &shown, &err), QM_INPUT);
    has(err.message, "two documents are called x");
    free(shown);
    qm_documents_free(&d);
}

/* --- PDFs --- */

static void make_program(const char *script) {
    char path[TEST_PATH], all[400];
    test_path(path, programs, "pdftotext");
    int n = snprintf(all, sizeof all, "#!/bin/sh\n%s\n", script);
    test_write_file(path, all, (size_t)n);
    assert_int_equal(chmod(path, 0755), 0);
}

static int convert(const char *script, double seconds, struct qm_buf *out, struct qm_error *err) {
    const struct qm_pdf_limits limits = {.seconds = seconds, .text_bytes = 1 << 20, .memory = 256u << 20};
    char path[TEST_PATH];
    make_program(script);
    test_path(path, programs, "pdftotext");
    *err = (struct qm_error){0};
    qm_buf_free(out);
    return qm_pdf_text(path, "-odd name.pdf", &limits, out, err);
}

static void a_program_is_bounded(void **state) {
    (void)state;
    struct qm_buf out = {0};
    struct qm_error err;
    char marker[TEST_PATH], script[2 * TEST_PATH + 100];
    alarm(240);
    assert_int_equal(convert("echo \"$@\"", 50, &out, &err), 0);
    assert_string_equal(out.data, "-q -enc UTF-8 -nopgbrk ./-odd name.pdf -\n");
    assert_int_equal(convert("exit 3", 50, &out, &err), QM_INPUT);
    has(err.message, "pdftotext failed (3)");
    assert_int_equal(convert("sleep 1000", 0.2, &out, &err), QM_INPUT);
    has(err.message, "took more than 0.2 s");
    assert_int_equal(convert("sleep 1000 & sleep 1000", 0.2, &out, &err), QM_INPUT); /* with what it started */
    assert_int_equal(convert("while :; do :; done", 0.2, &out, &err), QM_INPUT);
    assert_int_equal(convert("exec yes", 50, &out, &err), QM_INPUT);
    has(err.message, "more than 1 MiB of text");
    assert_int_equal(convert("x=xxxxxxxx; while :; do x=$x$x; done", 50, &out, &err), QM_INPUT); /* memory */
    test_path(marker, dir, "marker");
    snprintf(script, sizeof script, "echo much >%s; test -s %s && exit 0; echo no", marker, marker);
    convert(script, 50, &out, &err); /* it may write no file */
    char *written = test_read_file(marker, NULL);
    assert_true(!written || !*written);
    free(written);
    assert_int_equal(convert("cat; ls -l /proc/self/fd | wc -l", 50, &out, &err), 0); /* its input is empty */
    assert_true(atoi(out.data) <= 6);
    alarm(0);
    qm_buf_free(&out);
}

static void a_pdf_is_a_document_by_pdftotext(void **state) {
    (void)state;
    struct qm_collect c = {.search = programs};
    struct qm_documents d;
    struct qm_error err;
    struct qm_buf out = {0};
    char *shown;
    put("paper.pdf", "%PDF-1.4\n", 9);
    make_program("echo 'of the paper'");
    assert_int_equal(collect(&c, &d, &shown, &err), 0);
    names_are(&d, "paper.pdf ");
    assert_int_equal(qm_document_text(&d.document[0], &out, &err), 0);
    assert_string_equal(out.data, "of the paper\n");
    free(shown);
    qm_buf_free(&out);
    qm_documents_free(&d);
    make_program("printf '\\f \\n'");
    assert_int_equal(collect(&c, &d, &shown, &err), QM_INPUT);
    has(err.message, "paper.pdf (a PDF without text, scanned perhaps");
    free(shown);
    qm_documents_free(&d);
    make_program("exit 1");
    assert_int_equal(collect(&c, &d, &shown, &err), QM_INPUT);
    has(err.message, "paper.pdf (pdftotext failed (1)");
    free(shown);
    qm_documents_free(&d);
}

static void the_program_is_looked_for_in_whole_paths(void **state) {
    (void)state;
    char path[TEST_PATH * 2], search[TEST_PATH * 2];
    make_program("exit 0");
    assert_false(qm_pdf_program(NULL, path, sizeof path));
    assert_false(qm_pdf_program("", path, sizeof path));
    assert_false(qm_pdf_program("::relative:/no-such", path, sizeof path));
    snprintf(search, sizeof search, "/no-such:%s:/usr/bin", programs);
    assert_true(qm_pdf_program(search, path, sizeof path));
    has(path, programs);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(folders_below_are_read_and_hidden_files_passed_over),
        TEST(what_is_no_text_is_listed_whole_and_refused_or_left_out),
        TEST(a_byte_order_mark_is_no_part_of_a_document),
        TEST(the_programs_own_files_are_no_documents),
        TEST(two_documents_of_one_name_are_refused),
        TEST(a_program_is_bounded),
        TEST(a_pdf_is_a_document_by_pdftotext),
        TEST(the_program_is_looked_for_in_whole_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
