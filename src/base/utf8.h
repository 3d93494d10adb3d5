/* UTF-8 decoding and validation (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
#ifndef QM_BASE_UTF8_H
#define QM_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Decodes one character at s[0..n): its length 1-4 and *cp, or 0 where the bytes are not valid UTF-8. */
size_t qm_utf8_decode(const char *s, size_t n, uint32_t *cp);
/* Writes cp to out (4 bytes of room) and returns its length. cp must be a Unicode scalar value. */
size_t qm_utf8_encode(uint32_t cp, char *out);
/* How many bytes of s[0..n) are a byte order mark, which is no part of the text: 0 or 3. */
size_t qm_utf8_bom(const char *s, size_t n);
/* For a terminal: every control character but newline and tab becomes a '?', those of U+0080 to U+009F too, and bytes
 * that some terminals take for these where they are not part of a character. s[0..n) is changed in place and gets no
 * longer; returns its new length. Text must not end in the middle of a character. */
size_t qm_utf8_printable(char *s, size_t n);
/* The offset of the first byte that is not valid UTF-8, or n where all is. */
size_t qm_utf8_check(const char *s, size_t n);

#endif
