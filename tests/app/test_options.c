/* The option parser: every form of an option, the environment, the positional arguments, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/batch/options.h"
#include "app/command_list.h"
#include "app/options.h"
#include "engine/memory.h"

static const unsigned char options[] = {QM_OPT_PROMPT, QM_OPT_MAX_TOKENS,       QM_OPT_TEMPERATURE,
                                        QM_OPT_STOP,   QM_OPT_LOGPROBS,         QM_OPT_JSON,
                                        QM_OPT_DECODE, QM_OPT_PRESENCE_PENALTY, QM_OPT_END};
static const struct qm_command command = {
    .name = "try",
    .usage = "MODEL [TEXT]",
    .options = options,
    .common = true,
    .max_positional = 1,
    .takes_model = true,
};

enum { MAX_ARGS = 16 };

/* Arguments separated by '|'. */
static int parse_of(const struct qm_command *c, const char *line, char *const *environment, struct qm_args *out,
                    struct qm_error *err) {
    static char text[512];
    char *argv[MAX_ARGS];
    int argc = 0;
    strcpy(text, line);
    for (char *p = text; p && *line; argc++) {
        argv[argc] = p;
        p = strchr(p, '|');
        if (p)
            *p++ = 0;
    }
    *err = (struct qm_error){0};
    return qm_args_parse(c, argc, argv, environment, out, err);
}

static int parse_with(const char *line, char *const *environment, struct qm_args *out, struct qm_error *err) {
    return parse_of(&command, line, environment, out, err);
}

static struct qm_args parse(const char *line) {
    struct qm_args a;
    struct qm_error err;
    if (parse_with(line, NULL, &a, &err))
        fail_msg("%s: %s", line, err.message);
    return a;
}

/* Refused, with a message that has `part` in it. */
static void refused(const char *line, const char *part) {
    struct qm_args a;
    struct qm_error err;
    int rc = parse_with(line, NULL, &a, &err);
    if (rc != QM_USAGE || !strstr(err.message, part))
        fail_msg("%s: expected \"%s\", found %d \"%s\"", line, part, rc, err.message);
}

/* What a mode does not use is refused where it was typed, not where the environment has it for whatever uses it. */
static void test_modes(void **state) {
    (void)state;
    static const unsigned char decode_uses[] = {QM_OPT_JSON, QM_OPT_END}, json_refuses[] = {QM_OPT_STOP, QM_OPT_END};
    static const struct qm_mode modes[] = {
        {.by = QM_OPT_DECODE, .or_several = true, .alone = true, .uses = decode_uses},
        {.by = QM_OPT_JSON, .refuses = json_refuses},
        {.by = QM_OPT_END}};
    static const struct qm_need needs[] = {{QM_OPT_LOGPROBS, QM_OPT_JSON, QM_OPT_STOP}, {QM_OPT_END, 0, 0}};
    const struct qm_command with_modes = {.name = "try",
                                          .usage = "",
                                          .options = options,
                                          .common = true,
                                          .modes = modes,
                                          .needs = needs,
                                          .max_positional = 2,
                                          .takes_model = true,
                                          .demo_without_model = true};
    static const struct {
        const char *line, *part; /* NULL: taken */
    } cases[] = {{"dir|-p|x", NULL},
                 {"--decode|--json", NULL},
                 {"--decode|5|--silent", NULL},
                 {"dir|--json|-p|x", NULL},
                 {"--stop|a|--logprobs", NULL},
                 {"--decode|-p|x", "try: --prompt does not go with --decode"},
                 {"--threads|2|--decode", "--threads does not go with --decode"},
                 {"-m|dir|--decode", "--model does not go with --decode"},
                 {"dir|--decode", "--decode takes no argument, found \"dir\""},
                 {"dir|text|-p|x", "--prompt does not go with several models"},
                 {"dir|--stop|a|--json", "--stop does not go with --json"},
                 {"dir|--logprobs", "--logprobs goes with --json or --stop"}};
    char *const environment[] = {"QUIETMIND_PROMPT=x", "QUIETMIND_THREADS=3", "QUIETMIND_MODEL=dir",
                                 "QUIETMIND_LOGPROBS=2", NULL};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int from = 0; from < 2; from++) {
            struct qm_args a;
            struct qm_error err;
            int rc = parse_of(&with_modes, cases[i].line, from ? environment : NULL, &a, &err);
            if (rc != (cases[i].part ? QM_USAGE : QM_OK) || (rc && !strstr(err.message, cases[i].part)))
                fail_msg("%s: expected \"%s\", found %d \"%s\"", cases[i].line, cases[i].part ? cases[i].part : "", rc,
                         err.message);
            if (!rc)
                qm_args_free(&a);
        }
    }
}

