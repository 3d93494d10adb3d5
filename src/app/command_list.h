/* The commands: each is one file, cmd_NAME.c. The list is app.c's; messages and checks that speak of other commands
 * read it. */
#ifndef QM_APP_COMMAND_LIST_H
#define QM_APP_COMMAND_LIST_H

#include <stddef.h>

struct qm_command; /* options.h */

extern const struct qm_command qm_cmd_run, qm_cmd_chat, qm_cmd_tokenize, qm_cmd_render, qm_cmd_logits,
    qm_cmd_perplexity, qm_cmd_inspect, qm_cmd_machine, qm_cmd_plan, qm_cmd_bench, qm_cmd_batch, qm_cmd_compare,
    qm_cmd_serve;

/* All of them, in the order of help. */
extern const struct qm_command *const qm_commands[];
extern const size_t qm_n_commands;

#endif
