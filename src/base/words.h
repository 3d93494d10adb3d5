/* Words that follow a number: "1 row", "2 rows", "0 rows". */
#ifndef QM_BASE_WORDS_H
#define QM_BASE_WORDS_H

/* What is added to a regular noun after n: "row%s". */
static inline const char *qm_s(long long n) {
    return n == 1 || n == -1 ? "" : "s";
}

/* The one of two words that stands with n: qm_one_or(n, "is", "are"), qm_one_or(n, "entry", "entries"). */
static inline const char *qm_one_or(long long n, const char *one, const char *many) {
    return n == 1 || n == -1 ? one : many;
}

#endif
