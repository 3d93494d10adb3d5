/* A list of token ids that grows. Zero-initialise. */
#ifndef QM_TEXT_TOKENIZER_IDS_H
#define QM_TEXT_TOKENIZER_IDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct qm_ids {
    int32_t *data;
    size_t len, cap;
};
void qm_ids_free(struct qm_ids *ids);
int qm_ids_push(struct qm_ids *ids, int32_t id, struct qm_error *err);

#endif
