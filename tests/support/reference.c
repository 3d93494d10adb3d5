/* Reading of reference vectors. The program's own safetensors reader refuses integer tensors, so this one, which
 * trusts its input, stands beside it. */
#include "tests/support/reference.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const char *const reference_names[] = {
    "qwen3",        "qwen3_yarn", "qwen3_f32",     "qwen3_moe",  "qwen3_moe_mixed", "qwen2",   "llama",     "llama_f16",
    "llama_linear", "yi",         "llama_dynamic", "mistral",    "mistral_nemo",    "mixtral", "internlm2", "gpt_oss",
    "seed_oss",     "smollm3",    "ministral3",    "minimax_m2", "glm4_moe",        "olmo3",   NULL};

void reference_open(struct reference *r, const char *name) {
    char path[1024];
    snprintf(r->dir, sizeof r->dir, "tests/data/reference/%s", name);
    snprintf(path, sizeof path, "%s/reference.json", r->dir);
    r->note = json_load_file(path, 0, NULL);
    snprintf(path, sizeof path, "%s/reference.safetensors", r->dir);
    FILE *f = fopen(path, "rb");
    if (!r->note || !f)
        fail_msg("%s cannot be read", path);
    uint64_t n;
    if (fread(&n, 8, 1, f) != 1)
        fail_msg("%s is short", path);
    fseek(f, 0, SEEK_END);
    size_t size = (size_t)ftell(f) - 8;
    fseek(f, 8, SEEK_SET);
    char *all = malloc(size);
    if (!all || fread(all, 1, size, f) != size)
        fail_msg("%s is short", path);
    fclose(f);
    r->header = json_loadb(all, n, 0, NULL);
    r->data = malloc(size - n);
    memcpy(r->data, all + n, size - n);
    free(all);
}

void reference_close(struct reference *r) {
    json_decref(r->note);
    json_decref(r->header);
    free(r->data);
}

const void *reference_tensor(const struct reference *r, const char *name, int64_t shape[4]) {
    const json_t *t = json_object_get(r->header, name);
    if (!t)
        return NULL;
    const json_t *dims = json_object_get(t, "shape");
    for (size_t i = 0; i < 4; i++)
        shape[i] = i < json_array_size(dims) ? json_integer_value(json_array_get(dims, i)) : 1;
    return r->data + json_integer_value(json_array_get(json_object_get(t, "data_offsets"), 0));
}

double reference_number(const struct reference *r, const char *key, double otherwise) {
    const json_t *v = json_object_get(r->note, key);
    return v ? json_number_value(v) : otherwise;
}

double relative_error(const float *a, const float *b, int64_t n) {
    double diff = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(a[i]))
            return INFINITY;
        double d = (double)a[i] - (double)b[i];
        diff += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(diff / norm);
}
