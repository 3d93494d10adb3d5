/* From the command line to a command, and from a command's result to an exit code. */
#include "app/app.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/command_list.h"
#include "app/completion.h"
#include "app/foreign.h"
#include "app/help.h"
#include "app/out.h"
#include "app/paths.h"
#include "app/remedy.h"
#include "app/signals.h"
#include "base/parse.h"

static int run_help(const struct qm_args *args, struct qm_error *err);

static const unsigned char help_options[] = {QM_OPT_MAN, QM_OPT_COMPLETION, QM_OPT_END};
static const struct qm_command cmd_help = {
    .name = "help",
    .usage = "[COMMAND]",
    .summary = "Explain the program, or one command",
    .details = "",
    .example = "quietmind help run\nquietmind help --man > quietmind.1\nsource <(quietmind help --completion bash)\n",
    .options = help_options,
    .max_positional = 1,
    .run = run_help,
};

const struct qm_command *const qm_commands[] = {
    &qm_cmd_run,    &qm_cmd_chat,   &qm_cmd_serve,      &qm_cmd_batch,   &qm_cmd_tokenize,
    &qm_cmd_render, &qm_cmd_logits, &qm_cmd_perplexity, &qm_cmd_inspect, &qm_cmd_machine,
    &qm_cmd_plan,   &qm_cmd_bench,  &qm_cmd_compare,    &cmd_help,
};
enum { N_COMMANDS = sizeof qm_commands / sizeof *qm_commands };
const size_t qm_n_commands = N_COMMANDS;

static int find_command(const char *name, const struct qm_command **out, struct qm_error *err) {
    const char *names[N_COMMANDS];
    for (size_t i = 0; i < N_COMMANDS; i++) {
        names[i] = qm_commands[i]->name;
        if (!strcmp(names[i], name)) {
            *out = qm_commands[i];
            return QM_OK;
        }
    }
    bool option = name[0] == '-';
    const char *near = qm_nearest(name + strspn(name, "-"), names, N_COMMANDS);
    if (option)
        return qm_fail(err, QM_USAGE,
                       "unknown option %s: the command comes first, as in quietmind run ...; see quietmind --help",
                       name);
    int rc = qm_foreign_command(name, err);
    if (rc)
        return rc;
    if (near)
        return qm_fail(err, QM_USAGE, "unknown command \"%s\"; did you mean %s?", name, near);
    if (strchr(name, '/') || access(name, F_OK) == 0)
        return qm_fail(
            err, QM_USAGE,
            "unknown command \"%s\": the command comes first, as in quietmind chat MODEL; see quietmind --help", name);
    return qm_fail(err, QM_USAGE, "unknown command \"%s\"; see quietmind --help", name);
}

static int run_help(const struct qm_args *args, struct qm_error *err) {
    if (args->option[QM_OPT_MAN].set)
        return qm_help_man(qm_commands, N_COMMANDS, err);
    if (args->option[QM_OPT_COMPLETION].set)
        return qm_completion(args->option[QM_OPT_COMPLETION].text, qm_commands, N_COMMANDS, err);
    const struct qm_command *command;
    if (args->n_positional == 0)
        return qm_help_program(qm_commands, N_COMMANDS, err);
    int rc = find_command(args->positional[0], &command, err);
    return rc ? rc : qm_help_command(command, err);
}

static int run_command(const struct qm_args *args, struct qm_error *err) {
    int rc = qm_paths_check(args, err);
    return rc ? rc : args->command->run(args, err);
}

static int dispatch(int argc, char **argv, char **environment, struct qm_error *err) {
    if (argc < 2) {
        qm_fail(err, QM_USAGE, "which command? See quietmind --help; quietmind chat talks to the demonstration model");
        return QM_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return qm_help_program(qm_commands, N_COMMANDS, err);
    if (!strcmp(argv[1], "--version"))
        return qm_out_text("quietmind " QM_VERSION "\n", err);
    const struct qm_command *command;
    struct qm_args args;
    int rc = find_command(argv[1], &command, err);
    if (!rc)
        rc = qm_args_parse(command, argc - 2, argv + 2, environment, &args, err);
    if (rc)
        return rc;
    rc = args.option[QM_OPT_HELP].set ? qm_help_command(command, err) : run_command(&args, err);
    qm_args_free(&args);
    return rc;
}

int qm_app_main(int argc, char **argv, char **environment) {
    struct qm_error err = {0}, flush_err = {0};
    setlocale(LC_CTYPE, "C.UTF-8"); /* for line editing; numbers and dates stay the C locale's */
    qm_signals_install();
    int rc = dispatch(argc, argv, environment, &err);
    int flushed = qm_out_flush(&flush_err);
    if (flushed && (rc == QM_OK || rc == QM_INTERRUPTED)) {
        rc = flushed;
        err = flush_err;
    }
    if (rc == QM_PIPE_CLOSED)
        return QM_OK;
    qm_remedy_add(&err);
    if (rc != QM_OK && err.message[0])
        fprintf(stderr, "quietmind: %s\n", err.message);
    return qm_exit_code(rc);
}
