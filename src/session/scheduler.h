/* Many sequences at once on one engine: continuous batching with chunked prefill, admission by KV memory, preemption,
 * and shared prompt heads. Between the engine's steps and whoever has requests (batch jobs, a server).
 *
 * A request's result is bit-identical to qm_generate() alone with the same prompt, sampling and seed, whatever else
 * runs, however often it is preempted, and whatever was found in the prefix cache.
 *
 * Order. Requests stand in one order: higher priority first, then by arrival. It decides who is admitted next, whose
 * prompt is computed first, and who gives way: where KV memory runs short the prefix cache gives up blocks first, then
 * the last in the order is preempted (its pages are freed, its tokens kept and computed again later). A request
 * takes pages only from those behind it, so the first always proceeds and everything ends.
 *
 * Steps. Each step takes the next token of every sequence that generates, and fills up with prompts. Where there are no
 * prompts to compute it may check drafted tokens behind them, which take no page that another needs. A step is at
 * most qm_engine_chunk() tokens, so a prompt of any length delays the next token of another sequence by one chunk's
 * time at most; and while others run, as many tokens (or a block) at most are read from the cache's store before one,
 * which takes less than computing them where the store is of any use.
 *
 * One thread calls it (but for qm_scheduler_prepare and _discard). Callbacks run inside qm_scheduler_step, _submit,
 * _enter, _cancel and _close; they may submit and cancel, but not step or close.
 *
 * Memory. What running takes is made by qm_scheduler_open and the engine before it: sequences and their page tables,
 * one scratch of sampling a thread, logits of a step (qm_scheduler_bytes). A request's own is made by
 * qm_scheduler_submit and freed when it ends: its prompt with room for the tokens that it may generate (4 bytes each),
 * biases, stop strings, and room for its text, 256 bytes and 8 a token; pages of that which are not written yet are not
 * resident. So nothing is allocated in a step, by admission, preemption or anything else, except where a request's text
 * comes to be longer than its room, or one token is longer than 256 bytes; and in a step's callbacks what they submit.
 */
#ifndef QM_SESSION_SCHEDULER_H
#define QM_SESSION_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/engine.h"
#include "session/decoding.h"
#include "session/sampler.h"
#include "text/tokenizer/tokenizer.h"

struct qm_prefix_cache;
struct qm_speculation;
struct qm_scheduler;
struct qm_scheduled;

struct qm_scheduler_options {
    struct qm_engine *engine;             /* its sequences are the scheduler's while it is open */
    const struct qm_tokenizer *tokenizer; /* NULL: no text, no stop strings */
    struct qm_prefix_cache *cache;        /* of the same engine; NULL: nothing is shared */
    struct qm_speculation *speculation;   /* drafts of what comes next (draft/speculation.h); NULL: none */
    int64_t max_waiting;                  /* requests submitted and not admitted yet; 0: 1024 */
    int64_t prefill_tokens;               /* of prompts in a step that also generates; 0: chosen from measured rates */
    double (*now)(void *arg);             /* monotonic seconds; NULL: the engine's clock */
    void *now_arg;
};

enum qm_request_state {
    QM_REQUEST_WAITING,   /* not admitted yet */
    QM_REQUEST_PREFILL,   /* its known tokens are being computed */
    QM_REQUEST_DECODE,    /* generates */
    QM_REQUEST_PREEMPTED, /* waits to be computed again */
};

struct qm_outcome;

/* Everything that it points to is copied at submit. */
struct qm_request {
    const int32_t *prompt; /* at least one token */
    int64_t n_prompt;
    /* Tokens that were generated before (a job that is resumed). on_token gets them again with replay = true,
     * and everything goes on as if they had just been sampled. */
    const int32_t *generated;
    int64_t n_generated;
    struct qm_decoding_options decoding; /* its tokenizer and room are the scheduler's to set */
    bool embed;   /* only the hidden state of the prompt's last token after the final norm; no tokens */
    int priority; /* higher first */

    /* Each token, in order, once (replayed ones count); what it points to lives for the call. Nonzero cancels. */
    int (*on_token)(void *arg, const struct qm_generate_token *t, bool replay); /* may be NULL */
    /* Tokens computed of those known, while this is more than one token's work. */
    void (*on_prefill)(void *arg, int64_t done, int64_t total); /* may be NULL */
    /* Exactly once for every request that was submitted, also where it failed or was cancelled. */
    void (*on_done)(void *arg, const struct qm_outcome *o); /* may be NULL */
    void *arg;
};

