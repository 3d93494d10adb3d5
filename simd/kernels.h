/* The kernel table: every inner loop of the program, by instruction set. simd/scalar/ is the reference
 * (the oracle of the tests, written for clarity); each other folder overlays the entries it is faster
 * at. Callers hold a `const struct qm_kernels *` and never ask which instruction set it is.
 *
 * Order of accumulation (what makes results bit-identical within an ISA): every output element is
 * accumulated in F32 by ONE accumulator over ascending k, from zero (or from the given C), whatever m,
 * n, the panel range, or how k is cut into consecutive calls. BF16 goes by pairs of k as `vdpbf16ps`
 * does where the ISA has it (denormals count as zero there), else by two FMAs in order. AMX sums the even
 * and the odd k of each 32 from zero (by FMAs; denormals count as zero), and adds the two and then that sum. MXFP4 sums
 * each block of 32 k from zero, then adds that sum times the block's scale. No kernel's element depends on other rows.
 * Cuts of k fall on multiples of 32.
 *
 * Panels: a weight matrix W [n][k] (n outputs, row-major as published) is stored as ceil(n/16) panels of
 * 16 rows, rows beyond n zero:
 *   BF16   [n/16][k/2][16][2] uint16   (k padded to even with zeros)
 *   F16    [n/16][k][16]      uint16
 *   F32    [n/16][k][16]      float
 *   MXFP4  [n/16][k/32] { uint32 code[4][16]; uint8 scale[16] }: code[j][r] holds row r's k = 8j .. 8j+7 of the block,
 *          the even ones in the low half, the odd ones in the high half, lowest bits first; k is a multiple of 32. 272
 *          bytes a block.
 * A panel starts on a 64-byte boundary (MXFP4 panels are padded up to one).
 *
 * Thread-safety: all entries are pure functions of their arguments. Pointers to panels and packed
 * activations are 64-byte aligned; float rows need not be. */
#ifndef QM_SIMD_KERNELS_H
#define QM_SIMD_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "simd/isa.h"

enum {
    QM_PANEL_ROWS = 16,
    /* Packed activations of m rows begin with what packing the first 48, 96, ... of them gives: blocks of this
     * many rows can be packed one by one, each at packed_bytes(rows before it, k). */
    QM_PACK_ROWS = 48,
    QM_KV_PAGE_TOKENS = 128,                /* keys and values are kept in pages of this many tokens */
    QM_ATTENTION_SPLIT = 512,               /* attention is cut at absolute multiples of this many tokens */
    QM_SELECT_ROOM = 16,                    /* ids that select_at_least may write after the last */
    QM_SCORES_LD = QM_ATTENTION_SPLIT + 16, /* no power of two, so that rows do not meet in the same sets of a cache */
};

/* Bytes of one panel (16 rows) of k columns of type t, padding included. */
size_t qm_panel_bytes(enum qm_dtype t, int64_t k);

/* One product C = A . W^T.
 *   a: m rows packed by qm_type_kernels.pack of the matching type
 *   b: the first panel; panel p at b + p * panel_stride
 *   c: float [m][ldc]; columns [0, 16 * n_panels) of each row are written
 *   accumulate: continue from what is in c (the same bits as one longer call over k)
 *   next: panels of the same stride that are multiplied after these, to be fetched meanwhile; NULL: those behind these
 */
struct qm_product {
    const void *a;
    int64_t m, k;
    const void *b;
    int64_t n_panels;
    size_t panel_stride;
    float *c;
    int64_t ldc;
    int accumulate;
    const void *next;
};

/* Kernels of one weight (or KV cache) type. Activations that multiply BF16 and MXFP4 are rounded to BF16
 * (nearest even); those that multiply F16 and F32 stay F32. The packed layout is this table's own. */
struct qm_type_kernels {
    /* The bytes that pack() writes for m rows of k values: a multiple of 64, at most m times the larger of 64 and
     * 4 x (k rounded up to even). */
    size_t (*packed_bytes)(int64_t m, int64_t k);
    /* dst: 64-byte aligned. Row i is src + (rows ? rows[i] : i) * ld floats. k padded with zeros as the
     * panels are. */
    void (*pack)(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k);
    void (*product)(const struct qm_product *p);
};

