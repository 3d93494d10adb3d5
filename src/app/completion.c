/* A function for bash, and one for zsh. Both offer a command's options, after an option with a choice its choices,
 * elsewhere files. */
#include "app/completion.h"

#include <stdio.h>
#include <string.h>

#include "app/out.h"

/* Values that an option chooses from. */
static const struct {
    enum qm_option option;
    const char *words;
} choices[] = {
    {QM_OPT_ISA, "scalar avx2 avx512 avx512bf16 amx"},
    {QM_OPT_KV_TYPE, "bf16 f16 f32"},
    {QM_OPT_DTYPE, "bf16 f16 f32"},
    {QM_OPT_NUMA, "auto off"},
    {QM_OPT_OFFLOAD, "auto require none"},
    {QM_OPT_OUTPUT_FORMAT, "md csv json jsonl html"},
    {QM_OPT_FORMAT, "jsonl md txt csv json"},
    {QM_OPT_ON_BATTERY, "pause work"},
    {QM_OPT_COMPLETION, "bash zsh"},
};

static const char *choices_of(enum qm_option option) {
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (choices[i].option == option)
            return choices[i].words;
    return NULL;
}

/* Whether what follows the option's name as a word of its own is its value. */
static bool takes_word(const struct qm_option_info *o) {
    return o->kind != QM_VALUE_NONE && o->kind != QM_VALUE_MAYBE_TEXT && o->kind != QM_VALUE_MAYBE_INT &&
           o->kind != QM_VALUE_MAYBE_IDS;
}

