/* Probe of the tiles' BF16 dot product, tdpbf16ps: 16 x 16 elements of C by 32 k. */
#include <immintrin.h>

#include "simd/amx/amx.h"
#include "simd/amx/tile.h"

/* Four chains hide its latency. */
double peak_bf16_amx(int64_t n, float *state) {
    enum { CHAINS = 4, K = 32 };
    uint16_t ones[K] __attribute__((aligned(64)));
    float out[QM_TILE_HEIGHT * QM_TILE_HEIGHT];
    struct qm_tile_config t = {.palette = 1};
    for (int i = 0; i < QM_TILES; i++) {
        t.line_bytes[i] = QM_TILE_LINE;
        t.rows[i] = QM_TILE_HEIGHT;
    }
    for (int i = 0; i < K; i++)
        ones[i] = qm_bf16_from_f32(1.0f);
    qm_tile_memory();
    _tile_loadconfig(&t);
    _tile_loadd(4, ones, 0);
    _tile_loadd(5, ones, 0);
    _tile_loadd(0, state, 0);
    _tile_loadd(1, state, 0);
    _tile_loadd(2, state, 0);
    _tile_loadd(3, state, 0);
    for (int64_t i = 0; i < n; i++) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
    _tile_stored(0, out, QM_TILE_LINE);
    for (int i = 0; i < 4; i++)
        state[i] = out[i];
    _tile_stored(1, out, QM_TILE_LINE);
    for (int i = 4; i < 8; i++)
        state[i] = out[i];
    _tile_stored(2, out, QM_TILE_LINE);
    for (int i = 8; i < 12; i++)
        state[i] = out[i];
    _tile_stored(3, out, QM_TILE_LINE);
    for (int i = 12; i < 16; i++)
        state[i] = out[i];
    _tile_release();
    return (double)n * CHAINS * QM_TILE_HEIGHT * QM_TILE_HEIGHT * K * 2;
}
