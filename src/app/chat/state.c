/* Paths and times of the state folder's files. */
#include "app/chat/state.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

static int folder(char *out, size_t size, struct qm_error *err) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = 0;
    if (state && *state == '/')
        n = snprintf(out, size, "%s/quietmind", state);
    else if (home && *home == '/')
        n = snprintf(out, size, "%s/.local/state/quietmind", home);
    if (n > 0 && (size_t)n < size)
        return QM_OK;
    return qm_fail(err, QM_SYSTEM, "no folder for the program's state: neither XDG_STATE_HOME nor HOME is a path");
}

static int make_folders(char *path, struct qm_error *err) {
    for (char *p = path + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char was = *p;
        *p = 0;
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return qm_fail_errno(err, "%s", path);
        *p = was;
        if (!was)
            return QM_OK;
    }
}

int qm_state_path(const char *name, char *out, size_t size, struct qm_error *err) {
    char directory[4096];
    int rc = folder(directory, sizeof directory, err);
    if (!rc)
        rc = make_folders(directory, err);
    if (!rc && (size_t)snprintf(out, size, "%s/%s", directory, name) >= size)
        rc = qm_fail(err, QM_SYSTEM, "%s/%s: the path is too long", directory, name);
    return rc;
}

static bool newer(const struct stat *a, const struct stat *b) {
    return a->st_mtim.tv_sec != b->st_mtim.tv_sec ? a->st_mtim.tv_sec > b->st_mtim.tv_sec
                                                  : a->st_mtim.tv_nsec > b->st_mtim.tv_nsec;
}

void qm_state_kept(const char *since, char *out, size_t size) {
    char directory[4096], path[4400];
    struct stat least = {0}, found;
    *out = 0;
    DIR *d = folder(directory, sizeof directory, NULL) ? NULL : opendir(directory);
    if (!d)
        return;
    snprintf(path, sizeof path, "%s/%s", directory, since);
    if (stat(path, &least) != 0)
        least = (struct stat){0};
    for (const struct dirent *e; (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (strncmp(e->d_name, "chat-", 5) != 0 || n < 10 || strcmp(e->d_name + n - 5, ".json") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
        if (stat(path, &found) == 0 && S_ISREG(found.st_mode) && newer(&found, &least)) {
            least = found;
            snprintf(out, size, "%s", path);
        }
    }
    closedir(d);
}
