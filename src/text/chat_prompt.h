/* A chat's prompt in tokens, and how the answer to it is separated: the one way from messages to what is generated,
 * for conversations and for requests. Between template and tokenizer and whoever generates; it runs no model. */
#ifndef QM_TEXT_CHAT_PROMPT_H
#define QM_TEXT_CHAT_PROMPT_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "base/error.h"
#include "text/reasoning.h"
#include "text/template/chat.h"
#include "text/tokenizer/tokenizer.h"

struct qm_chat_input {
    const struct qm_chat *chat;
    const struct qm_tokenizer *tokenizer;
    const json_t *body;                     /* as qm_chat_prompt takes it */
    const struct tm *now;                   /* for templates that print the date; NULL: the local time */
    bool add_special;                       /* tokens that begin a text too: templates write them themselves */
    const volatile sig_atomic_t *interrupt; /* QM_INTERRUPTED while it is tokenized; may be NULL */
};

/* What is known of the answer before there is one. */
struct qm_answer_form {
    enum qm_reasoning_format format; /* for qm_reasoning_new, with */
    bool opened;
    bool keep_special; /* generate with skip_special off: its marks are special tokens */
    bool tools;        /* the template was given tools, so there may be calls in it */
};

/* Appends the prompt's tokens. */
int qm_chat_tokens(const struct qm_chat_input *in, struct qm_ids *ids, struct qm_answer_form *form,
                   struct qm_error *err);

#endif
