/* One sequence from prompt to end: prefill in chunks, sampling, streamed text, stop strings, logprobs.
 * (Many sequences at once: the scheduler's job, on the same engine steps.) */
#ifndef QM_SESSION_GENERATE_H
#define QM_SESSION_GENERATE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "engine/engine.h"
#include "model/tokenizer/tokenizer.h"
#include "session/sampler.h"

enum qm_finish { QM_FINISH_STOP, QM_FINISH_LENGTH, QM_FINISH_CONTEXT, QM_FINISH_INTERRUPTED };
/* "stop", "length", "context_full", "interrupted". */
const char *qm_finish_name(enum qm_finish f);

struct qm_generate_token {
    int32_t id;
    const char *text; /* what it adds to the text that is sure (may be empty); never part of a stop string */
    size_t text_len;
    struct qm_logprob logprob;
    const struct qm_logprob *top;
    int n_top;
};

struct qm_generate {
    struct qm_engine *engine;
    struct qm_sequence *sequence;         /* may hold a prefix already */
    const struct qm_tokenizer *tokenizer; /* NULL: no text, no stop strings */
    const int32_t *prompt;                /* tokens to add after what the sequence holds (at least 1) */
    int64_t n_prompt;
    int64_t max_tokens; /* -1: until an end token or the context is full */
    struct qm_sampling sampling;
    const char *const *stop; /* stop strings, recognised across token borders */
    int n_stop;
    bool ignore_end;   /* end tokens do not end it */
    bool skip_special; /* in the text */
    int top_logprobs;  /* -1: none; 0..20 */
    /* Called for each token, in order; the pointers live for the call. Nonzero interrupts. May be NULL. */
    int (*on_token)(void *arg, const struct qm_generate_token *t);
    int (*on_prefill)(void *arg, int64_t done, int64_t total); /* may be NULL; nonzero interrupts */
    void *arg;
    const volatile sig_atomic_t *interrupt; /* may be NULL; nonzero ends it at the next step */
};

struct qm_generate_result {
    enum qm_finish finish;
    struct qm_ids ids;  /* generated, the end token included */
    struct qm_buf text; /* without the stop string */
    double prefill_seconds, decode_seconds;
    int64_t prompt_tokens, prefix_tokens; /* of the whole sequence; already held before */
    uint64_t decode_bytes;                /* weights and KV read while decoding */
};

/* An interruption is no error: the result holds what was generated, and the sequence too. A full context ends
 * with QM_FINISH_CONTEXT; a prompt longer than the context is QM_INPUT. */
int qm_generate(const struct qm_generate *g, struct qm_generate_result *out, struct qm_error *err);
void qm_generate_result_free(struct qm_generate_result *r);

#endif
