/* Compiling and matching by PCRE2; the translation of syntax is in onig.c. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/tokenizer/regex.h"

#include <pcre2.h>
#include <stdlib.h>

#include "base/utf8.h"

enum {
    PATTERN_LIMIT = 1 << 16,       /* bytes of an expression */
    JIT_STACK_MAX = 64 << 20,      /* bytes; long runs of backtracking need it */
    MATCH_LIMIT = 50 * 1000 * 1000 /* steps of one match: about a second */
};

struct qm_regex {
    pcre2_code *code;
    bool jit;
};

struct qm_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack; /* made when the 32 KB that JIT code uses by itself do not suffice */
};

static int compile(const char *pattern, size_t len, uint32_t options, struct qm_regex **out, struct qm_error *err) {
    *out = NULL;
    if (len > PATTERN_LIMIT)
        return qm_fail(err, QM_INPUT, "regular expression of %zu bytes, expected at most %d", len, PATTERN_LIMIT);
    struct qm_regex *re = calloc(1, sizeof *re);
    pcre2_compile_context *cc = pcre2_compile_context_create(NULL);
    if (!re || !cc) {
        free(re);
        pcre2_compile_context_free(cc);
        return qm_fail_memory(err, sizeof *re, "a regular expression");
    }
    pcre2_set_newline(cc, PCRE2_NEWLINE_LF);
    int code;
    PCRE2_SIZE offset;
    re->code = pcre2_compile((PCRE2_SPTR)pattern, len, options | PCRE2_UTF, &code, &offset, cc);
    pcre2_compile_context_free(cc);
    if (!re->code) {
        PCRE2_UCHAR message[256];
        pcre2_get_error_message(code, message, sizeof message);
        free(re);
        return qm_fail(err, QM_INPUT, "regular expression \"%.200s\" was refused at offset %zu: %s", pattern,
                       (size_t)offset, (const char *)message);
    }
    re->jit = pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE) == 0;
    *out = re;
    return QM_OK;
}

int qm_regex_compile(const char *pattern, size_t len, struct qm_regex **out, struct qm_error *err) {
    struct qm_buf b = {0};
    *out = NULL;
    if (len > PATTERN_LIMIT)
        return qm_fail(err, QM_INPUT, "regular expression of %zu bytes, expected at most %d", len, PATTERN_LIMIT);
    if (qm_utf8_check(pattern, len) != len)
        return qm_fail(err, QM_INPUT, "regular expression is not valid UTF-8");
    int rc = qm_onig_translate(pattern, len, &b, err);
    if (!rc) /* Ruby's ^ and $ are those of lines */
        rc = compile(b.data ? b.data : "", b.len, PCRE2_UCP | PCRE2_MULTILINE, out, err);
    qm_buf_free(&b);
    return rc;
}

int qm_regex_literal(const char *text, size_t len, struct qm_regex **out, struct qm_error *err) {
    *out = NULL;
    if (qm_utf8_check(text, len) != len)
        return qm_fail(err, QM_INPUT, "pattern string is not valid UTF-8");
    return compile(text, len, PCRE2_LITERAL, out, err);
}

void qm_regex_free(struct qm_regex *re) {
    if (re)
        pcre2_code_free(re->code);
    free(re);
}

int qm_matcher_new(struct qm_matcher **out, struct qm_error *err) {
    struct qm_matcher *m = calloc(1, sizeof *m);
    if (m) {
        m->data = pcre2_match_data_create(1, NULL);
        m->context = pcre2_match_context_create(NULL);
    }
    if (!m || !m->data || !m->context) {
        qm_matcher_free(m);
        return qm_fail_memory(err, sizeof *m, "a matcher");
    }
    pcre2_set_match_limit(m->context, MATCH_LIMIT);
    *out = m;
    return QM_OK;
}

void qm_matcher_free(struct qm_matcher *m) {
    if (!m)
        return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    if (m->stack)
        pcre2_jit_stack_free(m->stack);
    free(m);
}

static int match(const struct qm_regex *re, struct qm_matcher *m, const char *text, size_t len, size_t from) {
    if (!re->jit)
        return pcre2_match(re->code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK, m->data, m->context);
    int rc = pcre2_jit_match(re->code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK, m->data, m->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT && !m->stack) {
        m->stack = pcre2_jit_stack_create(256 << 10, JIT_STACK_MAX, NULL);
        if (m->stack) {
            pcre2_jit_stack_assign(m->context, NULL, m->stack);
            rc = pcre2_jit_match(re->code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK, m->data, m->context);
        }
    }
    return rc;
}

int qm_regex_next(const struct qm_regex *re, struct qm_matcher *m, const char *text, size_t len,
                  struct qm_match_state *state, size_t *start, size_t *end, bool *found, struct qm_error *err) {
    *found = false;
    if (len == 0) /* the library does not look for matches in nothing */
        return QM_OK;
    while (state->next <= len) {
        int rc = match(re, m, text, len, state->next);
        if (rc == PCRE2_ERROR_NOMATCH) {
            state->next = len + 1;
            return QM_OK;
        }
        if (rc < 0) {
            PCRE2_UCHAR message[256];
            pcre2_get_error_message(rc, message, sizeof message);
            return qm_fail(err, QM_INPUT, "matching the tokenizer's regular expression failed at byte %zu of %zu: %s",
                           state->next, len, (const char *)message);
        }
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(m->data);
        size_t s = v[0], e = v[1];
        if (s > e || e > len) /* \K inside a look-ahead */
            return qm_fail(err, QM_INPUT, "the tokenizer's regular expression matched backwards");
        if (s == e && state->any && state->last_end == e) {
            uint32_t cp;
            size_t k = e < len ? qm_utf8_decode(text + e, len - e, &cp) : 1;
            state->next = e + (k ? k : 1);
            continue;
        }
        state->next = state->last_end = e;
        state->any = true;
        *start = s;
        *end = e;
        *found = true;
        return QM_OK;
    }
    return QM_OK;
}
