/* Where what outlives a conversation is kept: $XDG_STATE_HOME/quietmind, else ~/.local/state/quietmind. */
#ifndef QM_APP_CHAT_STATE_H
#define QM_APP_CHAT_STATE_H

#include <stddef.h>

#include "base/error.h"

/* The path of a file there; the folder is made, for its owner alone. QM_SYSTEM where there is none to make. */
int qm_state_path(const char *name, char *out, size_t size, struct qm_error *err);
/* The newest kept conversation that was written after `since` was (both are files there); "" where there is none. */
void qm_state_kept(const char *since, char *out, size_t size);

#endif
