/* Memory for weights and KV: large, zero-filled, 2 MiB-aligned, in the largest pages the system has
 * (hugetlb where reserved, else transparent huge pages by madvise, else plain), on the NUMA node that is to read
 * it. */
#ifndef QM_NUMA_MEMORY_H
#define QM_NUMA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum qm_page_kind { QM_PAGES_PLAIN, QM_PAGES_THP, QM_PAGES_2M, QM_PAGES_1G };

/* Where memory is to lie. */
struct qm_binding {
    int node;    /* the system's number; -1: where the thread that first writes a page runs */
    bool strict; /* nowhere else, which the kernel enforces by ending the process: only what is known to fit. Not
                    strict, pages go to other nodes when the node has no free ones, though its file cache could
                    give way. */
};

struct qm_memory {
    void *data;
    size_t bytes;
    enum qm_page_kind pages;
    int node;               /* as wanted */
    int bind_error;         /* errno of binding to it, which then is not so; 0 */
    bool short_of_reserved; /* reserved huge pages are there, but too few of them for this */
};

/* bytes > 0. The pages are not touched: the thread that first writes one decides its NUMA node. More than
 * qm_memory_available is refused unless reserved huge pages hold it; allocations that are not touched yet
 * are not counted there, so a plan of several adds them up itself. Less than 2 MiB comes in plain pages.
 * Failure is QM_FIT naming `what`, the need and what is available. */
int qm_memory_alloc(size_t bytes, const char *what, struct qm_memory *out, struct qm_error *err);
/* The same, bound to a node before it is touched. That the system does not allow it is no error. Reserved huge
 * pages are taken where the node has enough of them. */
int qm_memory_alloc_on(size_t bytes, struct qm_binding binding, const char *what, struct qm_memory *out,
                       struct qm_error *err);
/* Takes the reserved huge pages of *m now, in the part [begin, end) in bytes (multiples of 2 MiB, or its end), so that
 * none is missing when it is written, which would end the process. Parts may be taken by several threads at once.
 * False where the system has none after all: then call qm_memory_use_small. Does nothing for other pages. */
bool qm_memory_take(const struct qm_memory *m, size_t begin, size_t end);
/* The same address with other pages, empty. QM_SYSTEM where even that is refused. */
int qm_memory_use_small(struct qm_memory *m, struct qm_binding binding, struct qm_error *err);
/* What an allocation of so many bytes takes in whole pages of a kind. */
size_t qm_memory_mapped(size_t bytes, enum qm_page_kind pages);
/* Leaves *m empty; freeing an empty one, as a failed allocation leaves, does nothing. */
void qm_memory_free(struct qm_memory *m);
const char *qm_page_kind_name(enum qm_page_kind k);

/* Pages that have been touched and were looked at: all of them, or pages at equal distances of an allocation of
 * more than a million. */
struct qm_page_count {
    uint64_t pages, in_place; /* in_place: on the node wanted */
    int error;                /* errno of asking; 0 */
};
/* Adds the pages of *m, where it has a node. */
void qm_memory_count(const struct qm_memory *m, struct qm_page_count *c);

/* The lesser of MemAvailable and what the cgroup (v1 or v2, at every level) still allows, in bytes.
 * File cache counts as available. Files that are there and not as expected are QM_SYSTEM. */
int qm_memory_available(uint64_t *bytes, struct qm_error *err);
/* The least limit of the cgroups, in bytes; UINT64_MAX where there is none. */
uint64_t qm_memory_limit(void);
/* Reserved huge pages that are free and promised to no mapping, in bytes. They are not part of the above. */
uint64_t qm_memory_reserved(void);
/* What one node has free or in file cache, reserved huge pages included. QM_SYSTEM where that can't be read. */
int qm_memory_node_available(int node, uint64_t *bytes, struct qm_error *err);

#endif
