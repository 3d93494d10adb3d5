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
#include "session/decoding.h"

struct qm_speculation;

struct qm_generate {
    struct qm_engine *engine;
    struct qm_sequence *sequence; /* may hold a prefix already */
    const int32_t *history; /* the tokens the sequence holds already, for the repetition penalty; NULL: not known */
    int64_t n_history;
    const int32_t *prompt; /* tokens to add after what the sequence holds (at least 1) */
    int64_t n_prompt;
    struct qm_decoding_options decoding; /* its room is set here; max_tokens 0: only the prompt is computed */
    struct qm_speculation *speculation;  /* drafts of what comes next (draft/speculation.h); NULL: none */
    /* Called for each token, in order; the pointers live for the call. Nonzero interrupts. May be NULL. */
    int (*on_token)(void *arg, const struct qm_generate_token *t);
    /* Called before the prompt with done 0, and after each chunk of it. Nonzero interrupts. May be NULL. */
    int (*on_prefill)(void *arg, int64_t done, int64_t total);
    void *arg;
    const volatile sig_atomic_t *interrupt; /* may be NULL; nonzero ends it, in the midst of a prompt's step too */
};

struct qm_generate_result {
    enum qm_finish finish;
    struct qm_ids ids;  /* generated, the end token included */
    struct qm_buf text; /* without the stop string */
    double prefill_seconds, decode_seconds;
    int64_t prompt_tokens, prefix_tokens; /* of the whole sequence; already held before */
    int64_t prefill_tokens;               /* computed: less than the rest of the prompt after an interruption */
    int64_t drafted, accepted;            /* tokens checked, and those of them that were right */
    int64_t decode_tokens;                /* sampled from steps after the prompt: one less than ids, or 0 */
    uint64_t decode_bytes;                /* weights and KV read by those steps */
};

/* The sequence holds all tokens afterwards but the last generated one, which no step has read yet (after an
 * interruption of the prompt: the part of it that was computed; qm_sequence_length says how far).
 *
 * A prompt longer than the room left in the context is QM_INPUT before anything is computed; when prompt and
 * generated tokens fill the context, QM_FINISH_CONTEXT. An interruption is no error: the result holds what was
 * generated; text that was still held back as the possible beginning of a stop string is then only in the
 * result. On an error the result is empty. */
int qm_generate(const struct qm_generate *g, struct qm_generate_result *out, struct qm_error *err);
void qm_generate_result_free(struct qm_generate_result *r);

#endif
