/* What the scheduler's files share. scheduler.c has the public functions and the course of a step;
 * scheduler_request.c the life of a request; scheduler_admit.c who joins; scheduler_pool.c who gets pages;
 * scheduler_compose.c what a step computes; scheduler_tokens.c what becomes of its results; scheduler_rate.c measured
 * speed. */
#ifndef QM_SESSION_SCHEDULER_INTERNAL_H
#define QM_SESSION_SCHEDULER_INTERNAL_H

#include "engine/sequence.h"
#include "session/draft/speculation.h"
#include "session/prefix_cache.h"
#include "session/scheduler.h"

/* Logits of a step, beside those of one row for each sequence: for drafts, and for known tokens whose log-probabilities
 * are reported. */
enum { SCHEDULER_MORE_LOGITS = QM_DRAFT_MAX };

struct qm_scheduled {
    struct qm_scheduled *prev, *next; /* in the waiting list, in order */
    uint64_t id;                      /* ascending by arrival */
    struct qm_request r;              /* of its lists only bias is kept, a copy */
    enum qm_request_state state;
    bool admitted; /* before */
    bool ended;    /* reported; its memory is freed when the scheduler is not busy */

    int32_t *tokens;  /* the prompt, then what is generated, with room for all of it */
    int64_t n_tokens; /* known */
    int64_t reported; /* of the generated ones */
    int64_t room;     /* generated tokens at most, by the context; */
    int64_t most;     /* and by what is asked for */
    struct qm_logit_bias *bias;

    struct qm_sequence *sequence; /* NULL while it waits */
    struct qm_decoding *decoding; /* NULL where it embeds, */
    float *hidden;                /* and then this is not: [hidden] */
    int64_t n_cached;             /* blocks that the prefix cache knows of */
    /* while it waits */
    uint64_t behind;  /* the request that computes the same prefix; 0: none */
    int64_t until;    /* as far as this many tokens */
    uint64_t too_big; /* n_closed when it last did not fit: it is tried again when that has grown; 0: not tried */

    /* its part of the step */
    int64_t piece;    /* tokens; 0: none */
    int64_t claim;    /* blocks of the pool that they take */
    int64_t n_logits; /* of its last tokens */
    float *logits;
    struct qm_speculated *speculated;  /* NULL: no drafts, which stand behind its known tokens while they are checked */
    int32_t sampled[QM_DRAFT_MAX + 1]; /* new tokens, in order, of which the first is taken already */
    int n_sampled;
    int rc; /* of the sample behind them, or of the first one's taking: */
    struct qm_error err;
    struct qm_generate_token token;
    bool last; /* and then finish says why */
    enum qm_finish finish;

    int64_t prefix_tokens, preemptions;
    double submitted, started, first_token;
};

struct rates {
    double decode_tokens; /* of such a step */
    double decode_step;   /* seconds of a step without known tokens; 0: none was measured yet */
    double prompt_token;  /* seconds that a known token adds to a step; 0: none was measured yet */
    double prefill_rate, decode_rate;
};

struct qm_scheduler {
    struct qm_scheduler_options o;
    int64_t context, chunk, vocab, block_tokens;
    uint64_t last_id;
    struct qm_scheduled *first, *last; /* those without a sequence, in order */
    struct qm_scheduled *ended;        /* to be freed */
    struct qm_scheduled **running;     /* [slots], in order */
    int64_t n_running, slots;
    int64_t n_waiting, n_preempted;
    uint64_t n_closed;   /* sequences closed so far, plus 1 (0 means "not tried" in too_big) */
    double step_seconds; /* of the step just computed, in the engine */
    int64_t claimed;     /* blocks of the pool that the step's pieces take */
    int64_t may_read;    /* blocks of the cache's store, before this step's tokens */
    int busy;            /* steps and callbacks that run, one in another */
    bool closing;

