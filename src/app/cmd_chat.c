/* quietmind chat: a conversation on the terminal, or one question from a script. The conversation itself (its
 * messages and what has been computed of them) is session/conversation.h's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/chat/chat.h"
#include "app/chat/state.h"
#include "app/command_list.h"
#include "app/decode.h"
#include "app/generation_report.h"
#include "app/out.h"
#include "app/remedy.h"
#include "app/signals.h"
#include "app/template_args.h"
#include "base/words.h"

struct chat_options {
    struct qm_model_options model;
    struct qm_load_options load;
    struct qm_sampling_options sampling;
    struct qm_draft_options drafts;
    const char *system, *once; /* once: NULL: a conversation */
    struct qm_texts documents, variables, stop;
    int64_t max_tokens;
    bool hide_thinking, silent;
};

static int decode(const struct qm_args *args, struct chat_options *o, struct qm_error *err) {
    *o = (struct chat_options){.model = qm_decode_model(args),
                               .sampling = qm_decode_sampling(args),
                               .system = qm_args_text(args, QM_OPT_SYSTEM, ""),
                               .once = qm_args_text(args, QM_OPT_ONCE, NULL),
                               .documents = qm_decode_texts(args, QM_OPT_FILE),
                               .variables = qm_decode_texts(args, QM_OPT_TEMPLATE_ARG),
                               .stop = qm_decode_texts(args, QM_OPT_STOP),
                               .max_tokens = qm_args_int(args, QM_OPT_MAX_TOKENS, -1),
                               .hide_thinking = args->option[QM_OPT_HIDE_THINKING].set,
                               .silent = args->option[QM_OPT_SILENT].set};
    int rc = qm_decode_load(args, &o->load, err);
    return rc ? rc : qm_decode_drafts(args, &o->drafts, err);
}

int qm_chat_decode_setting(const char *option, int64_t *max_tokens, struct qm_sampling *s, struct qm_error *err) {
    static const unsigned char names[] = {QM_OPT_MAX_TOKENS,
                                          QM_OPT_TEMPERATURE,
                                          QM_OPT_TOP_K,
                                          QM_OPT_TOP_P,
                                          QM_OPT_MIN_P,
                                          QM_OPT_REPEAT_PENALTY,
                                          QM_OPT_PRESENCE_PENALTY,
                                          QM_OPT_FREQUENCY_PENALTY,
                                          QM_OPT_SEED,
                                          QM_OPT_END};
    static const struct qm_command settings = {.name = "/set", .usage = "NAME VALUE", .options = names};
    char text[64], *const arguments[] = {text};
    struct qm_args parsed;
    snprintf(text, sizeof text, "%s", option);
    int rc = qm_args_parse(&settings, 1, arguments, NULL, &parsed, err);
    if (rc)
        return rc;
    const struct qm_sampling_options changes = qm_decode_sampling(&parsed);
    *max_tokens = qm_args_int(&parsed, QM_OPT_MAX_TOKENS, *max_tokens);
    qm_app_sampling_change(&changes, s);
    qm_args_free(&parsed);
    return QM_OK;
}

static int on_text(void *arg, enum qm_content part, const char *text, size_t len) {
    struct qm_app_chat *c = arg;
    qm_progress_end(&c->progress);
    if (!c->answering)
        qm_meter_begin(&c->meter);
    c->answering = true;
    qm_meter_tick(&c->meter);
    return c->failed = qm_answer_text(&c->printer, part, text, len, c->err);
}

static int on_prefill(void *arg, int64_t done, int64_t total) {
    struct qm_app_chat *c = arg;
    qm_progress_update(&c->progress, "prompt", (uint64_t)done, (uint64_t)total, QM_PROGRESS_TOKENS);
    return 0;
}

int qm_chat_start_over(struct qm_app_chat *c) {
    qm_conversation_cut(c->conversation, 0);
    return c->system.len ? qm_conversation_add(c->conversation, "system", c->system.data, c->system.len, c->err)
                         : QM_OK;
}

static int add_part(struct qm_buf *text, const struct qm_buf *part, struct qm_error *err) {
    int rc = part->len ? qm_buf_add(text, part->data, part->len, err) : QM_OK;
    return rc || !part->len ? rc : qm_buf_str(text, "\n\n", err);
}

