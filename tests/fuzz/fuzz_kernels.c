/* Fuzz target: kept efficiencies of kernels. What is accepted can be divided by. */
#include <stdlib.h>

#include "base/json.h"
#include "planner/calibration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct qm_calibration c;
    struct qm_error err;
    json_t *root = NULL;
    int rc = qm_json_parse((const char *)data, size, "fuzz", &root, &err);
    rc = rc ? rc : qm_calibration_from_json(root, "fuzz", "a machine", "avx2", "a build", &c, &err);
    json_decref(root);
    if (rc)
        return 0;
    for (int k = 0; k < QM_KERNEL_CLASSES; k++)
        for (int t = 0; t < QM_DTYPE_COUNT; t++) {
            const struct qm_efficiency_curve *s =
                qm_efficiency_at(&c.efficiency, (enum qm_kernel_class)k, (enum qm_dtype)t);
            if (s->n < 1)
                abort();
            for (int i = 0; i < s->n; i++)
                if (!(s->efficiency[i] > 0 && s->rows[i] > 0))
                    abort();
        }
    return 0;
}
