/* A profile of routing: how often each expert of each layer was chosen, and how often again by the next token. Where
 * in the flow: counted by the engine while a model runs, written beside it, read by the planner. */
#ifndef QM_ENGINE_ROUTING_H
#define QM_ENGINE_ROUTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/model.h"

struct qm_routing_profile {
    int64_t layers, experts, chosen; /* chosen: experts a token */
    uint64_t tokens;                 /* counted, in each layer */
    uint64_t pairs;                  /* consecutive tokens of one sequence that were counted, for `again` */
    uint64_t *count;                 /* [layers][experts] times chosen */
    uint64_t *again;                 /* [layers] experts that a token shared with the one before it */
    int32_t *last;                   /* [layers][chosen] while counting: the last token's; not written */
};

int qm_routing_profile_open(const struct qm_config *c, struct qm_routing_profile *out, struct qm_error *err);
void qm_routing_profile_free(struct qm_routing_profile *p);

/* Counts the choices of `rows` consecutive tokens of one sequence in one layer: chosen [rows][chosen], ascending.
 * continues: they follow the token that was counted last. */
void qm_routing_count(struct qm_routing_profile *p, int64_t layer, const int32_t *chosen, int64_t rows, bool continues);
/* Called once a step, after its layers: the step had `tokens` tokens in `runs` runs of consecutive ones. continues: the
 * first run follows the last step's last token. */
void qm_routing_count_tokens(struct qm_routing_profile *p, int64_t tokens, int64_t runs, bool continues);

/* The share of the layer's tokens that chose the expert, 0 to 1: uniform without a profile or
 * counts. p may be NULL. */
double qm_routing_share(const struct qm_routing_profile *p, const struct qm_config *c, int64_t layer, int64_t expert);

/* What a profile says of skew. static_share: of all choices, those of the `experts` most chosen tenth of each layer
 * (0.1 would be no skew). local_share: of a token's experts those that the token before it had too; and what that
 * would be if tokens chose independently, with the counts seen. */
struct qm_routing_skew {
    double static_share, tenth, local_share, independent_share;
};
void qm_routing_measure(const struct qm_routing_profile *p, struct qm_routing_skew *out);

/* The profile as JSON text with a newline (allocated), and back: untrusted, QM_INPUT names what is wrong. */
int qm_routing_profile_write(const struct qm_routing_profile *p, const struct qm_config *c, char **out,
                             struct qm_error *err);
int qm_routing_profile_parse(const char *text, size_t len, const char *name, struct qm_routing_profile *out,
                             struct qm_error *err);
/* QM_INPUT where it is of another model. */
int qm_routing_profile_check(const struct qm_routing_profile *p, const struct qm_config *c, const char *name,
                             struct qm_error *err);

#endif
