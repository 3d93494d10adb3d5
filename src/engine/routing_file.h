/* The file in which counts of experts are kept: read, counted further, written. */
#ifndef QM_ENGINE_ROUTING_FILE_H
#define QM_ENGINE_ROUTING_FILE_H

#include "engine/routing.h"

/* What the file holds, which must be of this model, or an empty profile where there is no file yet. */
int qm_routing_file_open(const char *path, const struct qm_config *c, struct qm_routing_profile *out,
                         struct qm_error *err);
int qm_routing_file_save(const char *path, const struct qm_config *c, const struct qm_routing_profile *p,
                         struct qm_error *err);

/* What the counts show, in one line. */
const char *qm_routing_text(const struct qm_routing_profile *p, char *out, size_t size);

#endif
