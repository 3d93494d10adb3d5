/* Where the Hugging Face cache is, as huggingface_hub finds it (huggingface_hub/constants.py): HF_HUB_CACHE, else
 * HUGGINGFACE_HUB_CACHE, else HF_HOME/hub, where HF_HOME is XDG_CACHE_HOME/huggingface if it is not set, and
 * XDG_CACHE_HOME ~/.cache; "~", "~user", "$NAME" and "${NAME}" are expanded. An empty variable counts as none. */
#ifndef QM_APP_HUB_H
#define QM_APP_HUB_H

#include "base/buf.h"
#include "base/error.h"

/* A variable's value, or NULL. */
typedef const char *qm_environment_fn(const char *name);

/* Appends the folder's path. */
int qm_hub_folder(qm_environment_fn *get, struct qm_buf *out, struct qm_error *err);

#endif
