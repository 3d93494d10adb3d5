/* How much memory an engine may take and where it is to lie: the NUMA binding of each node of the team, by what the
 * node has left. Part of opening an engine, before anything is allocated. */
#ifndef QM_ENGINE_BINDINGS_H
#define QM_ENGINE_BINDINGS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "engine/memory.h"
#include "engine/placement.h"
#include "model/model.h"
#include "numa/memory.h"
#include "numa/team.h"

/* p: where the units are; NULL: everything is on the CPU. Sets w->context to the one asked for, or with 0 to the
 * model's maximum or what of it fits into `most` bytes and the memory there is, and fills *t. QM_FIT, with needed and
 * available by part, where it does not fit. */
int qm_bindings_fit(const struct qm_model *m, const struct qm_placement *p, int64_t asked, uint64_t most,
                    struct qm_workload *w, struct qm_memory_table *t, struct qm_error *err);

/* What the nodes of the team have left together, where the system gives memory by node; else UINT64_MAX. */
uint64_t qm_bindings_available(const struct qm_team *team);

/* bindings: [nodes of the team]. A node that holds its part gets it for sure; one that does not gets what it holds, and
 * *notes a line that says so. */
int qm_bindings_plan(const struct qm_model *m, const struct qm_placement *p, const struct qm_workload *w,
                     const struct qm_memory_table *table, const struct qm_team *team, struct qm_binding *bindings,
                     struct qm_buf *notes, struct qm_error *err);

/* Lines about devices whose failure ends a run, since what is on them would not fit beside what the CPU has; names
 * [devices]. */
int qm_bindings_check_devices(const struct qm_model *m, const struct qm_placement *p, const struct qm_workload *w,
                              const char *const *names, uint64_t available, struct qm_buf *notes, struct qm_error *err);

/* All threads take the reserved huge pages of `memory` [nodes of the team], which was allocated on these bindings.
 * Where some are missing after all, other pages take their place. */
int qm_bindings_take(struct qm_team *team, const struct qm_binding *bindings, struct qm_memory *memory,
                     struct qm_error *err);

#endif
