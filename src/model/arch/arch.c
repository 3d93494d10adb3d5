/* The list of architectures. A new one is a file here, a line in arch.h and one below. */
#include "model/arch/arch.h"

#include <stdio.h>
#include <string.h>

static const struct qm_arch *const all[] = {&qm_arch_gpt_oss, &qm_arch_internlm2, &qm_arch_llama, &qm_arch_mistral,
                                            &qm_arch_mixtral, &qm_arch_qwen2,     &qm_arch_qwen3, &qm_arch_qwen3_moe};
enum { COUNT = sizeof all / sizeof all[0] };

const struct qm_arch *qm_arch_find(const char *model_type) {
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(all[i]->model_type, model_type) == 0)
            return all[i];
    return NULL;
}

void qm_arch_names(char *out, size_t size) {
    size_t used = 0;
    for (size_t i = 0; i < COUNT && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", all[i]->model_type);
}
