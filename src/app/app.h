/* The program as a function, which dispatches to its commands (command_list.h). */
#ifndef QM_APP_APP_H
#define QM_APP_APP_H

/* Does what the command line says, prints a failure's message, returns the exit code. */
int qm_app_main(int argc, char **argv, char **environment);

#endif
