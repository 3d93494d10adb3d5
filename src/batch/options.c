/* Defaults. */
#include "batch/options.h"

const struct qm_batch_options qm_batch_options_default = {
    .kv_type = -1, .sequences = QM_BATCH_SEQUENCES, .look_ahead = QM_BATCH_LOOK_AHEAD};
