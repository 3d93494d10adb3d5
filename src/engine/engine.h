/* The engine: a model's weights in panels, a thread team, and the forward pass over the tokens of any number
 * of sequences at once. The narrow waist: everything above talks to a model through this header.
 *
 * Bit-identity: within one instruction set and KV type, the logits of a token are the same to the last bit
 * whatever the step's other tokens and sequences, the way the prompt is cut into steps, the threads, and the NUMA
 * nodes.
 *
 * Thread-safety: one step at a time an engine; an engine and its sequences belong to one caller. */
#ifndef QM_ENGINE_ENGINE_H
#define QM_ENGINE_ENGINE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/device_report.h"
#include "engine/forward.h"
#include "engine/memory.h"
#include "engine/placement.h"
#include "engine/quiet.h"
#include "engine/routing.h"
#include "model/model.h"
#include "numa/memory.h"
#include "numa/power_cap.h"
#include "numa/team.h"
#include "simd/isa.h"

struct qm_engine;
struct qm_sequence;

/* Called now and then while loading, on the calling thread. Returning nonzero interrupts the load. */
typedef int qm_progress_fn(void *arg, const char *what, uint64_t done, uint64_t total);

struct qm_device_driver;

/* A device beside the CPU: who drives it (device.h), and what that is told. Borrowed until the engine is open. */
struct qm_device_setup {
    const char *name; /* less than QM_DEVICE_NAME bytes of it are kept */
    const struct qm_device_driver *driver;
    const void *config;
};

struct qm_engine_options {
    struct qm_engine *beside; /* computes on that engine's threads, never at once with it, and is closed before it; what
                               * follows of threads and nodes is then not looked at. NULL: threads of its own */
    int threads;              /* 0: one a physical core */
    struct qm_numa numa;      /* nodes that compute and hold weights and KV */
    const struct qm_topology *topology; /* to use instead of this machine's, of those nodes; NULL */
    enum qm_isa isa;                    /* qm_isa_auto() unless asked for */
    int64_t context;                    /* tokens of one sequence; 0: the model's maximum, or what fits in memory */
    int64_t sequences;                  /* at once; 0: 1 */
    int64_t chunk;                      /* tokens of one step; 0: QM_DEFAULT_CHUNK */
    uint64_t kv_memory; /* bytes of the pool of KV pages that sequences and kept blocks share; 0: enough for
                         * `sequences` times `context`. A sequence may hold up to `context` tokens, and a step is
                         * QM_FIT where the pool is short */
    int kv_type;        /* enum qm_dtype, or -1: the weights' own (BF16 for MXFP4) */
    const struct qm_placement *placement;  /* NULL: everything on the CPU */
    const struct qm_device_setup *devices; /* [placement->devices - 1] */
    bool devices_required;                 /* a device that fails is not replaced by the CPU */
    qm_progress_fn *progress;              /* may be NULL */
    void *progress_arg;
};

/* Checks memory before allocating (QM_FIT with needed and available by part), then loads. QM_USAGE for a NUMA node that
 * can't be used. model must outlive
 * the engine. A model opened from its config alone gets random weights, for measuring. A weight that is not finite (or
 * an MXFP4 scale of 255) is QM_INPUT, naming tensor and index. */
int qm_engine_open(const struct qm_model *m, const struct qm_engine_options *o, struct qm_engine **out,
                   struct qm_error *err);
void qm_engine_close(struct qm_engine *e);

const struct qm_model *qm_engine_model(const struct qm_engine *e);
int64_t qm_engine_context(const struct qm_engine *e);
int64_t qm_engine_chunk(const struct qm_engine *e);
int64_t qm_engine_sequences(const struct qm_engine *e); /* that may be open at once */
int qm_engine_threads(const struct qm_engine *e);
enum qm_isa qm_engine_isa(const struct qm_engine *e);
enum qm_dtype qm_engine_kv_type(const struct qm_engine *e);
const struct qm_memory_table *qm_engine_memory(const struct qm_engine *e);
/* How the weights were loaded. */
struct qm_engine_load {
    uint64_t bytes; /* of weights, as packed */
    double seconds;
    bool dropped_cache; /* the files are not left in the page cache: it would not have fitted beside weights and KV */
};
struct qm_engine_load qm_engine_load(const struct qm_engine *e);

