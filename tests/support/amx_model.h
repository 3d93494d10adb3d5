/* A software model of the AMX-BF16 tile instructions, under the names of their intrinsics: included before a kernel's
 * source it makes that source run on any CPU. What the CPU would answer with a fault fails the test.
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2: LDTILECFG, TILELOADD, TILESTORED,
 * TILEZERO, TDPBF16PS, TILERELEASE (palette 1); volume 1, chapter on AMX. What it does not model: a restart in the
 * middle of a tile (start_row is 0), and more than one thread. */
#ifndef QM_TESTS_SUPPORT_AMX_MODEL_H
#define QM_TESTS_SUPPORT_AMX_MODEL_H

#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/dtype.h"

enum { AMX_TILES = 8, AMX_ROWS = 16, AMX_LINE = 64 };

struct amx_state {
    int configured;
    uint8_t rows[AMX_TILES];
    uint16_t line_bytes[AMX_TILES];
    unsigned char data[AMX_TILES][AMX_ROWS][AMX_LINE];
};

static struct amx_state amx;

#define AMX_FAULT_UNLESS(condition) mock_assert(!!(condition), #condition, __FILE__, __LINE__)

/* Denormals are zeros of their sign. */
static inline float amx_flush(float x) {
    return fabsf(x) < FLT_MIN ? copysignf(0.0f, x) : x;
}

static inline float amx_add(float x, float y) {
    return amx_flush(amx_flush(x) + amx_flush(y));
}

/* a * b + c, rounded once. A result is denormal by its value rounded to 24 bits without a limit to the exponent, so one
 * that only the denormals' coarser grid would round up to FLT_MIN is zero. */
static inline float amx_fma(float a, float b, float c) {
    a = amx_flush(a), b = amx_flush(b), c = amx_flush(c);
    float x = fmaf(a, b, c);
    if (fabsf(x) == FLT_MIN && fabsf(fmaf(a, b * 0x1p64f, c * 0x1p64f)) < FLT_MIN * 0x1p64f)
        return copysignf(0.0f, x);
    return amx_flush(x);
}

static inline void amx_check(int tile) {
    AMX_FAULT_UNLESS(amx.configured);
    AMX_FAULT_UNLESS(tile >= 0 && tile < AMX_TILES);
    AMX_FAULT_UNLESS(amx.rows[tile] > 0 && amx.line_bytes[tile] % 4 == 0);
}

static inline void amx_loadconfig(const void *from) {
    unsigned char c[64];
    memcpy(c, from, sizeof c);
    memset(&amx, 0, sizeof amx);
    AMX_FAULT_UNLESS(c[0] <= 1);
    AMX_FAULT_UNLESS(c[1] == 0);
    for (int i = 2; i < 16; i++)
        AMX_FAULT_UNLESS(c[i] == 0);
    for (int i = 0; i < 16; i++) {
        uint16_t line_bytes = (uint16_t)(c[16 + 2 * i] | c[17 + 2 * i] << 8);
        uint8_t rows = c[48 + i];
        AMX_FAULT_UNLESS(line_bytes <= AMX_LINE && rows <= AMX_ROWS);
        AMX_FAULT_UNLESS((line_bytes == 0) == (rows == 0));
        AMX_FAULT_UNLESS(i < AMX_TILES || rows == 0);
        if (i < AMX_TILES) {
            amx.rows[i] = rows;
            amx.line_bytes[i] = line_bytes;
        }
    }
    amx.configured = c[0] == 1;
}

static inline void amx_release(void) {
    memset(&amx, 0, sizeof amx);
}

static inline void amx_zero(int tile) {
    amx_check(tile);
    memset(amx.data[tile], 0, sizeof amx.data[tile]);
}

static inline void amx_loadd(int tile, const void *base, ptrdiff_t stride) {
    amx_check(tile);
    memset(amx.data[tile], 0, sizeof amx.data[tile]);
    for (int i = 0; i < amx.rows[tile]; i++)
        memcpy(amx.data[tile][i], (const char *)base + i * stride, amx.line_bytes[tile]);
}

static inline void amx_stored(int tile, void *base, ptrdiff_t stride) {
    amx_check(tile);
    for (int i = 0; i < amx.rows[tile]; i++)
        memcpy((char *)base + i * stride, amx.data[tile][i], amx.line_bytes[tile]);
}

/* BF16 value `i` of a tile's row, and F32 value `i`. */
static inline float amx_bf16(int tile, int row, int i) {
    uint16_t h;
    memcpy(&h, amx.data[tile][row] + 2 * i, sizeof h);
    return qm_f32_from_bf16(h);
}

static inline void amx_dpbf16ps(int c, int a, int b) {
    amx_check(c);
    amx_check(a);
    amx_check(b);
    AMX_FAULT_UNLESS(c != a && c != b && a != b);
    AMX_FAULT_UNLESS(amx.rows[c] == amx.rows[a]);
    AMX_FAULT_UNLESS(amx.line_bytes[c] == amx.line_bytes[b]);
    AMX_FAULT_UNLESS(amx.line_bytes[a] / 4 == amx.rows[b]);
    int columns = amx.line_bytes[c] / 4;
    for (int m = 0; m < amx.rows[c]; m++) {
        float sum[2][AMX_ROWS] = {{0}};
        for (int k = 0; k < amx.rows[b]; k++)
            for (int odd = 0; odd < 2; odd++) {
                float x = amx_bf16(a, m, 2 * k + odd);
                for (int n = 0; n < columns; n++)
                    sum[odd][n] = amx_fma(x, amx_bf16(b, k, 2 * n + odd), sum[odd][n]);
            }
        float out[AMX_ROWS] = {0};
        memcpy(out, amx.data[c][m], sizeof out);
        for (int n = 0; n < columns; n++)
            out[n] = amx_add(out[n], amx_add(sum[0][n], sum[1][n]));
        memset(out + columns, 0, (size_t)(AMX_ROWS - columns) * sizeof *out);
        memcpy(amx.data[c][m], out, sizeof out);
    }
    for (int m = amx.rows[c]; m < AMX_ROWS; m++)
        memset(amx.data[c][m], 0, AMX_LINE);
}

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadconfig amx_loadconfig
#define _tile_release amx_release
#define _tile_loadd amx_loadd
#define _tile_stored amx_stored
#define _tile_zero amx_zero
#define _tile_dpbf16ps amx_dpbf16ps

#endif
