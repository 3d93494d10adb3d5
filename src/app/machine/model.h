/* The machine model of a command: this machine, measured, kept or assumed, or a described one. Between the commands
 * that predict and the planner, which measures, keeps and reads. */
#ifndef QM_APP_MACHINE_MODEL_H
#define QM_APP_MACHINE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "app/progress.h"
#include "model/model.h"
#include "planner/machine.h"
#include "simd/isa.h"

/* This machine as the time model knows it: its profile and the efficiency of the kernels that the model needs (NULL: of
 * all), measured now where that is due (see qm_machine_check and qm_calibration_due). */
int qm_app_machine_measure(enum qm_isa isa, const struct qm_model *m, struct qm_progress *progress,
                           struct qm_machine_model *out, struct qm_error *err);
/* The same without measuring: what is kept, and defaults, marked, for what is not. *due, if not NULL: whether
 * qm_app_machine_measure would measure for more than a second. */
int qm_app_machine_kept(enum qm_isa isa, const struct qm_model *m, struct qm_machine_model *out, bool *due,
                        struct qm_error *err);
/* This machine before anything is measured: its memory and cores alone, with rates that mean nothing. */
int qm_app_machine_unmeasured(struct qm_machine_model *out, struct qm_error *err);
/* --machine: a described one, by its file or name. */
int qm_app_machine_described(const char *name, struct qm_machine_model *out, struct qm_error *err);
/* Bytes of main memory to plan with on this machine: what is available now, not what there is. */
uint64_t qm_app_machine_ram(const struct qm_machine_model *s);

#endif
