/* Sleep inhibition through systemd-inhibit, and the power supply through sysfs. */
#include "app/batch/power.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* The first line of a file, or "". */
static void first_line(const char *path, char *out, size_t size) {
    FILE *f = fopen(path, "re");
    if (!f || !fgets(out, (int)size, f))
        *out = 0;
    out[strcspn(out, "\n")] = 0;
    if (f)
        fclose(f);
}

bool qm_on_battery(const char *root) {
    char folder[4096], path[8192], type[32], value[32];
    snprintf(folder, sizeof folder, "%s/sys/class/power_supply", root);
    DIR *d = opendir(folder);
    bool mains = false, discharging = false;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s/type", folder, e->d_name);
        first_line(path, type, sizeof type);
        bool battery = !strcmp(type, "Battery");
        snprintf(path, sizeof path, "%s/%s/%s", folder, e->d_name, battery ? "status" : "online");
        first_line(path, value, sizeof value);
        mains = mains || (!battery && !strcmp(value, "1"));
        discharging = discharging || (battery && !strcmp(value, "Discharging"));
    }
    if (d)
        closedir(d);
    return discharging && !mains;
}
