/* Large allocations for weights, KV and scratch, in the largest pages the system offers now: reserved
 * hugetlb pages of 1 GiB or 2 MiB, else transparent huge pages, else plain ones. Nothing is touched
 * here: a page lies on the node that the memory was bound to, else on that of the thread that first writes it.
 * It keeps no account of what was promised before: the plan of what fits is the engine's. */
#include "numa/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <numaif.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/size.h"
#include "numa/internal.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

enum { HUGE_SHIFT_2M = 21, HUGE_SHIFT_1G = 30, PAGE_BYTES = 4096, ALIGN_BYTES = 2 << 20, NODES = 1024, WORD = 64 };

static size_t round_up(size_t n, size_t unit) {
    return (n + unit - 1) / unit * unit;
}

/* The length of the mapping: it follows from the size and the kind of page, so it need not be kept. */
size_t qm_memory_mapped(size_t bytes, enum qm_page_kind pages) {
    switch (pages) {
    case QM_PAGES_1G: return round_up(bytes, GIB);
    case QM_PAGES_2M:
    case QM_PAGES_THP: return round_up(bytes, ALIGN_BYTES);
    case QM_PAGES_PLAIN: break;
    }
    return round_up(bytes, PAGE_BYTES);
}

/* A counter of one pool of reserved pages, 0 where there is no such pool. node -1: of the whole machine. */
static uint64_t pool_count(int node, const char *pool, const char *counter) {
    char path[160];
    if (node < 0)
        snprintf(path, sizeof path, "/sys/kernel/mm/hugepages/%s/%s", pool, counter);
    else
        snprintf(path, sizeof path, "/sys/devices/system/node/node%d/hugepages/%s/%s", node, pool, counter);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    uint64_t n = 0;
    if (fscanf(f, "%" SCNu64, &n) != 1)
        n = 0;
    fclose(f);
    return n;
}

static uint64_t pool_unclaimed(const char *pool) {
    uint64_t unclaimed = pool_count(-1, pool, "free_hugepages"), promised = pool_count(-1, pool, "resv_hugepages");
    return unclaimed > promised ? unclaimed - promised : 0;
}

/* Free pages that are promised to another mapping already are not there to be had; on which node those will be
 * is not known. */
static bool pool_holds(int node, const char *pool, uint64_t pages) {
    return pool_unclaimed(pool) >= pages && (node < 0 || pool_count(node, pool, "free_hugepages") >= pages);
}

