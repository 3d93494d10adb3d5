/* Sampling the next token. Order: repetition penalty (prompt and output), presence and frequency penalties
 * (output only), logit bias, forbidden tokens, temperature, top-k, top-p, min-p, softmax, sampling. Temperature 0 is
 * greedy (the lowest id among equals), after penalties and bias.
 *
 * As transformers' processors: top-k keeps everything equal to the k-th greatest; top-p keeps the fewest
 * tokens that hold at least that probability, at least one, lower ids first among equals (there the published
 * sort promises no order); min-p is relative to the most probable token. Penalties, bias and weights are computed in
 * float32 and summed in float64, by arithmetic that gives the same bits on every instruction set.
 *
 * The generator is PCG32 (O'Neill 2014, XSH-RR; pcg32.h), seeded by the seed on stream 0xda3e39cb94b95bdb:
 * one 32-bit random number u a token (none where greedy), the token being the first whose cumulative probability, in
 * descending order of probability and then ascending id, exceeds u / 2^32.
 *
 * A sampler is the settings and the generator of one sequence; what is as large as the vocabulary is scratch, which any
 * number of samplers may use one after the other, and which a thread needs one of. Penalties count the tokens anew for
 * each sample, from the lists that the caller has. Nothing is allocated after qm_sampler_scratch_new. */
#ifndef QM_SESSION_SAMPLER_H
#define QM_SESSION_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "session/pcg32.h"
#include "simd/isa.h"

struct qm_logit_bias {
    int32_t id;
    float bias;
};

struct qm_sampling {
    double temperature;        /* 0: greedy */
    int64_t top_k;             /* 0: off */
    double top_p;              /* 1: off */
    double min_p;              /* 0: off */
    double repetition_penalty; /* 1: off */
    double presence_penalty, frequency_penalty;
    const struct qm_logit_bias *bias; /* borrowed for the call, or NULL; an id given twice gets both */
    size_t n_bias;
    const int32_t *forbidden; /* ids of the vocabulary that are not sampled; borrowed, or NULL */
    size_t n_forbidden;
    uint64_t seed;
};

/* All off, greedy. */
extern const struct qm_sampling qm_sampling_default;
/* QM_USAGE naming the first value out of range (NaN included): temperature and top_k at least 0, top_p and
 * min_p 0..1, repetition_penalty above 0, presence_penalty and frequency_penalty -2..2, biases -100..100 on
 * ids of the vocabulary. */
int qm_sampling_check(const struct qm_sampling *s, int64_t vocab, struct qm_error *err);

struct qm_sampler {
    struct qm_sampling set; /* its lists are borrowed as long as the sampler is used */
    struct qm_pcg32 random;
};
/* The settings have been checked. */
void qm_sampler_start(struct qm_sampler *s, const struct qm_sampling *set);

struct qm_sampler_scratch;
/* QM_FIT where this CPU cannot run the instruction set. */
int qm_sampler_scratch_new(int64_t vocab, enum qm_isa isa, struct qm_sampler_scratch **out, struct qm_error *err);
void qm_sampler_scratch_free(struct qm_sampler_scratch *x);
uint64_t qm_sampler_scratch_bytes(int64_t vocab);

/* What penalties count: the tokens of the prompt, and those put out after it. An id outside the vocabulary is passed
 * over. */
struct qm_past_tokens {
    const int32_t *prompt, *output;
    int64_t n_prompt, n_output;
};

/* The probabilities of the next token after all settings: probs[vocab]. Greedy gives 1 to one token; where no
 * logit is finite all are 0. Samples nothing. past may be NULL: none. */
void qm_sampler_probabilities(const struct qm_sampler *s, struct qm_sampler_scratch *x,
                              const struct qm_past_tokens *past, const float *logits, float *probs);
/* Samples the next token. Logits that are not finite count as -infinity; where all are, QM_SYSTEM. */
int qm_sampler_next(struct qm_sampler *s, struct qm_sampler_scratch *x, const struct qm_past_tokens *past,
                    const float *logits, int32_t *id, struct qm_error *err);
/* The next token is known: the state becomes as if qm_sampler_next had sampled it. */
void qm_sampler_replay(struct qm_sampler *s);

/* Log-probabilities of the model itself (log-softmax of raw logits, before any setting), in descending order,
 * ties by id: the n_top greatest (n_top <= vocab). Logits that are not finite count as -infinity, and so does
 * their log-probability. */
struct qm_logprob {
    int32_t id;
    float logprob;
};
void qm_logprobs(const float *logits, int64_t vocab, int32_t chosen, struct qm_logprob *chosen_out,
                 struct qm_logprob *top, int n_top);

#endif
