/* quietmind chat: a conversation on the terminal, or one question from a script. The conversation itself (its
 * messages and what has been computed of them) is session/conversation.h's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/chat_terminal.h"
#include "app/generation_report.h"
#include "app/open_model.h"
#include "app/out.h"
#include "app/signals.h"
#include "app/template_args.h"
#include "model/template/chat.h"
#include "session/conversation.h"

struct chat {
    const struct qm_args *args;
    struct qm_progress progress;
    struct qm_app_model model;
    struct qm_chat *template;
    struct qm_conversation *conversation;
    struct qm_sampling sampling;
    struct qm_line_editor *editor;
    struct qm_answer_printer printer;
    struct qm_buf document;           /* goes before the first question */
    struct qm_buf system;             /* the system message, empty: none */
    struct qm_generate_result result; /* of the last answer */
    struct qm_meter meter;            /* of the last answer */
    bool answering;
    int failed; /* code of a write that failed, its message in *err */
    struct qm_error *err;
};

static int on_text(void *arg, enum qm_part part, const char *text, size_t len) {
    struct chat *c = arg;
    qm_progress_end(&c->progress);
    if (!c->answering)
        qm_meter_begin(&c->meter);
    c->answering = true;
    qm_meter_tick(&c->meter);
    return c->failed = qm_answer_text(&c->printer, part, text, len, c->err);
}

static int on_prefill(void *arg, int64_t done, int64_t total) {
    struct chat *c = arg;
    qm_progress_update(&c->progress, "prompt", (uint64_t)done, (uint64_t)total, QM_UNIT_TOKENS);
    return 0;
}

static int start_over(struct chat *c) {
    qm_conversation_cut(c->conversation, 0);
    return c->system.len ? qm_conversation_add(c->conversation, "system", c->system.data, c->system.len, c->err)
                         : QM_OK;
}

/* The document stands before the first question: document, empty line, question. */
static int add_question(struct chat *c, const char *question) {
    const json_t *messages = qm_conversation_messages(c->conversation), *message;
    bool first = true;
    size_t i;
    json_array_foreach(messages, i, message) {
        const char *role = json_string_value(json_object_get(message, "role"));
        first = first && role && !strcmp(role, "system");
    }
    struct qm_buf text = {0};
    int rc = QM_OK;
    if (first && c->document.len)
        rc = qm_buf_add(&text, c->document.data, c->document.len, c->err);
    if (!rc && text.len)
        rc = qm_buf_str(&text, "\n\n", c->err);
    if (!rc)
        rc = qm_buf_str(&text, question, c->err);
    if (!rc)
        rc = qm_conversation_add(c->conversation, "user", text.data, text.len, c->err);
    qm_buf_free(&text);
    return rc;
}

/* A question and its answer. QM_INTERRUPTED where Ctrl-C stopped the answer: it stays as far as it came. */
static int ask(struct chat *c, const char *question) {
    const struct qm_args *args = c->args;
    size_t before = json_array_size(qm_conversation_messages(c->conversation));
    int rc = add_question(c, question);
    if (rc)
        return rc;
    struct qm_turn turn = {
        .max_tokens = qm_args_int(args, QM_OPT_MAX_TOKENS, -1),
        .sampling = c->sampling,
        .stop = args->option[QM_OPT_STOP].list,
        .n_stop = (int)args->option[QM_OPT_STOP].n_list,
        .on_text = on_text,
        .on_prefill = on_prefill,
        .arg = c,
        .interrupt = qm_signals_flag(),
    };
    qm_answer_begin(&c->printer, args->option[QM_OPT_HIDE_THINKING].set);
    qm_generate_result_free(&c->result);
    c->failed = QM_OK;
    c->answering = false;
    qm_signals_hold();
    qm_progress_update(&c->progress, "tokenizing", 0, 0, QM_UNIT_BYTES);
    rc = qm_conversation_reply(c->conversation, &turn, &c->result, c->err);
    if (c->answering)
        qm_meter_end(&c->meter);
    qm_signals_release();
    qm_progress_end(&c->progress);
    if (rc) {
        qm_conversation_cut(c->conversation, before);
        return rc;
    }
    if (c->failed)
        return c->failed;
    if ((rc = qm_answer_end(&c->printer, c->err)))
        return rc;
    if (c->result.finish == QM_FINISH_CONTEXT)
        qm_note(&c->progress, "the context of %lld tokens is full; /clear starts over",
                (long long)qm_engine_context(c->model.engine));
    return c->result.finish == QM_FINISH_INTERRUPTED ? QM_INTERRUPTED : QM_OK;
}

