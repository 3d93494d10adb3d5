/* How a model was loaded, and where its memory is: a line for people, and JSON. */
#ifndef QM_APP_LOAD_REPORT_H
#define QM_APP_LOAD_REPORT_H

#include <jansson.h>

#include "app/progress.h"
#include "engine/engine.h"

/* A note of bytes, time and pages; with several NUMA nodes the share of pages that are on their node, and where
 * that is not all, why. */
void qm_report_load(struct qm_progress *progress, const struct qm_engine *e);

/* {"bytes", "seconds", "cache_dropped", "placed_share", "nodes": [{"node", "threads", "weights", "kv"}]}, where weights
 * and kv are {"bytes", "page_kind", "pages", "in_place"} and what was refused. node and placed_share are null where the
 * system does not distinguish nodes. NULL when out of memory. Counts pages anew. */
json_t *qm_load_json(const struct qm_engine *e);

#endif