/* Names of files are what options called so take, and what is not known better. */
static bool takes_file(const struct qm_option_info *o) {
    static const char *const names[] = {"FILE", "OUT",   "OUT2",   "DIR",    "PATH",
                                        "IN",   "SHAPE", "DEVICE", "RESULT", "WHAT"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (o->value && !strcmp(o->value, names[i]))
            return true;
    return false;
}

static int option_names(enum qm_option option, const char *separator, struct qm_error *err) {
    const struct qm_option_info *o = &qm_options[option];
    int rc = qm_out_printf(err, "--%s", o->name);
    if (!rc && o->alias)
        rc = qm_out_printf(err, "%s--%s", separator, o->alias);
    if (!rc && o->letter)
        rc = qm_out_printf(err, "%s-%c", separator, o->letter);
    return rc;
}

static int command_names(const struct qm_command *const *commands, size_t n, struct qm_error *err) {
    int rc = QM_OK;
    for (size_t i = 0; i < n && !rc; i++)
        rc = qm_out_printf(err, "%s%s", i ? " " : "", commands[i]->name);
    return rc;
}

/* --- bash --------------------------------------------------------------------------------------------------- */

/* The case of one command: its options, and the values of those that take one. */
static int bash_command(const struct qm_command *c, struct qm_error *err) {
    int rc = qm_out_printf(err, "    %s)\n        case $prev in\n", c->name);
    for (int o = 1; o < QM_OPT_COUNT && !rc; o++) {
        const struct qm_option_info *info = &qm_options[o];
        const char *words = choices_of(o);
        if (!qm_command_takes(c, o) || !takes_word(info))
            continue;
        if (!(rc = qm_out_text("        ", err)) && !(rc = option_names(o, "|", err)))
            rc = words              ? qm_out_printf(err, ") words='%s' ;;\n", words)
                 : takes_file(info) ? qm_out_text(") files=1 ;;\n", err)
                                    : qm_out_text(") return ;;\n", err);
    }
    if (!rc)
        rc = qm_out_text("        *) files=1; options='", err);
    bool first = true;
    for (int o = 1; o < QM_OPT_COUNT && !rc; o++)
        if (qm_command_takes(c, o)) {
            rc = first ? QM_OK : qm_out_text(" ", err);
            if (!rc)
                rc = option_names(o, " ", err);
            first = false;
        }
    return rc ? rc : qm_out_text("' ;;\n        esac ;;\n", err);
}

static int bash(const struct qm_command *const *commands, size_t n, struct qm_error *err) {
    int rc =
        qm_out_text("# bash completion of quietmind " QM_VERSION ", by: quietmind help --completion bash\n"
                    "_quietmind() {\n"
                    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words= options= files=\n"
                    "    COMPREPLY=()\n"
                    "    if ((COMP_CWORD == 1)); then\n        words='",
                    err);
    if (!rc)
        rc = command_names(commands, n, err);
    if (!rc)
        rc = qm_out_text(" --help --version'\n    else\n    case ${COMP_WORDS[1]} in\n", err);
    for (size_t i = 0; i < n && !rc; i++)
        rc = bash_command(commands[i], err);
    if (!rc)
        rc = qm_out_text("    esac\n    fi\n    [[ ${COMP_WORDS[1]} == help && -n $files ]] && words='", err);
    if (!rc)
        rc = command_names(commands, n, err);
    return rc ? rc
              : qm_out_text("'\n    if [[ $cur == -* && -n $options ]]; then\n"
                            "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
                            "    elif [[ -n $words ]]; then\n"
                            "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
                            "    elif [[ -n $files ]]; then\n"
                            "        compopt -o filenames 2>/dev/null\n"
                            "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
                            "    fi\n}\ncomplete -F _quietmind quietmind\n",
                            err);
}

/* --- zsh ---------------------------------------------------------------------------------------------------- */

/* Inside of single quotes and of _arguments' brackets. */
static int zsh_text(const char *text, struct qm_error *err) {
    int rc = QM_OK;
    for (; *text && !rc; text++)
        rc = *text == '\''            ? qm_out_text("'\\''", err)
             : strchr("[]:\\", *text) ? qm_out_printf(err, "\\%c", *text)
                                      : qm_out_write(text, 1, err);
    return rc;
}

static int zsh_name(const struct qm_command *c, enum qm_option option, const char *dashes, const char *name,
                    struct qm_error *err) {
    const struct qm_option_info *o = &qm_options[option];
    const char *words = choices_of(option), *joined = o->kind == QM_VALUE_MAYBE_TEXT ? "=-" : "";
    int rc =
        qm_out_printf(err, " \\\n            '%s%s%s%s[", o->kind == QM_VALUE_LIST ? "*" : "", dashes, name, joined);
    if (!rc)
        rc = zsh_text(qm_command_words(c, option).help, err);
    if (!rc)
        rc = qm_out_text("]", err);
    if (!rc && o->kind != QM_VALUE_NONE && (rc = qm_out_text(takes_word(o) ? ":" : "::", err)) == QM_OK)
        rc = zsh_text(o->value, err);
    if (!rc && o->kind != QM_VALUE_NONE)
        rc = words           ? qm_out_printf(err, ":(%s)", words)
             : takes_file(o) ? qm_out_text(":_files", err)
                             : qm_out_text(": ", err);
    return rc ? rc : qm_out_text("'", err);
}

static int zsh_command(const struct qm_command *c, const struct qm_command *const *commands, size_t n,
                       struct qm_error *err) {
    int rc = qm_out_printf(err, "        %s)\n            _arguments", c->name);
    for (int o = 1; o < QM_OPT_COUNT && !rc; o++) {
        const struct qm_option_info *info = &qm_options[o];
        char letter[2] = {info->letter, 0};
        if (!qm_command_takes(c, o))
            continue;
        rc = zsh_name(c, o, "--", info->name, err);
        if (!rc && info->alias)
            rc = zsh_name(c, o, "--", info->alias, err);
        if (!rc && info->letter)
            rc = zsh_name(c, o, "-", letter, err);
    }
    if (!rc && !strcmp(c->name, "help")) {
        rc = qm_out_text(" \\\n            '1:command:(", err);
        if (!rc)
            rc = command_names(commands, n, err);
        return rc ? rc : qm_out_text(")' ;;\n", err);
    }
    return rc ? rc : qm_out_text(" \\\n            '*:file:_files' ;;\n", err);
}

static int zsh(const struct qm_command *const *commands, size_t n, struct qm_error *err) {
    int rc = qm_out_text("#compdef quietmind\n# zsh completion of quietmind " QM_VERSION
                         ", by: quietmind help --completion zsh\n"
                         "_quietmind() {\n    local -a commands=(\n",
                         err);
    for (size_t i = 0; i < n && !rc; i++) {
        rc = qm_out_printf(err, "        '%s:", commands[i]->name);
        if (!rc)
            rc = zsh_text(commands[i]->summary, err);
        if (!rc)
            rc = qm_out_text("'\n", err);
    }
    if (!rc)
        rc = qm_out_text(
            "    )\n    if ((CURRENT == 2)); then\n        _describe command commands\n        return\n    fi\n"
            "    local command=$words[2]\n    shift words\n    ((CURRENT--))\n    case $command in\n",
            err);
    for (size_t i = 0; i < n && !rc; i++)
        rc = zsh_command(commands[i], commands, n, err);
    return rc ? rc
              : qm_out_text("    esac\n}\nif [[ $funcstack[1] == _quietmind ]]; then\n    _quietmind \"$@\"\nelse\n"
                            "    compdef _quietmind quietmind\nfi\n",
                            err);
}

int qm_completion(const char *shell, const struct qm_command *const *commands, size_t n, struct qm_error *err) {
    if (!strcmp(shell, "bash"))
        return bash(commands, n, err);
    if (!strcmp(shell, "zsh"))
        return zsh(commands, n, err);
    return qm_fail(err, QM_USAGE, "--completion: expected bash or zsh, found \"%s\"", shell);
}
