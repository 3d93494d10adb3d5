/* One flag and two handlers. */
#include "app/signals.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

static volatile sig_atomic_t interrupted;

static void end_now(int signal_number) {
    (void)signal_number;
    qm_out_abort_all();
    _exit(QM_INTERRUPTED);
}

static void raise_flag(int signal_number) {
    if (interrupted)
        end_now(signal_number);
    interrupted = 1;
}

static const int ending[] = {SIGINT, SIGTERM, SIGHUP};

static void handle(void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        sigaddset(&action.sa_mask, ending[i]);
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        sigaction(ending[i], &action, NULL);
}

void qm_signals_install(void) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    handle(end_now);
}

const volatile sig_atomic_t *qm_signals_flag(void) {
    return &interrupted;
}

void qm_signals_hold(void) {
    interrupted = 0;
    handle(raise_flag);
}

void qm_signals_release(void) {
    handle(end_now);
}
