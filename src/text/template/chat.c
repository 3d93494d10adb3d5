/* Finding a model's chat template and rendering a request with it; see chat.h. What a template may do is in
 * template.c; here is only what transformers does around it. */
#include "text/template/chat.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "text/template/chat_private.h"
#include "text/template/value.h"
#include "text/tokenizer/settings.h"

enum { MAX_TEMPLATE_FILE = 4 << 20, MAX_CONFIG_FILE = 64 << 20, MAX_NAMED = 64 };

struct named {
    char *name;
    struct qm_template *t;
    struct qm_chat_wants wants;
};

struct qm_chat {
    struct named *named;
    size_t n;
    json_t *tokens; /* bos_token and the like, as the template's variables */
};

void qm_chat_free(struct qm_chat *c) {
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++) {
        free(c->named[i].name);
        qm_template_free(c->named[i].t);
    }
    free(c->named);
    json_decref(c->tokens);
    free(c);
}

static int add(struct qm_chat *c, const char *name, const char *source, size_t len, const char *from,
               struct qm_error *err) {
    struct qm_template *t;
    int rc = qm_template_compile(source, len, from, &t, err);
    if (rc)
        return qm_fail_context(err, "the chat template can't be read");
    struct named *grown = realloc(c->named, (c->n + 1) * sizeof *grown);
    char *copy = strdup(name);
    if (grown)
        c->named = grown;
    if (!grown || !copy) {
        free(copy);
        qm_template_free(t);
        return qm_fail_memory(err, sizeof *grown, "a chat template");
    }
    struct named *added = &c->named[c->n++];
    *added = (struct named){.name = copy, .t = t};
    qm_chat_find_wants(t, source, len, c->tokens, &added->wants);
    return QM_OK;
}

/* "chat_template" of a JSON file: a string, or a list of {name, template}. */
static int add_json(struct qm_chat *c, const json_t *v, const char *path, struct qm_error *err) {
    if (json_is_string(v))
        return add(c, "default", json_string_value(v), json_string_length(v), path, err);
    if (!json_is_array(v))
        return qm_fail(err, QM_INPUT, "%s: \"chat_template\" must be a string or a list of {name, template}, found %s",
                       path, qm_json_type_name(v));
    if (json_array_size(v) > MAX_NAMED)
        return qm_fail(err, QM_INPUT, "%s: \"chat_template\" lists %zu templates; at most %d are read", path,
                       json_array_size(v), MAX_NAMED);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *name = json_object_get(json_array_get(v, i), "name");
        const json_t *source = json_object_get(json_array_get(v, i), "template");
        if (!json_is_string(name) || !json_is_string(source))
            return qm_fail(err, QM_INPUT, "%s: \"chat_template\"[%zu] needs the strings \"name\" and \"template\"",
                           path, i);
        int rc = add(c, json_string_value(name), json_string_value(source), json_string_length(source), path, err);
        if (rc)
            return rc;
    }
    return QM_OK;
}

typedef int read_fn(const char *path, size_t limit, struct qm_buf *out, struct qm_error *err);

/* name: of what is not a JSON file with names of its own. */
static int add_file(struct qm_chat *c, const char *name, const char *path, read_fn *read, struct qm_error *err) {
    size_t n = strlen(path);
    if (n > 5 && strcmp(path + n - 5, ".json") == 0) {
        json_t *root;
        int rc = qm_json_load(path, MAX_CONFIG_FILE, &root, err);
        if (!rc)
            rc = add_json(c, qm_json_is_object(root) ? json_object_get(root, "chat_template") : root, path, err);
        json_decref(root);
        return rc;
    }
    struct qm_buf text = {0};
    int rc = read(path, MAX_TEMPLATE_FILE, &text, err);
    if (!rc)
        rc = add(c, name, text.data ? text.data : "", text.len, path, err);
    qm_buf_free(&text);
    return rc;
}

