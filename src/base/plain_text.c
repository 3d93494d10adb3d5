/* Reading, and looking at every byte. */
#include "base/plain_text.h"

#include <string.h>

#include "base/file.h"
#include "base/utf8.h"

static const size_t TEXT_LIMIT = 1000000000;

int qm_check_text(const char *text, size_t len, const char *name, struct qm_error *err) {
    size_t at = qm_utf8_check(text, len);
    if (at == len)
        return QM_OK;
    return qm_fail(err, QM_INPUT, "%s: not valid UTF-8: byte 0x%02x at offset %zu", name, (unsigned char)text[at], at);
}

int qm_read_text(const char *path, struct qm_buf *out, struct qm_error *err) {
    const char *name = strcmp(path, "-") ? path : "standard input";
    size_t before = out->len;
    int rc = qm_read_input(path, TEXT_LIMIT, out, err);
    if (rc)
        return rc;
    size_t mark = qm_utf8_bom(out->data + before, out->len - before);
    out->len -= mark;
    memmove(out->data + before, out->data + before + mark, out->len - before + 1);
    /* one without pictures can be made of characters alone */
    if (out->len - before >= 5 && !memcmp(out->data + before, "%PDF-", 5))
        return qm_remedy(
            err, QM_REMEDY_AS_DOCUMENT,
            qm_fail(err, QM_INPUT, "%s: expected text, found a PDF: convert it (pdftotext FILE.pdf FILE.txt)", name));
    return qm_check_text(out->data + before, out->len - before, name, err);
}
