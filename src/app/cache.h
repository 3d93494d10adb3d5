/* Where what is kept between runs lies, by the environment. */
#ifndef QM_APP_CACHE_H
#define QM_APP_CACHE_H

#include <stddef.h>

#include "base/error.h"

/* ($XDG_CACHE_HOME or ~/.cache)/quietmind; see base/cache.h. */
int qm_app_cache_directory(char *out, size_t size, struct qm_error *err);

#endif