/* additional_chat_templates/NAME.jinja, as transformers saves the templates of a model that has several. */
static int add_additional(struct qm_chat *c, const char *dir, struct qm_error *err) {
    static const char suffix[] = ".jinja";
    struct qm_buf path = {0};
    struct dirent **names = NULL;
    int n = 0, rc = qm_buf_printf(&path, err, "%s/additional_chat_templates", dir);
    if (!rc)
        n = scandir(path.data, &names, NULL, alphasort);
    size_t folder = path.len;
    for (int i = 0; i < n; i++) {
        char *dot = strrchr(names[i]->d_name, '.');
        bool is_template = dot && dot > names[i]->d_name && !strcmp(dot, suffix);
        path.len = folder;
        if (!rc && is_template && c->n >= MAX_NAMED)
            rc = qm_fail(err, QM_INPUT, "%.*s: at most %d templates are read", (int)folder, path.data, MAX_NAMED);
        if (!rc && is_template)
            rc = qm_buf_printf(&path, err, "/%s", names[i]->d_name);
        if (!rc && is_template) {
            *dot = 0;
            rc = add_file(c, names[i]->d_name, path.data, qm_read_file, err);
        }
        free(names[i]);
    }
    free(names);
    qm_buf_free(&path);
    return rc;
}

/* A token is a string or an object with content; a list of them is a list. */
static json_t *token_value(const json_t *v) {
    const json_t *content = qm_json_is_object(v) ? json_object_get(v, "content") : v;
    return json_is_string(content) ? json_stringn(json_string_value(content), json_string_length(content)) : NULL;
}

static json_t *token_list(const json_t *v) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < json_array_size(v); i++) {
        json_t *one = token_value(json_array_get(v, i));
        if (one)
            json_array_append_new(list, one);
    }
    return list;
}

/* The special tokens, as the tokenizer has them: its class's own where the folder names none. */
static int read_tokens(struct qm_chat *c, const char *dir, struct qm_error *err) {
    static const char *const more = "additional_special_tokens";
    struct qm_token_files files;
    struct qm_settings s = {0};
    int rc = qm_token_files_read(dir, &files, err);
    if (!rc)
        rc = qm_settings_read(&files, &s, err);
    int bad = 0;
    for (int i = 0; !rc && i < QM_NAMED_COUNT; i++)
        bad |= s.named[i] && json_object_set_new(c->tokens, qm_named_keys[i], json_string(s.named[i]));
    json_t *list = rc ? NULL : token_list(json_object_get(files.config, more));
    if (!rc && !json_object_get(files.config, "added_tokens_decoder")) {
        json_t *old = token_list(json_object_get(files.map, more));
        bad |= json_array_extend(list, old);
        json_decref(old);
    }
    if (!rc && json_array_size(list))
        bad |= json_object_set(c->tokens, more, list);
    json_decref(list);
    qm_settings_free(&s);
    qm_token_files_free(&files);
    return bad ? qm_fail_memory(err, 64, "special tokens") : rc;
}

/* *out: the object in DIR/name, or NULL where there is no such file. */
static int read_object(const char *dir, const char *name, struct qm_buf *path, json_t **out, struct qm_error *err) {
    path->len = 0;
    int rc = qm_buf_printf(path, err, "%s/%s", dir, name);
    if (!rc && qm_file_there(path->data))
        rc = qm_json_load(path->data, MAX_CONFIG_FILE, out, err);
    if (!rc && *out && !qm_json_is_object(*out))
        rc = qm_fail(err, QM_INPUT, "%s must be an object, found %s", path->data, qm_json_type_name(*out));
    return rc;
}

/* The template from the directory, when no file was given. */
static int find_template(struct qm_chat *c, const char *dir, const json_t *config, const char *config_path,
                         struct qm_error *err) {
    static const char *const files[] = {"chat_template.jinja", "chat_template.json"};
    struct qm_buf path = {0};
    int rc = QM_OK;
    for (size_t i = 0; !rc && !c->n && i < 2; i++) {
        path.len = 0;
        rc = qm_buf_printf(&path, err, "%s/%s", dir, files[i]);
        if (!rc && qm_file_there(path.data))
            rc = add_file(c, "default", path.data, qm_read_file, err);
    }
    qm_buf_free(&path);
    const json_t *in_config = json_object_get(config, "chat_template");
    if (!rc && !c->n && in_config && !json_is_null(in_config))
        rc = add_json(c, in_config, config_path, err);
    if (!rc)
        rc = add_additional(c, dir, err);
    if (!rc && !c->n)
        rc = qm_remedy(err, QM_REMEDY_CHAT_TEMPLATE,
                       qm_fail(err, QM_INPUT,
                               "%s has no chat template (chat_template.jinja, chat_template.json, or "
                               "\"chat_template\" in tokenizer_config.json)",
                               dir));
    return rc;
}

