/* Ctrl-C and its like (SIGINT, SIGTERM, SIGHUP). At first, and while there is nothing to finish, they end the program
 * at once: temporary files removed, a line on standard error that says what was kept, exit code 130. While something is
 * being generated or saved they only raise the flag that it looks at; a second one of the same kind, more than a
 * second later and before the flag is lowered, ends the program at once again (but not SIGHUP, of which a closing
 * terminal sends several).
 * SIGPIPE and SIGXFSZ are ignored, so that a closed pipe and a file too large are failed writes. Call from the main
 * thread. */
#ifndef QM_APP_SIGNALS_H
#define QM_APP_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

void qm_signals_install(void);
/* What is said after "interrupted: " when a signal ends the program at once; a string literal. NULL: nothing. */
void qm_signals_kept(const char *sentence);
/* The flag that signals raise, to be looked at by a generation; it holds the signal's number. */
const volatile sig_atomic_t *qm_signals_flag(void);
/* Whether the terminal was closed, or the program asked to end: not Ctrl-C, after which a conversation goes on. */
bool qm_signals_leave(void);
/* Lowers the flag; from now on signals raise it. */
void qm_signals_hold(void);
/* From now on signals end the program again. The flag stays as it is. */
void qm_signals_release(void);

#endif
