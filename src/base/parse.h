/* Numbers and names as people type them: strict, with no file and no locale. */
#ifndef QM_BASE_PARSE_H
#define QM_BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The one of n names that is nearest to `word` by edit distance, or NULL where none is near. */
const char *qm_nearest(const char *word, const char *const *names, size_t n);

/* Strict decimal numbers: nothing before or after, no overflow. false where it is not one. */
bool qm_parse_int(const char *s, int64_t *out);
bool qm_parse_real(const char *s, double *out);

#endif