/* One attention split: rows of queries against the keys and values of up to QM_ATTENTION_SPLIT tokens of one KV head.
 *   queries: packed by the `pack` of the keys' type, k = head_dim
 *   pages:   n_pages of QM_KV_PAGE_TOKENS tokens; keys as store_k writes them, at value_offset values as store_v does
 *   next:    the page whose keys are read after this split, or NULL; may be fetched meanwhile
 *   lo, hi:  row i sees slots [lo[i], hi[i]) of the n_pages pages, hi at most all of them
 *   scores:  [rows][QM_SCORES_LD], written
 *   packed:  room for `rows` packed rows of QM_KV_PAGE_TOKENS
 *   out:     [rows][head_dim rounded up to 16], the products of the probabilities (as softmax_split has them) with the
 *            values, from zero; NULL: not computed, and `scores` holds the probabilities
 *   max, sum: [rows], those of softmax_split */
struct qm_split {
    const void *queries;
    int64_t rows, head_dim;
    const uint8_t *const *pages;
    int64_t n_pages;
    size_t value_offset;
    const uint8_t *next;
    const int32_t *lo, *hi;
    float scale;
    float *scores;
    void *packed;
    float *out, *max, *sum;
};

struct qm_kernels {
    enum qm_isa isa;
    struct qm_type_kernels type[QM_MXFP4 + 1]; /* by enum qm_dtype: BF16, F16, F32, MXFP4 */

    /* out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i]; n values. out may be x. */
    void (*rmsnorm)(float *out, const float *x, const float *weight, int64_t n, float eps);
    /* x += y */
    void (*add)(float *x, const float *y, int64_t n);
    /* x += a * y (one FMA an element) */
    void (*axpy)(float *x, float a, const float *y, int64_t n);
    /* Gated activations of fused panels: gu is a row of n_panels x { 16 gate, 16 up } (two product
     * panels each); out gets n_panels x 16.
     * silu_mul:        silu(g) * u, silu(g) = g / (1 + exp(-g))
     * swiglu_clamped:  gpt-oss: g = min(g, limit), u = clamp(u, -limit, limit);
     *                  (u + 1) * g / (1 + exp(-1.702 g)) */
    void (*silu_mul)(float *out, const float *gu, int64_t n_panels);
    void (*swiglu_clamped)(float *out, const float *gu, int64_t n_panels, float limit);
    /* Rotary embedding, halves form: x[i], x[i + n/2] by the angle whose cosine and sine are
     * cs[i], cs[n/2 + i] (already times the attention factor). n = rotated dimensions. */
    void (*rope)(float *x, const float *cs, int64_t n);
    /* x -> softmax(x) in place, n values. */
    void (*softmax)(float *x, int64_t n);

    /* One attention split: row r of s (float [ld], n columns used) holds q.k products of the split's key
     * slots. Keys outside [lo, hi) are masked: their entry becomes exactly 0. For the others, with
     * z = s * scale: *max = max z, s = exp(s * scale - max) (one FMA), *sum = the sum of s over the slots in lanes
     * fixed by the slot. An empty range gives max = -INFINITY, sum = 0 and all zeros. n is a multiple of 32. A NaN
     * makes its own slot and the sum NaN; exp is within 1.5 ulp, and 0 where it would be a denormal. */
    void (*softmax_split)(float *s, int64_t n, int64_t lo, int64_t hi, float scale, float *max, float *sum);
    /* acc (over n) with running max/sum, merged with one more split's o, max, sum, in ascending order:
     * M = max(am, m); acc = acc * exp(am - M) + o * exp(m - M); likewise sums. Starts at am = -INFINITY,
     * as = 0, acc = 0; a split with sum 0 changes nothing. */
    void (*merge_split)(float *acc, float *am, float *as, const float *o, float m, float s, int64_t n);
    /* A whole split over keys and values of type t (BF16, F16 or F32); kernels: this table. Probabilities are rounded
     * to BF16 before they meet BF16 values, but stay F32 where the instruction set multiplies those as F32 (AVX-512
     * without BF16). A row's bits depend on no other row, and not on pages of which it sees nothing. */
    void (*attend)(const struct qm_kernels *kernels, enum qm_dtype t, const struct qm_split *s);

