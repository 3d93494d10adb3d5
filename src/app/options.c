/* Parsing of arguments and environment by the table of options. */
#include "app/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/command_list.h"
#include "app/foreign.h"
#include "base/parse.h"

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

void qm_option_environment(enum qm_option option, char *out, size_t size) {
    snprintf(out, size, "QUIETMIND_%s", qm_options[option].name);
    for (char *p = out; *p; p++)
        *p = *p == '-' ? '_' : *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
}

static bool in_list(const unsigned char *list, enum qm_option option) {
    for (; *list; list++)
        if (*list == option)
            return true;
    return false;
}

bool qm_command_takes(const struct qm_command *command, enum qm_option option) {
    return option == QM_OPT_HELP || (command->takes_model && option == QM_OPT_MODEL) ||
           in_list(command->options, option) || (command->common && in_list(qm_common_options, option));
}

struct qm_option_words qm_command_words(const struct qm_command *command, enum qm_option option) {
    struct qm_option_words out = {option, qm_options[option].help, qm_options[option].initial};
    for (const struct qm_option_words *w = command->words; w && w->option; w++)
        if (w->option == option) {
            out.help = w->help ? w->help : out.help;
            out.initial = w->initial ? w->initial : out.initial;
        }
    return out;
}

/* The option called `name` (n bytes) among those that the command takes, or QM_OPT_END. */
static enum qm_option find_option(const struct qm_command *command, const char *name, size_t n) {
    for (int o = 1; o < QM_OPT_COUNT; o++) {
        const struct qm_option_info *info = &qm_options[o];
        bool same = (strlen(info->name) == n && !memcmp(info->name, name, n)) ||
                    (info->alias && strlen(info->alias) == n && !memcmp(info->alias, name, n));
        if (same && qm_command_takes(command, o))
            return o;
    }
    return QM_OPT_END;
}

/* The commands that take the option called `name`, as "run, chat and 3 more"; empty where none does. */
static void who_takes(const char *name, char *out, size_t size) {
    size_t at = 0, more = 0;
    out[0] = 0;
    for (size_t i = 0; i < qm_n_commands; i++) {
        if (!find_option(qm_commands[i], name, strlen(name)))
            continue;
        if (at && at + 20 > size)
            more++;
        else
            at += (size_t)snprintf(out + at, size - at, "%s%s", at ? ", " : "", qm_commands[i]->name);
    }
    if (more)
        snprintf(out + at, size - at, " and %zu more", more);
}

static int unknown_option(const struct qm_command *command, const char *arg, struct qm_error *err) {
    int rc = qm_foreign_option(command, arg, err);
    if (rc)
        return rc;
    const char *names[2 * QM_OPT_COUNT];
    size_t n = 0, length = strcspn(arg, "=");
    for (int o = 1; o < QM_OPT_COUNT; o++) {
        if (!qm_command_takes(command, o))
            continue;
        names[n++] = qm_options[o].name;
        if (qm_options[o].alias)
            names[n++] = qm_options[o].alias;
    }
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)least(length, 63), arg);
    char others[80];
    who_takes(word + strspn(word, "-"), others, sizeof others);
    if (others[0])
        return qm_fail(err, QM_USAGE, "%s: unknown option %s: it belongs to %s", command->name, word, others);
    const char *near = qm_nearest(word + strspn(word, "-"), names, n);
    if (near)
        return qm_fail(err, QM_USAGE, "%s: unknown option %s; did you mean --%s?", command->name, word, near);
    return qm_fail(err, QM_USAGE, "%s: unknown option %s; see quietmind %s --help", command->name, word, command->name);
}

static bool looks_like_ids(const char *s) {
    return *s && (strcmp(s, "-") == 0 || strspn(s, "0123456789, \t\n") == strlen(s));
}

static int expected_number(const struct qm_option_info *info, const char *name, const char *kind, const char *value,
                           struct qm_error *err) {
    if (info->max >= 1e15)
        return qm_fail(err, QM_USAGE, "%s: expected %s of at least %.10g, found \"%s\"", name, kind, info->min, value);
    return qm_fail(err, QM_USAGE, "%s: expected %s from %.10g to %.10g, found \"%s\"", name, kind, info->min, info->max,
                   value);
}

static int add_to_list(struct qm_arg *arg, const char *value, struct qm_error *err) {
    const char **list = realloc(arg->list, (arg->n_list + 1) * sizeof *list);
    if (!list)
        return qm_fail_memory(err, (arg->n_list + 1) * sizeof *list, "the arguments");
    arg->list = list;
    list[arg->n_list++] = value;
    return QM_OK;
}

