/* Encoding speed: MB/s of text for a model directory, median of several runs.
 * usage: bench_tokenizer DIR [TEXT_FILE]. Without a file, English-like text is generated. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "text/tokenizer/tokenizer.h"

enum { RUNS = 7, GENERATED = 8 << 20 };

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Sentences of common and of made-up words, so that the cache of words does not get everything. */
static int generate(struct qm_buf *out, struct qm_error *err) {
    static const char *const common[] = {"the",    "of",   "and",     "to",       "in",    "that",   "which",
                                         "people", "time", "is",      "was",      "for",   "with",   "there",
                                         "on",     "when", "because", "language", "it",    "model",  "from",
                                         "have",   "this", "not",     "small",    "river", "between"};
    static const char *const parts[] = {"ka",  "ter",  "lin", "mo", "est",  "ra",
                                        "dun", "ving", "pol", "sy", "ment", "ing"};
    unsigned seed = 1;
    int rc = QM_OK;
    for (size_t n = 0; !rc && out->len < GENERATED; n++) {
        seed = seed * 1103515245u + 12345u;
        unsigned r = seed >> 8;
        if (r % 4) {
            rc = qm_buf_str(out, common[r / 4 % (sizeof common / sizeof *common)], err);
        } else {
            for (unsigned k = 0; !rc && k < 2 + r / 4 % 3; k++)
                rc = qm_buf_str(out, parts[(r >> (4 * k + 4)) % 12], err);
        }
        if (!rc)
            rc = qm_buf_str(out, n % 13 == 12 ? ".\n" : n % 7 == 6 ? ", " : " ", err);
    }
    return rc;
}

int main(int argc, char **argv) {
    struct qm_error err;
    struct qm_tokenizer *t = NULL;
    struct qm_buf text = {0};
    struct qm_ids ids = {0};
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s DIR [TEXT_FILE]\n", argv[0]);
        return QM_USAGE;
    }
    double start = qm_now(), speed[RUNS];
    int rc = qm_tokenizer_load(argv[1], &t, &err);
    double load = qm_now() - start;
    if (!rc)
        rc = argc == 3 ? qm_read_file(argv[2], 1 << 30, &text, &err) : generate(&text, &err);
    for (int i = 0; !rc && i < RUNS; i++) {
        ids.len = 0;
        start = qm_now();
        rc = qm_tokenizer_encode(t, text.data, text.len, false, true, &ids, &err);
        speed[i] = (double)text.len / 1e6 / (qm_now() - start);
    }
    if (rc) {
        fprintf(stderr, "%s\n", err.message);
    } else {
        qsort(speed, RUNS, sizeof *speed, by_value);
        printf("load %.2f s; %.1f MB, %zu tokens; %.1f MB/s (median of %d, %.1f to %.1f)\n", load,
               (double)text.len / 1e6, ids.len, speed[RUNS / 2], RUNS, speed[0], speed[RUNS - 1]);
    }
    qm_tokenizer_free(t);
    qm_buf_free(&text);
    qm_ids_free(&ids);
    return rc;
}
