/* Attention splits over BF16 keys and values with vdpbf16ps, one instruction an element and pair of k; other types are
 * AVX-512's. Probabilities are pairs of BF16, in place of the scores. */
#include <immintrin.h>

#include "simd/avx512/attend.h"
#include "simd/avx512/avx512.h"
#include "simd/avx512/softmax.h"
#include "simd/avx512bf16/avx512bf16.h"

/* Steps [from, to); wide: panels are in L1, else they are fetched there from `near`. values: rows are probabilities,
 * not packed queries. */
QM_INLINE void steps_of(int wide, int values, int rows, int panels, const int32_t *a, const char *b, size_t stride,
                        int64_t from, int64_t to, const char *near, struct qm_ahead ahead, __m512 acc[][2]) {
    const int64_t a_row = values ? QM_SCORES_LD : 1, a_k = values ? 1 : rows;
    for (int64_t s = from; s < to; s++) {
        __m512i w[2];
        QM_UNROLL
        for (int j = 0; j < panels; j++) {
            fetch_line(ahead, s * panels + j);
            if (!wide)
                _mm_prefetch(near + (size_t)j * stride + s * 64, _MM_HINT_T0);
            w[j] = _mm512_load_si512(b + (size_t)j * stride + s * 64);
        }
        QM_UNROLL
        for (int i = 0; i < rows; i++) {
            __m512i x = _mm512_set1_epi32(a[s * a_k + i * a_row]);
            QM_UNROLL
            for (int j = 0; j < panels; j++)
                acc[i][j] = _mm512_dpbf16_ps(acc[i][j], (__m512bh)x, (__m512bh)w[j]);
        }
    }
}

QM_INLINE void tile(int wide, int values, int rows, int panels, const int32_t *a, const char *b, size_t stride,
                    int64_t steps, float *c, int64_t ldc, int accumulate, struct qm_ahead ahead) {
    __m512 acc[QM_TILE_ROWS][2];
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < panels; j++)
        acc[i][j] = accumulate ? _mm512_loadu_ps(c + i * ldc + j * 16) : _mm512_setzero_ps();
    int64_t within = wide ? steps : steps > QM_ATTEND_NEAR / 64 ? steps - QM_ATTEND_NEAR / 64 : 0;
    steps_of(wide, values, rows, panels, a, b, stride, 0, within, b + QM_ATTEND_NEAR, ahead, acc);
    if (!wide)
        steps_of(wide, values, rows, panels, a, b, stride, within, steps, b + (size_t)panels * stride - within * 64,
                 ahead, acc);
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < panels; j++)
        _mm512_storeu_ps(c + i * ldc + j * 16, acc[i][j]);
}

#define TILE(rows, panels, name, wide, values)                                                                         \
    QM_ATTEND_TILE(name, rows, panels) {                                                                               \
        tile(wide, values, rows, panels, (const int32_t *)a, b, stride, steps, c, ldc, accumulate, ahead);             \
    }

QM_ATTEND_TILES(keys, 0, 0)
QM_ATTEND_TILES(values, 0, 1)
QM_ATTEND_TILES(wide_keys, 1, 0)
QM_ATTEND_TILES(wide_values, 1, 1)

/* (vcvtne2ps2bf16 takes denormals for zero, and probabilities are never denormal.) */
static void store_pairs(float *s, int64_t i, __m512 first, __m512 second) {
    _mm512_storeu_si512(s + i / 2, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

static void softmax(float *s, int64_t n, int64_t lo, int64_t hi, float scale, float *max, float *sum, int floats,
                    struct qm_ahead ahead) {
    if (floats)
        softmax_row(s, n, lo, hi, scale, max, sum, store_floats, ahead);
    else
        softmax_row(s, n, lo, hi, scale, max, sum, store_pairs, ahead);
}

void attend_avx512bf16(const struct qm_kernels *kernels, enum qm_dtype t, const struct qm_split *s) {
    static const struct qm_attend_kernels of_bf16 = {.keys = QM_ATTEND_TABLE(keys),
                                                     .values = QM_ATTEND_TABLE(values),
                                                     .wide_keys = QM_ATTEND_TABLE(wide_keys),
                                                     .wide_values = QM_ATTEND_TABLE(wide_values),
                                                     .softmax = softmax,
                                                     .k_step = 2,
                                                     .b_step = 64,
                                                     .wide_step = 64,
                                                     .a_bytes = 2};
    if (t == QM_BF16)
        attend_by_tiles_avx512(t, s, &of_bf16);
    else
        attend_avx512(kernels, t, s);
}
