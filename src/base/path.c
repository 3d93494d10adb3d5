/* Paths and names of files and folders. */
#include "base/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *qm_path_join(const char *dir, const char *name) {
    size_t n = strlen(dir), size = n + strlen(name) + 2;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
    return path;
}

const char *qm_path_last(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}
