/* Strict parsing of token ids. */
#include "text/ids_file.h"

#include <stdbool.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/utf8.h"

static const size_t FILE_LIMIT = 1000000000;

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

int qm_ids_parse(const char *text, size_t len, const char *name, struct qm_ids *out, struct qm_error *err) {
    size_t line = 1, line_start = 0, i = 0;
    while (i < len) {
        if (is_space(text[i])) {
            if (text[i] == '\n') {
                line++;
                line_start = i + 1;
            }
            i++;
            continue;
        }
        size_t start = i;
        int64_t id = 0;
        while (i < len && text[i] >= '0' && text[i] <= '9' && id <= INT32_MAX)
            id = id * 10 + (text[i++] - '0');
        bool ended = i == len || is_space(text[i]);
        if (i == start || !ended || id > INT32_MAX) {
            while (i < len && !is_space(text[i]) && i - start < 40)
                i++;
            return qm_fail(err, QM_INPUT,
                           "%s: line %zu, column %zu: expected a token id from 0 to 2147483647, found \"%.*s\"", name,
                           line, start - line_start + 1, (int)(i - start), text + start);
        }
        int rc = qm_ids_push(out, (int32_t)id, err);
        if (rc)
            return rc;
    }
    return QM_OK;
}

int qm_ids_read(const char *path, struct qm_ids *out, struct qm_error *err) {
    struct qm_buf text = {0};
    size_t before = out->len;
    int rc = qm_read_input(path, FILE_LIMIT, &text, err);
    size_t mark = rc ? 0 : qm_utf8_bom(text.data, text.len);
    if (!rc)
        rc = qm_ids_parse(text.data + mark, text.len - mark, path, out, err);
    if (!rc && out->len == before)
        rc = qm_fail(err, QM_INPUT, "%s: expected token ids, found none", path);
    qm_buf_free(&text);
    return rc;
}
