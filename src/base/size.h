/* Sizes of memory, as messages of every library print them. */
#ifndef QM_BASE_SIZE_H
#define QM_BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

static inline double qm_gib(uint64_t bytes) {
    return (double)bytes / (double)(1 << 30);
}

/* "12.34 GiB", "1.5 MiB", "1.5 KiB", "123 bytes": exact enough for sizes that are compared. Written to out,
 * which is returned. */
const char *qm_size_text(uint64_t bytes, char *out, size_t size);

#endif
