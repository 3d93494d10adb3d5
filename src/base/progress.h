/* How far a long piece of work is, reported to whoever asked for it. */
#ifndef QM_BASE_PROGRESS_H
#define QM_BASE_PROGRESS_H

#include <stdint.h>

/* Called now and then, on the thread that asked for the work: `done` of `total` of `what`. Returning nonzero interrupts
 * it. */
typedef int qm_progress_fn(void *arg, const char *what, uint64_t done, uint64_t total);

#endif
