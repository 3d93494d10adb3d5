/* What a conversation takes besides questions. Results go to standard output, the word that something was done
 * to standard error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "app/chat/chat.h"
#include "app/generation_report.h"
#include "app/out.h"
#include "base/parse.h"
#include "base/words.h"

struct chat_command {
    const char *name, *value; /* value NULL: takes none */
    bool needed;              /* the value must be there */
    int (*run)(struct qm_app_chat *c, const char *value);
    const char *help;
};

static const json_t *messages(const struct qm_app_chat *c) {
    return qm_conversation_messages(c->conversation);
}

static bool is_from(const struct qm_app_chat *c, size_t i, const char *role) {
    const char *r = json_string_value(json_object_get(json_array_get(messages(c), i), "role"));
    return r && !strcmp(r, role);
}

static void say_length(struct qm_app_chat *c, const char *what, const char *more) {
    size_t n = json_array_size(messages(c));
    qm_note(&c->progress, "%s%s: %zu message%s", what, more, n, qm_s((long long)n));
}

static int clear(struct qm_app_chat *c, const char *value) {
    (void)value;
    int rc = qm_chat_start_over(c);
    if (!rc)
        qm_note(&c->progress, "cleared%s", c->document.len ? "; the document stays, before the next question" : "");
    return rc;
}

static int save(struct qm_app_chat *c, const char *path) {
    int rc = qm_conversation_save(c->conversation, path, c->err);
    if (!rc)
        say_length(c, "saved to ", path);
    return rc;
}

static int load(struct qm_app_chat *c, const char *path) {
    int rc = qm_conversation_load(c->conversation, path, c->err);
    if (!rc)
        say_length(c, "loaded ", path);
    return rc;
}

static int stats(struct qm_app_chat *c, const char *value) {
    (void)value;
    const struct qm_generate_result *r = &c->result;
    if (!r->prompt_tokens)
        return qm_out_text("nothing has been answered yet\n", c->err);
    long long held = qm_conversation_tokens(c->conversation);
    int rc = qm_out_printf(
        c->err,
        "context: %lld of %lld tokens\n"
        "last answer: prompt %lld token%s (%lld from cache, %lld computed), %.1f tokens/s; generated %zu token%s, "
        "%.1f tokens/s\n"
        "total: prompts %lld token%s computed, %lld from cache; generated %lld token%s\n",
        held, (long long)qm_engine_context(c->model.engine), (long long)r->prompt_tokens, qm_s(r->prompt_tokens),
        (long long)r->prefix_tokens, (long long)r->prefill_tokens, qm_report_prefill_tps(r), r->ids.len,
        qm_s((long long)r->ids.len), qm_report_decode_tps(r), (long long)c->prompts, qm_s(c->prompts),
        (long long)c->cached, (long long)c->generated, qm_s(c->generated));
    char metered[1400];
    qm_meter_text(&c->meter, (double)r->decode_tokens, metered, sizeof metered);
    char drafts[160];
    qm_drafts_text(&c->drafts, drafts, sizeof drafts);
    if (!rc && *drafts)
        rc = qm_out_printf(c->err, "%s\n", drafts);
    return rc || !*metered ? rc : qm_out_printf(c->err, "%s\n", metered);
}

static int set_system(struct qm_app_chat *c, const char *text) {
    if (!*text)
        return c->system.len ? qm_out_printf(c->err, "%s\n", c->system.data) : qm_out_text("(none)\n", c->err);
    int rc = qm_check_text(text, strlen(text), "/system", c->err);
    if (rc)
        return rc;
    c->system.len = 0;
    rc = qm_buf_str(&c->system, text, c->err);
    if (!rc)
        rc = qm_chat_start_over(c);
    if (!rc)
        qm_note(&c->progress, "a new conversation, with this system message");
    return rc;
}

/* The last question and what followed it. */
static int undo(struct qm_app_chat *c, const char *value) {
    (void)value;
    size_t n = json_array_size(messages(c));
    while (n && !is_from(c, n - 1, "user"))
        n--;
    if (!n)
        return qm_fail(c->err, QM_USAGE, "/undo: there is no question");
    qm_conversation_cut(c->conversation, n - 1);
    say_length(c, "the last question and its answer are removed", "");
    return QM_OK;
}

static int retry(struct qm_app_chat *c, const char *value) {
    (void)value;
    size_t n = json_array_size(messages(c));
    while (n && !is_from(c, n - 1, "user"))
        n--;
    if (!n)
        return qm_fail(c->err, QM_USAGE, "/retry: there is no question");
    if (c->sampling.temperature <= 0)
        qm_note(&c->progress, "sampling is greedy: the answer will be the same (/set temperature 0.7 changes that)");
    c->sampling.seed++; /* another sample */
    qm_conversation_cut(c->conversation, n);
    return qm_chat_answer(c, n);
}

static int attach(struct qm_app_chat *c, const char *path) {
    struct stat s;
    if (stat(path, &s) == 0 && !S_ISREG(s.st_mode))
        return qm_fail(c->err, QM_INPUT, "%s: not a regular file", path);
    struct qm_buf text = {0};
    int rc = qm_read_text(path, &text, c->err);
    if (!rc && c->attached.len)
        rc = qm_buf_str(&c->attached, "\n\n", c->err);
    while (!rc && text.len && text.data[text.len - 1] == '\n')
        text.len--;
    if (!rc)
        rc = qm_buf_add(&c->attached, text.data, text.len, c->err);
    if (!rc)
        qm_note(&c->progress, "%s: %zu byte%s, before the next question", path, text.len, qm_s((long long)text.len));
    qm_buf_free(&text);
    return rc;
}

