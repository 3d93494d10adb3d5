/* A conversation of many turns: its messages in the OpenAI form, and one sequence that keeps what it has
 * computed, so that a turn computes only what is new. Each turn renders all messages with the model's template,
 * keeps the tokens the sequence and the prompt have in common, and generates. Reasoning is stored beside the
 * answer ("reasoning_content"; "thinking" for harmony models), and the template decides whether it is shown to
 * the model again. No terminal here, and no tools are called.
 * A conversation belongs to one thread. */
#ifndef QM_SESSION_CONVERSATION_H
#define QM_SESSION_CONVERSATION_H

#include <jansson.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/error.h"
#include "engine/engine.h"
#include "session/generate.h"
#include "session/sampler.h"
#include "text/chat_prompt.h"

struct qm_conversation;

/* Engine, tokenizer and chat must outlive it. template_kwargs: an object, of which a reference is taken, or
 * NULL. */
int qm_conversation_new(struct qm_engine *engine, const struct qm_tokenizer *tokenizer, const struct qm_chat *chat,
                        json_t *template_kwargs, struct qm_conversation **out, struct qm_error *err);
void qm_conversation_free(struct qm_conversation *c);

/* The messages, a list that belongs to the conversation. */
const json_t *qm_conversation_messages(const struct qm_conversation *c);
/* Appends a message. Content that is not UTF-8 is QM_INPUT. */
int qm_conversation_add(struct qm_conversation *c, const char *role, const char *content, size_t len,
                        struct qm_error *err);
/* Tokens that the sequence holds: what is there when the next turn begins. */
int64_t qm_conversation_tokens(const struct qm_conversation *c);
/* Keeps the first n messages. */
void qm_conversation_cut(struct qm_conversation *c, size_t n);

struct qm_turn {
    struct qm_speculation *speculation; /* drafts, as in qm_generate; NULL: none */
    int64_t max_tokens;                 /* as in qm_generate */
    struct qm_sampling sampling;
    const char *const *stop;
    int n_stop;
    const struct tm *now; /* for templates that print the date; NULL: the local time */
    /* Each piece of text as soon as it is sure. Nonzero interrupts. May be NULL. */
    int (*on_text)(void *arg, enum qm_content part, const char *text, size_t len);
    int (*on_prefill)(void *arg, int64_t done, int64_t total);
    void *arg;
    const volatile sig_atomic_t *interrupt;
};

/* Generates the assistant's answer to the messages and appends it, unless not one token was generated. An
 * interruption is no error: what was said so far is the answer. On an error the messages are as they were.
 * out is the generation's result; its text has the marks of reasoning in it. */
int qm_conversation_reply(struct qm_conversation *c, const struct qm_turn *turn, struct qm_generate_result *out,
                          struct qm_error *err);

/* {"messages": [...]}, or only the list: what is there is replaced. Each message must be an object with a
 * string "role"; a refused file changes nothing. */
int qm_conversation_load(struct qm_conversation *c, const char *path, struct qm_error *err);
/* QM_INPUT where a file is there that is no conversation. */
int qm_conversation_save(const struct qm_conversation *c, const char *path, struct qm_error *err);

#endif
