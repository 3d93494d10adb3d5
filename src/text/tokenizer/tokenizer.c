/* The public face: loading a directory, encoding with or without the template, decoding. Lookups are in tokens.c. */
#include "text/tokenizer/tokenizer.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/utf8.h"
#include "text/tokenizer/internal.h"

enum { FILE_LIMIT = 256 << 20, PATH_ROOM = 4096 };

/* The path of a file in dir; *there says whether something is at it. */
static int find_file(const char *dir, const char *name, char path[PATH_ROOM], bool *there, struct qm_error *err) {
    struct stat st;
    size_t a = strlen(dir), b = strlen(name);
    if (a + b + 2 > PATH_ROOM)
        return qm_fail(err, QM_INPUT, "path of %zu bytes is too long", a);
    memcpy(path, dir, a);
    path[a] = '/';
    memcpy(path + a + 1, name, b + 1);
    *there = stat(path, &st) == 0;
    if (!*there && errno != ENOENT && errno != ENOTDIR)
        return qm_fail_errno(err, "%s", path);
    return QM_OK;
}

int qm_tokenizer_load(const char *dir, struct qm_tokenizer **out, struct qm_error *err) {
    char path[PATH_ROOM];
    struct qm_buf text = {0};
    struct qm_token_files beside;
    bool json, there;
    *out = NULL;
    int rc = find_file(dir, "tokenizer.json", path, &json, err);
    if (!rc && !json) {
        rc = find_file(dir, "tokenizer.model", path, &there, err);
        if (!rc && !there)
            rc = qm_fail(err, QM_INPUT, "%s: has neither tokenizer.json nor tokenizer.model", dir);
    }
    if (rc)
        return rc;
    rc = qm_token_files_read(dir, &beside, err);
    if (!rc)
        rc = qm_read_file(path, FILE_LIMIT, &text, err);
    const char *bytes = text.data ? text.data : "";
    if (!rc)
        rc = json ? qm_tokenizer_load_json(bytes, text.len, path, &beside, out, err)
                  : qm_tokenizer_load_model(bytes, text.len, path, &beside, out, err);
    qm_buf_free(&text);
    qm_token_files_free(&beside);
    return rc;
}

static int encode_spm(struct qm_call *c, const char *text, size_t len, bool add_special) {
    const struct qm_spm *s = &c->t->spm;
    int rc = add_special && s->add_bos ? qm_ids_push(c->out, s->bos, c->err) : QM_OK;
    if (!rc)
        rc = qm_added_encode(c, text, len);
    return rc || !add_special || !s->add_eos ? rc : qm_ids_push(c->out, s->eos, c->err);
}

/* The template, or the text where there is none. Without its special tokens a template's text remains. */
static int encode_json(struct qm_call *c, const char *text, size_t len, bool add_special) {
    const struct qm_ids *around = &c->t->around;
    int rc = around->len ? QM_OK : qm_added_encode(c, text, len);
    for (size_t i = 0; !rc && i < around->len; i++) {
        if (around->data[i] < 0)
            rc = qm_added_encode(c, text, len);
        else if (add_special)
            rc = qm_ids_push(c->out, around->data[i], c->err);
    }
    return rc;
}

int qm_tokenizer_encode(const struct qm_tokenizer *t, const char *text, size_t len, bool add_special,
                        bool parse_special, struct qm_ids *out, struct qm_error *err) {
    return qm_tokenizer_encode_until(t, text, len, add_special, parse_special, NULL, out, err);
}

int qm_tokenizer_encode_until(const struct qm_tokenizer *t, const char *text, size_t len, bool add_special,
                              bool parse_special, const volatile sig_atomic_t *interrupt, struct qm_ids *out,
                              struct qm_error *err) {
    size_t good = qm_utf8_check(text, len), before = out->len;
    struct qm_call c;
    if (good != len)
        return qm_fail(err, QM_INPUT, "text is not valid UTF-8 at byte %zu of %zu", good, len);
    if (len > QM_MAX_TEXT)
        return qm_fail(err, QM_INPUT, "text of %zu bytes, expected at most %zu", len, QM_MAX_TEXT);
    int rc = qm_call_begin(&c, t, len, out, err);
    c.parse_special = parse_special;
    c.interrupt = interrupt;
    if (!rc)
        rc = t->kind == QM_KIND_SPM ? encode_spm(&c, text, len, add_special) : encode_json(&c, text, len, add_special);
    qm_call_end(&c);
    if (rc)
        out->len = before;
    return rc;
}

int qm_tokenizer_check_ids(const struct qm_tokenizer *t, const struct qm_ids *ids, int64_t rows, const char *what,
                           struct qm_error *err) {
    for (size_t i = 0; i < ids->len; i++) {
        size_t len = 0;
        if (ids->data[i] < rows)
            continue;
        const char *p = qm_tokenizer_piece(t, ids->data[i], &len);
        return qm_fail(err, QM_INPUT,
                       "%s: token %d (\"%.*s\") at position %zu is beyond the model's embedding of %lld rows", what,
                       (int)ids->data[i], (int)(len < 64 ? len : 64), p ? p : "", i, (long long)rows);
    }
    return QM_OK;
}

int qm_tokenizer_decode(const struct qm_tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                        struct qm_buf *out, struct qm_error *err) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0)
            return qm_fail(err, QM_INPUT, "token id %d at position %zu: expected 0 or more", ids[i], i);
    return t->kind == QM_KIND_SPM ? qm_spm_decode(t, ids, n, skip_special, out, err)
                                  : qm_decode_tokens(t, ids, n, skip_special, out, err);
}
