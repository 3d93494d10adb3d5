/* How long a device would take for an op: the simulation behind an emulated device. Written from the op and the
 * published weights alone, in another way than planner/time.h: tiles are whole, every part of a batch is counted,
 * experts by the rows that were really routed to them. Pure functions. */
#ifndef QM_OFFLOAD_EMULATED_SECONDS_H
#define QM_OFFLOAD_EMULATED_SECONDS_H

#include "engine/batch.h"
#include "offload/emulated/emulated.h"

/* Seconds of a part of one op over the batch. expert_first: as qm_cpu_expert_first. */
double qm_emulated_seconds(const struct qm_emulated_config *d, const struct qm_model *m, enum qm_dtype kv_type,
                           const struct qm_op *op, const struct qm_op_part *part, const struct qm_batch *batch,
                           const int64_t *expert_first);
/* The seconds of adding rows to the residual. */
double qm_emulated_add_seconds(const struct qm_emulated_config *d, const struct qm_model *m, int64_t rows);
/* Bytes of a part of an op's weights as they are on a device, for streaming them to it. */
double qm_emulated_weight_bytes(const struct qm_model *m, const struct qm_op *op, const struct qm_op_part *part);
/* Keys and values that the batch's sequences have in one layer, and those that it adds. */
double qm_emulated_kv_bytes(const struct qm_model *m, enum qm_dtype kv_type, const struct qm_op *op,
                            const struct qm_batch *batch, double *added);

#endif
