/* A device beside the CPU, as whoever executes a placement (placed.h) sees it: memory taken when it is opened, units
 * put there, ops enqueued, activations transferred both ways, errors. A driver implements it, and is given to the
 * engine (engine.h's options), which knows none by itself; drivers live in offload/.
 *
 * Order. A device executes its calls one after the other, in the order of the calls. page_copy, begin, send, stream,
 * enqueue, add and receive only put it on its list and return at once; a ticket names such a piece of work. wait
 * returns when it, and so all before it, is done; finish when everything is. A step lies between begin and finish, and
 * tickets are its own.
 *
 * Shapes. begin is given a number. Two steps with the same number consist of the same calls in the same order, with the
 * same ops, parts and host addresses; what they compute with differs: tokens, positions, page tables, bytes. So a
 * driver can record what it does for a shape once, and replay it. Numbers are never used again for another shape.
 *
 * Host memory. All that a device reads and writes there was named when it was opened (qm_device_load.host): what is
 * transferred, logits, weights, keys and values. It is the host's own, borrowed as long as the device is open, in
 * pieces of at most QM_HOST_PIECE bytes, so that a driver can register it once. The one exception are attention maps,
 * which go where the batch says. What a send reads and a receive writes belongs to the device until the ticket, or one
 * given later, has been waited for: it may be read or written at any moment until then. The same holds for the batch
 * until finish. Rows lie ld_hidden floats apart (qm_scratch_plan), on boundaries of 64 bytes.
 *
 * What is there. Activations on the device are its own: the residual, the qkv rows, attention's output, the
 * intermediate values, the routed rows, one sum, logits. They are what sends and ops of this step have written, and
 * undefined before. An op finds its weights where place or stream has put them, and its keys and values as well.
 *
 * Errors are sticky. A device that has failed takes all calls and does nothing; wait and finish return the same
 * QM_SYSTEM and its message from then on. Nothing that was transferred since is to be used. One that makes no progress
 * for qm_device_load.patience seconds of a wait has failed: no call waits for longer. A failed one touches the host's
 * memory no more, and its close calls nothing that could wait for it.
 *
 * Time. The host's clock is qm_host_now(). A real device leaves it alone. An emulated one puts it forward where the
 * host waits longer than it really did, and back by what emulating took.
 *
 * One thread. */
#ifndef QM_ENGINE_DEVICE_H
#define QM_ENGINE_DEVICE_H

#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "engine/batch.h"
#include "engine/device_report.h"
#include "engine/forward.h"
#include "engine/memory.h"
#include "engine/panels.h"
#include "engine/placement.h"

struct qm_cpu; /* cpu/cpu.h */
struct qm_kv;  /* kv.h */

struct qm_host_clock {
    double ahead; /* seconds that were simulated, less those that it took */
};
static inline double qm_host_now(const struct qm_host_clock *c) {
    return qm_now() + c->ahead;
}

/* What crosses between the CPU and a device, for all rows of the step. */
enum qm_transfer_kind {
    QM_TRANSFER_RESIDUAL, /* rows [rows][ld_hidden] of the residual */
    QM_TRANSFER_ROUTED,   /* a struct qm_routed */
    QM_TRANSFER_SUM,      /* rows: a part's sum. Sent, it is added to the residual; received, it is the device's own */
    QM_TRANSFER_LOGITS,   /* received: what the last HEAD has computed (qm_op_part): logits, then hidden states */
};
/* One range of memory, so that it is one copy. */
struct qm_transfer {
    void *at;
    uint64_t bytes;
};

/* The rows that ROUTE has normed for the experts, with the experts that take each row, ascending, and by what weight.
 * Behind this head: rows [rows][ld] floats, chosen [rows][each], weight [rows][each] floats. */
struct qm_routed {
    int64_t rows, ld, each;
    uint8_t unused[64 - 3 * sizeof(int64_t)];
};
_Static_assert(sizeof(struct qm_routed) == QM_ROUTED_HEAD, "as qm_scratch_plan counts it");
static inline uint64_t qm_routed_bytes(int64_t rows, int64_t ld, int64_t each) {
    return sizeof(struct qm_routed) + (uint64_t)rows * ((uint64_t)ld * sizeof(float) + (uint64_t)each * 8);
}
static inline float *qm_routed_rows(const struct qm_routed *r) {
    return (float *)(void *)(r + 1);
}
static inline int32_t *qm_routed_chosen(const struct qm_routed *r) {
    return (int32_t *)(void *)(qm_routed_rows(r) + r->rows * r->ld);
}
static inline float *qm_routed_weight(const struct qm_routed *r) {
    return (float *)(void *)(qm_routed_chosen(r) + r->rows * r->each);
}

/* Where the sum over a part of a down product goes. */
enum qm_sum_to { QM_TO_RESIDUAL, QM_TO_SUM };

typedef int64_t qm_ticket;

