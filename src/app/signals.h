/* Ctrl-C and its like (SIGINT, SIGTERM, SIGHUP). At first, and while there is nothing to keep, they end the program at
 * once: temporary files removed, exit code 130. While an answer is being generated they only raise the flag
 * that the generation looks at; a second one before the flag is lowered ends the program at once again.
 * SIGPIPE and SIGXFSZ are ignored, so that a closed pipe and a file too large are failed writes. Call from the main
 * thread. */
#ifndef QM_APP_SIGNALS_H
#define QM_APP_SIGNALS_H

#include <signal.h>

void qm_signals_install(void);
/* The flag that signals raise, to be looked at by a generation. */
const volatile sig_atomic_t *qm_signals_flag(void);
/* Lowers the flag; from now on signals raise it. */
void qm_signals_hold(void);
/* From now on signals end the program again. The flag stays as it is. */
void qm_signals_release(void);

#endif
