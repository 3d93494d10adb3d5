/* Whether two configurations gave the same answers: token by token, and by how far apart their probabilities of the
 * next token are along a prefix that both were given. */
#ifndef QM_APP_COMPARE_AGREE_H
#define QM_APP_COMPARE_AGREE_H

#include <stdbool.h>
#include <stdint.h>

struct qm_agreement {
    bool compared;            /* false: nothing to hold it against; it is the reference, or was not run */
    int64_t tokens;           /* of all answers */
    int64_t same;             /* of them before the first difference, summed over answers */
    int64_t first_difference; /* position in the answer where the first of them parts; -1: identical */
    int first_prompt;         /* that answer's number */
    int64_t unexplained;      /* answers that part where no logits were compared */
    int64_t positions;        /* at which logits were compared */
    double kl_mean, kl_max;   /* nats; NaN where positions is 0 */
};

/* The first position at which two answers differ, a missing token counted; -1: they are the same. */
int64_t qm_first_difference(const int32_t *a, int64_t n_a, const int32_t *b, int64_t n_b);

/* Kullback-Leibler divergence of the softmax of q from that of p, in nats: sum p log(p / q), in double. Logits that
 * are not finite count as -infinity. Infinite where q excludes what p does not; NaN where either excludes all. */
double qm_kl_divergence(const float *p, const float *q, int64_t n);

/* Adds one answer's tokens, of whose positions `covered` have their logits compared; one position's divergence. */
void qm_agreement_begin(struct qm_agreement *a);
void qm_agreement_answer(struct qm_agreement *a, int prompt, const int32_t *reference, int64_t n_reference,
                         const int32_t *answer, int64_t n_answer, int64_t covered);
void qm_agreement_position(struct qm_agreement *a, double kl);

/* Whether they agree within the bound: no divergence above it, and no token that differs unless the logits were
 * compared there (then a near tie went the other way). With a bound of 0 every token must be the same. */
bool qm_agreement_holds(const struct qm_agreement *a, double bound);

#endif
