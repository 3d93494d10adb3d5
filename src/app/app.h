/* The program as a function, and the commands it dispatches to. Each command is one file, cmd_NAME.c. */
#ifndef QM_APP_APP_H
#define QM_APP_APP_H

#include "app/options.h"

extern const struct qm_command qm_cmd_run, qm_cmd_chat, qm_cmd_tokenize, qm_cmd_render, qm_cmd_logits,
    qm_cmd_perplexity, qm_cmd_inspect, qm_cmd_machine, qm_cmd_plan, qm_cmd_bench, qm_cmd_batch, qm_cmd_compare;

/* All of them, in the order of help. */
extern const struct qm_command *const qm_commands[];
extern const size_t qm_n_commands;

/* Does what the command line says, prints a failure's message, returns the exit code. */
int qm_app_main(int argc, char **argv, char **environment);

#endif