    /* Writes one key or value vector x (n floats, rounded to type t: BF16, F16 or F32) into a page's
     * panels. store_k: panels over tokens, k = head dim: slot's column of panel slot / 16.
     * store_v: panels over head dim, k = token: page_tokens slots a page (a multiple of 16).
     * Nothing else of the page is written: it starts as zeros, so that slots not yet stored stay finite. */
    void (*store_k)(void *page, enum qm_dtype t, int64_t slot, const float *x, int64_t n);
    void (*store_v)(void *page, enum qm_dtype t, int64_t slot, int64_t page_tokens, const float *x, int64_t n);

    /* Repacks published rows into one panel. rows[r]: row r (k elements of type t, as published), or NULL
     * for zeros; for MXFP4 codes (k/2 bytes, low nibble first) with scales[r] (k/32 bytes), else scales is
     * NULL. dst is written whole, padding included. */
    void (*pack_panel)(void *dst, enum qm_dtype t, const void *const rows[QM_PANEL_ROWS],
                       const uint8_t *const scales[QM_PANEL_ROWS], int64_t k);
    /* Row r (0..15) of a panel, as F32: out[0..k). */
    void (*unpack_row)(float *out, enum qm_dtype t, const void *panel, int64_t r, int64_t k);
    /* The index of the first value of n that is not finite, or -1 (bf16, f16, f32). */
    int64_t (*find_nonfinite)(const void *x, enum qm_dtype t, int64_t n);

    /* Sampling a token from n logits; the same bits on every instruction set.
     * greatest_finite: -INFINITY where none is finite.
     * sampling_weights: w[i] = 2^((z[i] - max) * scale), where max is the greatest finite z and scale >= 0 is finite;
     * 0 where z[i] is not finite, or the weight is below 2^-125. Returns their sum, in float64 in 16 lanes by index. A
     * weight's relative error is below (1.2 + |log2 weight|) x 2^-24; that of max is exactly 1. w may be z.
     * select_at_least: the indices of x[i] >= least, ascending, to ids, which has room for n + QM_SELECT_ROOM; returns
     * how many. */
    float (*greatest_finite)(const float *x, int64_t n);
    double (*sampling_weights)(float *w, const float *z, int64_t n, float max, float scale);
    int64_t (*select_at_least)(int32_t *ids, const float *x, int64_t n, float least);

    /* What bounds the entries above, to measure them against.
     * read_lanes: n times one 64-byte line at each of p, p + lane, p + 2 lane, p + 3 lane, p then going on by
     * step; p, lane and step are multiples of 64. Returns a value that depends on all of it.
     * flush_lines: takes n lines of 64 bytes from p on out of every cache, so that the next read of them comes from
     * memory. The bytes stay as they are.
     * peak_bf16, peak_f32: the multiply-adds that BF16 and F32 products are made of, n rounds of them on
     * registers alone; returns the floating-point operations done (2 a multiply-add). state: 16 floats of any
     * value, read and written, so that no chain of operations can be left out. */
    uint64_t (*read_lanes)(const void *p, size_t lane, size_t step, size_t n);
    void (*flush_lines)(const void *p, size_t n);
    double (*peak_bf16)(int64_t n, float *state);
    double (*peak_f32)(int64_t n, float *state);
};

/* The table for an instruction set: scalar, overlaid in ascending order. Immutable, never freed.
 * QM_FIT where this CPU can't run it. */
int qm_kernels_get(enum qm_isa isa, const struct qm_kernels **out, struct qm_error *err);

/* Names what the kernels, and the engine above them, were made of: their sources, the compiler and its flags. What was
 * measured or stored is of these kernels alone. */
const char *qm_kernels_build(void);

/* What runs where no instruction set is asked for: qm_isa_best, unless this CPU multiplies and adds F32 faster than
 * its BF16 dot products do both (Intel's vdpbf16ps issues once in two cycles on Emerald Rapids, where two FMAs issue
 * in one): avx512 then. Rates that differ fourfold one way or the other are distinguished by timing both for
 * microseconds at the first call; every call of a process answers the same. */
enum qm_isa qm_isa_auto(void);

#endif