    struct qm_step_rows *steps;     /* [slots] */
    struct qm_scheduled **in_step;  /* [slots] whose they are */
    struct qm_scheduled **sampling; /* [slots] those of them that sample new tokens at once */
    int64_t n_steps, n_sampling;
    struct qm_speculated **drafting;     /* [slots] of those that generate */
    struct qm_sampler_scratch **scratch; /* [threads] */
    int threads;                         /* of the engine's team */
    float *logits;                       /* [n_logit_rows][vocab] */
    int64_t n_logit_rows;
    struct rates rates;
    struct qm_scheduler_stats stats;
};

/* Known tokens of a running request that are not computed yet. */
static inline int64_t scheduled_missing(const struct qm_scheduled *q) {
    return q->n_tokens - qm_sequence_length(q->sequence);
}

static inline double scheduler_now(const struct qm_scheduler *s) {
    return s->o.now(s->o.now_arg);
}

/* Whether a stands before b. */
static inline bool scheduled_before(const struct qm_scheduled *a, const struct qm_scheduled *b) {
    return a->r.priority != b->r.priority ? a->r.priority > b->r.priority : a->id < b->id;
}

/* ---- the life of a request ---- */
/* Reads what stays as it is while the scheduler is open. */
int scheduled_new(const struct qm_scheduler *s, const struct qm_request *r, struct qm_scheduled **out,
                  struct qm_error *err);
void scheduled_free(struct qm_scheduled *q);
/* Into the waiting list or out of it. */
void scheduled_wait(struct qm_scheduler *s, struct qm_scheduled *q);
void scheduled_unwait(struct qm_scheduler *s, struct qm_scheduled *q);
/* Whether the cache's store may have more of its prefix than this step can read while others run. */
bool scheduled_reads(struct qm_scheduler *s, const struct qm_scheduled *q);
/* What it needs to run: a sequence that holds what the cache knows. */
int scheduled_prepare(struct qm_scheduler *s, struct qm_scheduled *q, struct qm_error *err);
/* Takes one that is prepared from the waiting to the running ones. */
void scheduled_start(struct qm_scheduler *s, struct qm_scheduled *q);
/* From the running to the waiting ones; its pages are free. */
void scheduled_preempt(struct qm_scheduler *s, struct qm_scheduled *q);
/* Ends it wherever it is and reports it. */
void scheduled_end(struct qm_scheduler *s, struct qm_scheduled *q, int rc, const struct qm_error *error,
                   enum qm_finish finish);
/* Frees those ended, unless busy. */
void scheduled_collect(struct qm_scheduler *s);

/* ---- the parts of a step ---- */
void scheduler_admit(struct qm_scheduler *s);
/* Pages for the next n tokens of a running request, or for fewer (of its prompt), or for none: what the cache can
 * give up, then what those behind it have. Returns for how many; they count as taken until the next step. */
int64_t scheduler_claim(struct qm_scheduler *s, struct qm_scheduled *q, int64_t n);
/* Pages for so many tokens more, of the free ones alone. Returns for how many. */
int64_t scheduler_claim_more(struct qm_scheduler *s, struct qm_scheduled *q, int64_t n);
/* Whether there are pages for all known tokens of those that run, and for those of q and a block more, those that the
 * cache can give up included. */
bool scheduler_fits(const struct qm_scheduler *s, const struct qm_scheduled *q);
/* Fills steps; n_steps is 0 where there is nothing to do. */
void scheduler_compose(struct qm_scheduler *s);
/* Samples and reports the tokens of the step that was computed. */
void scheduler_tokens(struct qm_scheduler *s);
/* Reports tokens known from before that need no logits. */
void scheduler_replay(struct qm_scheduler *s, struct qm_scheduled *q);

/* ---- measured speed ---- */
/* A step with that many known and new tokens took that long. */
void scheduler_measure(struct qm_scheduler *s, int64_t known, int64_t generated, double seconds);
/* Known tokens for a step that also generates. */
int64_t scheduler_prefill_tokens(const struct qm_scheduler *s);

#endif
