/* The manifest: collecting, keeping, comparing. */
#include "batch/manifest.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

enum { TEXT_LIMIT = 1 << 30 };

void qm_manifest_add(struct qm_manifest *m, const char *key, const char *what, const char *value, bool may_change) {
    assert(m->n < QM_MANIFEST_ITEMS);
    struct qm_manifest_item *item = &m->item[m->n++];
    *item = (struct qm_manifest_item){.key = key, .what = what, .options = "", .may_change = may_change};
    if (strlen(value) < sizeof item->value)
        strcpy(item->value, value);
    else
        qm_hash_text(value, strlen(value), item->value);
}

void qm_manifest_add_number(struct qm_manifest *m, const char *key, const char *what, double value, bool may_change) {
    char text[64];
    snprintf(text, sizeof text, "%.17g", value);
    qm_manifest_add(m, key, what, text, may_change);
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static int hash_text_file(struct qm_hasher *h, const char *path, struct qm_error *err) {
    struct qm_buf text = {0};
    int rc = qm_read_file(path, TEXT_LIMIT, &text, err);
    if (!rc)
        qm_hasher_add(h, text.data ? text.data : "", text.len);
    qm_buf_free(&text);
    return rc;
}

/* Everything that says how text is made to tokens and back, and when it ends; not what the weights' fingerprint has. */
static bool is_text_file(const char *name) {
    return strcmp(name, "config.json") != 0 && !ends_with(name, ".safetensors.index.json") &&
           (ends_with(name, ".json") || ends_with(name, ".jinja") || ends_with(name, ".model"));
}

static int hash_file(struct qm_hasher *h, const char *dir, const char *name, struct qm_error *err) {
    char path[4600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    qm_hasher_add(h, name, strlen(name) + 1);
    return hash_text_file(h, path, err);
}

/* Those of a folder, in the order of their names. */
static int hash_folder(struct qm_hasher *h, const char *dir, struct qm_error *err) {
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort), rc = QM_OK;
    if (n < 0)
        return qm_fail_errno(err, "%s", dir);
    for (int i = 0; i < n; i++) {
        if (!rc && is_text_file(names[i]->d_name))
            rc = hash_file(h, dir, names[i]->d_name, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

int qm_manifest_add_texts(struct qm_manifest *m, const char *dir, const char *template_file, struct qm_error *err) {
    struct qm_hasher *h;
    char hash[QM_HASH_TEXT], more[4600];
    int rc = qm_hasher_new(&h, err);
    if (rc)
        return rc;
    snprintf(more, sizeof more, "%s/additional_chat_templates", dir);
    rc = hash_folder(h, dir, err);
    if (!rc && access(more, F_OK) == 0)
        rc = hash_folder(h, more, err);
    if (!rc && template_file)
        rc = hash_text_file(h, template_file, err);
    qm_hasher_text(h, hash);
    qm_manifest_add(m, "tokenizer", "the model's tokenizer, chat template or generation_config.json", hash, false);
    qm_hasher_free(h);
    return rc;
}

void qm_manifest_add_traits(struct qm_manifest *m, const struct qm_fingerprint *f, const struct qm_batch_words *words) {
    for (int t = 0; t < QM_TRAIT_COUNT; t++)
        if (*f->value[t]) {
            qm_manifest_add(m, qm_trait_key((enum qm_trait)t), qm_trait_name((enum qm_trait)t), f->value[t],
                            qm_trait_may_change((enum qm_trait)t));
            m->item[m->n - 1].options = words->trait((enum qm_trait)t);
        }
}

/* The journal's key of an item: apart from its other values. */
static void item_key(const struct qm_manifest_item *item, char out[64]) {
    snprintf(out, 64, "manifest_%s", item->key);
}

static int keep(const struct qm_manifest_item *item, struct qm_journal *j, struct qm_error *err) {
    char key[64];
    item_key(item, key);
    return qm_journal_set(j, key, item->value, err);
}

/* Two values that people can read, not two fingerprints. */
static bool readable(const char *a, const char *b) {
    return strlen(a) + 1 < QM_HASH_TEXT && strlen(b) + 1 < QM_HASH_TEXT;
}

static int describe(const struct qm_manifest_item *item, const char *before, struct qm_buf *out, struct qm_error *err) {
    const char *comma = out->len ? ", " : "";
    if (!readable(item->value, before))
        return qm_buf_printf(out, err, "%s%s%s", comma, item->what, item->options);
    return qm_buf_printf(out, err, "%s%s%s (it was %s, now %s)", comma, item->what, item->options,
                         *before ? before : "not given", *item->value ? item->value : "not given");
}

static int compare(const struct qm_manifest_item *item, struct qm_journal *j, struct qm_buf *refused,
                   struct qm_buf *changed, struct qm_error *err) {
    struct qm_buf value = {0};
    char key[64];
    bool found;
    item_key(item, key);
    int rc = qm_journal_get(j, key, &value, &found, err);
    const char *before = value.data ? value.data : "";
    bool differs = !rc && found && strcmp(before, item->value) != 0;
    if (differs)
        rc = describe(item, before, item->may_change ? changed : refused, err);
    if (!rc && (!found || (differs && item->may_change)))
        rc = keep(item, j, err);
    qm_buf_free(&value);
    return rc;
}

int qm_manifest_settle(const struct qm_manifest *m, struct qm_journal *j, const struct qm_batch_ui *ui,
                       struct qm_error *err) {
    struct qm_buf refused = {0}, changed = {0};
    int rc = QM_OK;
    for (int i = 0; i < m->n && !rc; i++)
        rc = compare(&m->item[i], j, &refused, &changed, err);
    if (!rc && refused.len)
        rc = qm_remedy(
            err, QM_REMEDY_START_OVER,
            qm_fail(err, QM_INPUT,
                    "this output belongs to a job that differs: %s. Run it with what it began with, or name another "
                    "output",
                    refused.data));
    if (!rc && changed.len)
        qm_batch_note(ui, "since this job began there changed %s; finished rows stay as they are", changed.data);
    qm_buf_free(&refused);
    qm_buf_free(&changed);
    return rc;
}

void qm_manifest_job(const struct qm_manifest *m, char out[QM_HASH_TEXT]) {
    struct qm_buf all = {0};
    for (int i = 0; i < m->n; i++)
        if (!m->item[i].may_change)
            qm_buf_printf(&all, NULL, "%s=%s\n", m->item[i].key, m->item[i].value);
    qm_hash_text(all.data ? all.data : "", all.len, out);
    qm_buf_free(&all);
}
