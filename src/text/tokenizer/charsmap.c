/* Reading and searching the precompiled character map. Units of the double array (32 bits): a label in
 * bits 0-7 (with bit 31 set for values), bit 8 "a value hangs here", bits 10-30 the offset to the
 * children, shifted by 8 more where bit 9 is set. Every index is checked: the file is not trusted. */
#include "text/tokenizer/charsmap.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

int qm_charsmap_load(struct qm_charsmap *m, const char *blob, size_t len, struct qm_error *err) {
    *m = (struct qm_charsmap){0};
    const unsigned char *b = (const unsigned char *)blob;
    size_t trie = len < 4 ? 0 : (size_t)b[0] | (size_t)b[1] << 8 | (size_t)b[2] << 16 | (size_t)b[3] << 24;
    if (len < 4 || trie > len - 4 || trie < 4 || trie % 4)
        return qm_fail(err, QM_INPUT, "precompiled character map of %zu bytes says that its trie has %zu", len, trie);
    m->nunits = trie / 4;
    m->ntext = len - 4 - trie;
    m->units = malloc(m->nunits * sizeof *m->units);
    m->text = malloc(m->ntext + 1);
    if (!m->units || !m->text) {
        qm_charsmap_free(m);
        return qm_fail_memory(err, len, "a character map");
    }
    for (size_t i = 0; i < m->nunits; i++) {
        const unsigned char *u = b + 4 + 4 * i;
        m->units[i] = (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
    }
    memcpy(m->text, blob + 4 + trie, m->ntext);
    m->text[m->ntext] = 0;
    if (qm_utf8_check(m->text, m->ntext) != m->ntext) {
        qm_charsmap_free(m);
        return qm_fail(err, QM_INPUT, "precompiled character map: the replacements are not valid UTF-8");
    }
    return QM_OK;
}

void qm_charsmap_free(struct qm_charsmap *m) {
    free(m->units);
    free(m->text);
    *m = (struct qm_charsmap){0};
}

static size_t offset_of(uint32_t unit) {
    return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

const char *qm_charsmap_find(const struct qm_charsmap *m, const char *text, size_t len, int longest, size_t *matched) {
    const char *found = NULL;
    size_t pos = offset_of(m->units[0]);
    for (size_t i = 0; i < len && text[i]; i++) {
        pos ^= (unsigned char)text[i];
        if (pos >= m->nunits || (m->units[pos] & (1u << 31 | 0xFF)) != (unsigned char)text[i])
            break;
        uint32_t unit = m->units[pos];
        pos ^= offset_of(unit);
        if (!(unit >> 8 & 1))
            continue;
        size_t value = pos < m->nunits ? m->units[pos] & 0x7FFFFFFF : SIZE_MAX;
        /* A value that points into the middle of a character is a damaged map: no rule. */
        if (value > m->ntext || ((unsigned char)m->text[value] & 0xC0) == 0x80)
            continue;
        found = m->text + value;
        *matched = i + 1;
        if (!longest)
            break;
    }
    return found;
}