int qm_chat_load(const char *dir, const char *file, struct qm_chat **out, struct qm_error *err) {
    struct qm_buf path = {0};
    json_t *config = NULL;
    struct qm_chat *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c || !(c->tokens = json_object())) {
        free(c);
        return qm_fail_memory(err, sizeof *c, "a chat template");
    }
    int rc = read_object(dir, "tokenizer_config.json", &path, &config, err);
    if (!rc)
        rc = read_tokens(c, dir, err);
    if (!rc)
        rc = file ? add_file(c, "default", file, qm_read_given, err) : find_template(c, dir, config, path.data, err);
    if (rc)
        qm_chat_free(c);
    else
        *out = c;
    json_decref(config);
    qm_buf_free(&path);
    return rc;
}

static const struct named *choose(const struct qm_chat *c, bool tools, struct qm_error *err) {
    const struct named *chosen = NULL;
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->named[i].name, "default") == 0)
            chosen = &c->named[i];
    for (size_t i = 0; tools && i < c->n; i++)
        if (strcmp(c->named[i].name, "tool_use") == 0)
            chosen = &c->named[i];
    if (!chosen)
        qm_remedy(err, QM_REMEDY_CHAT_TEMPLATE,
                  qm_fail(err, QM_INPUT, "the model has several chat templates and none is named \"default\""));
    return chosen;
}

/* Appended to the last message's text, to find where that ends in the prompt. The space at its end tells
 * whether the template keeps the space at the end of a message. */
static const char MARK[] = "CONTINUE_FINAL_MESSAGE_TAG ";
enum { MARK_LEN = sizeof MARK - 1 };

/* The object and key of the text that the last message ends with: its content, or its last text part. */
static json_t *final_text(const json_t *messages, const char **key) {
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    json_t *content = json_object_get(last, "content");
    *key = "content";
    for (size_t i = json_array_size(content); json_is_array(content) && i-- > 0;)
        if (json_object_get(json_array_get(content, i), "text")) {
            *key = "text";
            return json_array_get(content, i);
        }
    return last;
}

static int mark_final(const json_t *messages, json_t **marked, const json_t **text, struct qm_error *err) {
    const char *key;
    struct qm_buf with_mark = {0};
    const json_t *holder = final_text(messages, &key);
    *text = json_object_get(holder, key);
    if (!json_is_string(*text))
        return qm_fail(err, QM_INPUT,
                       "continue_final_message is set but the last of \"messages\" has no text to continue");
    *marked = json_deep_copy(messages);
    int rc = qm_buf_add(&with_mark, json_string_value(*text), json_string_length(*text), err);
    if (!rc)
        rc = qm_buf_add(&with_mark, MARK, MARK_LEN, err);
    json_t *copy = rc || !*marked ? NULL : final_text(*marked, &key);
    if (!rc && (!copy || json_object_set_new(copy, key, json_stringn(with_mark.data, with_mark.len))))
        rc = qm_fail_memory(err, with_mark.len, "messages");
    qm_buf_free(&with_mark);
    return rc;
}

static size_t end_without_space(const char *s, size_t n) {
    uint32_t cp;
    while (n) {
        size_t at = n - 1;
        while (at && ((unsigned char)s[at] & 0xC0) == 0x80)
            at--;
        tpl_next_cp(s + at, n - at, &cp);
        if (!tpl_cp_space(cp))
            break;
        n = at;
    }
    return n;
}

/* The prompt's length up to where the marked text ends. */
static int cut_at_mark(const struct qm_buf *prompt, const json_t *text, size_t *len, struct qm_error *err) {
    const char *s = json_string_value(text), *at = NULL, *from = prompt->data;
    size_t n = end_without_space(s, json_string_length(text)), first = 0;
    uint32_t cp;
    for (size_t size; first < n; first += size) {
        size = tpl_next_cp(s + first, n - first, &cp);
        if (!tpl_cp_space(cp))
            break;
    }
    const char *end = prompt->data + prompt->len;
    for (const char *found; from && (found = memmem(from, (size_t)(end - from), MARK, MARK_LEN - 1)); from = found + 1)
        at = found;
    if (!at || !memmem(prompt->data, prompt->len, s + first, n - first))
        return qm_fail(err, QM_INPUT,
                       "continue_final_message is set but the final message does not appear in the chat after applying "
                       "the chat template");
    *len = (size_t)(at - prompt->data);
    if ((size_t)(end - at) < MARK_LEN || at[MARK_LEN - 1] != ' ')
        *len = end_without_space(prompt->data, *len);
    return QM_OK;
}

