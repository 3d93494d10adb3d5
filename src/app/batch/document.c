/* Documents and questions as rows. */
#include "app/batch/document.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/open_model.h"
#include "base/json.h"

struct document {
    char *path, *name; /* name lends from path */
    char hash[QM_HASH_TEXT];
};

struct qm_batch_documents {
    struct document *document;
    size_t n, cap;
    struct qm_buf questions_text;
    char **question; /* lends from questions_text */
    size_t n_questions;
    char *system;
    json_t *extra;
    char hash[QM_HASH_TEXT];
    int64_t next;       /* row */
    struct qm_buf text; /* of the document `loaded` */
    int64_t loaded;     /* -1: none */
    struct qm_buf line; /* the row given last */
};

static int add_document(struct qm_batch_documents *d, const char *path, const char *name, struct qm_error *err) {
    if (d->n == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 64;
        struct document *more = realloc(d->document, cap * sizeof *more);
        if (!more)
            return qm_fail_memory(err, cap * sizeof *more, "documents");
        d->document = more;
        d->cap = cap;
    }
    char *copy = strdup(path);
    if (!copy)
        return qm_fail_memory(err, strlen(path), "a document's name");
    d->document[d->n++] = (struct document){.path = copy, .name = copy + (name - path)};
    return QM_OK;
}

static int add_folder(struct qm_batch_documents *d, const char *path, struct qm_error *err) {
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort), rc = QM_OK;
    if (n < 0)
        return qm_fail_errno(err, "%s", path);
    size_t before = d->n;
    for (int i = 0; i < n; i++) {
        struct qm_buf file = {0};
        struct stat st;
        if (!rc && names[i]->d_name[0] != '.' && !(rc = qm_buf_printf(&file, err, "%s/%s", path, names[i]->d_name)) &&
            stat(file.data, &st) == 0 && S_ISREG(st.st_mode))
            rc = add_document(d, file.data, strrchr(file.data, '/') + 1, err);
        qm_buf_free(&file);
        free(names[i]);
    }
    free(names);
    return !rc && d->n == before ? qm_fail(err, QM_INPUT, "%s: a folder without files", path) : rc;
}

static int add_path(struct qm_batch_documents *d, const char *path, struct qm_error *err) {
    struct stat st;
    if (stat(path, &st) != 0)
        return qm_fail_errno(err, "%s", path);
    if (S_ISDIR(st.st_mode))
        return add_folder(d, path, err);
    const char *slash = strrchr(path, '/');
    return add_document(d, path, slash ? slash + 1 : path, err);
}

/* Lines that are not empty. */
static int read_questions(struct qm_batch_documents *d, const char *path, struct qm_error *err) {
    int rc = qm_app_read_text(path, &d->questions_text, err);
    size_t lines = 1;
    for (const char *p = d->questions_text.data; !rc && p && *p; p++)
        lines += *p == '\n';
    if (!rc && !(d->question = calloc(lines, sizeof *d->question)))
        rc = qm_fail_memory(err, lines * sizeof *d->question, "questions");
    char *rest = d->questions_text.data;
    while (!rc && rest && *rest) {
        char *line = rest + strspn(rest, " \t\r"), *end = line + strcspn(line, "\n");
        rest = end + (*end == '\n');
        *end = 0;
        while (end > line && strchr(" \t\r", end[-1]))
            *--end = 0;
        if (*line)
            d->question[d->n_questions++] = line;
    }
    return !rc && d->n_questions == 0 ? qm_fail(err, QM_INPUT, "%s: holds no question; one a line is expected", path)
                                      : rc;
}

/* The document without the newlines at its end. */
static int load(struct qm_batch_documents *d, int64_t i, struct qm_error *err) {
    if (d->loaded == i)
        return QM_OK;
    d->loaded = -1;
    d->text.len = 0;
    int rc = qm_app_read_text(d->document[i].path, &d->text, err);
    while (!rc && d->text.len && d->text.data[d->text.len - 1] == '\n')
        d->text.data[--d->text.len] = 0;
    if (!rc && d->text.len == 0)
        rc = qm_fail(err, QM_INPUT, "%s: the document is empty", d->document[i].path);
    if (!rc)
        d->loaded = i;
    return rc;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct document *)a)->name, ((const struct document *)b)->name);
}

