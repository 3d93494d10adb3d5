/* Energy by the processor's own counters (RAPL, through Linux's powercap): packages, and memory where it is
 * counted apart. The counters wrap; they are followed as long as they are read more often than that (minutes
 * at full load). Not thread-safe. */
#ifndef QM_NUMA_ENERGY_H
#define QM_NUMA_ENERGY_H

#include "base/error.h"

struct qm_energy;

/* root: put before /sys ("" is the machine itself; tests give a tree of their own). QM_SYSTEM with the reason
 * where there are no counters or they may not be read. */
int qm_energy_open(const char *root, struct qm_energy **out, struct qm_error *err);
void qm_energy_close(struct qm_energy *e);
/* Domains that are counted. */
int qm_energy_domains(const struct qm_energy *e);
/* Joules of all domains since qm_energy_open. */
int qm_energy_joules(struct qm_energy *e, double *joules, struct qm_error *err);

#endif
