/* What the time model knows of a machine: its peaks, the efficiency of its kernels, and its
 * devices. Where in the flow: read from a described machine's file here, or from the profile of this machine by the
 * app; below time.h. Immutable once read.
 *
 * Rates are a second: bytes, or floating-point operations. Times of parts are in the unit of their name. */
#ifndef QM_PLANNER_MACHINE_H
#define QM_PLANNER_MACHINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/error.h"
#include "engine/placement.h"

enum { QM_EFFICIENCY_POINTS = 12, QM_MODEL_POINTS = 16, QM_MODEL_NODES = 64, QM_MAX_SOURCES = 16 };

/* The efficiency of a kernel by rows, ascending: the share of its peak (the longer of reading and computing) that it
 * reaches. n is 0 where it is not known. */
struct qm_efficiency_curve {
    int n;
    double rows[QM_EFFICIENCY_POINTS], efficiency[QM_EFFICIENCY_POINTS];
};

/* Which kernels: products with dense weights and with experts' (rows of one expert), and attention with heads of 64 and
 * of 128 (rows of queries that share the keys of one KV head: the weight is the keys and values). */
enum qm_kernel_class {
    QM_KERNEL_DENSE,
    QM_KERNEL_EXPERTS,
    QM_KERNEL_ATTENTION_64,
    QM_KERNEL_ATTENTION_128,
    QM_KERNEL_CLASSES
};
const char *qm_kernel_class_name(enum qm_kernel_class k);

struct qm_efficiency {
    struct qm_efficiency_curve kernel[QM_KERNEL_CLASSES]
                                     [QM_DTYPE_COUNT]; /* by type of the weights, or of the KV cache */
    double value_ns; /* of one thread, for a value of q, k or v: norm, rotation, store */
    double route_ns; /* of one thread, for a comparison in choosing k of E experts: E k (k + 1) / 2 a token */
};

/* An efficiency where only some rows are known: times are interpolated linearly in rows; beyond the last point it
 * stays. The type's own, else BF16's; where nothing was measured, the limit itself. */
const struct qm_efficiency_curve *qm_efficiency_at(const struct qm_efficiency *e, enum qm_kernel_class k,
                                                   enum qm_dtype t);

/* One NUMA node. */
struct qm_node_model {
    uint64_t memory; /* 0: not known */
    int cores;
    int n; /* bytes a second by threads, ascending */
    struct {
        int threads;
        double rate;
    } read[QM_MODEL_POINTS];
};

/* Where a number comes from. GIVEN: from the command line; DEFAULT: taken where nothing was measured. */
enum qm_mark { QM_MARK_MEASURED, QM_MARK_PUBLISHED, QM_MARK_ESTIMATED, QM_MARK_GIVEN, QM_MARK_DEFAULT, QM_MARKS };
const char *qm_mark_name(enum qm_mark m);

/* What a driver's context and a desktop take of a described card's memory, unless it says so itself. */
enum { QM_CARD_RESERVE = 1536 << 20 };

/* A device with memory of its own. */
struct qm_device_model {
    char name[64];
    bool emulated;
    uint64_t memory, reserve; /* what may be used, and what of the card may not */
    double read, bf16, f32;
    enum qm_mark memory_mark, read_mark, bf16_mark;
    double read_efficiency, flops_efficiency, attention_efficiency; /* that its kernels reach */
    double up, down;               /* of the link, to the device and back, nothing else running */
    double up_busy, down_busy;     /* while the CPU reads its memory */
    double cpu_read_busy;          /* share of the CPU's read rate that is left while the link is busy */
    double launch_us, transfer_us; /* of an op; of transferring the residual, besides the bytes */
    double watts, idle_watts;      /* 0: not known */
    int64_t fail_at;               /* of an emulated one: the op (1, 2, ...) at which it fails; 0: it does not */
    uint64_t free;                 /* of an emulated one: what of its memory turns out to be free; 0: all of it */
};

struct qm_machine_model {
    char name[256], isa[16];
    int nodes;
    struct qm_node_model node[QM_MODEL_NODES];
    uint64_t memory; /* of all nodes */
    int cores;
    double read, bf16, f32; /* of all cores */
    double region_us, barrier_us;
    double watts, idle_watts; /* of processors and memory under load; 0: not known */
    struct qm_efficiency efficiency;
    int devices; /* without the CPU */
    struct qm_device_model device[QM_MAX_DEVICES - 1];
    int marks[QM_MARKS]; /* how many numbers of the file are which */
    enum qm_mark read_mark, bf16_mark;
    enum qm_mark efficiency_mark; /* of the kernels' efficiency: MEASURED, ESTIMATED (a described machine), DEFAULT */
    char missing[256];            /* kernels with a default efficiency beside measured ones; "" */
    char noise[600];              /* what ran beside the measurements, in words; "": they were taken in quiet */
    char source[QM_MAX_SOURCES][256];
    int n_sources;
};

/* The rate at which so many threads read, spread over the nodes as the team spreads them; 0: all cores. */
double qm_machine_model_read(const struct qm_machine_model *s, int threads);
/* Multiply-adds of so many threads, of products with this type. */
double qm_machine_model_flops(const struct qm_machine_model *s, enum qm_dtype t, int threads);

/* The efficiency where nothing was measured: of BF16 kernels on two Zen 5 cores (bench/results). */
void qm_efficiency_default(struct qm_efficiency *e);
/* Takes the default efficiency where there is none. */
void qm_efficiency_fill(struct qm_efficiency *e);
json_t *qm_efficiency_json(const struct qm_efficiency *e);
int qm_efficiency_parse(const json_t *root, const char *name, struct qm_efficiency *out, struct qm_error *err);

/* A described machine. Untrusted: every field is checked, none may be left over; QM_INPUT names what is not so. A
 * number is plain (measured), or {"value": X, "is": "published" or "estimated"}. docs/plan.md lists the fields. */
int qm_machine_model_parse(const char *text, size_t len, const char *name, struct qm_machine_model *out,
                           struct qm_error *err);

/* A described device, which is added to the machine's: {"version": 1, "sources": [...], "device": {...}}. Untrusted. */
int qm_machine_model_add_device(const char *text, size_t len, const char *name, struct qm_machine_model *s,
                                struct qm_error *err);

/* A device in short: NAME:SIZE,bandwidth=GB/s,bf16=RATE,pcie=GB/s,... such as
 * emulated:90GiB,bandwidth=1792,bf16=500T,pcie=55. What is left out is that of such a card. QM_USAGE
 * otherwise, naming `option`, what the caller calls it. */
int qm_device_model_parse(const char *option, const char *text, struct qm_device_model *out, struct qm_error *err);

/* "90GiB", "96G", "1.5TB": bytes; plain G is GiB. QM_USAGE naming `option`. */
int qm_size_parse(const char *option, const char *text, uint64_t *out, struct qm_error *err);

#endif
