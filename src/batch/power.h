/* Whether the machine runs on battery. */
#ifndef QM_BATCH_POWER_H
#define QM_BATCH_POWER_H

#include <stdbool.h>

/* root: put before /sys ("" is the machine itself). True where no mains supply is connected and a battery discharges.
 */
bool qm_on_battery(const char *root);

#endif
