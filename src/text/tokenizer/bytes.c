/* ByteLevel's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 on. And SentencePiece's pieces
 * of one byte. */
#include "text/tokenizer/bytes.h"

#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"

static bool is_itself(uint32_t b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
}

uint32_t qm_byte_char(uint8_t byte) {
    if (is_itself(byte))
        return byte;
    /* The bytes that do not stand for themselves, in their order: 0-32, 127-160, 173. */
    return 256u + (byte <= 32 ? byte : byte <= 160 ? byte - 127u + 33u : 67u);
}

int qm_char_byte(uint32_t cp) {
    if (cp < 256)
        return is_itself(cp) ? (int)cp : -1;
    cp -= 256;
    return cp <= 32 ? (int)cp : cp <= 66 ? (int)(cp - 33 + 127) : cp == 67 ? 173 : -1;
}

int qm_map_bytes(const char *p, size_t n, struct qm_buf *out, struct qm_error *err) {
    int rc = qm_buf_reserve(out, n * 2, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++)
        out->len += qm_utf8_encode(qm_byte_char((uint8_t)p[i]), out->data + out->len);
    out->data[out->len] = 0;
    return QM_OK;
}

int qm_byte_piece(const char *p, size_t n) {
    if (n != 6 || memcmp(p, "<0x", 3) != 0 || p[5] != '>')
        return -1;
    int v = 0;
    for (int i = 3; i < 5; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                       : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}