/* What one of the nodes has that share the weights and the keys and values. */
struct qm_engine_node {
    int number, threads;                    /* the system's number, -1 where nodes are not told apart */
    struct qm_memory weights, kv;           /* lent; data NULL: none */
    struct qm_page_count in_weights, in_kv; /* pages that are there now, and are where they should be */
};
int qm_engine_nodes(const struct qm_engine *e);
/* Counts pages, which takes up to a fraction of a second a node where nodes are told apart. */
struct qm_engine_node qm_engine_node(const struct qm_engine *e, int node);
/* Lines about what is not as it should be where memory and threads lie; "" where all is. */
const char *qm_engine_notes(const struct qm_engine *e);
/* Bytes of weights and KV read for one more token of a sequence with `depth` tokens. */
uint64_t qm_engine_decode_bytes(const struct qm_engine *e, int64_t depth);

/* The team that computes the steps, for what the same threads do between steps: sampling, measuring the machine. */
struct qm_team *qm_engine_team(const struct qm_engine *e);

/* Where the time of steps goes, by kind of op. */
struct qm_engine_profile {
    double seconds[QM_OP_COUNT];
    uint64_t calls[QM_OP_COUNT];
    uint64_t barriers[QM_OP_COUNT]; /* times that all threads waited for each other: ends of regions, and inside them */
    uint64_t regions, steps;
};
/* Of the ops of layers alone, for one layer and step; 0 where nothing was counted. */
double qm_profile_layer_barriers(const struct qm_engine_profile *p);
/* From now on steps are added to *p, until NULL is given. Costs two readings of the clock an op. */
void qm_engine_set_profile(struct qm_engine *e, struct qm_engine_profile *p);

/* From now on the experts that each token chooses are counted in *p, which is of this model, until NULL is given. */
void qm_engine_set_routing(struct qm_engine *e, struct qm_routing_profile *p);

/* Steps of one token a sequence run on as few threads as keep this share of their speed (engine/quiet.h), found while
 * they run; other steps on all, or, with prefill_too, on the same few: on `threads` until they are found. Results
 * are the same bits. share 0: all threads again. */
int qm_engine_set_quiet(struct qm_engine *e, double share, bool prefill_too, int threads, struct qm_error *err);
/* What was found; false where no share is set. */
bool qm_engine_quiet(const struct qm_engine *e, struct qm_quiet_state *out);

/* From now on steps are interrupted by the cap's pauses. It belongs to the engine then; NULL: none. */
void qm_engine_set_power_cap(struct qm_engine *e, struct qm_power_cap *cap);
const struct qm_power_cap *qm_engine_power_cap(const struct qm_engine *e);

/* While *flag is not 0, a step of more than one token of some sequence ends before its next operation with
 * QM_INTERRUPTED, the sequences as they were: a prompt's step may take seconds. Steps by a placement end as ever. NULL:
 * none. The flag must outlive the engine, or be taken back. */
void qm_engine_set_interrupt(struct qm_engine *e, const volatile sig_atomic_t *flag);

/* Seconds, monotonic: the clock to measure steps by. Where devices are emulated it goes on by what they are said to
 * take instead of what emulating them takes. */
double qm_engine_clock(const struct qm_engine *e);

/* Devices beside the CPU; 0: none. device: 1..qm_engine_devices(). */
int qm_engine_devices(const struct qm_engine *e);
void qm_engine_device_report(const struct qm_engine *e, int device, struct qm_device_report *out);
/* A step that ends because a device fails is QM_SYSTEM, and so is every further one until qm_engine_fall_back has moved
 * what is on the device to the CPU; from there on the same bits come out. The keys and values of all sequences and
 * blocks are lost: release the blocks, truncate each sequence to 0 and compute its tokens again. Where devices are
 * required it fails with the failure's message. */
bool qm_engine_device_failed(const struct qm_engine *e);
int qm_engine_fall_back(struct qm_engine *e, struct qm_error *err);
/* From now on called by each qm_engine_fall_back that moved something, with what failed, for people. */
typedef void qm_fall_back_fn(void *arg, const char *what);
void qm_engine_on_fall_back(struct qm_engine *e, qm_fall_back_fn *told, void *arg);
/* What failed since the engine was opened, for people; "" where nothing has. */
const char *qm_engine_failures(const struct qm_engine *e);

/* A sequence holds no tokens at first. QM_FIT where as many are open as the engine was opened for. Neither allocates
 * anything: sequences and their page tables are made with the engine. */
