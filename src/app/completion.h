/* Completion of commands, options and file names for a shell, written from the tables of commands and options. To
 * standard output; nothing is looked up while completing but names of files. */
#ifndef QM_APP_COMPLETION_H
#define QM_APP_COMPLETION_H

#include <stddef.h>

#include "app/options.h"

/* shell: "bash" or "zsh"; QM_USAGE for another. */
int qm_completion(const char *shell, const struct qm_command *const *commands, size_t n, struct qm_error *err);

#endif