/* name: what the user wrote, for messages. value: NULL where the kind allows none. */
static int set_value(struct qm_args *a, enum qm_option option, const char *name, const char *value,
                     struct qm_error *err) {
    const struct qm_option_info *info = &qm_options[option];
    struct qm_arg *arg = &a->option[option];
    arg->set = true;
    arg->has_value = value != NULL;
    arg->text = value;
    switch (info->kind) {
    case QM_VALUE_NONE:
    case QM_VALUE_MAYBE_TEXT:
    case QM_VALUE_TEXT: break;
    case QM_VALUE_MAYBE_IDS:
        if (value && !looks_like_ids(value))
            return qm_fail(err, QM_USAGE, "%s: expected token ids, found \"%s\"", name, value);
        break;
    case QM_VALUE_LIST: return add_to_list(arg, value, err);
    case QM_VALUE_MAYBE_INT:
    case QM_VALUE_INT:
        arg->integer = 0;
        if (value && (!qm_parse_int(value, &arg->integer) || (double)arg->integer < info->min ||
                      (double)arg->integer > info->max))
            return expected_number(info, name, "an integer", value, err);
        break;
    case QM_VALUE_REAL:
        if (!qm_parse_real(value, &arg->real) || arg->real < info->min || arg->real > info->max)
            return expected_number(info, name, "a number", value, err);
        break;
    }
    return QM_OK;
}

/* Takes the option at argv[*i], with its value there or in the next argument. */
static int take_option(struct qm_args *a, int argc, char *const *argv, int *i, struct qm_error *err) {
    const char *arg = argv[*i], *value = NULL;
    enum qm_option option = QM_OPT_END;
    char name[64];
    if (arg[1] != '-' && arg[2] && qm_foreign_option(a->command, arg, err)) /* -ngl is no -n gl */
        return QM_USAGE;
    if (arg[1] == '-') {
        size_t n = strcspn(arg + 2, "=");
        option = find_option(a->command, arg + 2, n);
        value = arg[2 + n] ? arg + 3 + n : NULL;
        snprintf(name, sizeof name, "%.*s", (int)least(n + 2, 63), arg);
    } else {
        for (int o = 1; o < QM_OPT_COUNT && !option; o++)
            if (qm_options[o].letter == arg[1] && qm_command_takes(a->command, o))
                option = o;
        value = arg[2] ? arg + 2 : NULL;
        snprintf(name, sizeof name, "-%c", arg[1]);
    }
    if (!option)
        return unknown_option(a->command, arg, err);
    const struct qm_option_info *info = &qm_options[option];
    const char *next = *i + 1 < argc ? argv[*i + 1] : NULL;
    int64_t number;
    if (info->kind == QM_VALUE_NONE) {
        if (value)
            return qm_fail(err, QM_USAGE, "%s takes no value, found \"%s\"", name, value);
    } else if (!value && info->kind != QM_VALUE_MAYBE_TEXT) {
        bool optional = info->kind == QM_VALUE_MAYBE_INT || info->kind == QM_VALUE_MAYBE_IDS;
        bool fits = next && (info->kind == QM_VALUE_MAYBE_INT   ? qm_parse_int(next, &number)
                             : info->kind == QM_VALUE_MAYBE_IDS ? looks_like_ids(next)
                                                                : true);
        if (!fits && !optional)
            return qm_fail(err, QM_USAGE, "%s: expected %s after it, found nothing", name, info->value);
        if (fits) {
            value = next;
            (*i)++;
        }
    }
    return set_value(a, option, name, value, err);
}

static const char *look_up(char *const *environment, const char *name) {
    size_t n = strlen(name);
    for (; environment && *environment; environment++)
        if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
            return *environment + n + 1;
    return NULL;
}

/* An empty variable counts as absent; a flag's is 1 or 0. */
static int take_environment(struct qm_args *a, char *const *environment, struct qm_error *err) {
    for (int o = 1; o < QM_OPT_COUNT; o++) {
        if (a->option[o].set || o == QM_OPT_HELP || o == QM_OPT_MAN || !qm_command_takes(a->command, o))
            continue;
        char name[64];
        qm_option_environment(o, name, sizeof name);
        const char *value = look_up(environment, name);
        if (!value || !*value)
            continue;
        if (qm_options[o].kind == QM_VALUE_NONE) {
            bool on = !strcmp(value, "1") || !strcmp(value, "true") || !strcmp(value, "yes");
            if (!on && strcmp(value, "0") && strcmp(value, "false") && strcmp(value, "no"))
                return qm_fail(err, QM_USAGE, "%s: expected 1 or 0, found \"%s\"", name, value);
            a->option[o].set = on;
            continue;
        }
        int rc = set_value(a, o, name, value, err);
        if (rc)
            return rc;
    }
    return QM_OK;
}

