/* Fuzz target: described machines. What is accepted has only numbers that the time model can use. */
#include <math.h>
#include <stdlib.h>

#include "planner/machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct qm_machine_model *s = malloc(sizeof *s);
    struct qm_error err;
    if (s && !qm_machine_model_parse((const char *)data, size, "fuzz", s, &err)) {
        if (s->nodes < 1 || s->cores < 1)
            abort();
        for (int threads = 0; threads <= s->cores; threads += 1 + s->cores / 7) {
            double read = qm_machine_model_read(s, threads), flops = qm_machine_model_flops(s, QM_BF16, threads);
            if (!isfinite(read) || read <= 0 || !isfinite(flops) || flops <= 0)
                abort();
        }
    }
    free(s);
    return 0;
}
