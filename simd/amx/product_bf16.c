/* Product of BF16 panels by BF16 activations with tdpbf16ps. A panel's 32 k are a B tile as they are: 16 pairs of k
 * by 16 columns. Activations are micro-panels of 16 rows, [k / 32][rows][32], padded with zeros: 32 k are an A tile.
 *
 * Order of accumulation: tdpbf16ps sums the even and the odd k of a tile from zero, each by FMAs ascending, adds
 * the two, and adds that to the element; tiles go by ascending k. So every number of rows goes through tiles, one row
 * too, and no cut of rows, panels or k (on multiples of 32) changes a bit.
 *
 * Each product configures the tiles and releases them: nothing of it stays with the thread. Two panels at once:
 *   up to 16 rows:  0, 1 C; 4 A; 6, 7 B
 *   17 to 32 rows:  0, 1 C of the first 16 rows, 2, 3 of the others; 4, 5 A; 6, 7 B
 * (The intrinsics take numbers, not names.) It has no walk for k and rows beyond the caches of one core. */
#include <immintrin.h>
#include <string.h>

#include "simd/amx/amx.h"
#include "simd/amx/tile.h"

enum {
    STEP_K = 32,
    PANELS = 2,                       /* at once */
    MICRO_PANEL = 2 * QM_TILE_HEIGHT, /* rows at once */
    BLOCK_STEPS = 16,                 /* of k under several micro-panels: two panels' tiles stay in L1 */
    AHEAD = 6 * QM_TILE_BYTES,        /* bytes of a panel that are asked for before they are multiplied */
    BLOCK_ROWS = 512                  /* a block of activations stays in L2 */
};

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t steps_of(int64_t k) {
    return (k + STEP_K - 1) / STEP_K;
}

size_t packed_bytes_bf16_amx(int64_t m, int64_t k) {
    return (size_t)(m * steps_of(k)) * QM_TILE_LINE;
}

static void pack_line(uint16_t *restrict to, const float *restrict from, int64_t n) {
    if (n >= STEP_K) {
        for (int j = 0; j < STEP_K; j++)
            to[j] = qm_bf16_from_f32(from[j]);
        return;
    }
    for (int j = 0; j < STEP_K; j++)
        to[j] = j < n ? qm_bf16_from_f32(from[j]) : 0;
}

void pack_bf16_amx(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k) {
    int64_t steps = steps_of(k);
    for (int64_t first = 0; first < m; first += QM_TILE_HEIGHT) {
        int64_t r = min64(QM_TILE_HEIGHT, m - first);
        uint16_t *micro_panel = (uint16_t *)dst + first * steps * STEP_K;
        for (int64_t i = 0; i < r; i++) {
            const float *row = src + (rows ? rows[first + i] : first + i) * ld;
            for (int64_t s = 0; s < steps; s++)
                pack_line(micro_panel + (s * r + i) * STEP_K, row + s * STEP_K, k - s * STEP_K);
        }
    }
}

/* Tiles for micro-panels of r rows. */
static void configure(int64_t r) {
    int64_t low = min64(r, QM_TILE_HEIGHT), high = r - low;
    struct qm_tile_config t = {.palette = 1};
    for (int i = 0; i < QM_TILES; i++) {
        t.line_bytes[i] = QM_TILE_LINE;
        t.rows[i] = (uint8_t)(i < 5 ? low : QM_TILE_HEIGHT);
    }
    if (high) {
        t.rows[2] = t.rows[3] = t.rows[5] = (uint8_t)high;
        t.rows[4] = QM_TILE_HEIGHT;
    }
    qm_tile_memory();
    _tile_loadconfig(&t);
}

/* Some consecutive k of some panels: `whole` steps of whole tiles in the panels, then perhaps the last k, padded to
 * tiles of their own. */
struct columns {
    const char *b;
    size_t stride;
    int64_t panels, whole;
    const char *tail; /* NULL: none */
};

/* What comes next of a panel is on its way while this tile is multiplied: few rows wait for memory, and the hardware's
 * own prefetching does not keep up with tiles. Beyond the end of a panel lies the next one, or nothing, which does no
 * harm. */
QM_INLINE void ahead(const char *b) {
    for (int i = 0; i < QM_TILE_BYTES; i += 64)
        _mm_prefetch(b + AHEAD + i, _MM_HINT_T0);
}

QM_INLINE void step_one(int panels, const char *a, const char *b, size_t stride) {
    ahead(b);
    if (panels > 1)
        ahead(b + stride);
    _tile_loadd(4, a, QM_TILE_LINE);
    _tile_loadd(6, b, QM_TILE_LINE);
    _tile_dpbf16ps(0, 4, 6);
    if (panels > 1) {
        _tile_loadd(7, b + stride, QM_TILE_LINE);
        _tile_dpbf16ps(1, 4, 7);
    }
}

/* Up to 16 rows. */
QM_INLINE void one(int panels, const struct columns *k, const char *a, int64_t rows, float *c, int64_t line,
                   int accumulate) {
    if (accumulate)
        _tile_loadd(0, c, line);
    else
        _tile_zero(0);
    if (panels > 1 && accumulate)
        _tile_loadd(1, c + 16, line);
    else if (panels > 1)
        _tile_zero(1);
    int64_t s = 0;
    for (; s < k->whole; s++)
        step_one(panels, a + s * rows * QM_TILE_LINE, k->b + s * QM_TILE_BYTES, k->stride);
    if (k->tail)
        step_one(panels, a + s * rows * QM_TILE_LINE, k->tail, QM_TILE_BYTES);
    _tile_stored(0, c, line);
    if (panels > 1)
        _tile_stored(1, c + 16, line);
}

