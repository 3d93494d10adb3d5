/* The table of paths, and what those do that need no model at work. */
#include <string.h>

#include "base/json.h"
#include "protocol/failure.h"
#include "serve/exchange.h"

const struct qm_path qm_paths[] = {
    {"/health", QM_PATH_GET, false, true, true, qm_handle_health},
    {"/ready", QM_PATH_GET, false, true, true, qm_handle_health},
    {"/metrics", QM_PATH_GET, false, false, true, qm_handle_metrics},
    {"/models", QM_PATH_GET, true, false, true, qm_handle_models},
    {"/models/", QM_PATH_GET, true, false, true, qm_handle_model},
    {"/chat/completions", QM_PATH_POST, true, false, false, qm_handle_generate},
    {"/completions", QM_PATH_POST, true, false, false, qm_handle_generate},
    {"/embeddings", QM_PATH_POST, true, false, false, qm_handle_generate},
    {"/tokenize", QM_PATH_POST, true, false, false, qm_handle_tokenize},
    {"/detokenize", QM_PATH_POST, true, false, false, qm_handle_detokenize},
    {"/apply-template", QM_PATH_POST, true, false, false, qm_handle_template},
    {NULL, QM_PATH_GET, false, false, false, NULL},
};

const struct qm_path *qm_path_find(const char *url, const char *method, const char **rest, bool *other) {
    bool v1 = !strncmp(url, "/v1/", 4);
    const char *name = v1 ? url + 3 : url;
    *other = false;
    for (const struct qm_path *p = qm_paths; p->name; p++) {
        size_t n = strlen(p->name);
        bool more = p->name[n - 1] == '/';
        if ((v1 && !p->of_v1) || strncmp(name, p->name, n) != 0 || (more ? !name[n] : name[n] != 0))
            continue;
        *rest = name + n;
        if (!strcmp(method, p->method == QM_PATH_GET ? "GET" : "POST"))
            return p;
        *other = true;
    }
    return NULL;
}

void qm_handle_health(struct qm_exchange *x) {
    qm_exchange_json(x, 200, json_pack("{s:s}", "status", "ok"));
}

void qm_handle_metrics(struct qm_exchange *x) {
    struct qm_error err;
    x->type = "text/plain; version=0.0.4; charset=utf-8";
    x->status = 200;
    if (qm_serve_metrics_text(x->shared->metrics, x->shared->o->models, x->shared->o->n_models, &x->out, &err)) {
        x->out.len = 0;
        qm_exchange_fail(x, &err, 500, NULL);
        return;
    }
    x->done = true;
}

static json_t *describe(const struct qm_served_model *m, const char *name) {
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:n, s:I, s:{s:I, s:I, s:I}}", "id", name, "object", "model", "created",
                     (json_int_t)m->created, "owned_by", "quietmind", "root", m->name[0], "parent", "max_model_len",
                     (json_int_t)m->context.context, "meta", "n_ctx_train", (json_int_t)m->trained_context, "n_params",
                     (json_int_t)m->parameters, "size", (json_int_t)m->bytes);
}

void qm_handle_models(struct qm_exchange *x) {
    const struct qm_server_options *o = x->shared->o;
    json_t *list = json_array();
    for (int i = 0; i < o->n_models; i++)
        for (int k = 0; k < o->models[i]->n_names; k++)
            json_array_append_new(list, describe(o->models[i], o->models[i]->name[k]));
    qm_exchange_json(x, 200, json_pack("{s:s, s:o}", "object", "list", "data", list));
}

/* By one of its names; NULL. */
static const struct qm_served_model *find_model(const struct qm_server_options *o, const char *name) {
    for (int i = 0; i < o->n_models; i++)
        for (int k = 0; k < o->models[i]->n_names; k++)
            if (!strcmp(o->models[i]->name[k], name))
                return o->models[i];
    return NULL;
}

static void no_model(struct qm_exchange *x, const char *name) {
    struct qm_error err;
    qm_fail(&err, QM_INPUT, "the model \"%.200s\" is not here; this server has \"%s\"%s", name,
            x->shared->o->models[0]->name[0], x->shared->o->n_models > 1 ? " and others (/v1/models)" : "");
    qm_about(&err, "model", QM_INPUT);
    qm_exchange_fail(x, &err, 404, "model_not_found");
}

void qm_handle_model(struct qm_exchange *x) {
    const struct qm_served_model *m = find_model(x->shared->o, x->rest);
    if (m)
        qm_exchange_json(x, 200, describe(m, x->rest));
    else
        no_model(x, x->rest);
}

json_t *qm_exchange_body(struct qm_exchange *x) {
    struct qm_error err;
    json_t *body = NULL;
    int rc = qm_json_parse(x->body.data ? x->body.data : "", x->body.len, "the request's body", &body, &err);
    if (!rc && !qm_json_is_object(body))
        rc = qm_fail(&err, QM_INPUT, "the request's body: expected an object, found %s", qm_json_type_name(body));
    if (!rc)
        return body;
    json_decref(body);
    qm_exchange_fail(x, &err, qm_failure_status(&err), NULL);
    return NULL;
}

const struct qm_served_model *qm_exchange_model(struct qm_exchange *x, const json_t *body) {
    const struct qm_server_options *o = x->shared->o;
    const char *name = NULL;
    struct qm_error err;
    if (qm_json_string(body, "model", "the request", &name, &err)) {
        qm_exchange_fail(x, &err, 400, NULL);
        return NULL;
    }
    x->model = name ? find_model(o, name) : o->models[0];
    if (!x->model && o->any_model)
        x->model = o->models[0];
    if (!x->model)
        no_model(x, name);
    return x->model;
}
