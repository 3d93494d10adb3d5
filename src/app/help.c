/* The same tables as text of at most 80 columns, and as roff. */
#include "app/help.h"

#include <stdio.h>
#include <string.h>

#include "app/out.h"
#include "base/buf.h"

static const char ABOUT[] = "quietmind runs large language models on the CPU, at the precision they were\n"
                            "published in, from the Hugging Face folder as it was downloaded.\n";

static const char MODELS[] = "MODEL is a directory with config.json, *.safetensors and the tokenizer's files,\n"
                             "or a name like Qwen/Qwen3-30B-A3B that was downloaded into the local Hugging\n"
                             "Face cache (HF_HUB_CACHE, HF_HOME/hub or ~/.cache/huggingface/hub). Nothing is\n"
                             "ever downloaded. It is the first argument, or -m.\n";

static const char STREAMS[] = "Standard output carries the result only; standard error the progress. Every\n"
                              "option can also be given as an environment variable, QUIETMIND_ and its name:\n"
                              "QUIETMIND_THREADS=4 is --threads 4. The command line wins. QUIETMIND_DEMO names\n"
                              "the directory of the demonstration model where it is not beside the program.\n"
                              "A reader that closes the pipe early ends the program silently, with exit code 0.\n";

struct exit_code {
    int code;
    const char *meaning;
};

static const struct exit_code exit_codes[] = {
    {QM_OK, "done"},
    {QM_DISAGREE, "done, and the answer is no (a comparison that disagrees, no row answered)"},
    {QM_USAGE, "wrong usage"},
    {QM_INPUT, "input refused: a model, a file or a prompt"},
    {QM_FIT, "does not fit in memory, or this CPU can't"},
    {QM_SYSTEM, "the system failed: a full disk, an unreadable device"},
    {QM_STOPPED, "stopped as asked, and can be resumed"},
    {QM_INTERRUPTED, "interrupted (Ctrl-C)"},
};

enum { N_EXIT_CODES = sizeof exit_codes / sizeof *exit_codes, HELP_COLUMN = 28, HELP_WIDTH = 79 };

int qm_exit_code(int code) {
    return code == QM_BUSY ? QM_FIT : code == QM_GONE ? QM_INPUT : code;
}

/* "-n, --max-tokens N" */
static void option_heading(enum qm_option option, char *out, size_t size) {
    const struct qm_option_info *o = &qm_options[option];
    char letter[8] = "", alias[48] = "";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    if (o->alias)
        snprintf(alias, sizeof alias, ", --%s", o->alias);
    bool maybe = o->kind == QM_VALUE_MAYBE_INT || o->kind == QM_VALUE_MAYBE_IDS;
    bool joined = o->kind == QM_VALUE_MAYBE_TEXT;
    const char *before = joined ? "[=" : maybe ? " [" : o->value ? " " : "";
    snprintf(out, size, "%s--%s%s%s%s%s", letter, o->name, alias, before, o->value ? o->value : "",
             maybe || joined ? "]" : "");
}

/* Prints words of `text` from HELP_COLUMN on; the cursor is at column `at`. */
static int wrapped(const char *text, int at, struct qm_error *err) {
    int rc = at + 1 < HELP_COLUMN ? qm_out_printf(err, "%*s", HELP_COLUMN - at, "")
                                  : qm_out_printf(err, "\n%*s", HELP_COLUMN, "");
    at = HELP_COLUMN;
    while (*text && !rc) {
        int n = (int)strcspn(text, " ");
        if (at > HELP_COLUMN && at + 1 + n > HELP_WIDTH) {
            rc = qm_out_printf(err, "\n%*s%.*s", HELP_COLUMN, "", n, text);
            at = HELP_COLUMN + n;
        } else {
            rc = qm_out_printf(err, "%s%.*s", at > HELP_COLUMN ? " " : "", n, text);
            at += n + (at > HELP_COLUMN);
        }
        text += n + (text[n] == ' ');
    }
    return rc ? rc : qm_out_text("\n", err);
}

/* "help text (default: 5)" */
static void option_text(const struct qm_command *c, enum qm_option option, char *out, size_t size) {
    struct qm_option_words w = qm_command_words(c, option);
    snprintf(out, size, w.initial ? "%s (default: %s)" : "%s", w.help, w.initial);
}

static int option_line(const struct qm_command *c, enum qm_option option, struct qm_error *err) {
    char heading[128], text[512];
    option_heading(option, heading, sizeof heading);
    option_text(c, option, text, sizeof text);
    int rc = qm_out_printf(err, "  %s", heading);
    return rc ? rc : wrapped(text, 2 + (int)strlen(heading), err);
}

/* Calls f for each option that the command takes, group by group; name is NULL but before a group's first one. */
static int each_option(const struct qm_command *c,
                       int (*f)(const struct qm_command *c, const char *name, enum qm_option o, struct qm_error *err),
                       struct qm_error *err) {
    int rc = QM_OK;
    for (size_t g = 0; g < qm_n_option_groups; g++) {
        const char *name = qm_option_groups[g].name;
        for (const unsigned char *o = qm_option_groups[g].options; *o && !rc; o++) {
            if (!qm_command_takes(c, *o))
                continue;
            rc = f(c, name, *o, err);
            name = NULL;
        }
    }
    return rc;
}

