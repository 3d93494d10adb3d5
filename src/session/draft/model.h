/* Drafts by a smaller model of the same vocabulary, in an engine of its own: the tokens that it finds likeliest. (As in
 * speculative decoding, Leviathan et al. 2023, but a draft is checked by what the sampler samples.) It keeps its own
 * keys and values of each text, as far as the drafts were right.
 *
 * Confidence is the probability that it gives the token. Logits that are not finite end its drafts for good. One
 * thread, the one that steps its engine. */
#ifndef QM_SESSION_DRAFT_MODEL_H
#define QM_SESSION_DRAFT_MODEL_H

#include <stdbool.h>

#include "base/error.h"
#include "engine/engine.h"
#include "session/draft/draft.h"
#include "text/tokenizer/tokenizer.h"

struct qm_draft_model;

/* QM_INPUT, naming the first token that differs, where a token does not have the same id in both. */
int qm_draft_model_check(const struct qm_tokenizer *target, const struct qm_tokenizer *draft, struct qm_error *err);
/* engine: its sequences are the drafts' while it is open, and one is open for each text; texts longer than its context
 * are not drafted for. vocab: of the model that checks. Both borrowed. */
int qm_draft_model_new(struct qm_engine *engine, int64_t vocab, struct qm_draft_model **out, struct qm_error *err);
/* No text may be open. */
void qm_draft_model_free(struct qm_draft_model *m);
/* What it is as a drafter, until it is freed. */
struct qm_drafter qm_draft_model_drafter(struct qm_draft_model *m);
/* Its logits were not finite: it drafts no more. */
bool qm_draft_model_failed(const struct qm_draft_model *m);

#endif