/* Fingerprints of all of it, and no name twice. */
static int identify(struct qm_batch_documents *d, struct qm_error *err) {
    struct qm_hasher *h;
    int rc = qm_hasher_new(&h, err);
    if (rc)
        return rc;
    qsort(d->document, d->n, sizeof *d->document, by_name);
    for (size_t i = 0; i < d->n && !rc; i++) {
        struct document *doc = &d->document[i];
        if (i && !strcmp(doc->name, doc[-1].name))
            rc = qm_fail(err, QM_INPUT, "two documents are called %s: %s and %s", doc->name, doc[-1].path, doc->path);
        if (!rc)
            rc = load(d, (int64_t)i, err);
        if (!rc)
            qm_hash_text(d->text.data, d->text.len, doc->hash);
        qm_hasher_add(h, doc->name, strlen(doc->name) + 1);
        qm_hasher_add(h, doc->hash, sizeof doc->hash);
    }
    for (size_t i = 0; i < d->n_questions; i++)
        qm_hasher_add(h, d->question[i], strlen(d->question[i]) + 1);
    if (d->system)
        qm_hasher_add(h, d->system, strlen(d->system) + 1);
    char *extra = json_dumps(d->extra, JSON_COMPACT | JSON_SORT_KEYS);
    if (extra)
        qm_hasher_add(h, extra, strlen(extra));
    else if (!rc)
        rc = qm_fail_memory(err, 256, "the requests");
    free(extra);
    qm_hasher_text(h, d->hash);
    qm_hasher_free(h);
    return rc;
}

int qm_batch_documents_open(const char *const *paths, size_t n_paths, const char *questions, const char *system,
                            json_t *extra, struct qm_batch_documents **out, struct qm_error *err) {
    struct qm_batch_documents *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d)
        return qm_fail_memory(err, sizeof *d, "documents");
    d->loaded = -1;
    d->extra = json_incref(extra);
    int rc = read_questions(d, questions, err);
    if (!rc && system && !(d->system = strdup(system)))
        rc = qm_fail_memory(err, strlen(system), "the system message");
    for (size_t i = 0; i < n_paths && !rc; i++)
        rc = add_path(d, paths[i], err);
    if (!rc)
        rc = identify(d, err);
    if (rc) {
        qm_batch_documents_close(d);
        return rc;
    }
    *out = d;
    return QM_OK;
}

void qm_batch_documents_close(struct qm_batch_documents *d) {
    if (!d)
        return;
    for (size_t i = 0; i < d->n; i++)
        free(d->document[i].path);
    free(d->document);
    free(d->question);
    free(d->system);
    json_decref(d->extra);
    qm_buf_free(&d->questions_text);
    qm_buf_free(&d->text);
    qm_buf_free(&d->line);
    free(d);
}

void qm_batch_documents_hash(const struct qm_batch_documents *d, char out[QM_HASH_TEXT]) {
    memcpy(out, d->hash, QM_HASH_TEXT);
}

/* --- rows --- */

/* The same document as at the beginning. */
static int load_known(struct qm_batch_documents *d, int64_t i, struct qm_error *err) {
    char hash[QM_HASH_TEXT];
    int rc = load(d, i, err);
    if (rc)
        return rc;
    qm_hash_text(d->text.data, d->text.len, hash);
    return strcmp(hash, d->document[i].hash) == 0
               ? QM_OK
               : qm_fail(err, QM_INPUT,
                         "%s: changed while the job ran; put it back as it was, or start over with --restart",
                         d->document[i].path);
}

