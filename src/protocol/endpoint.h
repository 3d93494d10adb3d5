/* What a request body is for. */
#ifndef QM_PROTOCOL_ENDPOINT_H
#define QM_PROTOCOL_ENDPOINT_H

#include "base/error.h"

enum qm_endpoint { QM_ENDPOINT_CHAT, QM_ENDPOINT_COMPLETIONS, QM_ENDPOINT_EMBEDDINGS };

/* "/v1/chat/completions", "/v1/completions", "/v1/embeddings"; any other is QM_INPUT. */
int qm_endpoint_parse(const char *url, enum qm_endpoint *out, struct qm_error *err);

#endif
