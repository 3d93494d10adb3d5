/* Drafts: tokens that may come next, guessed without the model, so that one reading of its weights can check several.
 * What a drafter guesses changes no result, only how many tokens a step yields (speculation.h): a guess counts where
 * the sampler samples the same token from the model's own logits. */
#ifndef QM_SESSION_DRAFT_DRAFT_H
#define QM_SESSION_DRAFT_DRAFT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum {
    QM_DRAFT_MAX = 16, /* tokens drafted for one sequence's part of a step, at most */
    /* Classes of confidence; how often a class is right is learned while it runs. A drafter uses a range of its own, in
     * which the first is the least. */
    QM_DRAFT_LOOKUP_CLASSES = 8,
    QM_DRAFT_MODEL_CLASSES = 8,
    QM_DRAFT_CLASSES = QM_DRAFT_LOOKUP_CLASSES + QM_DRAFT_MODEL_CLASSES,
};

struct qm_draft {
    int32_t id;
    int confidence; /* 0..QM_DRAFT_CLASSES - 1 */
};

/* How far a draft goes. */
struct qm_draft_limit {
    int most; /* 0..QM_DRAFT_MAX */
    /* A drafter that takes time drafts at most `computed` tokens, and ends behind one at which the chance that all so
     * far are right has come below `least`. */
    int computed;
    double least;
    const double *right; /* [QM_DRAFT_CLASSES] how often each class was right */
};

/* A kind of drafter. What it keeps of one text (a prompt and the answer that is being written) is a `text`. One
 * thread. */
struct qm_drafter {
    void *self;
    int (*open)(void *self, void **text, struct qm_error *err);
    void (*close)(void *self, void *text);
    /* The text's next tokens, which are sure: of the prompt, then of the answer as they are accepted. Allocates
     * nothing. */
    void (*append)(void *self, void *text, const int32_t *ids, int64_t n);
    /* Tokens that may follow the text; returns how many. Allocates nothing. */
    int (*propose)(void *self, void *text, const struct qm_draft_limit *limit, struct qm_draft *out);
    /* For one that takes time, else NULL: the seconds that one more drafted token takes, as measured; */
    double (*seconds)(const void *self);
    /* whether it has to compute much of the text before it drafts, as at a text's beginning, and the seconds that this
     * takes, 0 where that is not known yet; */
    bool (*behind)(void *self, void *text, double *seconds);
    /* the seconds taken since it was asked last, for drafts, and *caught_up to compute what it was behind. */
    double (*spent)(void *self, double *caught_up);
};

#endif
