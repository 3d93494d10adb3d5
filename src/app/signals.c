/* One flag and two handlers. */
#include "app/signals.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

enum { IMPATIENCE = 1 }; /* seconds; a second Ctrl-C earlier is the first one's echo */

static volatile sig_atomic_t interrupted;
static volatile time_t raised; /* when the flag was */
static const char *volatile kept;
static volatile sig_atomic_t terminal; /* standard error is one: a live line may be open on it */

static void say(const char *text) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return; /* nobody listens */
}

static void end_now(int signal_number) {
    (void)signal_number;
    qm_out_abort_all();
    say(terminal ? "\nquietmind: interrupted" : "quietmind: interrupted");
    if (kept) {
        say(": ");
        say(kept);
    }
    say("\n");
    _exit(QM_INTERRUPTED);
}

static void raise_flag(int signal_number) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (interrupted == signal_number && signal_number != SIGHUP && now.tv_sec - raised > IMPATIENCE)
        end_now(signal_number);
    if (!interrupted)
        raised = now.tv_sec;
    if (!qm_signals_leave())
        interrupted = signal_number;
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
    terminal = isatty(STDERR_FILENO);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    handle(end_now);
}

void qm_signals_kept(const char *sentence) {
    kept = sentence;
}

const volatile sig_atomic_t *qm_signals_flag(void) {
    return &interrupted;
}

bool qm_signals_leave(void) {
    return interrupted == SIGHUP || interrupted == SIGTERM;
}

void qm_signals_hold(void) {
    interrupted = 0;
    handle(raise_flag);
}

void qm_signals_release(void) {
    handle(end_now);
}
