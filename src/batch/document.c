/* Documents and questions as rows. */
#include "batch/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/plain_text.h"

struct qm_batch_documents {
    struct qm_documents all;
    char (*hash_of)[QM_HASH_TEXT]; /* of each document */
    double *before;                /* bytes of all documents before each, and of all */
    struct qm_buf questions_text;
    char **question; /* points into questions_text */
    size_t n_questions;
    char *system;
    json_t *extra;
    char hash[QM_HASH_TEXT];
    int64_t next;       /* row */
    struct qm_buf text; /* of the document `loaded` */
    int64_t loaded;     /* -1: none */
    struct qm_buf line; /* the row given last */
};

/* Lines that are not empty. */
static int read_questions(struct qm_batch_documents *d, const char *path, const struct qm_batch_words *words,
                          struct qm_error *err) {
    int rc = qm_read_text(path, &d->questions_text, err);
    /* people write the question itself there */
    if (rc == QM_INPUT && strchr(path, ' ') && access(path, F_OK) != 0)
        return qm_fail(err, QM_INPUT,
                       "%s: expected a file with a question on each line, found no file \"%.200s\"; write the question "
                       "into a file",
                       words->questions, path);
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
    int rc = qm_document_text(&d->all.document[i], &d->text, err);
    if (rc == QM_INPUT)
        qm_fail_context(err, "%s", d->all.document[i].path);
    while (!rc && d->text.len && d->text.data[d->text.len - 1] == '\n')
        d->text.data[--d->text.len] = 0;
    if (!rc && d->text.len == 0)
        rc = qm_fail(err, QM_INPUT, "%s: the document is empty", d->all.document[i].path);
    if (!rc)
        d->loaded = i;
    return rc;
}

/* Fingerprints of all of it. */
static int identify(struct qm_batch_documents *d, struct qm_error *err) {
    struct qm_hasher *h;
    int rc = qm_hasher_new(&h, err);
    if (rc)
        return rc;
    if (!(d->hash_of = calloc(d->all.n, sizeof *d->hash_of)) || !(d->before = calloc(d->all.n + 1, sizeof *d->before)))
        rc = qm_fail_memory(err, d->all.n * sizeof *d->hash_of, "documents");
    for (size_t i = 0; i < d->all.n && !rc; i++) {
        const char *name = d->all.document[i].name;
        rc = load(d, (int64_t)i, err);
        if (!rc)
            qm_hash_text(d->text.data, d->text.len, d->hash_of[i]);
        d->before[i + 1] = d->before[i] + (double)d->text.len;
        qm_hasher_add(h, name, strlen(name) + 1);
        qm_hasher_add(h, d->hash_of[i], QM_HASH_TEXT);
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

int qm_batch_documents_open(const struct qm_collect *from, const char *questions, const char *system,
                            const json_t *extra, struct qm_batch_documents **out, struct qm_error *err) {
    struct qm_batch_documents *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d)
        return qm_fail_memory(err, sizeof *d, "documents");
    d->loaded = -1;
    d->extra = extra ? json_copy((json_t *)(uintptr_t)extra) : json_object();
    int rc = read_questions(d, questions, from->ui->words, err);
    if (!rc && system && !(d->system = strdup(system)))
        rc = qm_fail_memory(err, strlen(system), "the system message");
    if (!rc)
        rc = qm_documents_collect(from, &d->all, err);
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
    qm_documents_free(&d->all);
    free(d->hash_of);
    free(d->before);
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
    return strcmp(hash, d->hash_of[i]) == 0
               ? QM_OK
               : qm_remedy(err, QM_REMEDY_START_OVER,
                           qm_fail(err, QM_INPUT, "%s: changed while the job ran; put it back as it was",
                                   d->all.document[i].path));
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
    json_t *root = json_pack("{s:o, s:s, s:s, s:o}", "custom_id",
                             json_sprintf("%s#%lld", d->all.document[i].name, (long long)q + 1), "method", "POST",
                             "url", "/v1/chat/completions", "body", body);
    char *line = root ? json_dumps(root, JSON_COMPACT) : NULL;
    if (!rc)
        rc = line ? qm_buf_str(out, line, err) : qm_fail_memory(err, text.len, "a row");
    free(line);
    json_decref(root);
    qm_buf_free(&text);
    return rc;
}

/* A hash of the document and the question alone: how they are put into a request belongs to the program. */
static uint64_t row_hash(const struct qm_batch_documents *d, int64_t row) {
    const char *hash = d->hash_of[row / (int64_t)d->n_questions];
    const char *question = d->question[row % (int64_t)d->n_questions];
    return qm_hash64(question, strlen(question), qm_hash64(hash, strlen(hash), 0));
}

static int next_row(void *self, struct qm_batch_line *out, bool *end, struct qm_error *err) {
    struct qm_batch_documents *d = self;
    *end = d->next >= (int64_t)(d->all.n * d->n_questions);
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
    if (number < 1 || number > (int64_t)(d->all.n * d->n_questions) + 1)
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
    for (size_t i = 0; i < d->all.n && !rc; i++)
        if (access(d->all.document[i].path, F_OK) == 0)
            rc = load_known(d, (int64_t)i, err);
    return rc;
}

static double bytes_ahead(void *self, const struct qm_batch_line *at) {
    const struct qm_batch_documents *d = self;
    int64_t n = (int64_t)d->n_questions, i = (at->number - 1) / n;
    if (i >= (int64_t)d->all.n)
        return 0;
    double this = d->before[i + 1] - d->before[i], others = d->before[d->all.n] - d->before[i + 1];
    return this * (double)(n - (at->number - 1) % n) + others * (double)n;
}

struct qm_batch_source qm_batch_documents_source(struct qm_batch_documents *d) {
    return (struct qm_batch_source){
        d, next_row, seek_row, read_row, is_unchanged, bytes_ahead, 0, (int64_t)(d->all.n * d->n_questions)};
}

int64_t qm_batch_documents_row(const struct qm_batch_documents *d, int64_t number, const char **document,
                               const char **question) {
    int64_t per = (int64_t)d->n_questions, i = (number - 1) / per;
    *document = d->all.document[i].name;
    *question = d->question[(number - 1) % per];
    return i;
}

int64_t qm_batch_documents_count(const struct qm_batch_documents *d, int64_t *questions) {
    *questions = (int64_t)d->n_questions;
    return (int64_t)d->all.n;
}
