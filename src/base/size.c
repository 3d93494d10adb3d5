/* Sizes as text. */
#include "base/size.h"

#include <inttypes.h>
#include <stdio.h>

const char *qm_size_text(uint64_t bytes, char *out, size_t size) {
    if (bytes >= 1 << 30)
        snprintf(out, size, "%.2f GiB", qm_gib(bytes));
    else if (bytes >= 1 << 20)
        snprintf(out, size, "%.1f MiB", (double)bytes / (1 << 20));
    else if (bytes >= 1 << 10)
        snprintf(out, size, "%.1f KiB", (double)bytes / (1 << 10));
    else
        snprintf(out, size, "%" PRIu64 " bytes", bytes);
    return out;
}