static void test_forms(void **state) {
    (void)state;
    struct qm_args a = parse("dir|-p|a b|-n5|--temperature=0.5|--json");
    assert_string_equal(a.model, "dir");
    assert_string_equal(qm_args_text(&a, QM_OPT_PROMPT, ""), "a b");
    assert_int_equal(qm_args_int(&a, QM_OPT_MAX_TOKENS, 0), 5);
    assert_true(qm_args_real(&a, QM_OPT_TEMPERATURE, 0) == 0.5);
    assert_true(a.option[QM_OPT_JSON].set);
    assert_int_equal(qm_args_int(&a, QM_OPT_CONTEXT, 77), 77);
    qm_args_free(&a);

    a = parse("--temp|1e-1|--presence-penalty|-1.5|--model|dir|text");
    assert_true(qm_args_real(&a, QM_OPT_TEMPERATURE, 0) == 0.1);
    assert_true(qm_args_real(&a, QM_OPT_PRESENCE_PENALTY, 0) == -1.5);
    assert_string_equal(a.model, "dir");
    assert_int_equal(a.n_positional, 1);
    assert_string_equal(a.positional[0], "text");
    qm_args_free(&a);

    a = parse("dir|--|--json");
    assert_false(a.option[QM_OPT_JSON].set);
    assert_string_equal(a.positional[0], "--json");
    qm_args_free(&a);

    a = parse("dir|-n|1|-n|2|--stop|x|--stop=y");
    assert_int_equal(qm_args_int(&a, QM_OPT_MAX_TOKENS, 0), 2);
    assert_int_equal(a.option[QM_OPT_STOP].n_list, 2);
    assert_string_equal(a.option[QM_OPT_STOP].list[1], "y");
    qm_args_free(&a);

    a = parse("--help|--nonsense");
    assert_true(a.option[QM_OPT_HELP].set);
    qm_args_free(&a);
}

static void test_values_that_may_be_left_out(void **state) {
    (void)state;
    struct qm_args a = parse("--logprobs|dir");
    assert_true(a.option[QM_OPT_LOGPROBS].set);
    assert_int_equal(qm_args_int(&a, QM_OPT_LOGPROBS, -1), 0);
    assert_string_equal(a.model, "dir");
    qm_args_free(&a);
    a = parse("--logprobs|5|dir|--decode");
    assert_int_equal(qm_args_int(&a, QM_OPT_LOGPROBS, -1), 5);
    assert_true(a.option[QM_OPT_DECODE].set && !a.option[QM_OPT_DECODE].has_value);
    qm_args_free(&a);
    a = parse("--decode|1 2,3|dir");
    assert_string_equal(a.option[QM_OPT_DECODE].text, "1 2,3");
    assert_string_equal(a.model, "dir");
    qm_args_free(&a);
    refused("dir|--logprobs|21", "from 0 to 20");
}

static void test_refusals(void **state) {
    (void)state;
    refused("", "which model");
    refused("dir|a|b", "unexpected argument \"b\"");
    refused("dir|--temprature|1", "did you mean --temperature?");
    refused("dir|--tokens|1", "unknown option --tokens");
    refused("dir|--thread=3", "did you mean --threads?");
    refused("dir|-z", "unknown option -z");
    refused("dir|--window|5", "unknown option --window");
    refused("dir|--json=1", "takes no value");
    refused("dir|-n", "expected N after it");
    refused("dir|-n|5x", "-n: expected an integer");
    refused("dir|-n|", "found \"\"");
    refused("dir|-n| 5", "found \" 5\"");
    refused("dir|-n|99999999999999999999", "expected an integer");
    refused("dir|--threads|-1", "--threads: expected an integer from 0 to 1024, found \"-1\"");
    refused("dir|--temperature|nan", "expected a number");
    refused("dir|--temperature|inf", "expected a number");
    refused("dir|--temperature|0x1", "expected a number");
    refused("dir|--temperature|-0.1", "from 0 to 100");
    refused("dir|--presence-penalty|2.5", "from -2 to 2");
    refused("--model|", "empty");
}