/* The kernel sets the pages of a hugetlb mapping aside when it is made, so success holds. */
static void *map_hugetlb(size_t length, int node, int shift, const char *pool) {
    if (!pool_holds(node, pool, length >> shift))
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

static bool reserved(const struct qm_memory *m) {
    return m->pages == QM_PAGES_2M || m->pages == QM_PAGES_1G;
}

/* Reserved huge pages are promised to the mapping by the machine, not by the node, and ending up without one is
 * fatal: so they are never bound strictly. */
static void bind_pages(struct qm_memory *m, bool strict) {
    unsigned long mask[NODES / WORD] = {0};
    if (m->node < 0 || m->node >= NODES)
        return;
    mask[m->node / WORD] = 1ul << m->node % WORD;
    int mode = strict && !reserved(m) ? MPOL_BIND : MPOL_PREFERRED;
    if (mbind(m->data, qm_memory_mapped(m->bytes, m->pages), mode, mask, NODES, 0) != 0)
        m->bind_error = errno;
}

static int fail_fit(struct qm_error *err, size_t bytes, const char *what, bool known, uint64_t available) {
    char need[32], have[32] = "an unknown amount";
    qm_size_text(bytes, need, sizeof need);
    if (known)
        qm_size_text(available, have, sizeof have);
    return qm_fail(err, QM_FIT,
                   "%s needs %s of memory, %s is available; free memory, raise the limit "
                   "(cgroup, ulimit -v), or use a smaller model, context or batch",
                   what, need, have);
}

/* From the reserved pages, true where they hold it. */
static bool take_reserved(struct qm_memory *m) {
    if (m->bytes >= GIB && m->bytes <= PTRDIFF_MAX - GIB) {
        m->pages = QM_PAGES_1G;
        m->data = map_hugetlb(qm_memory_mapped(m->bytes, m->pages), m->node, HUGE_SHIFT_1G, "hugepages-1048576kB");
    }
    if (!m->data && m->bytes >= ALIGN_BYTES && m->bytes <= PTRDIFF_MAX - GIB) {
        m->pages = QM_PAGES_2M;
        m->data = map_hugetlb(qm_memory_mapped(m->bytes, m->pages), m->node, HUGE_SHIFT_2M, "hugepages-2048kB");
        m->short_of_reserved = !m->data && (pool_count(-1, "hugepages-2048kB", "free_hugepages") > 0 ||
                                            pool_count(-1, "hugepages-1048576kB", "free_hugepages") > 0);
    }
    return m->data != NULL;
}

int qm_memory_alloc(size_t bytes, const char *what, struct qm_memory *out, struct qm_error *err) {
    return qm_memory_alloc_on(bytes, (struct qm_binding){.node = -1}, what, out, err);
}

int qm_memory_alloc_on(size_t bytes, struct qm_binding binding, const char *what, struct qm_memory *out,
                       struct qm_error *err) {
    *out = (struct qm_memory){.bytes = bytes, .node = binding.node};
    if (take_reserved(out)) {
        bind_pages(out, binding.strict);
        return QM_OK;
    }
    /* The kernel promises more than it has, and ends the process when it is taken at its word: so what
     * cannot be had is refused here. If the amount cannot be read, the kernel's answer has to do. */
    uint64_t available = 0;
    bool known = qm_memory_available(&available, NULL) == QM_OK;
    if (bytes <= PTRDIFF_MAX - GIB && (!known || bytes <= available)) {
        /* Less than a huge page is left plain: it would hold a whole one for its sake. */
        out->pages = bytes >= ALIGN_BYTES && thp_enabled() ? QM_PAGES_THP : QM_PAGES_PLAIN;
        size_t length = qm_memory_mapped(bytes, out->pages);
        out->data = map_aligned(length);
        if (out->data && out->pages == QM_PAGES_THP && madvise(out->data, length, MADV_HUGEPAGE) != 0) {
            /* The mapping stays as it is but for what plain pages would not have. */
            size_t plain = qm_memory_mapped(bytes, QM_PAGES_PLAIN);
            if (plain < length)
                munmap((char *)out->data + plain, length - plain);
            out->pages = QM_PAGES_PLAIN;
        }
    }
    if (!out->data) {
        *out = (struct qm_memory){0};
        return fail_fit(err, bytes, what, known, available);
    }
    bind_pages(out, binding.strict);
    return QM_OK;
}

bool qm_memory_take(const struct qm_memory *m, size_t begin, size_t end) {
    if (!reserved(m) || begin >= end)
        return true;
    size_t unit = m->pages == QM_PAGES_1G ? GIB : 2 * MIB;
    char *from = (char *)m->data + begin / unit * unit;
    /* a kernel before 5.14 does not know how; it keeps its promise but under a limit on huge pages */
    return madvise(from, round_up(end, unit) - begin / unit * unit, MADV_POPULATE_WRITE) == 0 || errno == EINVAL;
}

int qm_memory_use_small(struct qm_memory *m, struct qm_binding binding, struct qm_error *err) {
    size_t length = qm_memory_mapped(m->bytes, m->pages), kept = qm_memory_mapped(m->bytes, QM_PAGES_THP);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    void *same = mmap(m->data, length, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (same == MAP_FAILED)
        return qm_fail_errno(err, "memory in place of reserved huge pages");
    if (kept < length)
        munmap((char *)m->data + kept, length - kept);
    m->pages = QM_PAGES_THP;
    m->short_of_reserved = true;
    if (!thp_enabled() || madvise(m->data, kept, MADV_HUGEPAGE) != 0) {
        size_t plain = qm_memory_mapped(m->bytes, QM_PAGES_PLAIN);
        if (plain < kept)
            munmap((char *)m->data + plain, kept - plain);
        m->pages = QM_PAGES_PLAIN;
    }
    bind_pages(m, binding.strict);
    return QM_OK;
}

void qm_memory_free(struct qm_memory *m) {
    if (m->data)
        munmap(m->data, qm_memory_mapped(m->bytes, m->pages));
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

uint64_t qm_memory_reserved(void) {
    return pool_unclaimed("hugepages-1048576kB") * GIB + pool_unclaimed("hugepages-2048kB") * 2 * MIB;
}

int qm_memory_node_available(int node, uint64_t *bytes, struct qm_error *err) {
    int rc = qm_memory_node_available_at("", node, bytes, err);
    if (!rc)
        *bytes += pool_count(node, "hugepages-1048576kB", "free_hugepages") * GIB +
                  pool_count(node, "hugepages-2048kB", "free_hugepages") * 2 * MIB;
    return rc;
}
