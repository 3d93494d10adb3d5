/* One request body of the OpenAI API as what the scheduler runs, and the outcomes as a response body. Follows
 * OpenAI's API reference, with vLLM's extra fields where they are common (top_k, min_p, repetition_penalty,
 * ignore_eos, min_tokens, stop_token_ids, include_stop_str_in_output, skip_special_tokens, chat_template_kwargs, ...).
 * No sockets and no files here: batch rows are one user of it.
 *
 * A request is n_prompts x n parts (choices); each part is one sequence. Null is as if a field were not there,
 * whichever it is. Fields that change nothing here (user, metadata, store, ...) are passed over, and so are the values
 * of others that ask for nothing ("modalities": ["text"], "suffix": "", "bad_words": []); a field that is known and not
 * implemented, or not known, is QM_INPUT naming it. Bodies are hostile: everything in them is bounded.
 * A request belongs to one thread; tokenizer and chat must outlive it. */
#ifndef QM_PROTOCOL_REQUEST_H
#define QM_PROTOCOL_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/buf.h"
#include "base/error.h"
#include "protocol/endpoint.h"
#include "protocol/events.h"
#include "session/generation_config.h"
#include "session/scheduler.h"
#include "text/template/chat.h"
#include "text/tokenizer/tokenizer.h"

enum {
    QM_OPENAI_PROMPTS = 2048, /* of one request, at most */
    QM_OPENAI_CHOICES = 128,
    QM_OPENAI_BIASES = 4096,
};

struct qm_openai_context {
    const struct qm_tokenizer *tokenizer;
    const struct qm_chat *chat;  /* NULL: chat requests are refused */
    int64_t vocab, context;      /* context: tokens of one sequence */
    bool no_head;                /* of the model: embeddings alone are served */
    struct qm_sampling sampling; /* where a request says nothing; no bias */
    const struct tm *now;        /* for templates that print the date */
    const char *model;           /* the name in responses to requests that give none */
};

/* The publisher's settings; where they say nothing, OpenAI's: temperature 1. */
struct qm_sampling qm_openai_sampling(const struct qm_generation_config *g);

/* Of a model, with its own context, no date and no name; the pointers are borrowed. */
struct qm_openai_context qm_openai_context_of(const struct qm_config *c, const struct qm_generation_config *published,
                                              const struct qm_tokenizer *tokenizer, const struct qm_chat *chat);

struct qm_openai_request;

/* default_seed: where the body has no "seed". Choice k of a prompt is sampled with seed + k. */
int qm_openai_request_new(const struct qm_openai_context *c, enum qm_endpoint endpoint, const json_t *body,
                          uint64_t default_seed, struct qm_openai_request **out, struct qm_error *err);
void qm_openai_request_free(struct qm_openai_request *r);

/* Whether it asks for its response piece by piece ("stream": true); who can't give that refuses it. */
bool qm_openai_request_streams(const struct qm_openai_request *r);
/* Names of what it has and is passed over, separated by ", "; "" where there is nothing. */
const char *qm_openai_request_ignored(const struct qm_openai_request *r);
int qm_openai_request_parts(const struct qm_openai_request *r);
/* Part i as the scheduler takes it; pointers belong to the request, callbacks and arg are left empty. */
void qm_openai_request_part(const struct qm_openai_request *r, int i, struct qm_request *out);

/* What happens to part i: each token as it comes (needed where log-probabilities were asked for), and the outcome,
 * which must be a success; of its text what no token brought is still taken. */
int qm_openai_request_token(struct qm_openai_request *r, int i, const struct qm_generate_token *t,
                            struct qm_error *err);
int qm_openai_request_done(struct qm_openai_request *r, int i, const struct qm_outcome *o, struct qm_error *err);

/* Hears the events of every part as they are made of tokens and outcomes; they are added up in any case. An error of fn
 * is qm_openai_request_token's or _done's. */
typedef int qm_openai_event_fn(void *arg, int part, const struct qm_answer_event *e, struct qm_error *err);
void qm_openai_request_listen(struct qm_openai_request *r, qm_openai_event_fn *fn, void *arg);

/* The response once every part is done: the sum of its events. It depends on nothing but the results, id and created.
 * A new reference. */
int qm_openai_response(const struct qm_openai_request *r, const char *id, int64_t created, json_t **out,
                       struct qm_error *err);
/* The same with what depends on the run: tokens that were taken from the prefix cache, tokens of reasoning, and how
 * long it took where that is asked for. */
int qm_openai_response_detailed(const struct qm_openai_request *r, const char *id, int64_t created, json_t **out,
                                struct qm_error *err);
/* Appends a response (or any JSON) as one line without its newline: UTF-8, reals with the 9 digits that a float
 * needs. */
int qm_openai_dump(const json_t *value, struct qm_buf *out, struct qm_error *err);

#endif
