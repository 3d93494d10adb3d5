/* The events of one answer, made from its tokens as they come: reasoning, text, calls of tools, and how it ended. What
 * is streamed is these events written one by one; what is not streamed is their sum (protocol/sum.h), so that both are
 * the same answer. Between what is generated (session) and whoever writes answers in a client's form.
 * An answer belongs to one text and one thread. */
#ifndef QM_PROTOCOL_EVENTS_H
#define QM_PROTOCOL_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "session/scheduler.h"
#include "text/chat_prompt.h"

enum qm_answer_kind {
    QM_ANSWER_TOKEN,     /* a token came, before what it adds: for those who want its log-probability */
    QM_ANSWER_REASONING, /* a piece of text, at least one byte; whole UTF-8 characters where the input is */
    QM_ANSWER_TEXT,      /* the same */
    QM_ANSWER_CALL,      /* a call begins: text is the tool's name */
    QM_ANSWER_ARGUMENTS, /* a piece of its arguments; together they are JSON */
    QM_ANSWER_CALL_END,
    QM_ANSWER_END, /* the last event */
};

struct qm_answer_event {
    enum qm_answer_kind kind;
    const char *text; /* lives for the call */
    size_t len;
    int call;                              /* CALL, ARGUMENTS, CALL_END: from 0 */
    const char *id;                        /* CALL: where the model itself gives one, else NULL */
    const struct qm_generate_token *token; /* TOKEN */
    enum qm_finish finish;                 /* END */
};
typedef int qm_answer_fn(void *arg, const struct qm_answer_event *e, struct qm_error *err);

struct qm_events;
/* one_call: of several calls only the first is given out. */
int qm_events_new(const struct qm_answer_form *form, bool one_call, struct qm_events **out, struct qm_error *err);
void qm_events_free(struct qm_events *a);
/* What the next token adds to the text. An error of fn ends it; then it can only be freed. */
int qm_events_token(struct qm_events *a, const struct qm_generate_token *t, qm_answer_fn *fn, void *arg,
                    struct qm_error *err);
/* It has ended: what no token brought of the text, what was held back, and the end. */
int qm_events_end(struct qm_events *a, const struct qm_outcome *o, qm_answer_fn *fn, void *arg, struct qm_error *err);
/* Tokens so far that were spent on reasoning. */
int64_t qm_events_reasoning_tokens(const struct qm_events *a);

#endif