/* The document stands before the first question: document, empty line, question; what was attached likewise. */
static int add_question(struct qm_app_chat *c, const char *question, size_t len) {
    const json_t *messages = qm_conversation_messages(c->conversation), *message;
    bool first = true;
    size_t i;
    json_array_foreach(messages, i, message) {
        const char *role = json_string_value(json_object_get(message, "role"));
        first = first && role && !strcmp(role, "system");
    }
    struct qm_buf text = {0};
    int rc = first ? add_part(&text, &c->document, c->err) : QM_OK;
    if (!rc)
        rc = add_part(&text, &c->attached, c->err);
    if (!rc)
        rc = qm_buf_add(&text, question, len, c->err);
    if (!rc)
        rc = qm_conversation_add(c->conversation, "user", text.data, text.len, c->err);
    qm_buf_free(&text);
    return rc;
}

/* Ctrl-C stopped it: what stays of it. */
static void note_stopped(struct qm_app_chat *c) {
    const struct qm_generate_result *r = &c->result;
    if (!r->prompt_tokens)
        qm_note(&c->progress, "stopped before the answer; the question is removed");
    else if (r->ids.len)
        qm_note(&c->progress, "stopped; the answer so far is kept%s",
                c->interactive ? " (/retry answers again, /undo removes it)" : "");
    else
        qm_note(&c->progress, "stopped before the answer; %lld of %lld prompt token%s %s kept%s",
                (long long)(r->prefix_tokens + r->prefill_tokens), (long long)r->prompt_tokens, qm_s(r->prompt_tokens),
                qm_one_or(r->prompt_tokens, "is", "are"), c->interactive ? " for the same question asked again" : "");
}

int qm_chat_answer(struct qm_app_chat *c, size_t before) {
    struct qm_turn turn = {
        .max_tokens = c->max_tokens,
        .sampling = c->sampling,
        .stop = c->stop.text,
        .n_stop = (int)c->stop.n,
        .on_text = on_text,
        .on_prefill = on_prefill,
        .arg = c,
        .speculation = c->drafts.speculation,
        .interrupt = qm_signals_flag(),
    };
    qm_answer_begin(&c->printer, c->hide_thinking);
    qm_generate_result_free(&c->result);
    c->failed = QM_OK;
    c->answering = false;
    if (!qm_signals_leave())
        qm_signals_hold();
    qm_progress_update(&c->progress, "tokenizing", 0, 0, QM_PROGRESS_BYTES);
    int rc = qm_conversation_reply(c->conversation, &turn, &c->result, c->err);
    if (c->answering)
        qm_meter_end(&c->meter);
    if (!c->interactive)
        qm_signals_release();
    qm_progress_end(&c->progress);
    c->prompts += c->result.prefill_tokens;
    c->cached += c->result.prefix_tokens;
    c->generated += (int64_t)c->result.ids.len;
    bool interrupted = !rc && c->result.finish == QM_FINISH_INTERRUPTED;
    if (rc || (interrupted && !c->result.ids.len))
        qm_conversation_cut(c->conversation, before);
    if (rc || c->failed)
        return rc ? rc : c->failed;
    if (c->answering || !interrupted)
        rc = qm_answer_end(&c->printer, c->err);
    if (rc)
        return rc;
    if (interrupted)
        note_stopped(c);
    if (c->result.finish == QM_FINISH_CONTEXT)
        qm_note(&c->progress, "the context of %lld tokens is full; /clear starts over",
                (long long)qm_engine_context(c->model.engine));
    return interrupted ? QM_INTERRUPTED : QM_OK;
}

int qm_chat_ask(struct qm_app_chat *c, const char *question, size_t len) {
    size_t before = json_array_size(qm_conversation_messages(c->conversation));
    int rc = add_question(c, question, len);
    if (!rc)
        rc = qm_chat_answer(c, before);
    if (json_array_size(qm_conversation_messages(c->conversation)) > before)
        c->attached.len = 0;
    return rc;
}

