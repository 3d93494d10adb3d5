/* Numbers and names as people type them. */
#include "base/parse.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool qm_parse_int(const char *s, int64_t *out) {
    const char *p = s + (*s == '-');
    if (*p < '0' || *p > '9')
        return false;
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (*end || errno)
        return false;
    *out = v;
    return true;
}

bool qm_parse_real(const char *s, double *out) {
    if (!*s || strspn(s, "0123456789+-.eE") != strlen(s))
        return false;
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    if (*end || !isfinite(v) || (errno && fabs(v) > 1))
        return false;
    *out = v;
    return true;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Restricted Damerau-Levenshtein distance (a swap of neighbours is one edit); words of up to 63 bytes. */
static size_t edit_distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b), row[3][64];
    if (n > 63 || m > 63)
        return 64;
    for (size_t j = 0; j <= m; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = row[i % 3], *before = row[(i + 2) % 3], *two_before = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = least(before[j - 1] + (a[i - 1] != b[j - 1]), least(before[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], two_before[j - 2] + 1);
        }
    }
    return row[n % 3][m];
}

const char *qm_nearest(const char *word, const char *const *names, size_t n) {
    const char *best = NULL;
    size_t best_distance = 64, length = strlen(word);
    for (size_t i = 0; i < n; i++) {
        size_t d = edit_distance(word, names[i]);
        if (length >= 3 && strncmp(word, names[i], length) == 0)
            d = 1; /* the beginning of a name is nearer than any misspelling of another */
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best && best_distance <= 1 + least(length, strlen(best)) / 3 ? best : NULL;
}
