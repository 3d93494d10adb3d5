/* Classes of characters as the `tokenizers` library draws them (Rust's char methods and its regex
 * crate). Names nothing of regular expressions: see onig.c for those. */
#ifndef QM_TEXT_TOKENIZER_CHARS_H
#define QM_TEXT_TOKENIZER_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef bool (*qm_char_class)(uint32_t cp);

bool qm_is_space(uint32_t cp);           /* White_Space */
bool qm_is_numeric(uint32_t cp);         /* N* */
bool qm_is_punct(uint32_t cp);           /* ASCII punctuation and P* */
bool qm_is_word(uint32_t cp);            /* \w: Alphabetic, M*, Nd, Pc, Join_Control */
bool qm_is_mark(uint32_t cp);            /* M* */
bool qm_is_mark_nonspacing(uint32_t cp); /* Mn */
bool qm_is_han_block(uint32_t cp);       /* the blocks BertNormalizer puts spaces around */
bool qm_is_bert_control(uint32_t cp);

/* Decodes one character of valid UTF-8; returns its length (1 where the bytes are not valid). */
size_t qm_char_next(const char *p, size_t n, uint32_t *cp);
/* The start of the character that ends at `end` (> 0). */
size_t qm_char_before(const char *p, size_t end, uint32_t *cp);

#endif