/* How a request ended. What it points to lives for the call. */
struct qm_outcome {
    uint64_t id;
    int rc;                       /* QM_OK, or why it failed: */
    const struct qm_error *error; /* NULL where rc is QM_OK */
    enum qm_finish finish;        /* QM_FINISH_INTERRUPTED: cancelled */
    const int32_t *ids;           /* generated, the end token included */
    int64_t n_ids;
    const char *text; /* without the stop string; NUL-terminated; "" without a tokenizer */
    size_t text_len;
    const float *embedding; /* [n_embedding], or NULL */
    int64_t n_embedding;
    int64_t prompt_tokens;
    int64_t prefix_tokens; /* of the prompt, taken from the prefix cache when it was first admitted */
    int64_t preemptions;
    double wait_seconds;        /* from submit to first admission, or to the end where there was none */
    double prefill_seconds;     /* from there to the first token or the end */
    double first_token_seconds; /* from submit to the first token; 0: there was none */
    double decode_seconds;      /* from the first token to the end */
};

/* Bytes that a scheduler takes beside the engine, the cache and the requests. */
uint64_t qm_scheduler_bytes(int64_t vocab, int64_t sequences, int threads);
/* The engine, the tokenizer, the cache and the speculation must outlive it. */
int qm_scheduler_open(const struct qm_scheduler_options *o, struct qm_scheduler **out, struct qm_error *err);
/* Cancels what is left. */
void qm_scheduler_close(struct qm_scheduler *s);

/* Tokens that a request may hold at most: the context, or what the whole pool holds if that is less. */
int64_t qm_scheduler_context(const struct qm_scheduler *s);

/* QM_USAGE, QM_INPUT: can never run (the message names what); QM_BUSY: too many are waiting; QM_GONE: it is
 * being closed. on_done is then not called. Numbers of requests (*id, never 0) are not used twice. */
int qm_scheduler_submit(struct qm_scheduler *s, const struct qm_request *r, uint64_t *id, struct qm_error *err);
/* The two halves of it. Checking and copying is any thread's to do, also while another steps: QM_USAGE, QM_INPUT,
 * QM_SYSTEM. Entering takes it over where the result is QM_OK, else (QM_BUSY, QM_GONE, QM_SYSTEM) it is still the
 * caller's. */
int qm_scheduler_prepare(const struct qm_scheduler *s, const struct qm_request *r, struct qm_scheduled **out,
                         struct qm_error *err);
int qm_scheduler_enter(struct qm_scheduler *s, struct qm_scheduled *q, uint64_t *id, struct qm_error *err);
/* Frees one that was not entered; NULL: nothing. */
void qm_scheduler_discard(struct qm_scheduled *q);
/* Ends a request in any state: on_done with what it has so far. Its pages are free when it returns. QM_GONE for a
 * number that is no request's (any more). */
int qm_scheduler_cancel(struct qm_scheduler *s, uint64_t id);
bool qm_scheduler_idle(const struct qm_scheduler *s);
/* Admits, computes one step, reports its tokens. *worked: false when there is nothing to do. What is wrong with one
 * request ends that request alone; an error returned here is the engine's, and no request can go on. */
int qm_scheduler_step(struct qm_scheduler *s, bool *worked, struct qm_error *err);

/* A request between steps, for progress and checkpoints. */
struct qm_request_view {
    enum qm_request_state state;
    int64_t n_prompt, n_generated;
    int64_t most;                 /* tokens that it may generate in all */
    const int32_t *tokens;        /* the prompt, then what is generated; valid until the next call that is not a view */
    struct qm_sequence *sequence; /* NULL while it waits */
    int64_t held;                 /* tokens that the sequence holds */
    void *arg;
    double submitted, started; /* by the scheduler's clock; started: first admitted, or 0 */
};
/* QM_GONE for a number that is no request's (any more). */
int qm_scheduler_view(const struct qm_scheduler *s, uint64_t id, struct qm_request_view *out);

struct qm_scheduler_stats {
    int64_t running, waiting, preempted; /* now */
    /* since it was opened */
    int64_t submitted, finished, preemptions;
    int64_t steps;                                         /* of which */
    int64_t prefill_steps;                                 /* with known tokens only, */
    int64_t decode_steps;                                  /* with new tokens only; the rest has both */
    int64_t prompt_tokens;                                 /* known tokens computed, also those computed again */
    int64_t prefix_tokens;                                 /* taken from the prefix cache instead */
    int64_t generated_tokens;                              /* sampled */
    double prefill_seconds, decode_seconds, mixed_seconds; /* in the engine, by kind of step */
    double schedule_seconds;                               /* choosing steps: admission, composition, pages */
    double token_seconds;                                  /* sampling, text, callbacks */
    /* tokens a second lately: of prompts in steps with prompts, of all sequences together in steps without; 0: not
     * known yet */
    double prefill_rate, decode_rate;
    /* lately: seconds of a step without prompts, and its tokens; seconds that a prompt's token adds; 0: not known yet
     */
    double decode_step, decode_tokens, prompt_token;
};
void qm_scheduler_stats(const struct qm_scheduler *s, struct qm_scheduler_stats *out);

#endif
