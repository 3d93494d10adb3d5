/* Unicode normalization forms and lowercase of UTF-8 text, in linear time. */
#ifndef QM_TEXT_TOKENIZER_UNICODE_H
#define QM_TEXT_TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

/* True where NFC certainly changes nothing (a quick test that may say false for text that is in NFC). */
bool qm_is_plain_nfc(const char *text, size_t len);
bool qm_is_ascii(const char *text, size_t len);

/* Appends the normalization form of valid UTF-8: composed or not, compatibility or canonical. */
int qm_normal_form(const char *text, size_t len, bool compose, bool compat, struct qm_buf *out, struct qm_error *err);
/* Appends the text with each character in full lowercase (no context rules). */
int qm_lowercase(const char *text, size_t len, struct qm_buf *out, struct qm_error *err);

#endif
