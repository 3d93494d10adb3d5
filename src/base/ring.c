/* Records lie one after another, each whole: where the end of the memory is too near for one, the rest is skipped. Both
 * positions only grow, by multiples of the alignment, so a head always fits where anything does. */
#include "base/ring.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16, LEAST = 256, MOST = 1 << 30 };

struct head {
    uint64_t n; /* bytes that follow */
    uint32_t kind;
    uint32_t skip; /* the rest of the memory is left out, and nothing else counts */
};
_Static_assert(sizeof(struct head) == ALIGN, "records are aligned behind their heads");

struct qm_ring {
    char *data;
    uint64_t size;
    _Alignas(64) _Atomic uint64_t written; /* the writer's, */
    _Alignas(64) _Atomic uint64_t read;    /* and the reader's, each to be seen by the other */
};

static uint64_t aligned(uint64_t n) {
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

int qm_ring_new(size_t bytes, struct qm_ring **out, struct qm_error *err) {
    *out = NULL;
    if (bytes > MOST)
        return qm_fail(err, QM_USAGE, "a queue of %zu bytes: expected at most %d", bytes, MOST);
    struct qm_ring *r = aligned_alloc(64, sizeof *r);
    if (!r)
        return qm_fail_memory(err, sizeof *r, "a queue");
    *r = (struct qm_ring){.size = LEAST};
    while (r->size < bytes)
        r->size *= 2;
    r->data = aligned_alloc(64, (size_t)r->size);
    if (!r->data) {
        qm_ring_free(r);
        return qm_fail_memory(err, bytes, "a queue");
    }
    *out = r;
    return QM_OK;
}

void qm_ring_free(struct qm_ring *r) {
    if (!r)
        return;
    free(r->data);
    free(r);
}

bool qm_ring_put(struct qm_ring *r, uint32_t kind, const struct qm_ring_part *parts, int n_parts) {
    uint64_t at = atomic_load_explicit(&r->written, memory_order_relaxed), n = 0;
    for (int i = 0; i < n_parts; i++) {
        if (parts[i].n > r->size)
            return false;
        n += parts[i].n;
    }
    uint64_t whole = sizeof(struct head) + aligned(n), to_end = r->size - at % r->size;
    uint64_t skipped = whole > to_end ? to_end : 0;
    if (skipped + whole > r->size - (at - atomic_load_explicit(&r->read, memory_order_acquire)))
        return false;
    if (skipped) {
        const struct head skip = {.skip = 1};
        memcpy(r->data + at % r->size, &skip, sizeof skip);
        at += skipped;
    }
    const struct head head = {.n = n, .kind = kind};
    char *to = r->data + at % r->size;
    memcpy(to, &head, sizeof head);
    to += sizeof head;
    for (int i = 0; i < n_parts; to += parts[i++].n)
        if (parts[i].n)
            memcpy(to, parts[i].bytes, parts[i].n);
    /* Sequentially consistent with peek's load, so that a flag which either side raises around it is seen by one. */
    atomic_store(&r->written, at + whole);
    return true;
}

const void *qm_ring_peek(struct qm_ring *r, uint32_t *kind, size_t *n) {
    uint64_t at = atomic_load_explicit(&r->read, memory_order_relaxed), end = atomic_load(&r->written);
    struct head head;
    if (at == end)
        return NULL;
    memcpy(&head, r->data + at % r->size, sizeof head);
    if (head.skip) {
        at += r->size - at % r->size;
        atomic_store_explicit(&r->read, at, memory_order_release);
        memcpy(&head, r->data + at % r->size, sizeof head);
    }
    *kind = head.kind;
    *n = (size_t)head.n;
    return r->data + at % r->size + sizeof head;
}

void qm_ring_drop(struct qm_ring *r) {
    uint64_t at = atomic_load_explicit(&r->read, memory_order_relaxed);
    struct head head;
    memcpy(&head, r->data + at % r->size, sizeof head);
    atomic_store_explicit(&r->read, at + sizeof head + aligned(head.n), memory_order_release);
}
