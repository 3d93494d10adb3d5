/* A model and an engine over it, opened for a test, and a prompt run through them in pieces. */
#ifndef QM_TESTS_SUPPORT_RUN_MODEL_H
#define QM_TESTS_SUPPORT_RUN_MODEL_H

#include "engine/engine.h"
#include "offload/emulated/emulated.h"

/* An emulated device of 1 GiB that never fails and is faster than any CPU. */
extern const struct qm_emulated_config test_card;
/* As the engine takes it; the config is borrowed. */
struct qm_device_setup test_device(const struct qm_emulated_config *c);

/* For tests whose subject is not the kernels: the best instruction set, but AVX2 where test_slow() is false, since
 * sanitizers slow AVX-512 down most. */
enum qm_isa run_model_isa(void);

struct run_model {
    struct qm_model *model;
    struct qm_engine *engine;
};

void run_model_open(struct run_model *r, const char *dir, const struct qm_overrides *overrides,
                    struct qm_engine_options o);
void run_model_close(struct run_model *r);

/* Runs ids through a new sequence in steps of at most `piece` tokens; the logits of the last n_logits positions
 * (malloc'd, [n_logits][vocab]). */
float *run_logits(struct qm_engine *e, const int32_t *ids, int64_t n, int64_t piece, int64_t n_logits);

#endif
