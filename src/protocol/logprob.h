/* Log-probabilities of a generated token as JSON, in the form of OpenAI's chat API. */
#ifndef QM_PROTOCOL_LOGPROB_H
#define QM_PROTOCOL_LOGPROB_H

#include <jansson.h>

#include "session/generate.h"

/* Appends one token's log-probabilities to a JSON list: {id, token, bytes, logprob, top_logprobs}; token and
 * bytes are there with a tokenizer; in token, U+FFFD stands for bytes that are no character by themselves. A
 * log-probability of -infinity is -9999. */
int qm_protocol_logprob(json_t *list, const struct qm_generate_token *token, const struct qm_tokenizer *tokenizer,
                        struct qm_error *err);

#endif
