/* Several texts, borrowed: an option that may be repeated, or names of files. */
#ifndef QM_APP_TEXTS_H
#define QM_APP_TEXTS_H

#include <stddef.h>

struct qm_texts {
    const char *const *text;
    size_t n;
};

#endif