/* What the request says, checked. */
struct request {
    const json_t *messages, *tools, *documents, *kwargs;
    bool continue_final, add_prompt;
};

static int read_request(const json_t *body, struct request *r, struct qm_error *err) {
    static const char where[] = "the request";
    if (!qm_json_is_object(body))
        return qm_fail(err, QM_INPUT, "%s must be an object, found %s", where, qm_json_type_name(body));
    r->messages = json_object_get(body, "messages");
    r->tools = json_object_get(body, "tools");
    r->documents = json_object_get(body, "documents");
    r->kwargs = json_object_get(body, "chat_template_kwargs");
    if (!json_is_array(r->messages))
        return qm_fail(err, QM_INPUT, "%s: \"messages\" must be a list, found %s", where,
                       qm_json_type_name(r->messages));
    for (size_t i = 0; i < json_array_size(r->messages); i++)
        if (!qm_json_is_object(json_array_get(r->messages, i)))
            return qm_fail(err, QM_INPUT, "%s: \"messages\"[%zu] must be an object, found %s", where, i,
                           qm_json_type_name(json_array_get(r->messages, i)));
    if (r->kwargs && !qm_json_is_object(r->kwargs) && !json_is_null(r->kwargs))
        return qm_fail(err, QM_INPUT, "%s: \"chat_template_kwargs\" must be an object, found %s", where,
                       qm_json_type_name(r->kwargs));
    int rc = qm_json_bool(body, "continue_final_message", where, &r->continue_final, err);
    r->add_prompt = !r->continue_final;
    if (!rc)
        rc = qm_json_bool(body, "add_generation_prompt", where, &r->add_prompt, err);
    if (!rc && r->continue_final && r->add_prompt)
        rc = qm_fail(err, QM_INPUT, "%s: continue_final_message and add_generation_prompt exclude each other", where);
    return rc;
}

/* The variables of the template. Borrows from the request: a shallow object. */
static json_t *variables(const struct qm_chat *c, const struct request *r, json_t *marked) {
    json_t *v = json_copy(c->tokens);
    const json_t *borrowed[] = {marked ? marked : r->messages, r->tools, r->documents};
    static const char *const names[] = {"messages", "tools", "documents"};
    int bad = !v || json_object_set_new(v, "add_generation_prompt", json_boolean(r->add_prompt));
    for (size_t i = 1; !bad && i < 3; i++)
        bad = borrowed[i] ? json_object_set(v, names[i], (json_t *)(uintptr_t)borrowed[i])
                          : json_object_set_new(v, names[i], json_null());
    if (!bad && qm_json_is_object(r->kwargs))
        bad = json_object_update(v, (json_t *)(uintptr_t)r->kwargs);
    bad = bad || json_object_set(v, names[0], (json_t *)(uintptr_t)borrowed[0]);
    if (bad) {
        json_decref(v);
        return NULL;
    }
    return v;
}

/* Renders a request as it is. *failed: the template itself did. */
static int render(const struct qm_chat *c, const struct named *chosen, const json_t *body, const struct tm *now,
                  struct qm_buf *out, bool *failed, struct qm_error *err) {
    struct request r = {0};
    struct qm_buf prompt = {0};
    json_t *marked = NULL, *context = NULL;
    const json_t *text = NULL;
    int rc = read_request(body, &r, err);
    if (rc)
        return rc;
    if (!chosen && !(chosen = choose(c, r.tools && !json_is_null(r.tools), err)))
        return QM_INPUT;
    if (r.continue_final)
        rc = mark_final(r.messages, &marked, &text, err);
    if (!rc && !(context = variables(c, &r, marked)))
        rc = qm_fail_memory(err, 64, "the template's variables");
    if (!rc && (rc = qm_template_render(chosen->t, context, now, &prompt, err)))
        *failed = rc == QM_INPUT;
    size_t len = prompt.len;
    if (!rc && r.continue_final)
        rc = cut_at_mark(&prompt, text, &len, err);
    if (!rc)
        rc = qm_buf_add(out, prompt.data ? prompt.data : "", len, err);
    qm_buf_free(&prompt);
    json_decref(context);
    json_decref(marked);
    return rc;
}

