/* A device beside the CPU, as whoever executes a placement (placed.h) sees it: memory taken when it is opened, units
 * put there, ops enqueued, activations handed over both ways, errors. A driver implements it, and is handed to the
 * engine (engine.h's options), which knows none by itself; drivers live in offload/.
 *
 * Order. A device does what it is told one after the other, in the order of the calls. begin, send, stream, enqueue,
 * add and receive only put it on its list and return at once; a ticket names such a piece of work. wait returns when
 * it, and so all before it, is done; finish when everything is. A step lies between begin and finish, and tickets are
 * its own.
 *
 * Memory. What a send reads and a receive writes belongs to the device until the ticket, or one given later, has been
 * waited for: it may be read or written at any moment until then. The same holds for the batch until finish. Rows lie
 * ld_hidden floats apart (qm_scratch_plan), on boundaries of 64 bytes; addresses are the same in every step, so that a
 * driver can pin what it sees. Weights, and the pages of keys and values of the CPU, are lent as long as it is open.
 *
 * What is there. Activations on the device are its own: the residual, the qkv rows, attention's output, the
 * intermediate values, the routed rows, one sum. They are what sends and ops of this step have written, and undefined
 * before. An op finds its weights where place or stream has put them, and its keys and values as well.
 *
 * Errors are sticky. A device that has failed takes all calls and does nothing; wait and finish return the same
 * QM_SYSTEM and its message from then on. Nothing that was handed over since is to be used.
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
#include "engine/kv.h"
#include "engine/panels.h"
#include "engine/placement.h"

struct qm_cpu;

struct qm_host_clock {
    double ahead; /* seconds that were simulated, less those that it took */
};
static inline double qm_host_now(const struct qm_host_clock *c) {
    return qm_now() + c->ahead;
}

/* What crosses between the CPU and a device, for all rows of the step. */
enum qm_hand {
    QM_HAND_RESIDUAL, /* rows: of the residual */
    QM_HAND_ROUTED,   /* rows: normed for the experts; chosen, weight: which take each row, ascending */
    QM_HAND_SUM,      /* rows: a part's sum. Sent, it is added to the residual; received, it is the device's own */
};
struct qm_hand_over {
    float *rows;     /* [rows][ld_hidden] */
    int32_t *chosen; /* [rows][experts a token] */
    float *weight;
};

/* Where the sum over a part of a down product goes. */
enum qm_sum_to { QM_TO_RESIDUAL, QM_TO_SUM };

typedef int64_t qm_ticket;

struct qm_device {
    /* At load. The op's part, with the keys and values of an ATTENTION op, is there from now on. QM_FIT where that is
     * more than the memory that was taken. */
    int (*place)(struct qm_device *d, const struct qm_op *op, const struct qm_op_part *part, struct qm_error *err);

    /* A step. */
    void (*begin)(struct qm_device *d, const struct qm_batch *batch);
    qm_ticket (*send)(struct qm_device *d, enum qm_hand what, const struct qm_hand_over *from);
    /* What is on the CPU of an op goes up, for the op's next enqueue: its weights; of ATTENTION the pages that the
     * batch sees. Two such pieces are there at once, in turn, so that one goes up while the other is used. The new keys
     * and values come back to their pages by finish. */
    void (*stream)(struct qm_device *d, const struct qm_op *op, const struct qm_op_part *part);
    /* to: of down products. HEAD writes logits and hidden states, and ATTENTION maps, where the batch says, by finish.
     */
    void (*enqueue)(struct qm_device *d, const struct qm_op *op, const struct qm_op_part *part, enum qm_sum_to to);
    /* Its own sum is added to the residual there. */
    void (*add)(struct qm_device *d);
    qm_ticket (*receive)(struct qm_device *d, enum qm_hand what, const struct qm_hand_over *to);
    int (*wait)(struct qm_device *d, qm_ticket t, struct qm_error *err);
    int (*finish)(struct qm_device *d, struct qm_error *err);

    /* Pages of the keys and values that are placed there, of one state (qm_op.state), all heads:
     * [kv_heads][page_bytes]. Between steps; done when it returns. A page is cleared (from -1), or copied, written,
     * read. One that is read from a device that has failed is all ones: NaN. */
    void (*page_copy)(struct qm_device *d, int state, int64_t from, int64_t to);
    void (*page_write)(struct qm_device *d, int state, int64_t page, const void *bytes);
    void (*page_read)(struct qm_device *d, int state, int64_t page, void *bytes);

    void (*report)(const struct qm_device *d, struct qm_device_report *out);
    void (*close)(struct qm_device *d);
};

/* What to open it for. All pointers are lent until it is closed. */
struct qm_device_load {
    const struct qm_model *model;
    const struct qm_forward *forward;
    struct qm_workload workload;
    struct qm_device_memory memory;         /* to take now */
    const struct qm_packed_weight *weights; /* [weights of the model], where the CPU has them */
    const struct qm_kv *kv;                 /* the CPU's pages, and how many there are of each state */
    const struct qm_cpu *cpu;               /* for a driver that computes by the CPU's kernels */
    struct qm_host_clock *clock;
};

/* A kind of device. */
struct qm_device_driver {
    /* config: what this driver is told, in its own form; it copies what it keeps. QM_FIT where the device's memory is
     * not enough, by part; what else is wrong with the device is QM_SYSTEM. */
    int (*open)(const void *config, const struct qm_device_load *load, struct qm_device **out, struct qm_error *err);
};

#endif
