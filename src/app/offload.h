/* Devices and what goes to them: from wishes to a placement and the engine's options. Between the command line's
 * decoding and plan.h, which finds the placement; shared by every command that opens an engine, and by quietmind plan.
 */
#ifndef QM_APP_OFFLOAD_H
#define QM_APP_OFFLOAD_H

#include "app/plan/plan.h"
#include "app/progress.h"
#include "app/texts.h"
#include "engine/engine.h"
#include "offload/emulated/emulated.h"

enum qm_offload_wish {
    QM_OFFLOAD_UNSAID, /* auto, where there are devices */
    QM_OFFLOAD_AUTO,
    QM_OFFLOAD_REQUIRE, /* auto, and a device must be there */
    QM_OFFLOAD_NONE,    /* all on the CPU */
    QM_OFFLOAD_LAYERS,  /* the last ones */
    QM_OFFLOAD_FILE     /* a placement that was saved */
};

/* Strings are borrowed. */
struct qm_offload_options {
    struct qm_texts devices; /* descriptions, or files that have one */
    enum qm_offload_wish wish;
    const char *text; /* the wish as it was said; with QM_OFFLOAD_FILE the file; NULL: none was */
    int64_t layers;   /* with QM_OFFLOAD_LAYERS, as said: not held against a model yet */
    uint64_t vram;    /* most bytes of each device; 0: all that it has */
};

/* The options' devices are added to the machine's. */
int qm_offload_devices(const struct qm_offload_options *o, struct qm_machine_model *s, struct qm_error *err);
/* QM_USAGE where --device names a card that is not emulated, or --offload require has none: this build computes on no
 * GPU. For commands that compute, before anything is opened or measured. */
int qm_offload_refuse_cards(const struct qm_offload_options *o, struct qm_error *err);
/* What is wrong about a device is said before measuring, which takes a while; cards may be among them. */
int qm_offload_check_devices(const struct qm_offload_options *o, struct qm_error *err);
/* The wish to ask->on_cpu, last_layers or given. *given is to be freed. */
int qm_offload_what(const struct qm_offload_options *o, const struct qm_model *m, struct qm_plan_ask *ask,
                    struct qm_placement *given, struct qm_error *err);

/* How the engine drives the machine's devices, which are emulated (others are refused: qm_offload_refuse_cards):
 * config[devices] and out[devices], which points into it. */
void qm_offload_drive(const struct qm_machine_model *s, struct qm_emulated_config *config, struct qm_device_setup *out);
/* Whether a device has less free than the answer takes of it: then it is to be planned again. */
bool qm_offload_is_short(const struct qm_machine_model *s, const struct qm_plan_answer *a);
/* Notes which devices those are. */
void qm_offload_note_short(const struct qm_machine_model *s, const struct qm_plan_answer *a,
                           struct qm_progress *progress);
/* Makes what is free of each device all its memory. */
void qm_offload_take_free(struct qm_machine_model *s);

struct qm_offload;

/* What the engine is to do, for the job given: its placement, devices, and, where o->context is 0, the context that
 * fits. *out is NULL where everything is on the CPU; else it must outlive qm_engine_open. Devices are emulated ones
 * (see qm_offload_refuse_cards). kept: a placement's text (qm_offload_plan) that takes the place of planning where
 * no other one is wished; NULL. What it needs and is not there is QM_INPUT (a device) or QM_FIT (its memory).
 */
int qm_offload_open(const struct qm_offload_options *wanted, const struct qm_model *m, const struct qm_scenario *job,
                    struct qm_engine_options *o, const char *kept, struct qm_progress *progress,
                    struct qm_offload **out, struct qm_error *err);
/* The placement as a plan's text, to be kept; allocated, NULL where everything is on the CPU. */
int qm_offload_plan(const struct qm_offload *o, const struct qm_model *m, char **out, struct qm_error *err);
void qm_offload_free(struct qm_offload *o);
/* Where units are, on standard error. */
void qm_offload_note(const struct qm_offload *o, struct qm_progress *progress);
/* That a device failed and the CPU goes on, reported at once: qm_engine_on_fall_back. arg: a qm_progress. */
void qm_offload_note_failure(void *progress, const char *what);
/* What the devices did, and whether one failed. Nothing where there are none. */
void qm_offload_report(const struct qm_engine *e, struct qm_progress *progress);
/* The same for a program: a list, or null. A new reference, NULL: out of memory. */
json_t *qm_offload_json(const struct qm_engine *e);

#endif
