/* A placement: which device has each unit of a model (units.h), and which units long steps are computed on a device
 * without being there. Where in the flow: made by the search or read from a plan file, executed by the engine;
 * constant meanwhile. Devices are numbers here: 0 is the CPU, others are the machine's list of devices, from 1.
 *
 * What a placement means to whoever executes it:
 * - The embedding is always on the CPU, and a step's rows begin there. The head runs where `head` says.
 * - A unit runs on its device, and the residual goes to it where it is elsewhere. KV is where the attention is.
 * - Experts of one layer may be on several devices. Each device adds up its own chosen experts, weighted, in ascending
 *   order from zero, in the time of the others; the partial sums are added to the residual in ascending order of
 *   device. The partition alone decides the bits, not the length of a step.
 * - A dense FFN may be on the CPU and a device: the first ffn_cpu of its intermediate columns on the CPU, the others on
 *   `ffn`. Both begin with the same residual; each norms it, computes its columns' gate and up, and the sum over its
 *   columns of the down product, from zero (the bias is the CPU's); the sums are added as those of experts are.
 * - A unit of the CPU with a stream device is, in steps of stream_rows tokens or more, computed on that device: its
 *   weights go up through the device's two workspace slots, the next unit's while this one is computed. For attention
 *   the keys and values that are there go up with them and the new ones come back. All experts of a layer that are on
 * the CPU go up together, and so do all columns of an FFN that are there: they stay one partial sum. */
#ifndef QM_ENGINE_PLACEMENT_H
#define QM_ENGINE_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/memory.h"

enum { QM_DEVICE_CPU = 0, QM_MAX_DEVICES = 9 }; /* the CPU and eight more */
enum { QM_FFN_UNIT = 32 }; /* intermediate columns that stay together: whole panels, even cuts of k */

struct qm_layer_placement {
    uint8_t attention;        /* device */
    uint8_t ffn;              /* device of a dense FFN; 0 in a layer of experts */
    int32_t ffn_cpu;          /* with ffn: columns that are on the CPU, a multiple of QM_FFN_UNIT; 0: none */
    uint8_t stream_attention; /* device of long steps, or 0: none */
    uint8_t stream_ffn;       /* of the dense FFN, its columns, or the experts that are on the CPU */
};

struct qm_placement {
    int devices; /* the CPU counted */
    int64_t layers, experts;
    uint8_t head;
    struct qm_layer_placement *layer; /* [layers] */
    uint8_t *expert;                  /* [layers][experts]: device; 0 in dense layers */
    int64_t stream_rows;              /* 0: nothing is streamed */
};

/* Everything on the CPU. devices: 1 to QM_MAX_DEVICES. */
int qm_placement_open(const struct qm_model *m, int devices, struct qm_placement *out, struct qm_error *err);
int qm_placement_copy(const struct qm_placement *p, struct qm_placement *out, struct qm_error *err);
void qm_placement_free(struct qm_placement *p);

/* QM_INPUT where the placement is not one of this model's: other numbers of layers or experts, a device that is not
 * there, experts of a dense layer, an FFN split elsewhere than between units or with nothing on one side, something
 * streamed that is not on the CPU. */
int qm_placement_check(const struct qm_placement *p, const struct qm_model *m, struct qm_error *err);

static inline uint8_t qm_placement_expert(const struct qm_placement *p, int64_t layer, int64_t expert) {
    return p->expert[layer * p->experts + expert];
}

/* How many of the layer's experts are on the device. */
int64_t qm_placement_experts_on(const struct qm_placement *p, int64_t layer, int device);
/* How many columns of a dense layer's FFN. */
int64_t qm_placement_columns_on(const struct qm_placement *p, const struct qm_model *m, int64_t layer, int device);

/* What of a weight is on a device: so many of its experts, and of each, or of the one matrix, a part that is packed by
 * itself. */
struct qm_weight_part {
    int64_t experts;         /* 0: nothing */
    int64_t panel, k;        /* where the part begins: panels of rows (of a bias its matrix's), columns */
    struct qm_weight weight; /* what it is as a matrix of its own: n and k are the part's */
};
/* p NULL: everything is on the CPU. */
struct qm_weight_part qm_placement_part(const struct qm_placement *p, const struct qm_model *m,
                                        const struct qm_weight *w, int device);

/* What one device holds, in bytes. */
struct qm_device_memory {
    uint64_t weights;     /* of its units; a tied head elsewhere than on the CPU has its own copy of the matrix */
    uint64_t kv;          /* of its layers, all sequences */
    uint64_t activations; /* of one step (qm_scratch_plan): of the CPU's threads; a device's is that of one thread */
    uint64_t workspace;   /* two slots of the largest unit that is streamed to it, with its keys and values */
    uint64_t maps;        /* of the CPU: an attention map, where one is asked for */
    uint64_t drafts;      /* of the CPU: what drafts take */
    uint64_t total;
};
/* The part of the activations that holds partial sums, where a layer is split: a device has its own, the CPU one for
 * each device of the list. A layer is split where whoever has the residual in it does not compute all of its
 * experts, or where its FFN's columns are on two. */
uint64_t qm_placement_sum_bytes(const struct qm_placement *p, const struct qm_model *m, const struct qm_workload *w,
                                int device);
/* Logits that cross at once, where the head is on a device: rows, and the bytes that the CPU and that device have for
 * them and for hidden states, each; 0 elsewhere. Part of the activations too. */
int64_t qm_placement_logit_rows(const struct qm_workload *w);
uint64_t qm_placement_logit_bytes(const struct qm_placement *p, const struct qm_model *m, const struct qm_workload *w,
                                  int device);
/* A device without any unit takes nothing. */
void qm_placement_memory(const struct qm_placement *p, const struct qm_model *m, const struct qm_workload *w,
                         int device, struct qm_device_memory *out);
/* What is left on the CPU, as qm_memory_estimate says it of everything. */
void qm_placement_estimate(const struct qm_placement *p, const struct qm_model *m, const struct qm_workload *w,
                           struct qm_memory_table *out);

#endif
