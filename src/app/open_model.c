/* Finding and describing a model as the options say. */
#include "app/open_model.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "app/beside.h"
#include "app/foreign.h"
#include "app/hub.h"
#include "app/shapes.h"
#include "base/file.h"
#include "model/locate.h"

/* The demonstration model: in the source tree beside build/ (or build/VARIANT/), or installed. */
static int locate_demo(char **dir, struct qm_error *err) {
    const char *given = getenv("QUIETMIND_DEMO");
    if (given && *given) {
        *dir = strdup(given);
        return *dir ? QM_OK : qm_fail_memory(err, strlen(given), "a name");
    }
    char path[4400];
    if (qm_beside_program("data/demo", "demo", "config.json", path, sizeof path)) {
        *strrchr(path, '/') = 0;
        *dir = realpath(path, NULL);
        return *dir ? QM_OK : qm_fail_errno(err, "%s", path);
    }
    return qm_fail(err, QM_INPUT,
                   "the demonstration model is not beside the program; name a model, or set QUIETMIND_DEMO to the "
                   "demonstration model's directory");
}

static const char *variable(const char *name) {
    return getenv(name);
}

int qm_app_find(const char *name, char **dir, struct qm_error *err) {
    struct qm_buf hub = {0};
    *dir = NULL;
    if (!name)
        return locate_demo(dir, err);
    int rc = qm_hub_folder(variable, &hub, err);
    if (!rc)
        rc = qm_model_locate(name, hub.data, dir, err);
    if (rc == QM_INPUT && err)
        qm_foreign_model(name, err);
    qm_buf_free(&hub);
    return rc;
}

int qm_app_locate(const char *name, struct qm_progress *progress, char **dir, struct qm_error *err) {
    int rc = qm_app_find(name, dir, err);
    if (!rc && !name)
        qm_note(progress, "no model given: using the demonstration model, %s", *dir);
    return rc;
}

static bool has_tokenizer(const char *dir) {
    static const char *const names[] = {"tokenizer.json", "tokenizer.model"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[4300];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        if (qm_file_there(path))
            return true;
    }
    return false;
}

static void print_notes(struct qm_progress *progress, const char *notes) {
    while (*notes) {
        int n = (int)strcspn(notes, "\n");
        if (n)
            qm_note(progress, "%.*s", n, notes);
        notes += n + (notes[n] == '\n');
    }
}

/* The model's own maximum; with a rope scaling it is the scaled one. */
void qm_app_context_note(const struct qm_model *m, int64_t wanted, char *out, size_t size) {
    out[0] = 0;
    if (wanted > m->config.max_positions)
        snprintf(out, size,
                 "warning: a context of %lld tokens is more than the model's maximum of %lld; answers may degrade "
                 "beyond it (see --rope-scaling)\n",
                 (long long)wanted, (long long)m->config.max_positions);
}

/* Some tokens more than the embedding has rows are a fine-tune's, said and lived with; many are another model's. */
static int check_kin(const struct qm_app_model *m, struct qm_error *err) {
    int64_t vocab = m->model->config.vocab, tokens = m->tokenizer ? qm_tokenizer_size(m->tokenizer) : 0;
    if (tokens - vocab <= vocab / 4)
        return QM_OK;
    return qm_fail(err, QM_INPUT,
                   "%s: the tokenizer has ids up to %lld, but the model's embedding only %lld rows: they do not belong "
                   "together",
                   m->dir, (long long)tokens - 1, (long long)vocab);
}

/* What ends an answer, in every command: a template that is not there or fails names nothing. */
static int find_ends(struct qm_app_model *m, struct qm_error *err) {
    const struct qm_chat *chat = m->tokenizer ? m->chat : NULL;
    int rc = qm_end_tokens_find(&m->model->config, &m->defaults, m->tokenizer, chat, &m->ends, err);
    if (!rc)
        qm_end_tokens_set(&m->ends, &m->model->config);
    return rc;
}

int qm_app_chat(const struct qm_app_model *m, const struct qm_chat **out, struct qm_error *err) {
    *out = m->chat;
    if (!m->chat)
        *err = m->chat_error;
    return m->chat ? QM_OK : m->chat_error.code;
}

void qm_app_vocabulary_notes(const struct qm_app_model *m, char *out, size_t size) {
    long long vocab = m->model->config.vocab, tokens = m->tokenizer ? qm_tokenizer_size(m->tokenizer) : 0;
    char from[120];
    size_t n = 0;
    out[0] = 0;
    if (tokens > vocab)
        n = (size_t)snprintf(
            out, size,
            "the tokenizer has ids up to %lld, but the model's embedding only %lld rows: a prompt with "
            "a token beyond them is refused\n",
            tokens - 1, vocab);
    for (int i = 0; i < m->ends.n_foreign && n < size; i++)
        n += (size_t)snprintf(out + n, size - n,
                              "end token %d (%s) is not in the model's vocabulary of %lld: it ends "
                              "nothing\n",
                              (int)m->ends.foreign[i].id,
                              qm_end_token_sources(m->ends.foreign[i].from, from, sizeof from), vocab);
}

