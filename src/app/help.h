/* Help on a command, the list of commands, and the manual page, all written from the tables of commands and
 * options. To standard output. */
#ifndef QM_APP_HELP_H
#define QM_APP_HELP_H

#include <stddef.h>

#include "app/options.h"

int qm_help_program(const struct qm_command *const *commands, size_t n, struct qm_error *err);
int qm_help_command(const struct qm_command *command, struct qm_error *err);
int qm_help_man(const struct qm_command *const *commands, size_t n, struct qm_error *err);

/* What the program ends with for an enum qm_code: itself, but QM_FIT for QM_BUSY and QM_INPUT for QM_GONE, which have
 * no number in the list of exit codes that help shows. */
int qm_exit_code(int code);

#endif
