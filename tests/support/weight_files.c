/* Weights of a folder, changed. */
#include "tests/support/weight_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/safetensors.h"
#include "tests/support/model_files.h"
#include "tests/support/support.h"

static void read_one(const struct qm_shards *s, const struct qm_tensor *t, struct test_weight *out) {
    size_t at = 0;
    *out = (struct test_weight){.type = t->dtype, .bytes = t->bytes, .data = malloc(t->bytes + 1)};
    snprintf(out->name, sizeof out->name, "%s", t->name);
    for (int i = 0; i < t->dims; i++)
        at +=
            (size_t)snprintf(out->shape + at, sizeof out->shape - at, "%s%lld", i ? "," : "[", (long long)t->shape[i]);
    strcpy(out->shape + at, "]");
    assert_int_equal(pread(s->files[t->file].fd, out->data, t->bytes, (off_t)t->offset), (long long)t->bytes);
}

void test_weights_read(const char *folder, struct test_weights *out) {
    struct qm_shards *s;
    struct qm_error err;
    if (qm_shards_open(folder, &s, &err))
        fail_msg("%s", err.message);
    out->n = (size_t)s->n_tensors;
    out->w = calloc(out->n + 1, sizeof *out->w);
    for (size_t i = 0; i < out->n; i++)
        read_one(s, &s->tensors[i], &out->w[i]);
    for (int64_t i = 0; i < s->n_files; i++)
        unlink(s->files[i].path);
    qm_shards_close(s);
}

void test_weights_write(const char *folder, struct test_weights *w) {
    char path[1024], *header = malloc(400 * (w->n + 1));
    size_t at = 0, n = 0;
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    unlink(path);
    for (size_t i = 0; i < w->n; i++) {
        const struct test_weight *t = &w->w[i];
        at += (size_t)sprintf(header + at, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                              i ? "," : "{", t->name, qm_dtype_name(t->type), t->shape, n, n + t->bytes);
        n += t->bytes;
    }
    strcpy(header + at, "}");
    uint8_t *data = malloc(n + 1);
    n = 0;
    for (size_t i = 0; i < w->n; i++) {
        memcpy(data + n, w->w[i].data, w->w[i].bytes);
        n += w->w[i].bytes;
        free(w->w[i].data);
    }
    test_write_safetensors(folder, "model.safetensors", header, n);
    test_overwrite(folder, "model.safetensors", 8 + strlen(header), data, n);
    free(data);
    free(header);
    free(w->w);
    *w = (struct test_weights){0};
}

struct test_weight *test_weights_find(struct test_weights *w, const char *name) {
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->w[i].name, name) == 0)
            return &w->w[i];
    return NULL;
}

static float value(const struct test_weight *t, size_t i) {
    float x;
    uint16_t h;
    if (t->type == QM_F32) {
        memcpy(&x, t->data + i * sizeof x, sizeof x);
        return x;
    }
    memcpy(&h, t->data + i * sizeof h, sizeof h);
    return t->type == QM_BF16 ? qm_f32_from_bf16(h) : qm_f32_from_f16(h);
}

static void cast(struct test_weight *t, enum qm_dtype to) {
    size_t n = t->bytes / qm_dtype_size(t->type);
    uint8_t *out = malloc(n * 4 + 1);
    for (size_t i = 0; i < n; i++) {
        float x = value(t, i);
        uint16_t h = to == QM_BF16 ? qm_bf16_from_f32(x) : qm_f16_from_f32(x);
        if (to == QM_F32)
            memcpy(out + i * 4, &x, 4);
        else
            memcpy(out + i * 2, &h, 2);
    }
    free(t->data);
    t->data = out;
    t->type = to;
    t->bytes = n * qm_dtype_size(to);
}

int test_weights_cast(struct test_weights *w, const char *part, enum qm_dtype to) {
    int n = 0;
    for (size_t i = 0; i < w->n; i++)
        if (strstr(w->w[i].name, part) && w->w[i].type <= QM_F32 && ++n)
            cast(&w->w[i], to);
    return n;
}

void test_weights_copy(struct test_weights *w, const char *from, const char *to) {
    const struct test_weight *t = test_weights_find(w, from);
    assert_non_null(t);
    struct test_weight copy = *t;
    copy.data = malloc(copy.bytes + 1);
    memcpy(copy.data, t->data, copy.bytes);
    snprintf(copy.name, sizeof copy.name, "%s", to);
    w->w = realloc(w->w, (w->n + 2) * sizeof *w->w);
    w->w[w->n++] = copy;
}

void test_weights_drop(struct test_weights *w, const char *name) {
    struct test_weight *t = test_weights_find(w, name);
    assert_non_null(t);
    free(t->data);
    *t = w->w[--w->n];
}

void test_weights_rename(struct test_weights *w, const char *from, const char *to) {
    size_t n = strlen(from), k = strlen(to);
    for (size_t i = 0; i < w->n; i++) {
        char *name = w->w[i].name;
        if (strncmp(name, from, n) != 0)
            continue;
        assert_true(strlen(name) - n + k < sizeof w->w[i].name);
        memmove(name + k, name + n, strlen(name) - n + 1);
        memcpy(name, to, k);
    }
}

void test_weights_cut_prefix(struct test_weights *w, const char *prefix) {
    test_weights_rename(w, prefix, "");
}
