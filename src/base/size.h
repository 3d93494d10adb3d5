/* Sizes of memory, as messages of every library tell them. */
#ifndef QM_BASE_SIZE_H
#define QM_BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

static inline double qm_gib(uint64_t bytes) {
    return (double)bytes / (double)(1 << 30);
}

/* "12.34 GiB", "1.5 MiB", "1.5 KiB", "123 bytes": as exact as sizes are told that are held against each other. Written to out,
 * which is returned. */
const char *qm_size_text(uint64_t bytes, char *out, size_t size);

#endif