/* document, empty line, question: as `chat -f` puts it */
static int make_line(struct qm_batch_documents *d, int64_t row, struct qm_buf *out, struct qm_error *err) {
    int64_t i = row / (int64_t)d->n_questions, q = row % (int64_t)d->n_questions;
    int rc = load_known(d, i, err);
    if (rc)
        return rc;
    struct qm_buf text = {0};
    rc = qm_buf_printf(&text, err, "%s\n\n%s", d->text.data, d->question[q]);
    json_t *body = json_copy(d->extra), *messages = json_array();
    if (d->system)
        json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "system", "content", d->system));
    if (!rc)
        json_array_append_new(messages, json_pack("{s:s, s:s%}", "role", "user", "content", text.data, text.len));
    json_object_set_new(body, "messages", messages);
    json_t *root =
        json_pack("{s:o, s:s, s:s, s:o}", "custom_id", json_sprintf("%s#%lld", d->document[i].name, (long long)q + 1),
                  "method", "POST", "url", "/v1/chat/completions", "body", body);
    char *line = root ? json_dumps(root, JSON_COMPACT) : NULL;
    if (!rc)
        rc = line ? qm_buf_str(out, line, err) : qm_fail_memory(err, text.len, "a row");
    free(line);
    json_decref(root);
    qm_buf_free(&text);
    return rc;
}

/* Of what is asked about what; how it is put into a request is the program's. */
static uint64_t row_hash(const struct qm_batch_documents *d, int64_t row) {
    const char *hash = d->document[row / (int64_t)d->n_questions].hash;
    const char *question = d->question[row % (int64_t)d->n_questions];
    return qm_hash64(question, strlen(question), qm_hash64(hash, strlen(hash), 0));
}

static int next_row(void *self, struct qm_batch_line *out, bool *end, struct qm_error *err) {
    struct qm_batch_documents *d = self;
    *end = d->next >= (int64_t)(d->n * d->n_questions);
    if (*end)
        return QM_OK;
    d->line.len = 0;
    int rc = make_line(d, d->next, &d->line, err);
    *out = (struct qm_batch_line){.number = d->next + 1,
                                  .offset = (uint64_t)d->next,
                                  .length = d->line.len,
                                  .hash = row_hash(d, d->next),
                                  .text = d->line.data};
    d->next += !rc;
    return rc;
}

static int seek_row(void *self, const struct qm_batch_line *at, struct qm_error *err) {
    struct qm_batch_documents *d = self;
    int64_t number = at->number;
    if (number < 1 || number > (int64_t)(d->n * d->n_questions) + 1)
        return qm_fail(err, QM_INPUT, "the documents have no row %lld", (long long)number);
    d->next = number - 1;
    return QM_OK;
}

static int read_row(void *self, const struct qm_batch_line *line, struct qm_buf *out, struct qm_error *err) {
    return make_line(self, line->number - 1, out, err);
}

/* Each is read once more; one that is gone is what was answered. The questions were read once. */
static int is_unchanged(void *self, bool *same, struct qm_error *err) {
    struct qm_batch_documents *d = self;
    int rc = QM_OK;
    *same = true;
    d->loaded = -1;
    for (size_t i = 0; i < d->n && !rc; i++)
        if (access(d->document[i].path, F_OK) == 0)
            rc = load_known(d, (int64_t)i, err);
    return rc;
}

struct qm_batch_source qm_batch_documents_source(struct qm_batch_documents *d) {
    return (struct qm_batch_source){d, next_row, seek_row, read_row, is_unchanged, 0, (int64_t)(d->n * d->n_questions)};
}

/* --- Markdown --- */

int qm_batch_markdown(void *arg, const struct qm_journal_row *row, struct qm_buf *text, struct qm_error *err) {
    struct qm_batch_markdown *m = arg;
    if (!row)
        return QM_OK;
    const struct qm_batch_documents *d = m->documents;
    int64_t per = (int64_t)d->n_questions, document = (row->number - 1) / per;
    json_t *line = NULL;
    const char *answer = NULL, *failed = NULL;
    int rc = qm_json_parse(row->text, row->len, "a row", &line, err);
    if (rc)
        return rc;
    json_unpack(line, "{s:{s:{s:[{s:{s:s}}]}}}", "response", "body", "choices", "message", "content", &answer);
    json_unpack(line, "{s:{s:s}}", "error", "message", &failed);
    if (document != m->document)
        rc = qm_buf_printf(text, err, "%s# %s\n", m->document < 0 ? "" : "\n", d->document[document].name);
    m->document = document;
    rc = rc ? rc : qm_buf_printf(text, err, "\n## %s\n\n", d->question[(row->number - 1) % per]);
    rc = rc ? rc : qm_buf_printf(text, err, failed ? "*Failed: %s*\n" : "%s\n", failed ? failed : answer ? answer : "");
    json_decref(line);
    return rc;
}