static int say_help(struct chat *c) {
    return qm_out_text("/help          this list\n"
                       "/clear         forget the conversation (not the document)\n"
                       "/system TEXT   start over with TEXT as the system message\n"
                       "/save FILE     write the messages to FILE as JSON\n"
                       "/load FILE     go on with the messages in FILE\n"
                       "/stats         tokens and speed of the last answer\n"
                       "Ctrl-C stops an answer; Ctrl-C or Ctrl-D at the prompt leaves.\n",
                       c->err);
}

static int say_stats(struct chat *c) {
    if (!c->result.prompt_tokens)
        return qm_out_text("nothing has been answered yet\n", c->err);
    int rc = qm_out_printf(c->err,
                           "context: %lld of %lld tokens taken; prompt: %lld tokens, of which %lld were known already, "
                           "%.1f tokens/s; answer: %zu tokens, %.1f tokens/s\n",
                           (long long)(c->result.prompt_tokens + (int64_t)c->result.ids.len),
                           (long long)qm_engine_context(c->model.engine), (long long)c->result.prompt_tokens,
                           (long long)c->result.prefix_tokens, qm_report_prefill_tps(&c->result), c->result.ids.len,
                           qm_report_decode_tps(&c->result));
    char metered[1400];
    qm_meter_text(&c->meter, (double)c->result.decode_steps, metered, sizeof metered);
    return rc ? rc : qm_out_printf(c->err, "%s\n", metered);
}

static int set_system(struct chat *c, const char *text) {
    if (!*text)
        return c->system.len ? qm_out_printf(c->err, "%s\n", c->system.data) : qm_out_text("(none)\n", c->err);
    int rc = qm_app_check_utf8(text, strlen(text), "/system", c->err);
    if (rc)
        return rc;
    c->system.len = 0;
    rc = qm_buf_str(&c->system, text, c->err);
    return rc ? rc : start_over(c);
}

/* A line that begins with a slash. Its failures are told and the conversation goes on. */
static int obey(struct chat *c, const char *line) {
    static const char *const names[] = {"/help", "/clear", "/save", "/load", "/stats", "/system"};
    char name[32];
    size_t n = strcspn(line, " ");
    const char *rest = line + n + strspn(line + n, " ");
    snprintf(name, sizeof name, "%.*s", n < sizeof name ? (int)n : (int)sizeof name - 1, line);
    bool needs_file = !strcmp(name, "/save") || !strcmp(name, "/load");
    if (needs_file && !*rest)
        return qm_fail(c->err, QM_USAGE, "%s: the name of a file is missing", name);
    if (!strcmp(name, "/help"))
        return say_help(c);
    if (!strcmp(name, "/clear"))
        return start_over(c);
    if (!strcmp(name, "/save"))
        return qm_conversation_save(c->conversation, rest, c->err);
    if (!strcmp(name, "/load"))
        return qm_conversation_load(c->conversation, rest, c->err);
    if (!strcmp(name, "/stats"))
        return say_stats(c);
    if (!strcmp(name, "/system"))
        return set_system(c, rest);
    const char *near = qm_nearest(name, names, sizeof names / sizeof *names);
    return qm_fail(c->err, QM_USAGE, "unknown command %s; %s%s", name, near ? "did you mean " : "see ",
                   near ? near : "/help");
}

/* Questions until the input ends. On a terminal a question that fails is told and the next one can be asked. */
static int converse(struct chat *c) {
    int rc = qm_line_editor_new(&c->editor, c->err);
    if (rc)
        return rc;
    bool interactive = qm_line_editor_interactive(c->editor);
    if (interactive)
        qm_note(&c->progress, "Ask away; /help lists the commands, Ctrl-D leaves.");
    for (;;) {
        const char *line;
        if ((rc = qm_line_editor_read(c->editor, &line, c->err)) || !line)
            return rc;
        if (line[strspn(line, " \t\r")] == 0)
            continue;
        rc = line[0] == '/' ? obey(c, line) : ask(c, line);
        if (!rc)
            rc = qm_out_flush(c->err);
        if (!rc || (rc == QM_INTERRUPTED && interactive))
            continue;
        if (!interactive || rc == QM_PIPE_CLOSED || rc == QM_SYSTEM)
            return rc;
        fprintf(stderr, "quietmind: %s\n", c->err->message);
    }
}

/* The document without the newlines at its end. */
static int read_document(struct chat *c) {
    const char *path = qm_args_text(c->args, QM_OPT_FILE, NULL);
    int rc = path ? qm_app_read_text(path, &c->document, c->err) : QM_OK;
    while (!rc && c->document.len && c->document.data[c->document.len - 1] == '\n')
        c->document.data[--c->document.len] = 0;
    return rc;
}

/* What the template refuses, it refuses before the weights are read. */
static int check_template(const struct chat *c, const json_t *variables) {
    time_t seconds = time(NULL);
    struct tm now;
    const char *system = c->system.len ? c->system.data : NULL;
    return qm_chat_check(c->template, variables, system, localtime_r(&seconds, &now), c->err);
}