int qm_chat_render(const struct qm_chat *c, const json_t *body, const struct tm *now, struct qm_buf *out,
                   struct qm_error *err) {
    bool failed;
    return render(c, NULL, body, now, out, &failed, err);
}

/* --- requests as clients send them --- */

/* The body as the template sees it. A new reference, or NULL. */
static json_t *plain_body(const json_t *body, json_t *messages, json_t *tools) {
    static const char *const taken[] = {"documents", "add_generation_prompt", "continue_final_message"};
    json_t *out = json_pack("{s:O, s:O*}", "messages", messages, "tools", tools);
    json_t *kwargs = json_object_get(body, "chat_template_kwargs");
    json_t *effort = json_object_get(body, "reasoning_effort");
    bool ok = out != NULL;
    for (size_t i = 0; i < sizeof taken / sizeof *taken && ok; i++) {
        json_t *value = json_object_get(body, taken[i]);
        bool none = !value || json_is_null(value) || (json_is_array(value) && !json_array_size(value));
        ok = none || !json_object_set(out, taken[i], value);
    }
    kwargs = kwargs && !json_is_null(kwargs) ? json_copy(kwargs) : json_object();
    if (ok && json_is_string(effort) && !json_object_get(kwargs, "reasoning_effort"))
        ok = kwargs && !json_object_set(kwargs, "reasoning_effort", effort);
    ok = ok && !json_object_set(out, "chat_template_kwargs", kwargs);
    json_decref(kwargs);
    if (!ok)
        json_decref(out);
    return ok ? out : NULL;
}

/* Messages that raise_exception had in the template are its own words; other failures begin with file and line. */
static int template_failed(const struct named *t, struct qm_error *err) {
    const char *name = qm_template_name(t->t);
    if (!err)
        return QM_INPUT;
    return strncmp(err->message, name, strlen(name)) == 0
               ? qm_fail_context(err, "the chat template fails")
               : qm_fail_context(err, "the chat template refuses these messages");
}

int qm_chat_prompt(const struct qm_chat *c, const json_t *body, const struct tm *now, struct qm_buf *out,
                   struct qm_error *err) {
    json_t *messages = NULL, *tools = NULL, *plain = NULL;
    const struct named *chosen = NULL;
    bool failed = false;
    int rc = qm_json_is_object(body)
                 ? qm_chat_plain_tools(body, &tools, err)
                 : qm_fail(err, QM_INPUT, "the request must be an object, found %s", qm_json_type_name(body));
    if (!rc && !(chosen = choose(c, tools != NULL, err)))
        rc = QM_INPUT;
    if (!rc)
        rc = qm_chat_plain_messages(json_object_get(body, "messages"), &chosen->wants, &messages, err);
    if (!rc && !(plain = plain_body(body, messages, tools)))
        rc = qm_fail_memory(err, 256, "the messages of a request");
    if (!rc)
        rc = render(c, chosen, plain, now, out, &failed, err);
    if (failed)
        rc = template_failed(chosen, err);
    json_decref(plain);
    json_decref(messages);
    json_decref(tools);
    return rc;
}

int qm_chat_check(const struct qm_chat *c, const json_t *kwargs, const char *system, const struct tm *now,
                  struct qm_error *err) {
    struct qm_buf prompt = {0};
    json_t *messages = system ? json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "system", "content", system, "role",
                                          "user", "content", "Hello.")
                              : json_pack("[{s:s, s:s}]", "role", "user", "content", "Hello.");
    json_t *body = json_pack("{s:o, s:O*}", "messages", messages, "chat_template_kwargs", kwargs);
    int rc = body ? qm_chat_prompt(c, body, now, &prompt, err) : qm_fail_memory(err, 256, "a message");
    if (!rc && !prompt.len)
        rc = qm_fail(err, QM_INPUT, "the chat template gives an empty prompt");
    json_decref(body);
    qm_buf_free(&prompt);
    return rc;
}
