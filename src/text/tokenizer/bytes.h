/* How vocabularies spell single bytes. */
#ifndef QM_TEXT_TOKENIZER_BYTES_H
#define QM_TEXT_TOKENIZER_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

/* ByteLevel's alphabet: the character of a byte, and the byte of a character or -1. */
uint32_t qm_byte_char(uint8_t byte);
int qm_char_byte(uint32_t cp);
int qm_map_bytes(const char *p, size_t n, struct qm_buf *out, struct qm_error *err);
/* The byte of "<0xNN>", or -1. */
int qm_byte_piece(const char *p, size_t n);

#endif