QM_INLINE void step_two(int panels, const char *low, const char *high, const char *b, size_t stride) {
    _tile_loadd(4, low, QM_TILE_LINE);
    _tile_loadd(6, b, QM_TILE_LINE);
    _tile_loadd(5, high, QM_TILE_LINE);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(2, 5, 6);
    if (panels > 1) {
        _tile_loadd(7, b + stride, QM_TILE_LINE);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
    }
}

/* 17 to 32 rows: 16 from a, `rows` more from `high`. */
QM_INLINE void two(int panels, const struct columns *k, const char *a, const char *high, int64_t rows, float *c,
                   int64_t line, int accumulate) {
    float *d = c + QM_TILE_HEIGHT * (line / (int64_t)sizeof *c);
    if (accumulate) {
        _tile_loadd(0, c, line);
        _tile_loadd(2, d, line);
    } else {
        _tile_zero(0);
        _tile_zero(2);
    }
    if (panels > 1 && accumulate) {
        _tile_loadd(1, c + 16, line);
        _tile_loadd(3, d + 16, line);
    } else if (panels > 1) {
        _tile_zero(1);
        _tile_zero(3);
    }
    int64_t s = 0;
    for (; s < k->whole; s++)
        step_two(panels, a + s * QM_TILE_BYTES, high + s * rows * QM_TILE_LINE, k->b + s * QM_TILE_BYTES, k->stride);
    if (k->tail)
        step_two(panels, a + s * QM_TILE_BYTES, high + s * rows * QM_TILE_LINE, k->tail, QM_TILE_BYTES);
    _tile_stored(0, c, line);
    _tile_stored(2, d, line);
    if (panels > 1) {
        _tile_stored(1, c + 16, line);
        _tile_stored(3, d + 16, line);
    }
}

/* r rows whose micro-panels begin at step `from` of `steps`, at a; tiles are configured for r. */
static void micro_panel(const struct columns *k, const char *a, int64_t from, int64_t steps, int64_t r, float *c,
                        int64_t ldc, int accumulate) {
    int64_t line = ldc * (int64_t)sizeof *c, low = min64(r, QM_TILE_HEIGHT), high = r - low;
    const char *at = a + from * low * QM_TILE_LINE;
    if (high) {
        const char *second = a + steps * QM_TILE_BYTES + from * high * QM_TILE_LINE;
        if (k->panels > 1)
            two(2, k, at, second, high, c, line, accumulate);
        else
            two(1, k, at, second, high, c, line, accumulate);
        return;
    }
    if (k->panels > 1)
        one(2, k, at, low, c, line, accumulate);
    else
        one(1, k, at, low, c, line, accumulate);
}

/* Steps [from, to) of all k by panels [n, n + panels), for rows [first, end). *configured: the rows of a micro-panel
 * that the tiles have, 0 before the first. */
static void run_block(const struct qm_product *p, int64_t from, int64_t to, int64_t n, int64_t panels, int64_t first,
                      int64_t end, int64_t *configured) {
    char tail[PANELS][QM_TILE_BYTES] __attribute__((aligned(64)));
    int64_t steps = steps_of(p->k), whole = min64(p->k / STEP_K, to);
    struct columns k = {.b = (const char *)p->b + (size_t)n * p->panel_stride + from * QM_TILE_BYTES,
                        .stride = p->panel_stride,
                        .panels = panels,
                        .whole = whole - from};
    if (to > whole) {
        size_t bytes = (size_t)(p->k % STEP_K + 1) / 2 * QM_TILE_LINE;
        for (int64_t i = 0; i < panels; i++) {
            memcpy(tail[i], k.b + (size_t)i * k.stride + k.whole * QM_TILE_BYTES, bytes);
            memset(tail[i] + bytes, 0, QM_TILE_BYTES - bytes);
        }
        qm_tile_memory();
        k.tail = tail[0];
    }
    for (int64_t i = first; i < end; i += MICRO_PANEL) {
        int64_t r = min64(MICRO_PANEL, end - i);
        if (r != *configured)
            configure(r);
        *configured = r;
        micro_panel(&k, (const char *)p->a + i * steps * QM_TILE_LINE, from, steps, r,
                    p->c + i * p->ldc + n * QM_PANEL_ROWS, p->ldc, p->accumulate || from);
    }
}

void product_bf16_amx(const struct qm_product *p) {
    int64_t steps = steps_of(p->k), block = p->m > MICRO_PANEL ? BLOCK_STEPS : steps;
    int64_t configured = 0;
    for (int64_t first = 0; first < p->m; first += BLOCK_ROWS) {
        int64_t from = 0, end = min64(first + BLOCK_ROWS, p->m);
        do { /* once for k = 0 too, to write c */
            int64_t to = min64(from + block, steps);
            for (int64_t n = 0; n < p->n_panels; n += PANELS)
                run_block(p, from, to, n, min64(PANELS, p->n_panels - n), first, end, &configured);
            from = to;
        } while (from < steps);
    }
    if (configured)
        _tile_release();
}
