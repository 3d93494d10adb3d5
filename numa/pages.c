/* Where the pages of an allocation are, asked of the kernel page by page (move_pages, which moves nothing without a
 * list of nodes). It changes nothing, and does not say why a page is where it is. */
#include <errno.h>
#include <numaif.h>

#include "numa/internal.h"
#include "numa/memory.h"

/* In allocations larger than this, pages at equal distances are counted, which takes a fraction of a second. */
enum { SMALL_PAGE = 4096, BATCH = 1024, MAX_PAGES = 1 << 20 };

static uint64_t page_bytes(enum qm_page_kind kind) {
    return kind == QM_PAGES_1G ? 1ull << 30 : kind == QM_PAGES_2M ? 2ull << 20 : SMALL_PAGE;
}

/* Adds one answer; a page that nobody has touched is nowhere. */
static void count_page(int status, int node, struct qm_page_count *c) {
    if (status == -ENOENT || status == -EFAULT)
        return;
    c->pages++;
    c->in_place += status == node;
}

void qm_memory_count_by(qm_pages_query_fn *query, const struct qm_memory *m, struct qm_page_count *c) {
    void *page[BATCH];
    int status[BATCH];
    uint64_t step = page_bytes(m->pages);
    if (m->node < 0 || !m->data)
        return;
    while (m->bytes / step > MAX_PAGES)
        step *= 2;
    for (uint64_t at = 0; at < m->bytes;) {
        unsigned long n = 0;
        for (; n < BATCH && at < m->bytes; n++, at += step)
            page[n] = (char *)m->data + at;
        if (query(0, n, page, NULL, status, 0) != 0) {
            c->error = errno;
            return;
        }
        for (unsigned long i = 0; i < n; i++)
            count_page(status[i], m->node, c);
    }
}

void qm_memory_count(const struct qm_memory *m, struct qm_page_count *c) {
    qm_memory_count_by(move_pages, m, c);
}
