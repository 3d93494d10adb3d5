/* Fuzz target: profiles of routing. What is accepted is measured without harm, written and read back the same. */
#include <stdlib.h>
#include <string.h>

#include "engine/routing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct qm_routing_profile p, back;
    struct qm_routing_skew skew;
    struct qm_error err;
    struct qm_config c = {.model_type = "fuzz"};
    char *text = NULL;
    if (qm_routing_profile_parse((const char *)data, size, "fuzz", &p, &err))
        return 0;
    qm_routing_measure(&p, &skew);
    if (!(skew.static_share >= 0 && skew.static_share <= 1))
        abort();
    if (!qm_routing_profile_write(&p, &c, &text, &err)) {
        if (qm_routing_profile_parse(text, strlen(text), "fuzz", &back, &err) || back.tokens != p.tokens ||
            memcmp(back.count, p.count, (size_t)(p.layers * p.experts) * sizeof *p.count) != 0)
            abort();
        qm_routing_profile_free(&back);
    }
    free(text);
    qm_routing_profile_free(&p);
    return 0;
}
