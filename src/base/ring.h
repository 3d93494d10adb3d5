/* A bounded queue of records from one thread to another, in memory that is taken once; neither ever waits for the
 * other. What a record is, its two threads know: a kind and bytes, aligned to 16. Thread-safety: qm_ring_put belongs to
 * one thread, qm_ring_peek and qm_ring_drop to one other. */
#ifndef QM_BASE_RING_H
#define QM_BASE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct qm_ring;

/* bytes: of records and their heads (16 each), made a power of two; pages that were never written are not resident. A
 * record of up to half of it fits where nothing else is left. QM_USAGE for more than 1 GiB. */
int qm_ring_new(size_t bytes, struct qm_ring **out, struct qm_error *err);
/* NULL: nothing. */
void qm_ring_free(struct qm_ring *r);

/* One stretch of a record. */
struct qm_ring_part {
    const void *bytes;
    size_t n;
};
/* Appends a record of the parts one after another. False, and nothing has changed, where there is no room. */
bool qm_ring_put(struct qm_ring *r, uint32_t kind, const struct qm_ring_part *parts, int n_parts);

/* The oldest record, or NULL where there is none; borrowed until it is dropped. */
const void *qm_ring_peek(struct qm_ring *r, uint32_t *kind, size_t *n);
/* The record that was peeked at last. */
void qm_ring_drop(struct qm_ring *r);

#endif