static int open_conversation(struct chat *c, struct qm_logit_bias **biases) {
    const struct qm_args *args = c->args;
    const char *system = qm_args_text(args, QM_OPT_SYSTEM, ""), *once = qm_args_text(args, QM_OPT_ONCE, "");
    int rc = qm_app_check_utf8(system, strlen(system), "--system", c->err);
    if (!rc)
        rc = qm_app_check_utf8(once, strlen(once), "--once", c->err);
    if (!rc)
        rc = qm_buf_str(&c->system, system, c->err);
    if (!rc)
        rc = qm_app_open(args, QM_TOKENIZER_YES, &c->progress, &c->model, c->err);
    if (!rc)
        rc = qm_chat_load(c->model.dir, qm_args_text(args, QM_OPT_CHAT_TEMPLATE, NULL), &c->template, c->err);
    json_t *variables = json_object();
    if (!rc)
        rc = variables ? qm_template_args(args, variables, c->err) : qm_fail_memory(c->err, 64, "variables");
    if (!rc)
        rc = check_template(c, variables);
    if (!rc)
        rc = qm_app_sampling(args, &c->model, &c->sampling, biases, c->err);
    if (!rc)
        rc = read_document(c);
    if (!rc)
        rc = qm_app_load(args, 0, &c->progress, &c->model, c->err);
    if (!rc)
        rc = qm_conversation_new(c->model.engine, c->model.tokenizer, c->template, variables, &c->conversation, c->err);
    json_decref(variables);
    return rc ? rc : start_over(c);
}

static int run_chat(const struct qm_args *args, struct qm_error *err) {
    struct chat c = {.args = args, .err = err};
    struct qm_logit_bias *biases = NULL;
    qm_progress_init(&c.progress, args);
    int rc = qm_meter_open("", &c.meter, err);
    if (!rc)
        rc = open_conversation(&c, &biases);
    if (!rc && args->option[QM_OPT_ONCE].set) {
        rc = ask(&c, args->option[QM_OPT_ONCE].text);
        const struct qm_predicted_run predicted = {c.model.predictor, "chat", c.model.dir};
        if (!rc)
            qm_report_speed(&c.progress, c.model.engine, &c.result, &c.meter, &predicted);
    } else if (!rc) {
        rc = converse(&c);
    }
    rc = qm_app_save_routing(args, &c.progress, &c.model, rc, err);
    qm_generate_result_free(&c.result);
    qm_meter_close(&c.meter);
    qm_line_editor_free(c.editor);
    qm_conversation_free(c.conversation);
    qm_chat_free(c.template);
    qm_buf_free(&c.document);
    qm_buf_free(&c.system);
    free(biases);
    qm_app_close(&c.model);
    return rc;
}

static const unsigned char chat_options[] = {QM_OPT_ONCE,
                                             QM_OPT_PROFILE_EXPERTS,
                                             QM_OPT_SYSTEM,
                                             QM_OPT_FILE,
                                             QM_OPT_HIDE_THINKING,
                                             QM_OPT_CHAT_TEMPLATE,
                                             QM_OPT_TEMPLATE_ARG,
                                             QM_OPT_MAX_TOKENS,
                                             QM_OPT_TEMPERATURE,
                                             QM_OPT_TOP_K,
                                             QM_OPT_TOP_P,
                                             QM_OPT_MIN_P,
                                             QM_OPT_REPEAT_PENALTY,
                                             QM_OPT_PRESENCE_PENALTY,
                                             QM_OPT_FREQUENCY_PENALTY,
                                             QM_OPT_LOGIT_BIAS,
                                             QM_OPT_STOP,
                                             QM_OPT_SEED,
                                             QM_OPT_END};

const struct qm_command qm_cmd_chat = {
    .name = "chat",
    .usage = "[MODEL] [--once TEXT] [-f DOCUMENT]",
    .summary = "Have a conversation, or ask one question",
    .details = "A document given by -f goes before the first question. What has been read is\n"
               "kept between questions. In the conversation: /help, /clear, /system TEXT,\n"
               "/save FILE, /load FILE, /stats; Ctrl-C stops an answer, at the prompt it\n"
               "leaves. Without a terminal each line of standard input is a question. The\n"
               "reasoning of thinking models is shown dim on a terminal, between <think> and\n"
               "</think> elsewhere. Without MODEL the demonstration model is used.\n",
    .example = "quietmind chat Qwen/Qwen3-4B -f report.txt\n"
               "quietmind chat Qwen/Qwen3-4B --once \"Why is the sky blue?\" --hide-thinking\n",
    .options = chat_options,
    .common = true,
    .computes = true,
    .takes_model = true,
    .demo_without_model = true,
    .run = run_chat,
};