struct qm_device {
    /* At load. The op's part, with the keys and values of an ATTENTION op, will be there. QM_FIT where that is more
     * than the memory that was taken. */
    int (*place)(struct qm_device *d, const struct qm_op *op, const struct qm_op_part *part, struct qm_error *err);
    /* Then what was placed comes, each piece once, by calls of several threads at once: panels [first, first + panels)
     * of an expert, of the columns that are placed there, one behind the other, each of qm_plan_panel_bytes. For a
     * vector panels is 0, and bytes are its values as floats. They are borrowed for the call. */
    int (*put)(struct qm_device *d, int32_t weight, int64_t expert, int64_t first, int64_t panels, const void *bytes,
               struct qm_error *err);

    /* A step. */
    void (*begin)(struct qm_device *d, const struct qm_batch *batch, int64_t shape);
    qm_ticket (*send)(struct qm_device *d, enum qm_transfer_kind what, struct qm_transfer from);
    /* Copies an op's weights from the host to the device, for the op's next enqueue; for ATTENTION also the pages of
     * keys and values that the batch sees. The device has two slots for this and uses them alternately, so that one is
     * filled while the other is used. New keys and values are back in the host's pages by finish. */
    void (*stream)(struct qm_device *d, const struct qm_op *op, const struct qm_op_part *part);
    /* to: of down products. ATTENTION writes maps where the batch says, by finish. */
    void (*enqueue)(struct qm_device *d, const struct qm_op *op, const struct qm_op_part *part, enum qm_sum_to to);
    /* Its own sum is added to the residual there. */
    void (*add)(struct qm_device *d);
    qm_ticket (*receive)(struct qm_device *d, enum qm_transfer_kind what, struct qm_transfer to);
    int (*wait)(struct qm_device *d, qm_ticket t, struct qm_error *err);
    int (*finish)(struct qm_device *d, struct qm_error *err);

    /* Between steps: pages of the keys and values that are placed there, of all states and heads. A page of a group
     * (qm_kv) is cleared (from -1) or copied, before the next step. */
    void (*page_copy)(struct qm_device *d, int group, int64_t from, int64_t to);
    /* One page of each group, pages [groups] (-1: none), comes from, or goes to, bytes [states][kv_heads][page_bytes],
     * of which only what is placed there is touched. Done when it returns. What is read from a device that has failed
     * is all ones: NaN. */
    void (*block_write)(struct qm_device *d, const int32_t *pages, const void *bytes);
    void (*block_read)(struct qm_device *d, const int32_t *pages, void *bytes);

    void (*report)(const struct qm_device *d, struct qm_device_report *out);
    void (*close)(struct qm_device *d);
};

/* The host's memory that a device may be asked to read and write. */
enum qm_host_use {
    QM_HOST_TRANSFERS, /* rows, routes and sums that are transferred */
    QM_HOST_LOGITS,    /* read by nobody but the host: logits and hidden states */
    QM_HOST_WEIGHTS,   /* panels, to be streamed; they are written while the model is loaded */
    QM_HOST_KV,        /* pages of keys and values */
};
#define QM_HOST_PIECE ((uint64_t)64 << 30)
struct qm_host_range {
    enum qm_host_use use;
    int node; /* of the team's nodes; -1: no particular one */
    void *data;
    uint64_t bytes;
};

/* Logits of a HEAD's part, and with its first row the hidden states of the sequences that ask for them, as they are
 * transferred: [rows][vocab], [sequences that ask][hidden], in the order of the batch. */
uint64_t qm_logits_bytes(const struct qm_config *c, const struct qm_batch *batch, const struct qm_op_part *part);

/* What to open it for. All pointers are borrowed until it is closed. */
struct qm_device_load {
    const struct qm_model *model;
    const struct qm_forward *forward;
    struct qm_workload workload;
    struct qm_device_memory memory; /* to take now */
    uint64_t logits;                /* of its activations: bytes of what HEAD computes at once */
    const struct qm_host_range *host;
    int n_host;
    double patience;                        /* seconds without progress after which it has failed */
    const struct qm_packed_weight *weights; /* [weights of the model], where the CPU has them */
    const struct qm_kv *kv;                 /* the CPU's pages, and how many there are of each state */
    const struct qm_cpu *cpu;               /* for a driver that computes by the CPU's kernels */
    struct qm_host_clock *clock;
};

/* A kind of device. */
struct qm_device_driver {
    /* config: this driver's configuration, in its own form; it copies what it keeps. QM_FIT where the device's memory
     * is not enough, by part; what else is wrong with the device is QM_SYSTEM. */
    int (*open)(const void *config, const struct qm_device_load *load, struct qm_device **out, struct qm_error *err);
};

/* A device beside the CPU: who drives it and its configuration. Borrowed until the engine is open. */
struct qm_device_setup {
    const char *name; /* less than QM_DEVICE_NAME bytes of it are kept */
    const struct qm_device_driver *driver;
    const void *config;
};

#endif
