/* The line of progress: share, true rate, time left, width; the step's thread; words after numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/progress.h"
#include "base/words.h"

static void texts(void **state) {
    (void)state;
    static const struct {
        struct qm_progress_state s;
        int width;
        const char *text;
    } cases[] = {
        {{"prompt", 0, 0, 8192, QM_PROGRESS_TOKENS, 0}, 200, "prompt: 0 of 8192 tokens (0 %)"},
        {{"prompt", 0, 0, 8192, QM_PROGRESS_TOKENS, 3}, 200, "prompt: 0 of 8192 tokens (0 %), 3.0 s so far"},
        {{"prompt", 0, 512, 8192, QM_PROGRESS_TOKENS, 4},
         200,
         "prompt: 512 of 8192 tokens (6 %), 128.0 tokens/s, 1 min 0 s left"},
        /* of what was there before the step began nothing counts for the rate */
        {{"prompt", 4096, 4608, 8192, QM_PROGRESS_TOKENS, 4},
         200,
         "prompt: 4608 of 8192 tokens (56 %), 128.0 tokens/s, 28 s left"},
        {{"prompt", 0, 1, 1, QM_PROGRESS_TOKENS, 0.5}, 200, "prompt: 1 of 1 token (100 %), 2.0 tokens/s"},
        {{"prompt", 0, 9999, 10000, QM_PROGRESS_TOKENS, 1},
         200,
         "prompt: 9999 of 10000 tokens (99 %), 9999.0 tokens/s, 0.0 s left"},
        {{"loading", 0, 1000000000, 61000000000, QM_PROGRESS_BYTES, 0.5},
         200,
         "loading: 954 MiB of 56.8 GiB (1 %), 2.0 GB/s, 30 s left"},
        {{"loading", 0, 1000000000, 61000000000, QM_PROGRESS_BYTES, 0.5},
         50,
         "loading: 954 MiB of 56.8 GiB (1 %), 30 s left"},
        {{"loading", 0, 1000000000, 61000000000, QM_PROGRESS_BYTES, 0.5}, 39, "loading: 954 MiB of 56.8 GiB (1 %)"},
        {{"loading", 0, 1000000000, 61000000000, QM_PROGRESS_BYTES, 0.5}, 20, "loading: 954 MiB of "},
        {{"comparing", 0, 3, 12, QM_PROGRESS_STEPS, 30}, 200, "comparing: 3 of 12 (25 %), 1 min 30 s left"},
        {{"reading", 0, 2000000, 0, QM_PROGRESS_BYTES, 1}, 200, "reading: 1.9 MiB, 2.0 MB/s"},
        {{"planning", 0, 0, 0, QM_PROGRESS_STEPS, 2}, 200, "planning, 2.0 s so far"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[256];
        assert_string_equal(qm_progress_text(&cases[i].s, cases[i].width, line, sizeof line), cases[i].text);
    }
}

/* Standard error to a file while `f` runs; what was written, as text. */
static char *captured(void (*f)(struct qm_progress *p), struct qm_progress *p) {
    static char text[4096];
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stderr);
    int before = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    f(p);
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

static void begin_and_wait(struct qm_progress *p) {
    qm_progress_update(p, "prompt", 0, 100, QM_PROGRESS_TOKENS);
    for (int i = 0; i < 600 && lseek(STDERR_FILENO, 0, SEEK_CUR) == 0; i++)
        usleep(50000);
    qm_progress_end(p);
}

static void begin_and_end(struct qm_progress *p) {
    qm_progress_update(p, "prompt", 0, 100, QM_PROGRESS_TOKENS);
    qm_note(p, "a note");
    qm_progress_end(p);
}

/* The step itself says nothing after its beginning: without a terminal there is a line all the same. */
static void alive(void **state) {
    (void)state;
    struct qm_progress plain = {0}, live = {.live = true}, quiet = {.quiet = true};
    char *text = captured(begin_and_wait, &plain);
    assert_int_equal(strncmp(text, "prompt: 0 of 100 tokens (0 %), ", 31), 0);
    assert_non_null(strstr(text, " so far\n"));
    assert_string_equal(captured(begin_and_end, &plain), "a note\n");
    assert_string_equal(captured(begin_and_end, &live), "\r\033[Kprompt: 0 of 100 tokens (0 %)\r\033[Ka note\n");
    assert_string_equal(captured(begin_and_end, &quiet), "");
}

static void words(void **state) {
    (void)state;
    assert_string_equal(qm_s(0), "s");
    assert_string_equal(qm_s(1), "");
    assert_string_equal(qm_s(2), "s");
    assert_string_equal(qm_one_or(1, "is", "are"), "is");
    assert_string_equal(qm_one_or(0, "is", "are"), "are");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts), cmocka_unit_test(alive), cmocka_unit_test(words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
