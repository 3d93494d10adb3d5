/* From what a user calls a model to its folder: a folder is itself; Org/Name is looked up in the Hugging Face
 * cache (HUB/models--Org--Name/refs/main names HUB/models--Org--Name/snapshots/<hash>). Nothing is downloaded and
 * no environment is read. */
#ifndef QM_MODEL_LOCATE_H
#define QM_MODEL_LOCATE_H

#include "base/error.h"

/* hub is the cache's folder (usually ~/.cache/huggingface/hub), or NULL where there is none. *dir is the
 * caller's to free. QM_INPUT where there is no such model, saying where it was looked for. */
int qm_model_locate(const char *name, const char *hub, char **dir, struct qm_error *err);

#endif
