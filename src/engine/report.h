/* What an engine reports: its memory, how it was loaded, where weights and KV lie, where the time of steps goes, which
 * experts were chosen, and what its devices did. Beside engine.h; the same thread-safety. */
#ifndef QM_ENGINE_REPORT_H
#define QM_ENGINE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/device_report.h"
#include "engine/engine.h"
#include "engine/memory.h"
#include "engine/profile.h"
#include "engine/quiet.h"
#include "engine/routing.h"
#include "numa/memory.h"

const struct qm_memory_table *qm_engine_memory(const struct qm_engine *e);
/* How the weights were loaded. */
struct qm_engine_load {
    uint64_t bytes; /* of weights, as packed, those of devices counted in */
    double seconds;
    bool dropped_cache; /* the files are not left in the page cache: it would not have fitted beside weights and KV */
};
struct qm_engine_load qm_engine_load(const struct qm_engine *e);

/* What one of the nodes has that share the weights and the keys and values. */
struct qm_engine_node {
    int number, threads;                    /* the system's number, -1 where the system does not distinguish nodes */
    struct qm_memory weights, kv;           /* borrowed; data NULL: none */
    struct qm_page_count in_weights, in_kv; /* pages that are there now, and are where they should be */
};
int qm_engine_nodes(const struct qm_engine *e);
/* Counts pages, which takes up to a fraction of a second a node where nodes are distinguished. */
struct qm_engine_node qm_engine_node(const struct qm_engine *e, int node);
/* Lines about what is not as it should be where memory and threads lie; "" where all is. */
const char *qm_engine_notes(const struct qm_engine *e);
/* Bytes of weights and KV read for one more token of a sequence with `depth` tokens. */
uint64_t qm_engine_decode_bytes(const struct qm_engine *e, int64_t depth);

/* From now on steps are added to *p, until NULL is given. Costs two readings of the clock an op. */
void qm_engine_set_profile(struct qm_engine *e, struct qm_engine_profile *p);

/* From now on the experts that each token chooses are counted in *p, which is of this model, until NULL is given. */
void qm_engine_set_routing(struct qm_engine *e, struct qm_routing_profile *p);

/* What qm_engine_set_quiet found; false where no share is set. */
bool qm_engine_quiet(const struct qm_engine *e, struct qm_quiet_state *out);

const struct qm_power_cap *qm_engine_power_cap(const struct qm_engine *e);

/* Devices beside the CPU; 0: none. device: 1..qm_engine_devices(). */
int qm_engine_devices(const struct qm_engine *e);
void qm_engine_device_report(const struct qm_engine *e, int device, struct qm_device_report *out);
/* What failed since the engine was opened, for people; "" where nothing has. */
const char *qm_engine_failures(const struct qm_engine *e);

#endif
