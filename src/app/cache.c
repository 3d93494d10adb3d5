/* The environment's part of the cache directory. */
#include "app/cache.h"

#include <stdlib.h>

#include "base/cache.h"

int qm_app_cache_directory(char *out, size_t size, struct qm_error *err) {
    return qm_cache_directory(getenv("XDG_CACHE_HOME"), getenv("HOME"), out, size, err);
}