static int help_option(const struct qm_command *c, const char *group, enum qm_option o, struct qm_error *err) {
    int rc = group ? qm_out_printf(err, "\n%s:\n", group) : QM_OK;
    return rc ? rc : option_line(c, o, err);
}

/* Every line of `text` after two spaces. */
static int indented(const char *text, struct qm_error *err) {
    int rc = QM_OK;
    while (*text && !rc) {
        int n = (int)strcspn(text, "\n");
        rc = qm_out_printf(err, "  %.*s\n", n, text);
        text += n + (text[n] == '\n');
    }
    return rc;
}

int qm_help_command(const struct qm_command *c, struct qm_error *err) {
    int rc = qm_out_printf(err, "quietmind %s%s%s\n\n%s.\n%s%s\nExample:\n", c->name, *c->usage ? " " : "", c->usage,
                           c->summary, *c->details ? "\n" : "", c->details);
    if (!rc)
        rc = indented(c->example, err);
    return rc ? rc : each_option(c, help_option, err);
}

int qm_help_program(const struct qm_command *const *commands, size_t n, struct qm_error *err) {
    int rc = qm_out_printf(err, "quietmind COMMAND [options]\n\n%s\nCommands:\n", ABOUT);
    for (size_t i = 0; i < n && !rc; i++)
        rc = qm_out_printf(err, "  %-12s%s\n", commands[i]->name, commands[i]->summary);
    if (!rc)
        rc = qm_out_printf(err,
                           "\nquietmind COMMAND --help explains one; quietmind --version shows the version.\n\n"
                           "%s\n%s\nExamples:\n  quietmind chat\n  quietmind chat Qwen/Qwen3-4B -f report.txt\n"
                           "  quietmind run ~/models/Llama-3.1-8B -p \"Once upon a time\" -n 100\n\nExit codes:\n",
                           MODELS, STREAMS);
    for (int i = 0; i < N_EXIT_CODES && !rc; i++)
        rc = qm_out_printf(err, "  %-4d%s\n", exit_codes[i].code, exit_codes[i].meaning);
    return rc;
}

/* Roff takes backslashes, hyphens and a leading dot or quote for its own. */
static int roff(const char *text, struct qm_error *err) {
    bool line_start = true;
    int rc = QM_OK;
    for (; *text && !rc; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            rc = qm_out_text("\\&", err);
        if (!rc && *text == '\\')
            rc = qm_out_text("\\e", err);
        else if (!rc && *text == '-')
            rc = qm_out_text("\\-", err);
        else if (!rc)
            rc = qm_out_write(text, 1, err);
        line_start = *text == '\n';
    }
    return rc;
}

static int roff_pair(const char *before, const char *text, const char *after, struct qm_error *err) {
    int rc = qm_out_text(before, err);
    if (!rc)
        rc = roff(text, err);
    return rc ? rc : qm_out_text(after, err);
}

static int roff_option(const struct qm_command *c, const char *group, enum qm_option option, struct qm_error *err) {
    char heading[128], text[512];
    option_heading(option, heading, sizeof heading);
    option_text(c, option, text, sizeof text);
    int rc = group ? roff_pair(".PP\n", group, ":\n", err) : QM_OK;
    if (!rc)
        rc = roff_pair(".TP\n.B ", heading, "\n", err);
    return rc ? rc : roff_pair("", text, "\n", err);
}

static int roff_command(const struct qm_command *c, struct qm_error *err) {
    char heading[256];
    snprintf(heading, sizeof heading, "quietmind %s %s", c->name, c->usage);
    int rc = roff_pair(".SS ", heading, "\n", err);
    if (!rc)
        rc = roff_pair("", c->summary, ".\n", err);
    if (!rc && *c->details)
        rc = roff_pair(".PP\n.nf\n", c->details, ".fi\n", err);
    if (!rc)
        rc = roff_pair(".PP\nExample:\n.PP\n.RS\n.nf\n", c->example, ".fi\n.RE\n", err);
    return rc ? rc : each_option(c, roff_option, err);
}

int qm_help_man(const struct qm_command *const *commands, size_t n, struct qm_error *err) {
    int rc = qm_out_text(".TH QUIETMIND 1 \"\" \"quietmind " QM_VERSION "\" \"User Commands\"\n.SH NAME\n"
                         "quietmind \\- language models on the CPU\n.SH SYNOPSIS\n.B quietmind\n.I COMMAND\n[options]\n"
                         ".SH DESCRIPTION\n",
                         err);
    if (!rc)
        rc = roff_pair("", ABOUT, ".PP\n", err);
    if (!rc)
        rc = roff_pair("", MODELS, ".SH COMMANDS\n", err);
    for (size_t i = 0; i < n && !rc; i++)
        rc = roff_command(commands[i], err);
    if (!rc)
        rc = roff_pair(".SH STREAMS AND ENVIRONMENT\n", STREAMS, ".SH EXIT STATUS\n", err);
    for (int i = 0; i < N_EXIT_CODES && !rc; i++)
        rc = qm_out_printf(err, ".TP\n.B %d\n%s\n", exit_codes[i].code, exit_codes[i].meaning);
    return rc;
}
