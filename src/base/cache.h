/* Where a user's programs keep what can be had again. */
#ifndef QM_BASE_CACHE_H
#define QM_BASE_CACHE_H

#include <stddef.h>

#include "base/error.h"

/* quietmind's folder in the user's cache directory (XDG base directory specification): cache/quietmind, else
 * home/.cache/quietmind. cache: XDG_CACHE_HOME's value, ignored where it is not absolute; home: HOME's; NULL: not set.
 * QM_INPUT where there is neither, or the path is too long: out is "" then. The folder need not be there. */
int qm_cache_directory(const char *cache, const char *home, char *out, size_t size, struct qm_error *err);

/* Whether something may be kept at this path in it: makes the directories that are missing; what is there and no
 * regular file is neither waited for nor written to (QM_INPUT). */
int qm_cache_place(const char *path, struct qm_error *err);

#endif