/* The terminal was closed, or the program asked to end: what was said is kept. */
static int keep_conversation(struct qm_app_chat *c) {
    char name[64], path[4400];
    struct tm now;
    time_t t = time(NULL);
    size_t n = json_array_size(qm_conversation_messages(c->conversation));
    if (n <= (c->system.len > 0))
        return QM_INTERRUPTED;
    strftime(name, sizeof name, "chat-%Y%m%d-%H%M%S", localtime_r(&t, &now));
    size_t used = strlen(name);
    snprintf(name + used, sizeof name - used, "-%d.json", (int)getpid());
    int rc = qm_state_path(name, path, sizeof path, c->err);
    if (!rc)
        rc = qm_conversation_save(c->conversation, path, c->err);
    if (!rc)
        qm_note(&c->progress, "the conversation is kept: /load %s", path);
    return rc ? rc : QM_INTERRUPTED;
}

static void greet(struct qm_app_chat *c) {
    char kept[4400];
    qm_note(&c->progress, "Type a message, or /help for the commands; Ctrl-D leaves.");
    qm_state_kept("chat-history", kept, sizeof kept);
    if (*kept)
        qm_note(&c->progress, "A conversation was cut off; /load %s goes on with it.", kept);
}

/* Questions until the input ends. On a terminal a question that fails is reported and the next one can be asked. */
static int converse(struct qm_app_chat *c) {
    static char history[4400];
    bool kept = qm_state_path("chat-history", history, sizeof history, NULL) == QM_OK;
    int rc = qm_line_editor_new(kept ? history : NULL, &c->editor, c->err);
    if (rc)
        return rc;
    c->interactive = qm_line_editor_interactive(c->editor);
    if (c->interactive)
        qm_signals_hold();
    if (c->interactive)
        greet(c);
    while (!c->leave) {
        struct qm_message m;
        rc = qm_line_editor_read(c->editor, &m, c->err);
        if (rc || !m.text)
            break;
        if (m.text[strspn(m.text, " \t\r\n")] == 0)
            continue;
        rc = m.one_line && m.text[0] == '/' ? qm_chat_command(c, m.text) : qm_chat_ask(c, m.text, m.len);
        if (!rc)
            rc = qm_out_flush(c->err);
        if (c->interactive && qm_signals_leave())
            break;
        if (!rc || (rc == QM_INTERRUPTED && c->interactive))
            continue;
        if (!c->interactive || rc == QM_PIPE_CLOSED || rc == QM_SYSTEM)
            break;
        qm_remedy_add(c->err);
        fprintf(stderr, "quietmind: %s\n", c->err->message);
    }
    if (!c->interactive)
        return rc;
    if (qm_signals_leave() || rc == QM_SYSTEM) {
        int saved = keep_conversation(c);
        rc = rc == QM_SYSTEM && !qm_signals_leave() ? rc : saved;
    }
    qm_signals_release();
    return rc == QM_INTERRUPTED && !qm_signals_leave() ? QM_OK : rc;
}

/* The documents without the newlines at their ends, an empty line between them. */
static int read_documents(struct qm_app_chat *c, const struct qm_texts *files) {
    int rc = QM_OK;
    for (size_t i = 0; i < files->n && !rc; i++) {
        if (c->document.len)
            rc = qm_buf_str(&c->document, "\n\n", c->err);
        if (!rc)
            rc = qm_read_text(files->text[i], &c->document, c->err);
        while (!rc && c->document.len && c->document.data[c->document.len - 1] == '\n')
            c->document.data[--c->document.len] = 0;
    }
    return rc;
}

/* What the template refuses, it refuses before the weights are read. */
static int check_template(const struct qm_app_chat *c, const json_t *variables) {
    time_t seconds = time(NULL);
    struct tm now;
    const char *system = c->system.len ? c->system.data : NULL;
    return qm_chat_check(c->template, variables, system, localtime_r(&seconds, &now), c->err);
}

