/* The walk of an attention split (struct qm_split) over tiles, shared by the instruction sets with 512-bit vectors.
 *
 * Keys are met by the packed queries, micro-panel by micro-panel; scores become probabilities in place, row by row, and
 * a tile of values reads them from there, unpacked. One micro-panel of rows (decode) is bound by memory: its tiles read
 * the pages themselves, and while one half of a page (its keys or its values) is read, the half that follows is fetched
 * into L2, a line for a line; in the softmax too, so that memory is never idle. Several micro-panels (prefill): two
 * panels at a time are decoded into L1 and met by all micro-panels.
 *
 * A half is fetched as QM_ATTEND_LANES streams side by side: a processor's own prefetcher runs ahead of each, some
 * lines each, and one stream's lines would not be enough to fill the queue to memory (two threads of an Emerald Rapids
 * read 27 GB/s with one stream, 30 with eight, where plain reads alone reach 35). */
#ifndef QM_SIMD_AVX512_ATTEND_H
#define QM_SIMD_AVX512_ATTEND_H

#include <immintrin.h>

#include "simd/inline.h"
#include "simd/tiling.h"

enum {
    QM_ATTEND_LANES = 8,
    QM_ATTEND_NEAR = 1024, /* bytes of each panel that a tile over pages fetches ahead into L1 */
    QM_ATTEND_LINE = 32,   /* slots of a row for which the softmax fetches a line */
};

/* What is fetched into L2 meanwhile: line i of it is (i / QM_ATTEND_LANES) of lane i % QM_ATTEND_LANES. */
struct qm_ahead {
    const char *from;
    size_t lane; /* bytes from one lane to the next */
};

QM_INLINE void fetch_line(struct qm_ahead ahead, int64_t i) {
    _mm_prefetch(ahead.from + (size_t)(i % QM_ATTEND_LANES) * ahead.lane + i / QM_ATTEND_LANES * 64, _MM_HINT_T1);
}

/* As qm_tile; for each 64 bytes of a page's panels a line is fetched. Rows of `a`: of keys' tiles as packed, of values'
 * QM_SCORES_LD floats apart. */
typedef void qm_attend_tile(const char *a, const char *b, size_t stride, int64_t steps, float *c, int64_t ldc,
                            int accumulate, struct qm_ahead ahead);

struct qm_attend_tiles {
    qm_attend_tile *two, *one; /* panels */
};

/* The tiles of a file, where TILE(rows, panels, name, ...) is the function name_ROWSxPANELS; and a table of them. */
#define QM_ATTEND_TILE(name, rows, panels)                                                                             \
    static void name##_##rows##x##panels(const char *a, const char *b, size_t stride, int64_t steps, float *c,         \
                                         int64_t ldc, int accumulate, struct qm_ahead ahead)
#define QM_ATTEND_ROWS(X, ...)                                                                                         \
    X(1, __VA_ARGS__)                                                                                                  \
    X(2, __VA_ARGS__)                                                                                                  \
    X(3, __VA_ARGS__)                                                                                                  \
    X(4, __VA_ARGS__)                                                                                                  \
    X(5, __VA_ARGS__)                                                                                                  \
    X(6, __VA_ARGS__)                                                                                                  \
    X(7, __VA_ARGS__)                                                                                                  \
    X(8, __VA_ARGS__)                                                                                                  \
    X(9, __VA_ARGS__)                                                                                                  \
    X(10, __VA_ARGS__)                                                                                                 \
    X(11, __VA_ARGS__)                                                                                                 \
    X(12, __VA_ARGS__)
#define QM_ATTEND_BOTH(rows, ...) TILE(rows, 2, __VA_ARGS__) TILE(rows, 1, __VA_ARGS__)
#define QM_ATTEND_TILES(...) QM_ATTEND_ROWS(QM_ATTEND_BOTH, __VA_ARGS__)
#define QM_ATTEND_ENTRY(rows, name) [rows] = {name##_##rows##x2, name##_##rows##x1},
#define QM_ATTEND_TABLE(name)                                                                                          \
    { QM_ATTEND_ROWS(QM_ATTEND_ENTRY, name) }

/* One row's softmax (as softmax_split). floats: probabilities stay as they are, else they are as the tiles of values
 * read them. A line is fetched for each QM_ATTEND_LINE slots. */
typedef void qm_attend_softmax(float *s, int64_t n, int64_t lo, int64_t hi, float scale, float *max, float *sum,
                               int floats, struct qm_ahead ahead);

struct qm_attend_kernels {
    struct qm_attend_tiles keys[QM_TILE_ROWS + 1], values[QM_TILE_ROWS + 1];           /* over pages */
    struct qm_attend_tiles wide_keys[QM_TILE_ROWS + 1], wide_values[QM_TILE_ROWS + 1]; /* over panels in L1 */
    void (*expand)(char *dst, const char *b, int64_t steps); /* of a page to what wide tiles read; NULL: the same */
    qm_attend_softmax *softmax;
    int k_step, b_step; /* of a page's panel: k and bytes in one step */
    int wide_step;      /* bytes of an expanded panel for the same */
    int a_bytes;        /* of one packed k of a row */
};

void attend_by_tiles_avx512(enum qm_dtype t, const struct qm_split *s, const struct qm_attend_kernels *kernels);

#endif