/* What stands beside config.json, and what is to be said about the model. */
static int open_beside(const struct qm_model_options *o, enum qm_tokenizer_need need, struct qm_progress *progress,
                       struct qm_app_model *out, struct qm_error *err) {
    char notes[1024];
    print_notes(progress, out->model->notes);
    qm_app_context_note(out->model, o->context, notes, sizeof notes);
    print_notes(progress, notes);
    int rc = qm_generation_config_read(out->dir, &out->defaults, err);
    if (!rc && (need == QM_TOKENIZER_YES || (need == QM_TOKENIZER_IF_THERE && has_tokenizer(out->dir))))
        rc = qm_tokenizer_load(out->dir, &out->tokenizer, err);
    if (!rc)
        rc = check_kin(out, err);
    if (!rc && need != QM_TOKENIZER_NO)
        qm_chat_load(out->dir, o->chat_template, &out->chat, &out->chat_error);
    if (!rc)
        rc = find_ends(out, err);
    if (rc)
        return rc;
    qm_app_vocabulary_notes(out, notes, sizeof notes);
    print_notes(progress, notes);
    return QM_OK;
}

int qm_app_open(const struct qm_model_options *o, enum qm_tokenizer_need need, struct qm_progress *progress,
                struct qm_app_model *out, struct qm_error *err) {
    int rc = qm_app_locate(o->name, progress, &out->dir, err);
    if (!rc)
        rc = qm_model_open(out->dir, &o->overrides, &out->model, err);
    return rc ? rc : open_beside(o, need, progress, out, err);
}

/* A directory with config.json and no file of weights. */
static bool config_alone(const char *dir, char *config, size_t size) {
    snprintf(config, size, "%s/config.json", dir);
    DIR *d = qm_file_there(config) ? opendir(dir) : NULL;
    bool alone = d != NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        const char *dot = strrchr(e->d_name, '.');
        alone &= !dot || strcmp(dot, ".safetensors") != 0;
    }
    if (d)
        closedir(d);
    return alone;
}

/* A name of the Hugging Face cache: config.json alone would do, and so would a shape that is known. */
static int ask_for_config(const char *name, struct qm_error *err) {
    struct qm_error old = *err;
    const char *slash = strchr(name, '/');
    char shape[64] = "";
    for (int i = 0; slash && qm_shape_name(i); i++)
        if (!strcasecmp(qm_shape_name(i), slash + 1))
            snprintf(shape, sizeof shape, ", or name its shape, %s", qm_shape_name(i));
    if (slash && !strchr(slash + 1, '/') && slash != name && name[0] != '.')
        return qm_fail(err, QM_INPUT, "%s. Here `hf download %s config.json` is enough%s", old.message, name, shape);
    if (!slash)
        return qm_fail(err, QM_INPUT, "%s. Shapes known by name: %s", old.message, qm_shape_names());
    return QM_INPUT;
}

int qm_app_describe(const struct qm_model_options *o, enum qm_tokenizer_need need, struct qm_progress *progress,
                    struct qm_app_model *out, struct qm_error *err) {
    struct stat st;
    char config[4400] = "";
    const char *shape = o->name;
    bool there = shape && stat(shape, &st) == 0;
    if (!shape || (there ? S_ISDIR(st.st_mode) : !qm_shape_config(shape))) {
        int rc = qm_app_locate(o->name, progress, &out->dir, err);
        if (rc)
            return rc == QM_INPUT && shape && !there ? ask_for_config(shape, err) : rc;
        if (!config_alone(out->dir, config, sizeof config)) {
            if (o->layers || o->dtype)
                return qm_fail(err, QM_USAGE, "--%s is for --random or a config.json", o->layers ? "layers" : "dtype");
            rc = qm_model_open(out->dir, &o->overrides, &out->model, err);
            if (rc == QM_INPUT && !there && shape && !qm_file_there(config)) /* nothing but a tokenizer, say */
                return ask_for_config(shape, err);
            return rc ? rc : open_beside(o, need, progress, out, err);
        }
        shape = config;
    } else if (!(out->dir = strdup(shape))) {
        return qm_fail_memory(err, strlen(shape), "a name");
    }
    int rc = qm_shape_open(shape, o->layers, o->dtype, &o->overrides, &out->model, err);
    if (rc)
        return rc;
    size_t n = strlen(out->model->notes);
    if (config[0])
        snprintf(out->model->notes + n, sizeof out->model->notes - n,
                 "no weights are here: config.json alone describes the model\n");
    return open_beside(o, config[0] ? need : QM_TOKENIZER_NO, progress, out, err);
}

void qm_app_close(struct qm_app_model *m) {
    qm_routing_profile_free(&m->routing);
    qm_predictor_close(m->predictor);
    qm_engine_close(m->engine);
    qm_chat_free(m->chat);
    qm_tokenizer_free(m->tokenizer);
    qm_model_close(m->model);
    free(m->plan);
    free(m->routing_file);
    free(m->dir);
    *m = (struct qm_app_model){0};
}

int qm_app_check_head(const struct qm_app_model *m, struct qm_error *err) {
    if (!m->model->config.no_head)
        return QM_OK;
    return qm_fail(err, QM_INPUT,
                   "%s: the files have no head: the model gives embeddings (batch, with rows for /v1/embeddings), and "
                   "no text",
                   m->dir);
}

int qm_app_check_ids(const struct qm_app_model *m, const struct qm_ids *ids, const char *name, struct qm_error *err) {
    int64_t vocab = m->model->config.vocab;
    for (size_t i = 0; i < ids->len; i++)
        if (ids->data[i] < 0 || ids->data[i] >= vocab)
            return qm_fail(err, QM_INPUT, "%s: id %d at position %zu is not in the model's vocabulary of %lld", name,
                           (int)ids->data[i], i, (long long)vocab);
    return QM_OK;
}

int qm_app_read_texts(const struct qm_texts *files, struct qm_buf *out, struct qm_error *err) {
    int rc = QM_OK;
    for (size_t i = 0; i < files->n && !rc; i++)
        rc = qm_read_text(files->text[i], out, err);
    return rc;
}
