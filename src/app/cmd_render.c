/* quietmind render: the prompt that a list of messages becomes, exactly. Needs the template and
 * tokenizer_config.json only. */
#include <stdio.h>
#include <stdlib.h>

#include "app/command_list.h"
#include "app/decode.h"
#include "app/open_model.h"
#include "app/out.h"
#include "app/template_args.h"
#include "base/file.h"
#include "base/json.h"
#include "text/template/chat.h"

static const size_t BODY_LIMIT = 1000000000;

/* The request body in the file; a bare list is taken as its messages. */
static int read_body(const char *path, const struct qm_texts *changes, json_t **out, struct qm_error *err) {
    struct qm_buf text = {0};
    *out = NULL;
    int rc = qm_read_input(path, BODY_LIMIT, &text, err);
    if (!rc)
        rc = qm_json_parse(text.data, text.len, path, out, err);
    qm_buf_free(&text);
    if (rc)
        return rc;
    if (json_is_array(*out)) {
        json_t *body = json_pack("{s:o}", "messages", *out);
        if (!body)
            return qm_fail_memory(err, 256, "the messages");
        *out = body;
    }
    if (!qm_json_is_object(*out))
        return qm_fail(err, QM_INPUT, "%s: expected an object with \"messages\", found %s", path,
                       qm_json_type_name(*out));
    if (!changes->n)
        return QM_OK;
    json_t *variables = json_object_get(*out, "chat_template_kwargs");
    if (variables && !qm_json_is_object(variables) && !json_is_null(variables))
        return qm_fail(err, QM_INPUT, "%s: \"chat_template_kwargs\" must be an object, found %s", path,
                       qm_json_type_name(variables));
    if (!qm_json_is_object(variables)) {
        variables = json_object();
        if (!variables || json_object_set_new(*out, "chat_template_kwargs", variables))
            return qm_fail_memory(err, 256, "the template's variables");
    }
    return qm_template_args(changes, variables, err);
}

static int run_render(const struct qm_args *args, struct qm_error *err) {
    struct qm_progress progress;
    struct qm_chat *chat = NULL;
    struct qm_buf prompt = {0};
    struct tm now;
    char *dir = NULL;
    json_t *body = NULL;
    const struct qm_model_options model = qm_decode_model(args);
    const struct qm_texts variables = qm_decode_texts(args, QM_OPT_TEMPLATE_ARG);
    const char *path = args->positional[0];
    qm_progress_init(&progress, args->option[QM_OPT_SILENT].set);
    int rc = qm_template_now(qm_args_text(args, QM_OPT_NOW, NULL), &now, err);
    if (!rc)
        rc = qm_app_locate(model.name, &progress, &dir, err);
    if (!rc)
        rc = qm_chat_load(dir, model.chat_template, &chat, err);
    if (!rc)
        rc = read_body(path, &variables, &body, err);
    if (!rc)
        rc = qm_chat_prompt(chat, body, &now, &prompt, err);
    if (!rc)
        rc = qm_out_write(prompt.data ? prompt.data : "", prompt.len, err);
    json_decref(body);
    qm_buf_free(&prompt);
    qm_chat_free(chat);
    free(dir);
    return rc;
}

static const unsigned char render_options[] = {QM_OPT_NOW, QM_OPT_CHAT_TEMPLATE, QM_OPT_TEMPLATE_ARG, QM_OPT_SILENT,
                                               QM_OPT_END};

const struct qm_command qm_cmd_render = {
    .name = "render",
    .usage = "MODEL FILE.json",
    .summary = "Print the prompt that a list of messages becomes",
    .details = "FILE.json (-: standard input) is an OpenAI request body: messages, and perhaps\n"
               "tools, add_generation_prompt (true unless given), continue_final_message and\n"
               "chat_template_kwargs. The prompt is printed exactly as batch and chat give it to\n"
               "the model, with no newline added.\n"
               "Needs only the chat template and tokenizer_config.json in the model's\n"
               "directory.\n",
    .example = "quietmind render Qwen/Qwen3-4B messages.json --now 2026-01-15T12:00:00\n",
    .options = render_options,
    .min_positional = 1,
    .max_positional = 1,
    .takes_model = true,
    .run = run_render,
};
