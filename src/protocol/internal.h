/* What the files of this folder share. */
#ifndef QM_PROTOCOL_INTERNAL_H
#define QM_PROTOCOL_INTERNAL_H

#include <stdbool.h>

#include "protocol/request.h"
#include "text/chat_prompt.h"

struct qm_openai_part {
    bool done;
    enum qm_finish finish;
    int64_t n_ids;
    struct qm_reasoning *reasoning; /* its text so far, separated; NULL: none came yet */
    size_t seen;                    /* bytes of the text */
    json_t *logprobs;               /* as qm_protocol_logprob writes them, or NULL */
    float *embedding;               /* [n_embedding], of length 1 */
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
    bool one_call;                /* "parallel_tool_calls": false */
    struct qm_buf *echoed;        /* [n_prompts] their texts, with echo */
    struct qm_answer_form form;   /* of chat; else nothing is separated */
    struct qm_openai_part *parts; /* [n_prompts * choices] */
};

/* Refuses a field that is not known, or not implemented with a value that asks for something. */
int qm_openai_check_fields(enum qm_endpoint endpoint, const json_t *body, struct qm_error *err);
/* The chat prompt: messages rendered by the model's template, as tokens; prompts[0]. */
int qm_openai_chat_prompt(struct qm_openai_request *r, const json_t *body, struct qm_error *err);
/* "prompt" or "input": a string, a list of strings, of token ids, or of lists of token ids. */
int qm_openai_text_prompts(struct qm_openai_request *r, const json_t *body, const char *key, struct qm_error *err);

#endif
