/* Other programs' words: every suggestion is an option or a command that there is, no word is one of our own, and the
 * median ones get the answer that they should. */
#include <string.h>

#include "app/command_list.h"
#include "app/foreign.h"
#include "tests/support/support.h"

static const struct qm_command *command_of(const char *name) {
    for (size_t i = 0; i < qm_n_commands; i++)
        if (!strcmp(qm_commands[i]->name, name))
            return qm_commands[i];
    return NULL;
}

/* Calls `each` for every word. */
static void each_word(const char *words, void (*each)(const char *word, const void *entry), const void *entry) {
    char copy[1024], *rest = copy;
    assert_true(strlen(words) < sizeof copy);
    strcpy(copy, words);
    for (char *word; (word = strtok_r(rest, " ", &rest));)
        each(word, entry);
}

/* In a command that knows the word as its own, nobody asks; in every other one it is answered. */
static void option_word(const char *word, const void *entry) {
    const struct qm_foreign_option *f = entry;
    assert_true(word[0] == '-' && !strchr(word, '_'));
    for (size_t i = 0; i < qm_n_commands; i++) {
        struct qm_error err = {0};
        assert_int_equal(qm_foreign_option(qm_commands[i], word, &err), QM_USAGE);
        assert_non_null(strstr(err.message, word));
        assert_null(strchr(err.message, '\n'));
        const char *name = strstr(err.message, "did you mean --");
        if (!f->options[0])
            assert_non_null(strstr(err.message, "not here, because "));
        else if (name) {
            bool taken = false;
            for (int k = 0; k < QM_FOREIGN_OPTIONS && f->options[k]; k++)
                taken = taken ||
                        (qm_command_takes(qm_commands[i], f->options[k]) &&
                         !strncmp(name + 15, qm_options[f->options[k]].name, strlen(qm_options[f->options[k]].name)));
            if (!taken)
                fail_msg("%s", err.message);
        } else {
            assert_non_null(strstr(err.message, "elsewhere it is --"));
        }
    }
    for (int o = 1; o < QM_OPT_COUNT; o++) /* what is not here may not be an option somewhere */
        if (!f->options[0] && word[1] == '-' && !strcmp(word + 2, qm_options[o].name))
            fail_msg("%s is an option", word);
}

static void command_word(const char *word, const void *entry) {
    const struct qm_foreign_command *f = entry;
    struct qm_error err = {0};
    if (command_of(word))
        fail_msg("%s is a command", word);
    assert_int_equal(qm_foreign_command(word, &err), QM_USAGE);
    assert_non_null(strstr(err.message, f->command ? "did you mean" : "not here, because "));
}

static void tables(void **state) {
    (void)state;
    for (const struct qm_foreign_option *f = qm_foreign_options; f->words; f++) {
        assert_true(f->options[0] || f->note);
        each_word(f->words, option_word, f);
    }
    for (const struct qm_foreign_command *f = qm_foreign_commands; f->words; f++) {
        if (f->command && !command_of(f->command))
            fail_msg("%s is no command", f->command);
        assert_true(f->command || f->note);
        each_word(f->words, command_word, f);
    }
}

/* By the parser, as people type them. */
static void answer(const char *command, const char *a, const char *b, const char *part) {
    char *argv[] = {"model", (char *)(uintptr_t)a, (char *)(uintptr_t)b, NULL};
    struct qm_args args;
    struct qm_error err = {0};
    int rc = qm_args_parse(command_of(command), b ? 3 : 2, argv, NULL, &args, &err);
    if (rc != QM_USAGE || !strstr(err.message, part))
        fail_msg("%s %s: expected \"%s\", found %d \"%s\"", command, a, part, rc, err.message);
}

static void common_words(void **state) {
    (void)state;
    answer("run", "-ngl", "99", "unknown option -ngl; did you mean --offload");
    answer("run", "--n-gpu-layers=99", NULL, "unknown option --n-gpu-layers; did you mean --offload");
    answer("chat", "-c", "4096", "did you mean --context");
    answer("chat", "--ctx-size", "4096", "did you mean --context");
    answer("batch", "--max_model_len", "4096", "did you mean --context");
    answer("run", "-t", "8", "did you mean --threads");
    answer("perplexity", "-t", "8", "did you mean --threads");
    answer("bench", "-b", "512", "did you mean --chunk");
    answer("run", "-b", "512", "elsewhere it is --chunk");
    answer("run", "-hf", "a/b", "not here, because nothing is ever downloaded");
    answer("run", "--n-predict", "5", "did you mean --max-tokens");
    answer("plan", "-n-predict", "5", "-n: expected an integer");
    answer("plan", "--n-predict", "5", "did you mean --generate");
    answer("run", "--ignore-eos", NULL, "not here, because");
    answer("run", "--tensor-parallel-size", "2", "did you mean --numa");
    answer("run", "--gpu-memory-utilization", "0.9", "did you mean --vram");
    answer("run", "--port", "8080", "elsewhere it is --listen");
    answer("serve", "--port", "8080", "did you mean --listen");
    answer("chat", "-p", "Hi", "did you mean --once");
    answer("batch", "-np", "4", "did you mean --sequences");
    answer("machine", "-m", "x", "elsewhere it is --model");
    /* our own words keep their meaning, and a word of another command is reported so */
    answer("run", "-n5x", NULL, "-n: expected an integer");
    answer("run", "--window", "5", "it belongs to perplexity");
    answer("run", "--temprature", "1", "did you mean --temperature?");
    char *own[] = {"model", "--temp", "0.5", "-n5"};
    struct qm_args args;
    struct qm_error err;
    assert_int_equal(qm_args_parse(command_of("run"), 4, own, NULL, &args, &err), QM_OK);
    qm_args_free(&args);
}

static void models(void **state) {
    (void)state;
    static const char *const names[][2] = {
        {"qwen3:30b", "names with a tag"},
        {"x.gguf", "GGUF is not here, because"},
        {"dir/X-Q4_K_M.GGUF", "GGUF is not here, because"},
        {"bartowski/X-GGUF", "GGUF is not here, because"},
        {"unsloth/Qwen3-4B-GGUF:Q4_K_M", "GGUF is not here, because"},
        {"hf.co/Qwen/Qwen3-4B", "did you mean Qwen/Qwen3-4B, "},
        {"https://huggingface.co/Qwen/Qwen3-4B/tree/main", "did you mean Qwen/Qwen3-4B, "},
        {"Qwen/Qwen3-4B", "not found"},
        {"folder", "not found"},
        {"", "not found"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct qm_error err;
        qm_fail(&err, QM_INPUT, "not found");
        qm_foreign_model(names[i][0], &err);
        if (!strstr(err.message, names[i][1]) || err.code != QM_INPUT)
            fail_msg("%s: %s", names[i][0], err.message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tables), cmocka_unit_test(common_words),
                                       cmocka_unit_test(models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
