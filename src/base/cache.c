/* The cache directory's name, and places in it. */
#include "base/cache.h"

#include <stdbool.h>
#include <stdio.h>

#include "base/file.h"

int qm_cache_directory(const char *cache, const char *home, char *out, size_t size, struct qm_error *err) {
    bool given = cache && cache[0] == '/';
    out[0] = 0;
    if (!given && !(home && *home))
        return qm_fail(err, QM_INPUT, "no cache directory: neither XDG_CACHE_HOME nor HOME is set");
    int n = snprintf(out, size, "%s%s/quietmind", given ? cache : home, given ? "" : "/.cache");
    if (n > 0 && (size_t)n < size)
        return QM_OK;
    out[0] = 0;
    return qm_fail(err, QM_INPUT, "the path of the cache directory is too long");
}

int qm_cache_place(const char *path, struct qm_error *err) {
    struct stat st;
    int rc = qm_make_directories(path, err);
    if (rc || stat(path, &st) != 0 || S_ISREG(st.st_mode))
        return rc;
    return qm_fail(err, QM_INPUT, "%s: expected a regular file, found %s", path, qm_file_kind(st.st_mode));
}
