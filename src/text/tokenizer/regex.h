/* Regular expressions of tokenizer.json: written for Oniguruma (Ruby syntax), run by PCRE2 with its JIT
 * over UTF-8 text that was checked before. A compiled expression is const; a matcher belongs to one call. */
#ifndef QM_TEXT_TOKENIZER_REGEX_H
#define QM_TEXT_TOKENIZER_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

struct qm_regex;
struct qm_matcher;

/* An expression PCRE2 refuses or that is not translated is QM_INPUT, named with its offset. */
int qm_regex_compile(const char *pattern, size_t len, struct qm_regex **out, struct qm_error *err);
/* The same for a literal string. */
int qm_regex_literal(const char *text, size_t len, struct qm_regex **out, struct qm_error *err);
void qm_regex_free(struct qm_regex *re);

int qm_matcher_new(struct qm_matcher **out, struct qm_error *err);
void qm_matcher_free(struct qm_matcher *m);

/* Where an iteration over the matches of one text stands. Start with all zero. */
struct qm_match_state {
    size_t next, last_end;
    bool any;
};
/* The next match as Oniguruma's iteration gives it: no empty match right after another match. *found is
 * false at the end. A match that exceeds the limits is QM_INPUT. */
int qm_regex_next(const struct qm_regex *re, struct qm_matcher *m, const char *text, size_t len,
                  struct qm_match_state *state, size_t *start, size_t *end, bool *found, struct qm_error *err);

/* Oniguruma's syntax to PCRE2's (onig.c), appended to out. */
int qm_onig_translate(const char *pattern, size_t len, struct qm_buf *out, struct qm_error *err);

#endif
