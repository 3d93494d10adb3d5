/* Lists of token ids. */
#include "text/tokenizer/ids.h"

#include <stdlib.h>

void qm_ids_free(struct qm_ids *ids) {
    free(ids->data);
    *ids = (struct qm_ids){0};
}

int qm_ids_push(struct qm_ids *ids, int32_t id, struct qm_error *err) {
    if (ids->len == ids->cap) {
        size_t cap = ids->cap ? ids->cap * 2 : 64;
        int32_t *p = realloc(ids->data, cap * sizeof *p);
        if (!p)
            return qm_fail_memory(err, cap * sizeof *p, "token ids");
        ids->data = p;
        ids->cap = cap;
    }
    ids->data[ids->len++] = id;
    return QM_OK;
}
