/* Models by shape alone: published ones by name, or any config.json. Opened without weights; an engine gives
 * them random ones. For measuring. */
#ifndef QM_APP_SHAPES_H
#define QM_APP_SHAPES_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/model.h"

/* The names, separated by ", ". */
const char *qm_shape_names(void);
/* The name of shape i, NULL after the last. */
const char *qm_shape_name(int i);
/* The config of a named shape (JSON text), or NULL. */
const char *qm_shape_config(const char *name);

/* shape: a name, or a path of a config.json. layers: so many of its layers only, 0: all; more than it has, or a
 * name that is neither, is QM_USAGE. Embedding and head stay whole. dtype: of the weights, "bf16", "f16" or "f32" (else
 * QM_USAGE), instead of the config's (NULL); experts in MXFP4 stay so. */
int qm_shape_open(const char *shape, int64_t layers, const char *dtype, const struct qm_overrides *overrides,
                  struct qm_model **out, struct qm_error *err);

#endif
