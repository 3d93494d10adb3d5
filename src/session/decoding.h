/* What becomes of one request's logits: the sampled token, its text, its log-probabilities, and whether it was the
 * last. Between the engine's steps (run by generate.c for one sequence, by the scheduler for many) and whoever
 * shows or stores the text; it knows no engine and no sequence.
 * A decoding belongs to one request; different ones may be used by different threads at once. */
#ifndef QM_SESSION_DECODING_H
#define QM_SESSION_DECODING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "model/config.h"
#include "session/sampler.h"
#include "text/tokenizer/tokenizer.h"

enum {
    QM_MAX_TOP_LOGPROBS = 20,
    QM_MAX_STOPS = 64,        /* stop strings of one request */
    QM_MAX_STOP_BYTES = 4096, /* of one stop string */
    QM_MAX_STOP_IDS = 64      /* tokens that end it, of one request */
};

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

struct qm_decoding_options {
    const struct qm_tokenizer *tokenizer; /* NULL: no text, no stop strings */
    struct qm_sampling sampling;
    const char *const *stop; /* stop strings, recognised across token borders; copied */
    int n_stop;
    const int32_t *stop_ids; /* tokens that end it too, also with ignore_end; copied */
    int n_stop_ids;
    bool include_stop; /* what ends it stays in the text: a stop string, or a token unless skip_special leaves it out */
    bool ignore_end;   /* end tokens do not end it */
    bool skip_special; /* in the text; without include_stop the token that ends it is never in the text */
    int64_t min_tokens; /* before so many, end tokens and stop_ids are not sampled, and no stop string ends it */
    int top_logprobs;   /* -1: none (logprob and top are then not set); 0..QM_MAX_TOP_LOGPROBS */
    int64_t max_tokens; /* -1: until an end token or the context is full */
    int64_t room;       /* tokens that the context has room for after the prompt */
};

/* QM_USAGE naming the first value out of range. */
int qm_decoding_check(const struct qm_decoding_options *o, int64_t vocab, struct qm_error *err);

struct qm_decoding;
/* Checks, and allocates what its tokens need: later only a text of more than 8 bytes a token, or a token of more than
 * 256 bytes, makes a buffer grow. The config, the tokenizer and the biases must outlive it. */
int qm_decoding_new(const struct qm_decoding_options *o, const struct qm_config *config, struct qm_decoding **out,
                    struct qm_error *err);
void qm_decoding_free(struct qm_decoding *d);
/* What penalties count, borrowed: the prompt, and where the caller keeps the tokens that are generated; at each sample
 * all of them so far are there. Without this, nothing is counted. */
void qm_decoding_tokens(struct qm_decoding *d, const int32_t *prompt, int64_t n_prompt, const int32_t *generated);

/* Whether there is a first token to sample; if not, *finish says why. */
bool qm_decoding_begins(const struct qm_decoding *d, enum qm_finish *finish);
/* Samples the next token from logits[vocab], with the calling thread's scratch. Several may be sampled before they are
 * taken, as long as each is where qm_decoding_tokens says when the next is sampled. */
int qm_decoding_sample(struct qm_decoding *d, struct qm_sampler_scratch *x, const float *logits, int32_t *id,
                       struct qm_error *err);
/* The next token is known from before: everything becomes as if it had been sampled. */
void qm_decoding_replay(struct qm_decoding *d);
/* Takes the next of the tokens sampled, and its logits, which may be NULL where no log-probabilities are wanted, into
 * the text. *t lives until the next call; *ended: it was the last, and *finish says why. */
int qm_decoding_take(struct qm_decoding *d, int32_t id, const float *logits, struct qm_generate_token *t, bool *ended,
                     enum qm_finish *finish, struct qm_error *err);
/* There are no more tokens: what was held back as the possible beginning of a stop string is text. */
int qm_decoding_interrupt(struct qm_decoding *d, struct qm_error *err);
/* The text so far, without the stop string; it belongs to the decoding. Moving it out leaves an empty one. */
struct qm_buf *qm_decoding_text(struct qm_decoding *d);

#endif
