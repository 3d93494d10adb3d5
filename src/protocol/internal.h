/* What the files of this folder share. */
#ifndef QM_PROTOCOL_INTERNAL_H
#define QM_PROTOCOL_INTERNAL_H

#include <stdbool.h>

#include "protocol/events.h"
#include "protocol/request.h"
#include "protocol/sum.h"

struct qm_openai_part {
    struct qm_events *events; /* of its tokens; NULL: no token came yet */
    struct qm_answer_sum sum; /* of them */
    json_t *logprobs;         /* as qm_protocol_logprob writes them, or NULL */
    bool done;
    int64_t n_ids, prefix_tokens, reasoning_tokens;
    double prefill_seconds, decode_seconds;
    float *embedding; /* [n_embedding], of length 1 */
    int64_t n_embedding;
};

struct qm_openai_request {
    const struct qm_openai_context *context;
    enum qm_endpoint endpoint;
    char *model;
    struct qm_ids *prompts; /* [n_prompts] */
    int n_prompts, choices;
    struct qm_decoding_options decoding; /* of these three lists */
    struct qm_logit_bias *biases;
    char **stop; /* [decoding.n_stop] */
    int32_t stop_ids[QM_MAX_STOP_IDS];
    bool stream, base64, echo;
    bool include_usage, continuous_usage, progress, timings, timings_per_token;
    struct qm_buf ignored;
    bool one_call;                /* "parallel_tool_calls": false */
    struct qm_buf *echoed;        /* [n_prompts] their texts, with echo */
    struct qm_answer_form form;   /* of chat; else nothing is separated */
    struct qm_openai_part *parts; /* [n_prompts * choices] */
    qm_openai_event_fn *listener; /* or NULL */
    void *listener_arg;
};

/* The chat prompt: messages rendered by the model's template, as tokens; prompts[0]. */
int qm_openai_chat_prompt(struct qm_openai_request *r, const json_t *body, struct qm_error *err);
/* "prompt" or "input": a string, a list of strings, of token ids, or of lists of token ids. */
int qm_openai_text_prompts(struct qm_openai_request *r, const json_t *body, const char *key, struct qm_error *err);

/* "stop" or "length"; a full context is a length. */
const char *qm_openai_finish(enum qm_finish f);
/* A JSON string; NULL where memory is short. */
json_t *qm_openai_text(const struct qm_buf *b);
/* Whether part i ended with calls that a client is to run. */
bool qm_openai_part_calls(const struct qm_openai_part *p);
/* {index?, id, type, function}: call k of part `index`, of a response of this id. with_index: as chunks have it.
 * arguments: NULL: "" as a chunk begins it. */
json_t *qm_openai_call(const struct qm_openai_part *p, const char *id, int index, int k, bool with_index);
/* Chat's list of log-probabilities in the form of completions; *offset: characters before, and then with these. */
json_t *qm_openai_flat_logprobs(const json_t *list, size_t *offset);
/* Part i's prompt's text as "echo" gives it. */
const struct qm_buf *qm_openai_echoed(const struct qm_openai_request *r, int i);
/* Tokens: {prompt_tokens, completion_tokens, total_tokens}; details: {cached_tokens} and {reasoning_tokens} too, as far
 * as they are known. */
json_t *qm_openai_usage(const struct qm_openai_request *r, bool details);
/* Tokens and milliseconds of prompts and of what is generated, as llama-server names them; of the parts that ended. */
json_t *qm_openai_timings(const struct qm_openai_request *r);

/* An embedding: kept of the outcome, and written. */
int qm_openai_take_embedding(struct qm_openai_part *p, const struct qm_outcome *o, struct qm_error *err);
json_t *qm_openai_embedding(const struct qm_openai_request *r, int index);

#endif
