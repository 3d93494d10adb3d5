/* The engine: a model's weights in panels, a thread team, and the forward pass over the tokens of any number
 * of sequences at once. The narrow waist: everything above talks to a model through this header, and by its subjects:
 * sequences, blocks and their pool (sequence.h), and what the engine reports (report.h).
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

#include "base/dtype.h"
#include "base/error.h"
#include "base/progress.h"
#include "engine/memory.h"
#include "model/model.h"
#include "numa/topology.h"
#include "simd/isa.h"

struct qm_device_setup; /* device.h */
struct qm_placement;    /* placement.h */
struct qm_power_cap;    /* numa/power_cap.h */
struct qm_team;         /* numa/team.h */

struct qm_engine;
struct qm_sequence;

struct qm_engine_options {
    struct qm_engine *beside; /* computes on that engine's threads, never at once with it, pauses by its power cap, and
                               * is closed before it; what follows of threads and nodes is then not looked at. NULL:
                               * threads of its own */
    int threads;              /* 0: one a physical core */
    struct qm_numa numa;      /* nodes that compute and hold weights and KV */
    const struct qm_topology *topology; /* to use instead of this machine's, of those nodes; NULL */
    enum qm_isa isa;                    /* qm_isa_auto() unless asked for */
    int64_t context;                    /* tokens of one sequence; 0: the model's maximum, or what fits in memory */
    int64_t sequences;                  /* at once; 0: 1 */
    int64_t chunk;                      /* tokens of one step; 0: QM_DEFAULT_CHUNK */
    uint64_t kv_memory;            /* bytes of the pool of KV pages that sequences and kept blocks share; 0: enough for
                                    * `sequences` times `context`. A sequence may hold up to `context` tokens, and a step is
                                    * QM_FIT where the pool is short */
    int kv_type;                   /* enum qm_dtype, or -1: the weights' own (BF16 for MXFP4) */
    struct qm_draft_memory drafts; /* what drafts will take beside, which is left free */
    const struct qm_placement *placement;  /* NULL: everything on the CPU */
    const struct qm_device_setup *devices; /* [placement->devices - 1] */
    bool devices_required;                 /* a device that fails is not replaced by the CPU */
    qm_progress_fn *progress; /* while loading, on the calling thread, and where a device is lost; may be NULL */
    void *progress_arg;
};

/* Checks memory before allocating (QM_FIT with needed and available by part), then loads. QM_USAGE for a NUMA node that
 * can't be used. model must outlive the engine. A model opened from its config alone gets random weights, for
 * measuring. A weight that is not finite (or an MXFP4 scale of 255) is QM_INPUT, naming tensor and index. */
int qm_engine_open(const struct qm_model *m, const struct qm_engine_options *o, struct qm_engine **out,
                   struct qm_error *err);
void qm_engine_close(struct qm_engine *e);

const struct qm_model *qm_engine_model(const struct qm_engine *e);
/* What it was opened for, as it was found to fit. */
const struct qm_workload *qm_engine_workload(const struct qm_engine *e);
int64_t qm_engine_context(const struct qm_engine *e);
int64_t qm_engine_chunk(const struct qm_engine *e);
int64_t qm_engine_sequences(const struct qm_engine *e); /* that may be open at once */
int qm_engine_threads(const struct qm_engine *e);
enum qm_isa qm_engine_isa(const struct qm_engine *e);
enum qm_dtype qm_engine_kv_type(const struct qm_engine *e);

/* One sequence's part of a step: its next n tokens. */
struct qm_step_rows {
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
int qm_engine_step(struct qm_engine *e, const struct qm_step_rows *steps, int n_steps, struct qm_error *err);

/* Seconds, monotonic: the clock to measure steps by. Where devices are emulated it goes on by what they are said to
 * take instead of what emulating them takes. */
double qm_engine_clock(const struct qm_engine *e);

/* Runs fn(arg, thread, i) once for each i of 0..n - 1, between steps, on the threads that compute them: each takes
 * consecutive i, in order. thread: 0..qm_engine_threads() - 1, for what a thread has of its own. */
typedef void qm_engine_item_fn(void *arg, int thread, int64_t i);
void qm_engine_run(struct qm_engine *e, int64_t n, qm_engine_item_fn *fn, void *arg);
/* The team of these threads, for measuring what the machine can do (numa/team.h). */
struct qm_team *qm_engine_team(const struct qm_engine *e);

/* Steps of one token a sequence run on as few threads as keep this share of their speed (engine/quiet.h), found while
 * they run; other steps on all, or, with prefill_too, on the same few: on `threads` until they are found. Results
 * are the same bits. share 0: all threads again. */
int qm_engine_set_quiet(struct qm_engine *e, double share, bool prefill_too, int threads, struct qm_error *err);

/* From now on steps are interrupted by the cap's pauses. It belongs to the engine then; NULL: none. */
void qm_engine_set_power_cap(struct qm_engine *e, struct qm_power_cap *cap);

/* While *flag is not 0, a step of more than one token of some sequence ends before its next operation with
 * QM_INTERRUPTED, the sequences as they were: a prompt's step may take seconds. Steps by a placement end as ever. NULL:
 * none. The flag must outlive the engine, or be taken back. */
void qm_engine_set_interrupt(struct qm_engine *e, const volatile sig_atomic_t *flag);

/* A step that ends because a device fails is QM_SYSTEM, and so is every further one until qm_engine_fall_back has moved
 * what is on the device to the CPU; from there on the same bits come out. The keys and values of all sequences and
 * blocks are lost: release the blocks, truncate each sequence to 0 and compute its tokens again. What was there is read
 * from the model's files, with the options' progress, into memory that is taken now: QM_FIT where that is not there
 * (which qm_engine_notes said at the beginning). Where devices are required it fails with the failure's message. */
bool qm_engine_device_failed(const struct qm_engine *e);
int qm_engine_fall_back(struct qm_engine *e, struct qm_error *err);
/* From now on called by each qm_engine_fall_back that moved something, with what failed, for people. */
typedef void qm_fall_back_fn(void *arg, const char *what);
void qm_engine_on_fall_back(struct qm_engine *e, qm_fall_back_fn *on_failure, void *arg);

#endif
