/* Sleep inhibition through systemd-inhibit. */
#include "app/batch/inhibit.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The inhibitor lives as long as `cat` waits for the end of its input, which comes when we end, however that is. */
void qm_inhibit_sleep(struct qm_inhibitor *i) {
    static const char *const argv[] = {"systemd-inhibit",
                                       "--what=sleep:idle",
                                       "--who=quietmind",
                                       "--mode=block",
                                       "--why=a batch job runs",
                                       "cat",
                                       NULL};
    *i = (struct qm_inhibitor){.pipe = -1};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    /* a process group of its own: Ctrl-C is for us alone */
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    if (posix_spawnp(&i->child, argv[0], &actions, &attributes, (char *const *)argv, environ) != 0)
        i->child = 0;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    if (i->child)
        i->pipe = ends[1];
    else
        close(ends[1]);
}

/* One that hangs is not waited for. */
void qm_inhibit_end(struct qm_inhibitor *i) {
    const struct timespec moment = {.tv_nsec = 10000000};
    bool ended = !i->child;
    if (i->pipe >= 0)
        close(i->pipe);
    for (int tries = 0; !ended && tries < 100; tries++) {
        ended = waitpid(i->child, NULL, WNOHANG) != 0;
        if (!ended)
            nanosleep(&moment, NULL);
    }
    if (!ended) {
        kill(-i->child, SIGKILL);
        waitpid(i->child, NULL, 0);
    }
    *i = (struct qm_inhibitor){.pipe = -1};
}
