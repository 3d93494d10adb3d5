/* Large allocations for weights, KV and scratch, in the largest pages the system offers now: reserved
 * hugetlb pages of 1 GiB or 2 MiB, else transparent huge pages, else plain ones. Nothing is touched
 * here, so the thread that first writes a page decides its NUMA node. It keeps no account of what was
 * promised before: the plan of what fits is the engine's. */
#include "numa/memory.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "numa/internal.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

enum { HUGE_SHIFT_2M = 21, HUGE_SHIFT_1G = 30, PAGE_BYTES = 4096, ALIGN_BYTES = 2 << 20 };

static size_t round_up(size_t n, size_t unit) {
    return (n + unit - 1) / unit * unit;
}

/* The length of the mapping: it follows from the size and the kind of page, so it need not be kept. */
static size_t mapped_bytes(size_t bytes, enum qm_page_kind pages) {
    switch (pages) {
    case QM_PAGES_1G: return round_up(bytes, GIB);
    case QM_PAGES_2M:
    case QM_PAGES_THP: return round_up(bytes, ALIGN_BYTES);
    case QM_PAGES_PLAIN: break;
    }
    return round_up(bytes, PAGE_BYTES);
}

/* A counter of one pool of reserved pages, 0 where there is no such pool. */
static uint64_t pool_count(const char *pool, const char *counter) {
    char path[128];
    snprintf(path, sizeof path, "/sys/kernel/mm/hugepages/%s/%s", pool, counter);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    uint64_t n = 0;
    if (fscanf(f, "%" SCNu64, &n) != 1)
        n = 0;
    fclose(f);
    return n;
}

/* Free pages that are promised to another mapping already are not there to be had. */
static bool pool_holds(const char *pool, uint64_t pages) {
    uint64_t unclaimed = pool_count(pool, "free_hugepages"), promised = pool_count(pool, "resv_hugepages");
    return unclaimed >= promised && unclaimed - promised >= pages;
}

/* The kernel sets the pages of a hugetlb mapping aside when it is made, so success holds. */
static void *map_hugetlb(size_t length, int shift, const char *pool) {
    if (!pool_holds(pool, length >> shift))
        return NULL;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | shift << MAP_HUGE_SHIFT;
    void *p = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static bool thp_enabled(void) {
    char line[128] = "";
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    if (!f)
        return false;
    bool ok = fgets(line, sizeof line, f) && (strstr(line, "[always]") || strstr(line, "[madvise]"));
    fclose(f);
    return ok;
}

/* Maps more than is needed and gives back what lies outside the aligned part. */
static void *map_aligned(size_t length) {
    size_t padded = length + ALIGN_BYTES;
    char *p = mmap(NULL, padded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t head = (ALIGN_BYTES - (uintptr_t)p % ALIGN_BYTES) % ALIGN_BYTES;
    if (head > 0)
        munmap(p, head);
    munmap(p + head + length, padded - head - length);
    return p + head;
}

static void size_text(char *to, size_t size, uint64_t bytes) {
    if (bytes >= GIB)
        snprintf(to, size, "%.2f GiB", (double)bytes / (double)GIB);
    else if (bytes >= MIB)
        snprintf(to, size, "%.1f MiB", (double)bytes / (double)MIB);
    else
        snprintf(to, size, "%" PRIu64 " bytes", bytes);
}

static int fail_fit(struct qm_error *err, size_t bytes, const char *what, bool known, uint64_t available) {
    char need[32], have[32] = "an unknown amount";
    size_text(need, sizeof need, bytes);
    if (known)
        size_text(have, sizeof have, available);
    return qm_fail(err, QM_FIT,
                   "%s needs %s of memory, %s is available; free memory, raise the limit "
                   "(cgroup, ulimit -v), or use a smaller model, context or batch",
                   what, need, have);
}

int qm_memory_alloc(size_t bytes, const char *what, struct qm_memory *out, struct qm_error *err) {
    *out = (struct qm_memory){.bytes = bytes};
    if (bytes >= GIB && bytes <= PTRDIFF_MAX - GIB) {
        out->data = map_hugetlb(mapped_bytes(bytes, QM_PAGES_1G), HUGE_SHIFT_1G, "hugepages-1048576kB");
        out->pages = QM_PAGES_1G;
        if (out->data)
            return QM_OK;
    }
    if (bytes >= ALIGN_BYTES && bytes <= PTRDIFF_MAX - GIB) {
        out->data = map_hugetlb(mapped_bytes(bytes, QM_PAGES_2M), HUGE_SHIFT_2M, "hugepages-2048kB");
        out->pages = QM_PAGES_2M;
        if (out->data)
            return QM_OK;
    }
    /* The kernel promises more than it has, and ends the process when it is taken at its word: so what
     * cannot be had is refused here. If the amount cannot be read, the kernel's answer has to do. */
    uint64_t available = 0;
    bool known = qm_memory_available(&available, NULL) == QM_OK;
    if (bytes <= PTRDIFF_MAX - GIB && (!known || bytes <= available)) {
        /* Less than a huge page is left plain: it would hold a whole one for its sake. */
        out->pages = bytes >= ALIGN_BYTES && thp_enabled() ? QM_PAGES_THP : QM_PAGES_PLAIN;
        size_t length = mapped_bytes(bytes, out->pages);
        out->data = map_aligned(length);
        if (out->data && out->pages == QM_PAGES_THP && madvise(out->data, length, MADV_HUGEPAGE) != 0) {
            /* The mapping stays as it is but for what plain pages would not have. */
            size_t plain = mapped_bytes(bytes, QM_PAGES_PLAIN);
            if (plain < length)
                munmap((char *)out->data + plain, length - plain);
            out->pages = QM_PAGES_PLAIN;
        }
    }
    if (!out->data) {
        *out = (struct qm_memory){0};
        return fail_fit(err, bytes, what, known, available);
    }
    return QM_OK;
}

void qm_memory_free(struct qm_memory *m) {
    if (m->data)
        munmap(m->data, mapped_bytes(m->bytes, m->pages));
    *m = (struct qm_memory){0};
}

const char *qm_page_kind_name(enum qm_page_kind k) {
    switch (k) {
    case QM_PAGES_PLAIN: return "plain pages";
    case QM_PAGES_THP: return "transparent huge pages";
    case QM_PAGES_2M: return "2 MiB pages";
    case QM_PAGES_1G: return "1 GiB pages";
    }
    return "?";
}

int qm_memory_available(uint64_t *bytes, struct qm_error *err) {
    return qm_memory_available_at("", bytes, err);
}
