/* The entry points: compile and render. Each runs in a struct tpl; a failure inside comes back here. */
#include "text/template/template.h"

#include <stdlib.h>
#include <string.h>

#include "text/template/eval.h"

struct qm_template {
    struct tpl *memory; /* of the compile; only read after it */
    const struct tpl_node *root;
    const char *name;
};

/* setjmp stands alone in its function, where no variable changes after it. */
static int compile(struct qm_template *made, const char *source, size_t len) {
    struct tpl *t = made->memory;
    if (setjmp(t->leave))
        return t->err->code;
    struct tpl_node *root = tpl_parse(t, source, len);
    t->depth = 0;
    tpl_resolve(t, root);
    made->root = root;
    return QM_OK;
}

int qm_template_compile(const char *source, size_t len, const char *name, struct qm_template **out,
                        struct qm_error *err) {
    struct qm_error local;
    *out = NULL;
    struct qm_template *made = calloc(1, sizeof *made);
    struct tpl *t = calloc(1, sizeof *t);
    char *copy = strdup(name);
    if (!made || !t || !copy) {
        free(made);
        free(t);
        free(copy);
        return qm_fail_memory(err, sizeof *made, "a chat template");
    }
    made->memory = t;
    made->name = t->name = copy;
    t->err = err ? err : &local;
    int rc = compile(made, source, len);
    t->err = NULL;
    if (rc)
        qm_template_free(made);
    else
        *out = made;
    return rc;
}

void qm_template_free(struct qm_template *t) {
    if (!t)
        return;
    tpl_free_memory(t->memory);
    free(t->memory);
    free((char *)(uintptr_t)t->name);
    free(t);
}

const char *qm_template_name(const struct qm_template *t) {
    return t->name;
}

/* Jinja's globals, and over them the variables of the context. */
static const struct tpl_dict *context_of(struct tpl *t, const json_t *context) {
    struct tpl_dict *d = tpl_dict_new(t);
    for (const struct tpl_builtin *b = tpl_globals; b->name; b++) {
        struct tpl_method *m = tpl_alloc(t, sizeof *m);
        *m = (struct tpl_method){tpl_none(), b};
        tpl_dict_set(t, d, tpl_strz(t, b->name), (struct tpl_val){.kind = TPL_METHOD, .method = m});
    }
    struct tpl_val given = context ? tpl_from_json(t, context, 0) : tpl_none();
    for (size_t i = 0; given.kind == TPL_DICT && i < given.d->n; i++)
        tpl_dict_set(t, d, given.d->e[i].key, given.d->e[i].value);
    return d;
}

static int render(struct tpl *t, const struct tpl_node *root, const json_t *context, struct qm_buf *out) {
    if (setjmp(t->leave))
        return t->err->code;
    struct tpl_sb text = {.t = t};
    t->context = context_of(t, context);
    tpl_run(t, root, &text);
    return qm_buf_add(out, text.len ? text.s : "", text.len, t->err);
}

int qm_template_render(const struct qm_template *tmpl, const json_t *context, const struct tm *now, struct qm_buf *out,
                       struct qm_error *err) {
    struct qm_error local;
    struct tpl *t = calloc(1, sizeof *t);
    if (!t)
        return qm_fail_memory(err, sizeof *t, "a chat template");
    t->err = err ? err : &local;
    t->name = tmpl->name;
    t->now = now;
    t->line = 1;
    int rc = render(t, tmpl->root, context, out);
    tpl_free_memory(t);
    free(t);
    return rc;
}