static void test_environment(void **state) {
    (void)state;
    char *const environment[] = {
        "QUIETMIND_THREADS=3",  "QUIETMIND_TEMPERATURE=0.25", "QUIETMIND_JSON=1", "QUIETMIND_MODEL=dir",
        "QUIETMIND_WINDOW=bad", "QUIETMIND_CONTEXT=",         "OTHER=1",          NULL};
    struct qm_args a;
    struct qm_error err;
    assert_int_equal(parse_with("--threads|2", environment, &a, &err), QM_OK);
    assert_int_equal(qm_args_int(&a, QM_OPT_THREADS, 0), 2);
    assert_true(qm_args_real(&a, QM_OPT_TEMPERATURE, 0) == 0.25);
    assert_true(a.option[QM_OPT_JSON].set);
    assert_false(a.option[QM_OPT_CONTEXT].set);
    assert_string_equal(a.model, "dir");
    qm_args_free(&a);
    /* a model among the arguments is not taken for something else */
    assert_int_equal(parse_with("mine|text", environment, &a, &err), QM_OK);
    assert_string_equal(a.model, "mine");
    assert_string_equal(a.positional[0], "text");
    qm_args_free(&a);

    char *const wrong[] = {"QUIETMIND_THREADS=x", NULL}, *const no_flag[] = {"QUIETMIND_JSON=maybe", NULL};
    assert_int_equal(parse_with("dir", wrong, &a, &err), QM_USAGE);
    assert_non_null(strstr(err.message, "QUIETMIND_THREADS: expected an integer"));
    assert_int_equal(parse_with("dir", no_flag, &a, &err), QM_USAGE);
    assert_non_null(strstr(err.message, "QUIETMIND_JSON"));
}

static bool taken_together(enum qm_option a, enum qm_option b) {
    for (size_t i = 0; i < qm_n_commands; i++)
        if (qm_command_takes(qm_commands[i], a) && qm_command_takes(qm_commands[i], b))
            return true;
    return false;
}

/* Every option of the table has what help needs, and a name of its own among those that a command takes with it. */
static void test_table(void **state) {
    (void)state;
    for (int i = 1; i < QM_OPT_COUNT; i++) {
        const struct qm_option_info *o = &qm_options[i];
        assert_non_null(o->name);
        assert_non_null(o->help);
        assert_true((o->kind == QM_VALUE_NONE) == (o->value == NULL));
        for (int j = 1; j < i; j++) {
            if (!taken_together(i, j))
                continue;
            assert_string_not_equal(o->name, qm_options[j].name);
            assert_true(!o->letter || o->letter != qm_options[j].letter);
        }
        char name[64];
        qm_option_environment(i, name, sizeof name);
        assert_true(strncmp(name, "QUIETMIND_", 10) == 0 && !strchr(name, '-'));
    }
}

/* Help shows every option that a command takes once, and a default wherever there is a number to give. */
static void test_groups(void **state) {
    (void)state;
    int seen[QM_OPT_COUNT] = {0};
    for (size_t g = 0; g < qm_n_option_groups; g++)
        for (const unsigned char *o = qm_option_groups[g].options; *o; o++)
            seen[*o]++;
    for (int o = 1; o < QM_OPT_COUNT; o++) {
        const struct qm_option_info *info = &qm_options[o];
        bool number = info->kind == QM_VALUE_INT || info->kind == QM_VALUE_MAYBE_INT || info->kind == QM_VALUE_REAL;
        if (!info->name)
            continue;
        if (seen[o] != 1)
            fail_msg("--%s is in %d groups", info->name, seen[o]);
        if (number && !info->initial)
            fail_msg("--%s shows no default", info->name);
    }
}

/* What help shows is what the program takes. */
static void test_defaults(void **state) {
    (void)state;
    static const struct {
        enum qm_option option;
        int taken;
    } all[] = {{QM_OPT_CHUNK, QM_DEFAULT_CHUNK},
               {QM_OPT_SEQUENCES, QM_BATCH_SEQUENCES},
               {QM_OPT_LOOK_AHEAD, QM_BATCH_LOOK_AHEAD}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const char *shown = qm_options[all[i].option].initial;
        assert_non_null(shown);
        assert_int_equal(strtol(shown, NULL, 10), all[i].taken);
    }
}

/* What an option is in one command is described there, and only there: no default of another command. */
static void words_of_a_command(void **state) {
    (void)state;
    assert_string_equal(qm_command_words(&qm_cmd_run, QM_OPT_SEED).initial, "by the clock");
    assert_string_equal(qm_command_words(&qm_cmd_compare, QM_OPT_SEED).initial, "0");
    assert_string_equal(qm_command_words(&qm_cmd_compare, QM_OPT_TEMPERATURE).initial, "0");
    assert_string_equal(qm_command_words(&qm_cmd_compare, QM_OPT_TEMPERATURE).help,
                        qm_options[QM_OPT_TEMPERATURE].help);
    assert_non_null(strstr(qm_command_words(&qm_cmd_plan, QM_OPT_PROFILE_EXPERTS).help, "wrote to FILE"));
    for (size_t i = 0; i < qm_n_commands; i++)
        for (const struct qm_option_words *w = qm_commands[i]->words; w && w->option; w++)
            assert_true(qm_command_takes(qm_commands[i], w->option));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_modes),         cmocka_unit_test(test_values_that_may_be_left_out),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_environment),
        cmocka_unit_test(test_table),         cmocka_unit_test(test_defaults),
        cmocka_unit_test(words_of_a_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