int qm_sequence_open(struct qm_engine *e, struct qm_sequence **out, struct qm_error *err);
void qm_sequence_close(struct qm_sequence *s);
int64_t qm_sequence_length(const struct qm_sequence *s);
/* Forgets tokens from position n on. Returns the length that is left: n, or 0 where a sliding window no
 * longer holds what position n needs (the prompt must then be computed again). */
int64_t qm_sequence_truncate(struct qm_sequence *s, int64_t n);
/* For measuring at a depth that would take too long to compute: appends n positions that belong to no token,
 * their keys and values small random numbers that follow from seed and position. QM_INPUT beyond the context,
 * QM_FIT where the pages are short; then nothing has changed. */
int qm_sequence_fill_random(struct qm_sequence *s, int64_t n, uint64_t seed, struct qm_error *err);

/* A block is the keys and values of one full page of tokens, [i, i + 1) * qm_engine_block_tokens, in every layer,
 * shared by reference among its holder and the sequences that computed it or were attached to it. What is shared is
 * never written: a sequence that is truncated into a block and goes on has a copy of its own. Layers with a sliding
 * window may lose their part of a block (kv.h says when); then it is still a part of a beginning, but no longer its
 * end. Nothing is allocated by any of these. */
typedef int32_t qm_block; /* a handle, valid until its last release; -1: none */
int64_t qm_engine_block_tokens(const struct qm_engine *e);
/* A reference to block i of s, the caller's to release. -1 where it is not filled, or the window of every layer has
 * moved on. A block that is kept already gives the same handle, with one more reference. */
qm_block qm_sequence_keep(struct qm_sequence *s, int64_t i);
void qm_block_release(struct qm_engine *e, qm_block b);
/* Whether every layer still has its part; whether a sequence holds it too, so that releasing it frees no page. */
bool qm_block_complete(const struct qm_engine *e, qm_block b);
bool qm_block_in_use(const struct qm_engine *e, qm_block b);
/* The longest beginning of blocks[0..n), in blocks, at whose end every window is still there. */
int64_t qm_blocks_usable(const struct qm_engine *e, const qm_block *blocks, int64_t n);
/* An empty sequence takes the tokens of blocks[0..n), which must be usable. QM_USAGE where it is not empty, n blocks
 * are not usable or more than the context. */
int qm_sequence_attach(struct qm_sequence *s, const qm_block *blocks, int64_t n, struct qm_error *err);
/* A block as bytes, for a file of the same model, KV type and instruction set: as many for every block. Import takes
 * pages and gives one reference; QM_FIT where no page is free, QM_INPUT where the bytes cannot be a block's. */
uint64_t qm_engine_block_bytes(const struct qm_engine *e);
void qm_block_export(const struct qm_engine *e, qm_block b, void *out);
int qm_block_import(struct qm_engine *e, const void *bytes, qm_block *out, struct qm_error *err);

/* The pool in blocks: all, and those that neither a sequence nor a block takes. */
struct qm_pool_state {
    int64_t blocks, free_blocks;
};
void qm_engine_pool(const struct qm_engine *e, struct qm_pool_state *out);
/* Tokens that a sequence can come to hold where nobody else takes pages: the context, or what the pool is enough for.
 */
int64_t qm_engine_longest(const struct qm_engine *e);
/* Free blocks that n further tokens of s take. */
int64_t qm_sequence_needs(const struct qm_sequence *s, int64_t n);

/* One sequence's part of a step: its next n tokens. */
struct qm_step {
    struct qm_sequence *sequence;
    const int32_t *tokens;
    int64_t n;
    int64_t n_logits; /* of the last n_logits tokens, 0..n */
    float *logits;    /* [n_logits][vocab], written; may be NULL where n_logits is 0 */
    float *hidden;    /* [hidden] of the last token after the final norm, as the head takes it, written; may be NULL */
    /* Attention probabilities of one layer, or NULL: [heads][n][attention_ld], the columns being positions
     * from 0; columns that are not attended are 0. */
    float *attention;
    int64_t attention_layer, attention_ld;
};

/* Computes a step: at most qm_engine_chunk() tokens in all, each sequence at most once. QM_INPUT for a token id
 * out of range, or more tokens than the sequence's context holds; QM_FIT where the pool of pages is short;
 * QM_INTERRUPTED as qm_engine_set_interrupt says. Then nothing has changed. Allocates nothing. */
int qm_engine_step(struct qm_engine *e, const struct qm_step *steps, int n_steps, struct qm_error *err);

#endif
