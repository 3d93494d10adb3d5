/* Speculation that changes no bit: a step takes a sequence's last token and some drafted ones behind it, and its logits
 * say of each whether the sampler samples the same. The first that differs is replaced by what was sampled, and what
 * was computed behind it is cut back. Since a token's logits do not depend on the other rows of a step, and each sample
 * uses the generator's state of its position, everything that comes out is what comes out without drafts.
 *
 * Who steps (generate.c, the scheduler) asks for drafts, checks them by sampling, and reports what was sampled and how
 * long it took; here it is decided how many to check (control.h). One thread. */
#ifndef QM_SESSION_DRAFT_SPECULATION_H
#define QM_SESSION_DRAFT_SPECULATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "session/draft/draft.h"

struct qm_speculation;
struct qm_speculated; /* one request's */

struct qm_speculation_options {
    struct qm_drafter drafter; /* borrowed: outlives the speculation */
    int most;                  /* drafts of one sequence a step, 1..QM_DRAFT_MAX */
    bool always;               /* check all that are drafted, whether it pays or not: for tests and measuring */
};

/* What came of it. */
struct qm_speculation_stats {
    int64_t steps;             /* that checked drafts */
    int64_t drafted, accepted; /* tokens checked, and those that were right */
    double saved;              /* seconds, against the time measured of steps without drafts; may be negative */
};

int qm_speculation_new(const struct qm_speculation_options *o, struct qm_speculation **out, struct qm_error *err);
/* No request's may be open. */
void qm_speculation_free(struct qm_speculation *s);
int qm_speculation_most(const struct qm_speculation *s);
void qm_speculation_stats(const struct qm_speculation *s, struct qm_speculation_stats *out);

/* NULL, which no function below minds, where s is NULL. */
int qm_speculated_open(struct qm_speculation *s, struct qm_speculated **out, struct qm_error *err);
void qm_speculated_close(struct qm_speculated *p);
/* tokens[0..n) are sure: of the prompt, and of what was generated; the first is the text's number `from`, which it has
 * come to already. Only what was added since the last call is looked at. */
void qm_speculated_follow(struct qm_speculated *p, int64_t from, const int32_t *tokens, int64_t n);
/* For a step of the last tokens of n sequences, before they are asked for drafts: whether that is to be done. It takes
 * time itself, which is measured from here to qm_speculation_choose. False where s is NULL. */
bool qm_speculation_looks(struct qm_speculation *s, int64_t n);
/* Drafts for the next step, of n sequences, at most so many: a step drafts at least one token less than may still be
 * generated. */
void qm_speculated_offer(struct qm_speculated *p, int64_t n, int64_t most);
/* Then how many of each one's offered drafts the step checks, `most` in all. NULLs among them have none. */
void qm_speculation_choose(struct qm_speculation *s, struct qm_speculated *const *p, int64_t n, int64_t most);
/* Those of the step: how many, and their tokens. */
int qm_speculated_chosen(const struct qm_speculated *p);
int32_t qm_speculated_draft(const struct qm_speculated *p, int i);
/* Fewer are checked after all. */
void qm_speculated_choose_fewer(struct qm_speculated *p, int n);
/* The tokens that were sampled from the step's logits, one more than drafts were right or, where it ended, fewer. */
void qm_speculated_sampled(struct qm_speculated *p, const int32_t *tokens, int n);
/* A step of n sequences that generate, and of nothing else, took that long; to be reported also where nothing was
 * checked, after qm_speculated_sampled. */
void qm_speculation_took(struct qm_speculation *s, int64_t n, double seconds);

#endif
