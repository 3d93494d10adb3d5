/* The engine's insides, shared by its files. */
#ifndef QM_ENGINE_ENGINE_PRIVATE_H
#define QM_ENGINE_ENGINE_PRIVATE_H

#include "base/buf.h"
#include "engine/cpu/cpu.h"
#include "engine/engine.h"
#include "engine/forward.h"
#include "engine/kv.h"
#include "engine/placed.h"
#include "engine/report.h"
#include "engine/sequence.h"
#include "numa/team.h"

struct qm_engine {
    const struct qm_model *model;
    struct qm_forward forward;
    struct qm_workload workload;
    struct qm_memory_table memory;
    enum qm_isa isa;
    struct qm_team *team;
    struct qm_engine *beside;    /* whose team that is; NULL: its own */
    struct qm_binding *bindings; /* [nodes of the team] */
    struct qm_buf notes;
    struct qm_engine_load load;
    struct qm_kv kv;
    struct qm_cpu *cpu;
    struct qm_placed *placed; /* NULL: everything on the CPU */
    struct qm_host_clock clock;
    bool devices_required;
    char failures[512];
    size_t failures_reported; /* bytes of them */
    qm_fall_back_fn *on_fall_back;
    void *fall_back_arg;
    int64_t losses;                /* times that keys and values were lost with a device */
    struct qm_sequence *sequences; /* [workload.sequences], the first n_sequences of them with page tables; */
    int64_t n_sequences;
    struct qm_sequence *free_sequences; /* those that are not open, a list */
    struct qm_engine_profile *profile;
    struct qm_routing_profile *routing;
    const struct qm_kv_tables *routed;      /* the sequence counted last, where a step had only one, */
    int64_t routed_end;                     /* and how far */
    struct qm_power_cap *cap;               /* NULL: none */
    const volatile sig_atomic_t *interrupt; /* NULL: none */
    double paused;                          /* seconds, by the cap */
    struct qm_quiet *quiet;                 /* NULL: all threads */
    bool quiet_prefill;
    int prefill_threads; /* with quiet_prefill, until the fewest are found */
    /* the batch of a step, sized for chunk rows */
    struct qm_batch_sequence *step_sequences;
    int32_t *token, *logit_row;
    int64_t *position;
    float **logit_out;
};

struct qm_sequence {
    struct qm_engine *engine;
    struct qm_kv_tables tables;
    int64_t losses; /* of the engine when it was last empty */
    bool in_step;
    struct qm_sequence *next; /* while it is not open */
};

int qm_engine_open_sequences(struct qm_engine *e, struct qm_error *err);
void qm_engine_close_sequences(struct qm_engine *e);

/* QM_FIT where the pool has not so many free pages of the main group. */
int qm_engine_check_pool(const struct qm_engine *e, int64_t missing, struct qm_error *err);

#endif
