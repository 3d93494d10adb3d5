/* Computing ops by the CPU's kernels: weights in panels, the activations of one step, and each op as one parallel
 * region of the team. The engine has one of these, which loads the weights; an emulated device has one beside it, with
 * activations, keys and values of its own and the same panels.
 *
 * Results are the same bits whatever the batch's composition. One call at a time of all that share a team. */
#ifndef QM_ENGINE_CPU_CPU_H
#define QM_ENGINE_CPU_CPU_H

#include "base/error.h"
#include "base/progress.h"
#include "engine/batch.h"
#include "engine/device.h"
#include "engine/forward.h"
#include "engine/panels.h"

struct qm_cpu;

struct qm_cpu_setup {
    const struct qm_model *model;
    const struct qm_placement *placement; /* NULL: everything is on the CPU; copied */
    struct qm_workload workload;
    enum qm_isa isa;
    struct qm_team *team;
    const struct qm_binding *bindings; /* [nodes of the team] */
    struct qm_kv *kv;
    uint64_t sum_bytes; /* of sums that are transferred: memory that is kept beside the activations */
    /* The rest is for reading weights, now and when a device is lost. */
    bool drop_cache; /* weights that have been read do not stay in the page cache */
    qm_progress_fn *progress;
    void *progress_arg;
};

/* Takes all memory; then loads the weights, those that are placed on devices (devices [placement->devices], NULL where
 * there is none) there. What the setup points at must outlive it. */
int qm_cpu_open(const struct qm_cpu_setup *s, struct qm_cpu **out, struct qm_error *err);
int qm_cpu_load(struct qm_cpu *c, struct qm_device *const *devices, struct qm_error *err);
/* Reads what is placed on a device, which is lost, into memory of the host. */
int qm_cpu_take_over(struct qm_cpu *c, int device, struct qm_error *err);
/* Ops are from now on executed with what is placed on this device, where it was taken over; 0: with what is the CPU's.
 */
void qm_cpu_use(struct qm_cpu *c, int device);
/* A second executor with activations of its own. It borrows these weights [weights of the model], these keys and
 * values, and the team, kernels and threads' ranges of `of`: close it before any of them. */
int qm_cpu_open_beside(const struct qm_cpu *of, const struct qm_packed_weight *weights, struct qm_kv *kv,
                       struct qm_cpu **out, struct qm_error *err);
void qm_cpu_close(struct qm_cpu *c);

/* Executes a part of an op over the batch (NULL: all of it). sum: where the part of a down product is added to, rows
 * ld_hidden apart (qm_scratch_plan); NULL: the residual. */
void qm_cpu_execute(struct qm_cpu *c, const struct qm_op *op, const struct qm_op_part *part,
                    const struct qm_batch *batch, float *sum);

/* The weights of a node of the team, NULL where it holds none there; what it holds of the model's [n_weights]. */
const struct qm_memory *qm_cpu_weights(const struct qm_cpu *c, int node);
const struct qm_packed_weight *qm_cpu_panels(const struct qm_cpu *c);

/* Where activations are transferred from and to: the residual; the rows normed by ROUTE with their experts (struct
 * qm_routed); sums (setup.sum_bytes). All of them lie in one range. */
struct qm_transfer qm_cpu_residual(const struct qm_cpu *c, int64_t rows);
struct qm_transfer qm_cpu_routed(const struct qm_cpu *c, int64_t rows);
void *qm_cpu_sums(const struct qm_cpu *c);
struct qm_transfer qm_cpu_handed(const struct qm_cpu *c);
/* Somebody else's ROUTE has been written there: the rows are sorted by expert. */
void qm_cpu_take_routes(struct qm_cpu *c, int64_t rows);
/* Counts the experts of the layer in batch->routing, where that is there. */
void qm_cpu_count_routes(const struct qm_cpu *c, int layer, const struct qm_batch *batch);
/* [experts + 1]: expert e has first[e + 1] - first[e] rows. */
const int64_t *qm_cpu_expert_first(const struct qm_cpu *c);
/* Adds rows, ld_hidden apart, to the residual. */
void qm_cpu_add(struct qm_cpu *c, const float *sum, int64_t rows);
/* What EMBED does beside the rows of the embedding: each row's rotation. */
void qm_cpu_rotate(struct qm_cpu *c, const struct qm_batch *batch);

#endif
