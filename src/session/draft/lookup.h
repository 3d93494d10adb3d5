/* Drafts by lookup: where the last tokens stood before, what followed them there may follow again. It looks in the
 * prompt, in the answer so far, and in the other texts that it was given; it needs no weights. Best where an answer
 * quotes: questions about a document, extraction, edited code.
 *
 * Tokens stand in segments of 64, a tree: texts that begin alike share what is whole of their prefix, so the rows of
 * a job keep a document once. An index finds the latest places where the last four tokens stood, and the latest one
 * where the last two did; of those the longest match counts, then the latest. (The longest suffix that occurred before,
 * as in prompt lookup decoding and SuffixDecoding, arXiv 2411.04975, but with hash chains as in LZ77 coders instead of
 * a suffix tree, for a fixed and smaller memory: at most QM_LOOKUP_TOKEN_BYTES a token.) When it is full, the oldest
 * segments are written over.
 *
 * Confidence is the length of the match. Drafting takes a bounded number of comparisons. One thread. */
#ifndef QM_SESSION_DRAFT_LOOKUP_H
#define QM_SESSION_DRAFT_LOOKUP_H

#include <stdint.h>

#include "base/error.h"
#include "session/draft/draft.h"

enum { QM_LOOKUP_TOKEN_BYTES = 16 };

struct qm_lookup;

/* For about bytes / QM_LOOKUP_TOKEN_BYTES tokens, in at most so many bytes (at least a few thousand are taken). Pages
 * are touched as they are used. */
int qm_lookup_new(uint64_t bytes, struct qm_lookup **out, struct qm_error *err);
void qm_lookup_free(struct qm_lookup *l);
uint64_t qm_lookup_bytes(const struct qm_lookup *l);
/* What it is as a drafter, until it is freed. */
struct qm_drafter qm_lookup_drafter(struct qm_lookup *l);

#endif
