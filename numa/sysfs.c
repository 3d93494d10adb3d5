/* Reading Linux's files of one value. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numa/internal.h"

enum { NUMBER = 64 };

/* The file's beginning without the white space after it. */
static bool read_start(const char *path, char *out, size_t size) {
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    errno = 0;
    size_t n = fread(out, 1, size - 1, f);
    bool ok = !ferror(f);
    fclose(f);
    while (n > 0 && strchr(" \t\r\n", out[n - 1]))
        n--;
    out[n] = 0;
    return ok;
}

bool qm_read_number(const char *path, int64_t *out) {
    char text[NUMBER], *end;
    if (!read_start(path, text, sizeof text))
        return false;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    bool ok = errno == 0 && end != text && !*end && strlen(text) < NUMBER - 1;
    errno = 0; /* what was read is at fault, not the reading */
    *out = v;
    return ok;
}

bool qm_first_word(const char *dir, const char *name, char *out, size_t size) {
    char path[1024];
    out[0] = 0;
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path || !read_start(path, out, size))
        return false;
    out[strcspn(out, " \t\r\n")] = 0;
    return out[0] != 0;
}
