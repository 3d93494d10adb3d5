/* Stop strings by one Knuth-Morris-Pratt automaton each. What is held back is always a prefix of the string
 * that is matched furthest, so no text is stored. */
#include "text/stop.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

struct string {
    char *text;
    size_t len;
    size_t *shorter; /* [i]: the longest proper prefix of text that ends text[0..i] */
    size_t matched;  /* the longest prefix of text that ends the input so far, whole texts excluded */
};

struct qm_stop {
    struct string *string;
    int n;
    bool include, done;
};

static size_t advance(const struct string *s, size_t matched, char c) {
    while (matched && s->text[matched] != c)
        matched = s->shorter[matched - 1];
    return s->text[matched] == c ? matched + 1 : 0;
}

static int prepare(struct string *s, const char *text, struct qm_error *err) {
    s->len = strlen(text);
    if (!s->len)
        return qm_fail(err, QM_USAGE, "a stop string is empty; give at least one character");
    size_t bad = qm_utf8_check(text, s->len);
    if (bad < s->len)
        return qm_fail(err, QM_USAGE, "a stop string is not valid UTF-8 at its byte %zu", bad);
    s->text = strdup(text);
    s->shorter = calloc(s->len, sizeof *s->shorter);
    if (!s->text || !s->shorter)
        return qm_fail_memory(err, s->len * sizeof *s->shorter, "a stop string");
    for (size_t i = 1; i < s->len; i++)
        s->shorter[i] = advance(s, s->shorter[i - 1], text[i]);
    return QM_OK;
}

int qm_stop_new(const char *const *strings, int n, bool include, struct qm_stop **out, struct qm_error *err) {
    *out = NULL;
    struct qm_stop *s = calloc(1, sizeof *s);
    struct string *list = n > 0 ? calloc((size_t)n, sizeof *list) : NULL;
    if (!s || (n > 0 && !list)) {
        free(s);
        free(list);
        return qm_fail_memory(err, sizeof *s + (size_t)n * sizeof *list, "stop strings");
    }
    *s = (struct qm_stop){.string = list, .n = n, .include = include};
    int rc = QM_OK;
    for (int i = 0; i < n && !rc; i++)
        rc = prepare(&list[i], strings[i], err);
    if (rc)
        qm_stop_free(s);
    else
        *out = s;
    return rc;
}

void qm_stop_free(struct qm_stop *s) {
    if (!s)
        return;
    for (int i = 0; i < s->n; i++) {
        free(s->string[i].text);
        free(s->string[i].shorter);
    }
    free(s->string);
    free(s);
}

static const struct string *furthest(const struct qm_stop *s) {
    const struct string *f = NULL;
    for (int i = 0; i < s->n; i++) {
        if (s->string[i].matched > (f ? f->matched : 0))
            f = &s->string[i];
    }
    return f;
}

/* Gives out what is held back (the first bytes of string `held`) and text[0..len), less the last `keep`. */
static int give(const struct string *held, size_t n_held, const char *text, size_t len, size_t keep, struct qm_buf *out,
                struct qm_error *err) {
    size_t n = n_held + len - keep;
    size_t first = n < n_held ? n : n_held;
    int rc = first ? qm_buf_add(out, held->text, first, err) : QM_OK;
    return rc ? rc : qm_buf_add(out, text, n - first, err);
}

int qm_stop_push(struct qm_stop *s, const char *text, size_t len, bool armed, struct qm_buf *out, bool *matched,
                 struct qm_error *err) {
    *matched = s->done;
    if (s->done)
        return QM_OK;
    const struct string *held = furthest(s);
    size_t n_held = held ? held->matched : 0;
    for (size_t at = 0; at < len; at++) {
        size_t longest = 0;
        for (int i = 0; i < s->n; i++) {
            struct string *p = &s->string[i];
            p->matched = advance(p, p->matched, text[at]);
            if (p->matched < p->len)
                continue;
            if (armed && p->len > longest)
                longest = p->len;
            p->matched = p->shorter[p->len - 1];
        }
        if (longest) {
            *matched = s->done = true;
            return give(held, n_held, text, at + 1, s->include ? 0 : longest, out, err);
        }
    }
    const struct string *now = furthest(s);
    return give(held, n_held, text, len, now ? now->matched : 0, out, err);
}

int qm_stop_flush(struct qm_stop *s, struct qm_buf *out, struct qm_error *err) {
    const struct string *held = s->done ? NULL : furthest(s);
    s->done = true;
    return held ? qm_buf_add(out, held->text, held->matched, err) : QM_OK;
}
