/* Answers as they come: words wrapped at the terminal's width, reasoning dim or left out. Where standard output is no
 * terminal, every byte as it is. Knows nothing of models. */
#ifndef QM_APP_CHAT_ANSWER_H
#define QM_APP_CHAT_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"
#include "text/reasoning.h"

/* Text of one terminal line after another. A word is written when it is whole, and begins a line where it does not fit
 * on the one it is on; wide characters (of Chinese, say) are words by themselves. What stands in a block of code
 * between lines that begin with ``` is written as it comes, so that it can be copied. */
struct qm_wrap {
    int columns; /* 0: nothing is wrapped */
    int at;      /* columns written of the line */
    int spaces, width;
    struct qm_buf word; /* not written yet, `width` wide, after `spaces` */
    bool goes_on;       /* the word's beginning is written: it is longer than a line */
    bool code;
    char begun[4]; /* the line's first characters but spaces */
};
/* Calls write for each piece. What is held back is written by qm_wrap_flush. */
typedef int qm_wrap_write(const void *bytes, size_t n, struct qm_error *err);
int qm_wrap_text(struct qm_wrap *w, const char *text, size_t len, qm_wrap_write *write, struct qm_error *err);
int qm_wrap_flush(struct qm_wrap *w, qm_wrap_write *write, struct qm_error *err);

struct qm_answer_printer {
    bool colors;        /* reasoning is dim: a terminal, without NO_COLOR and not dumb */
    bool hide_thinking; /* reasoning is left out */
    bool in_reasoning;
    struct qm_wrap wrap;
};
/* Zero-initialise before the first; the printer is used again for each answer. */
void qm_answer_begin(struct qm_answer_printer *p, bool hide_thinking);
int qm_answer_text(struct qm_answer_printer *p, enum qm_content part, const char *text, size_t len,
                   struct qm_error *err);
/* Ends the line. */
int qm_answer_end(struct qm_answer_printer *p, struct qm_error *err);
void qm_answer_free(struct qm_answer_printer *p);

#endif
