/* Detection of instruction sets by CPUID and XGETBV. The answer does not change while a process runs, so
 * each question asks the CPU again: nothing is kept. */
#include "simd/isa.h"

#include <cpuid.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const isa_names[] = {"scalar", "avx2", "avx512", "avx512bf16", "amx"};
_Static_assert(sizeof isa_names / sizeof *isa_names == QM_ISA_COUNT, "an instruction set without a name");

/* Where one feature is reported: a bit of a CPUID register, and the state the OS must save for it. */
struct feature {
    const char *name;
    enum qm_isa isa;
    uint32_t leaf, subleaf;
    enum { EAX, EBX, ECX, EDX } reg;
    uint32_t bit;
    uint32_t xcr0;
};

enum { XCR0_AVX = 0x6, XCR0_AVX512 = 0xE6, XCR0_TILES = 0x60000 };

static const struct feature features[] = {
    {"AVX2", QM_ISA_AVX2, 7, 0, EBX, 1u << 5, XCR0_AVX},
    {"FMA", QM_ISA_AVX2, 1, 0, ECX, 1u << 12, XCR0_AVX},
    {"F16C", QM_ISA_AVX2, 1, 0, ECX, 1u << 29, XCR0_AVX},
    {"BMI2", QM_ISA_AVX2, 7, 0, EBX, 1u << 8, 0},
    {"AVX512F", QM_ISA_AVX512, 7, 0, EBX, 1u << 16, XCR0_AVX512},
    {"AVX512DQ", QM_ISA_AVX512, 7, 0, EBX, 1u << 17, XCR0_AVX512},
    {"AVX512BW", QM_ISA_AVX512, 7, 0, EBX, 1u << 30, XCR0_AVX512},
    {"AVX512VL", QM_ISA_AVX512, 7, 0, EBX, 1u << 31, XCR0_AVX512},
    {"AVX512_BF16", QM_ISA_AVX512BF16, 7, 1, EAX, 1u << 5, XCR0_AVX512},
    {"AMX_TILE", QM_ISA_AMX, 7, 0, EDX, 1u << 24, XCR0_TILES},
    {"AMX_BF16", QM_ISA_AMX, 7, 0, EDX, 1u << 22, XCR0_TILES},
};

/* The low half of XCR0: which register states the OS saves. 0 where XGETBV is not enabled. */
static uint32_t enabled_state(void) {
    uint32_t r[4] = {0};
    if (!__get_cpuid(1, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) || !(r[ECX] & 1u << 27))
        return 0;
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo;
}

static int reported(const struct feature *f) {
    uint32_t r[4] = {0};
    return __get_cpuid_count(f->leaf, f->subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) && (r[f->reg] & f->bit);
}

/* Writes " A B C" of the missing features of `isa` and below; returns how many. `unsaved` counts those that
 * the CPU has and the OS does not enable. */
static int missing_features(enum qm_isa isa, char *list, size_t size, int *unsaved) {
    uint32_t xcr0 = enabled_state();
    size_t used = 0;
    int missing = 0;
    *unsaved = 0;
    list[0] = 0;
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        const struct feature *f = &features[i];
        if (f->isa > isa)
            continue;
        int has = reported(f);
        int saved = (xcr0 & f->xcr0) == f->xcr0;
        if (has && saved)
            continue;
        missing++;
        *unsaved += has;
        int n = snprintf(list + used, size - used, " %s", f->name);
        used = (size_t)n < size - used ? used + (size_t)n : size - 1;
    }
    return missing;
}

const char *qm_isa_name(enum qm_isa isa) {
    return (unsigned)isa < QM_ISA_COUNT ? isa_names[isa] : "unknown";
}

int qm_isa_parse(const char *name, enum qm_isa *out, struct qm_error *err) {
    for (int i = 0; i < QM_ISA_COUNT; i++)
        if (!strcmp(name, isa_names[i])) {
            *out = (enum qm_isa)i;
            return QM_OK;
        }
    return qm_fail(err, QM_USAGE, "unknown instruction set \"%s\": use scalar, avx2, avx512, avx512bf16 or amx", name);
}

enum qm_isa qm_isa_best(void) {
    enum qm_isa best = QM_ISA_SCALAR;
    for (int i = QM_ISA_AVX2; i <= QM_ISA_AVX512BF16 && !qm_isa_check((enum qm_isa)i, NULL); i++)
        best = (enum qm_isa)i;
    return best;
}

/* Tile registers are large: Linux gives them to a process that asks, with all its threads. Asking again is no error.
 * Source: Linux, Documentation/arch/x86/xstate.rst. */
static int request_tiles(struct qm_error *err) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    if (!syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA))
        return QM_OK;
    return qm_fail(err, QM_FIT,
                   "instruction set amx: the operating system refuses the tile registers (%s); use avx512bf16 or lower",
                   strerror(errno));
}

int qm_isa_check(enum qm_isa isa, struct qm_error *err) {
    if ((unsigned)isa >= QM_ISA_COUNT)
        return qm_fail(err, QM_FIT, "instruction set %d: not one of this program's", (int)isa);
    char list[256];
    int unsaved = 0;
    int missing = missing_features(isa, list, sizeof list, &unsaved);
    if (!missing)
        return isa == QM_ISA_AMX ? request_tiles(err) : QM_OK;
    if (missing == unsaved)
        return qm_fail(err, QM_FIT, "instruction set %s: this CPU has%s, but the operating system does not enable it",
                       isa_names[isa], list);
    return qm_fail(err, QM_FIT, "instruction set %s: this CPU lacks%s; use a lower one", isa_names[isa], list);
}