/* The model is -m's, else the first positional argument, else the environment's. */
static int settle_positional(struct qm_args *a, bool model_option, struct qm_error *err) {
    const struct qm_command *c = a->command;
    if (c->takes_model) {
        if (model_option || (a->n_positional == 0 && a->option[QM_OPT_MODEL].set)) {
            a->model = a->option[QM_OPT_MODEL].text;
        } else if (a->n_positional > 0) {
            a->model = a->positional[0];
            memmove(a->positional, a->positional + 1, (size_t)--a->n_positional * sizeof *a->positional);
        } else if (!c->demo_without_model) {
            return qm_fail(err, QM_USAGE, "%s: which model? Name a directory: quietmind %s %s", c->name, c->name,
                           c->usage);
        }
        if (a->model && !*a->model)
            return qm_fail(err, QM_USAGE, "%s: the model's name is empty", c->name);
    }
    if (a->n_positional < c->min_positional)
        return qm_fail(err, QM_USAGE, "%s: an argument is missing: quietmind %s %s", c->name, c->name, c->usage);
    if (c->max_positional >= 0 && a->n_positional > c->max_positional)
        return qm_fail(err, QM_USAGE, "%s: unexpected argument \"%s\": quietmind %s %s", c->name,
                       a->positional[c->max_positional], c->name, c->usage);
    return QM_OK;
}

static bool mode_holds(const struct qm_mode *m, const struct qm_args *a) {
    return a->option[m->by].set || (m->or_several && a->n_positional > 0);
}

/* Options and arguments that a mode does not use. */
static int check_mode(const struct qm_mode *m, const struct qm_args *a, const char *argument, struct qm_error *err) {
    const char *command = a->command->name, *by = qm_options[m->by].name;
    bool chosen = a->option[m->by].set;
    for (int o = 1; o < QM_OPT_COUNT; o++) {
        bool fits = o == m->by || o == QM_OPT_HELP || o == QM_OPT_SILENT || (o == QM_OPT_MODEL && !m->alone) ||
                    ((!m->uses || in_list(m->uses, o)) && !(m->refuses && in_list(m->refuses, o)));
        if (!a->option[o].given || fits)
            continue;
        return qm_fail(err, QM_USAGE, "%s: --%s does not go with %s%s (see quietmind %s --help)", command,
                       qm_options[o].name, chosen ? "--" : "", chosen ? by : "several models", command);
    }
    if (m->alone && argument)
        return qm_fail(err, QM_USAGE, "%s: --%s takes no argument, found \"%s\"", command, by, argument);
    return QM_OK;
}

/* argument: the first one on the command line, or NULL. */
static int check_modes(const struct qm_args *a, const char *argument, struct qm_error *err) {
    const struct qm_command *c = a->command;
    int rc = QM_OK;
    for (const struct qm_mode *m = c->modes; m && m->by && !rc; m++)
        if (mode_holds(m, a))
            rc = check_mode(m, a, argument, err);
    for (const struct qm_need *n = c->needs; n && n->option && !rc; n++) {
        if (!a->option[n->option].given || a->option[n->with].set || (n->or_with && a->option[n->or_with].set))
            continue;
        rc = qm_fail(err, QM_USAGE, "%s: --%s goes with --%s%s%s (see quietmind %s --help)", c->name,
                     qm_options[n->option].name, qm_options[n->with].name, n->or_with ? " or --" : "",
                     n->or_with ? qm_options[n->or_with].name : "", c->name);
    }
    return rc;
}

int qm_args_parse(const struct qm_command *command, int argc, char *const *argv, char *const *environment,
                  struct qm_args *out, struct qm_error *err) {
    *out = (struct qm_args){.command = command};
    out->positional = calloc((size_t)argc + 1, sizeof *out->positional);
    if (!out->positional)
        return qm_fail_memory(err, ((size_t)argc + 1) * sizeof *out->positional, "the arguments");
    bool options = true;
    int rc = QM_OK;
    for (int i = 0; i < argc && !rc; i++) {
        if (options && !strcmp(argv[i], "--"))
            options = false;
        else if (options && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))) {
            out->option[QM_OPT_HELP].set = true;
            return QM_OK;
        } else if (options && argv[i][0] == '-' && argv[i][1])
            rc = take_option(out, argc, argv, &i, err);
        else
            out->positional[out->n_positional++] = argv[i];
    }
    bool model_option = out->option[QM_OPT_MODEL].set;
    for (int o = 1; o < QM_OPT_COUNT; o++)
        out->option[o].given = out->option[o].set;
    const char *argument = out->n_positional ? out->positional[0] : NULL;
    if (!rc)
        rc = take_environment(out, environment, err);
    if (!rc)
        rc = settle_positional(out, model_option, err);
    if (!rc)
        rc = check_modes(out, argument, err);
    if (rc)
        qm_args_free(out);
    return rc;
}

void qm_args_free(struct qm_args *a) {
    for (int o = 0; o < QM_OPT_COUNT; o++)
        free(a->option[o].list);
    free(a->positional);
    *a = (struct qm_args){0};
}

int64_t qm_args_int(const struct qm_args *a, enum qm_option option, int64_t absent) {
    return a->option[option].set ? a->option[option].integer : absent;
}

double qm_args_real(const struct qm_args *a, enum qm_option option, double absent) {
    return a->option[option].set ? a->option[option].real : absent;
}

const char *qm_args_text(const struct qm_args *a, enum qm_option option, const char *absent) {
    return a->option[option].set ? a->option[option].text : absent;
}
