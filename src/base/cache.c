/* The cache directory's name. */
#include "base/cache.h"

#include <stdbool.h>
#include <stdio.h>

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