static int open_conversation(struct qm_app_chat *c, const struct chat_options *o, struct qm_logit_bias **biases) {
    int rc = qm_check_text(o->system, strlen(o->system), "--system", c->err);
    if (!rc && o->once)
        rc = qm_check_text(o->once, strlen(o->once), "--once", c->err);
    if (!rc)
        rc = qm_buf_str(&c->system, o->system, c->err);
    if (!rc)
        rc = qm_app_open(&o->model, QM_TOKENIZER_YES, &c->progress, &c->model, c->err);
    if (!rc)
        rc = qm_app_chat(&c->model, &c->template, c->err);
    json_t *variables = json_object();
    if (!rc)
        rc = variables ? qm_template_args(&o->variables, variables, c->err) : qm_fail_memory(c->err, 64, "variables");
    if (!rc)
        rc = check_template(c, variables);
    if (!rc)
        rc = qm_app_sampling(&o->sampling, &c->model, &c->sampling, biases, c->err);
    if (!rc)
        rc = read_documents(c, &o->documents);
    if (!rc)
        rc = qm_drafts_describe(&o->drafts, &c->model, 2, &c->progress, &c->drafts, c->err);
    if (!rc)
        rc = qm_app_load_engine(&o->load, &(struct qm_app_engine){.drafts = c->drafts.memory}, &c->progress, &c->model,
                                c->err);
    if (!rc)
        rc = qm_drafts_open(&o->drafts, &c->model, &c->progress, &c->drafts, c->err);
    if (!rc)
        rc = qm_conversation_new(c->model.engine, c->model.tokenizer, c->template, variables, &c->conversation, c->err);
    json_decref(variables);
    return rc ? rc : qm_chat_start_over(c);
}

static int run_chat(const struct qm_args *args, struct qm_error *err) {
    struct chat_options o;
    int rc = decode(args, &o, err);
    if (rc)
        return rc;
    struct qm_app_chat c = {.stop = o.stop, .max_tokens = o.max_tokens, .hide_thinking = o.hide_thinking, .err = err};
    struct qm_logit_bias *biases = NULL;
    qm_progress_init(&c.progress, o.silent);
    rc = qm_meter_open("", &c.meter, err);
    if (!rc)
        rc = open_conversation(&c, &o, &biases);
    if (!rc && o.once) {
        rc = qm_chat_ask(&c, o.once, strlen(o.once));
        const struct qm_predicted_run predicted = {c.model.predictor, "chat", c.model.dir};
        if (!rc)
            qm_report_speed(&c.progress, c.model.engine, &c.result, &c.meter, &predicted);
        qm_drafts_report(&c.drafts, &c.progress);
    } else if (!rc) {
        rc = converse(&c);
    }
    if (!rc || rc == QM_INTERRUPTED) {
        int saved = qm_app_save_routing(&c.model, &c.progress, err);
        rc = saved ? saved : rc;
    }
    qm_generate_result_free(&c.result);
    qm_meter_close(&c.meter);
    qm_line_editor_free(c.editor);
    qm_conversation_free(c.conversation);
    qm_drafts_close(&c.drafts);
    qm_answer_free(&c.printer);
    qm_buf_free(&c.document);
    qm_buf_free(&c.attached);
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
                                             QM_OPT_DRAFT,
                                             QM_OPT_DRAFT_TOKENS,
                                             QM_OPT_END};

const struct qm_command qm_cmd_chat = {
    .name = "chat",
    .usage = "[MODEL] [--once TEXT] [-f DOCUMENT]...",
    .summary = "Have a conversation, or ask one question",
    .details = "A document given by -f goes before the first question. What has been read is\n"
               "kept between questions; several documents are joined. In the conversation\n"
               "/help lists the commands; Ctrl-C stops an answer and clears a line. Several\n"
               "lines are one message where they are pasted, stand between \"\"\" and \"\"\", or\n"
               "end with a backslash. Without a terminal each line of standard input is a\n"
               "question. Lines typed are remembered in $XDG_STATE_HOME/quietmind (or\n"
               "~/.local/state/quietmind), and so is a conversation that is cut off. The\n"
               "reasoning of thinking models is shown dim on a terminal, between <think> and\n"
               "</think> elsewhere. Without MODEL the demonstration model is used.\n",
    .example = "quietmind chat Qwen/Qwen3-4B -f report.txt\n"
               "quietmind chat Qwen/Qwen3-4B --once \"Why is the sky blue?\" --hide-thinking\n",
    .options = chat_options,
    .common = true,
    .takes_model = true,
    .demo_without_model = true,
    .run = run_chat,
};