static int show_settings(struct qm_app_chat *c) {
    const struct qm_sampling *s = &c->sampling;
    return qm_out_printf(c->err,
                         "max-tokens %lld\ntemperature %g\ntop-k %lld\ntop-p %g\nmin-p %g\nrepeat-penalty %g\n"
                         "presence-penalty %g\nfrequency-penalty %g\nseed %llu\nhide-thinking %s\n",
                         (long long)c->max_tokens, s->temperature, (long long)s->top_k, s->top_p, s->min_p,
                         s->repetition_penalty, s->presence_penalty, s->frequency_penalty, (unsigned long long)s->seed,
                         c->hide_thinking ? "on" : "off");
}

/* "NAME VALUE", read as the command line reads --NAME VALUE. */
static int set(struct qm_app_chat *c, const char *text) {
    char option[64];
    size_t n = strcspn(text, " =");
    const char *value = text + n + strspn(text + n, " =");
    if (!*text)
        return show_settings(c);
    if (!strncmp(text, "hide-thinking", n) && n == 13) {
        bool off = !strcmp(value, "off");
        if (!off && strcmp(value, "on") != 0)
            return qm_fail(c->err, QM_USAGE, "/set hide-thinking: expected on or off, found \"%s\"", value);
        c->hide_thinking = !off;
        qm_note(&c->progress, "hide-thinking %s", value);
        return QM_OK;
    }
    if (!*value)
        return qm_fail(c->err, QM_USAGE, "/set: expected a name and a value, such as /set temperature 0.7");
    if ((size_t)snprintf(option, sizeof option, "--%.*s=%s", (int)n, text, value) >= sizeof option)
        return qm_fail(c->err, QM_USAGE, "/set: \"%s\" is too long", text);
    int rc = qm_chat_decode_setting(option, &c->max_tokens, &c->sampling, c->err);
    if (!rc)
        qm_note(&c->progress, "%.*s %s", (int)n, text, value);
    return rc;
}

static int leave(struct qm_app_chat *c, const char *value) {
    (void)value;
    c->leave = true;
    return QM_OK;
}

static int help(struct qm_app_chat *c, const char *value);

static const struct chat_command commands[] = {
    {"/help", NULL, false, help, "this list"},
    {"/retry", NULL, false, retry, "answer the last question again"},
    {"/undo", NULL, false, undo, "remove the last question and its answer"},
    {"/clear", NULL, false, clear, "forget the conversation (not the document)"},
    {"/file", "FILE", true, attach, "put the text in FILE before the next question"},
    {"/system", "TEXT", false, set_system, "start over with TEXT as the system message"},
    {"/set", "NAME VALUE", false, set, "change the sampling; alone: show it"},
    {"/save", "FILE", true, save, "write the messages to FILE as JSON"},
    {"/load", "FILE", true, load, "go on with the messages in FILE"},
    {"/stats", NULL, false, stats, "tokens and speed of the last answer"},
    {"/exit", NULL, false, leave, "leave (also /quit, /bye)"},
    {"/quit", NULL, false, leave, NULL},
    {"/bye", NULL, false, leave, NULL},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static int help(struct qm_app_chat *c, const char *value) {
    (void)value;
    int rc = QM_OK;
    for (size_t i = 0; i < N_COMMANDS && !rc; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s %s", commands[i].name, commands[i].value ? commands[i].value : "");
        if (commands[i].help)
            rc = qm_out_printf(c->err, "%-18s%s\n", name, commands[i].help);
    }
    return rc ? rc
              : qm_out_text("Several lines are one message where they are pasted, stand between \"\"\" and\n"
                            "\"\"\", or end with a backslash. Ctrl-C stops an answer and clears a line; twice\n"
                            "on an empty line, or Ctrl-D, it leaves.\n",
                            c->err);
}

int qm_chat_command(struct qm_app_chat *c, const char *line) {
    const char *names[N_COMMANDS];
    char name[32], value[4096];
    size_t n = strcspn(line, " \t"), end = strlen(line);
    const char *rest = line + n + strspn(line + n, " \t");
    while (end > n && strchr(" \t\r", line[end - 1]))
        end--;
    size_t length = line + end > rest ? (size_t)(line + end - rest) : 0;
    snprintf(name, sizeof name, "%.*s", n < sizeof name ? (int)n : (int)sizeof name - 1, line);
    if ((size_t)snprintf(value, sizeof value, "%.*s", (int)length, rest) >= sizeof value)
        return qm_fail(c->err, QM_USAGE, "%s: more than %zu bytes follow it", name, sizeof value - 1);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        const struct chat_command *k = &commands[i];
        names[i] = k->name;
        if (strcmp(name, k->name) != 0)
            continue;
        if (k->needed && !*value)
            return qm_fail(c->err, QM_USAGE, "%s: the name of a file is missing", name);
        if (!k->value && *value)
            return qm_fail(c->err, QM_USAGE, "%s takes nothing after it, found \"%s\"", name, value);
        return k->run(c, value);
    }
    const char *near = qm_nearest(name, names, N_COMMANDS);
    return qm_fail(c->err, QM_USAGE, "unknown command %s; %s%s", name, near ? "did you mean " : "see ",
                   near ? near : "/help");
}
