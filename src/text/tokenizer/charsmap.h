/* SentencePiece's precompiled character map: a double-array trie from character sequences to their
 * replacements, as tokenizer.model and the Precompiled normalizer hold it. Const once loaded. */
#ifndef QM_TEXT_TOKENIZER_CHARSMAP_H
#define QM_TEXT_TOKENIZER_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct qm_charsmap {
    uint32_t *units;
    size_t nunits;
    char *text; /* replacements, each ended by NUL; one more NUL after the last */
    size_t ntext;
};

/* Copies blob. A blob that is cut or whose replacements are not UTF-8 is QM_INPUT. */
int qm_charsmap_load(struct qm_charsmap *m, const char *blob, size_t len, struct qm_error *err);
void qm_charsmap_free(struct qm_charsmap *m);

/* The replacement of the shortest (longest = 0) or longest rule that text begins with, NULL for none;
 * *matched is the rule's length. */
const char *qm_charsmap_find(const struct qm_charsmap *m, const char *text, size_t len, int longest, size_t *matched);

#endif
