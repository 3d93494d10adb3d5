/* One safetensors header: JSON text to a checked, sorted list of tensors. Where in the flow: called by
 * safetensors.c for each file of a model directory. Opens and reads no file. */
#include "model/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum { MAX_TENSORS = 1 << 22 };

struct dtype_entry {
    const char *name;
    int dtype; /* enum qm_dtype, or -1: of the format, but not read here */
};

static const struct dtype_entry dtypes[] = {
    {"BF16", QM_BF16},
    {"F16", QM_F16},
    {"F32", QM_F32},
    {"U8", QM_U8},
    {"F8_E4M3", QM_F8_E4M3},
    {"F8_E8M0", QM_F8_E8M0},
    {"I8", QM_I8},
    {"I32", QM_I32},
    {"I64", QM_I64},
    {"BOOL", -1},
    {"I16", -1},
    {"U16", -1},
    {"U32", -1},
    {"U64", -1},
    {"F64", -1},
    {"C64", -1},
    {"F8_E5M2", -1},
    {"F4", -1},
    {"F6_E2M3", -1},
    {"F6_E3M2", -1},
    {"F8_E4M3FNUZ", -1},
    {"F8_E5M2FNUZ", -1},
};

static int bad(struct qm_error *err, const char *path, const char *tensor, const char *expected, const char *found) {
    return qm_fail(err, QM_INPUT,
                   "%s: tensor \"%.200s\": expected %s, found %s; the file is damaged or not safetensors", path, tensor,
                   expected, found);
}

static int read_dtype(const json_t *entry, const char *path, struct qm_tensor *t, struct qm_error *err) {
    const json_t *v = json_object_get(entry, "dtype");
    if (!json_is_string(v))
        return bad(err, path, t->name, "\"dtype\" to be a string", qm_json_type_name(v));
    const char *name = json_string_value(v);
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(dtypes[i].name, name) != 0)
            continue;
        if (dtypes[i].dtype < 0)
            return qm_fail(err, QM_INPUT,
                           "%s: tensor \"%.200s\": dtype %s is not read; expected BF16, F16, F32, U8, F8_E4M3, "
                           "F8_E8M0, I8, I32 or "
                           "I64: use the model in one of those",
                           path, t->name, name);
        t->dtype = (enum qm_dtype)dtypes[i].dtype;
        return QM_OK;
    }
    return qm_fail(err, QM_INPUT, "%s: tensor \"%.200s\": expected a dtype of the safetensors format, found \"%.40s\"",
                   path, t->name, name);
}

/* The shape, and the bytes it takes, into *bytes. */
static int read_shape(const json_t *entry, const char *path, struct qm_tensor *t, uint64_t *bytes,
                      struct qm_error *err) {
    const json_t *v = json_object_get(entry, "shape");
    if (!json_is_array(v))
        return bad(err, path, t->name, "\"shape\" to be a list", qm_json_type_name(v));
    size_t dims = json_array_size(v);
    if (dims > QM_TENSOR_MAX_DIMS)
        return qm_fail(err, QM_INPUT, "%s: tensor \"%.200s\": expected at most %d dimensions, found %zu", path, t->name,
                       QM_TENSOR_MAX_DIMS, dims);
    t->dims = (int)dims;
    *bytes = qm_dtype_size(t->dtype);
    for (size_t i = 0; i < dims; i++) {
        const json_t *d = json_array_get(v, i);
        if (!json_is_integer(d))
            return bad(err, path, t->name, "each dimension to be an integer", qm_json_type_name(d));
        t->shape[i] = (int64_t)json_integer_value(d);
        if (t->shape[i] < 0)
            return qm_fail(err, QM_INPUT, "%s: tensor \"%.200s\": expected dimensions of 0 or more, found %lld", path,
                           t->name, (long long)t->shape[i]);
        if (__builtin_mul_overflow(*bytes, (uint64_t)t->shape[i], bytes))
            return qm_fail(err, QM_INPUT,
                           "%s: tensor \"%.200s\": expected a size that fits in 64 bits, found a shape "
                           "whose dimensions multiply to more",
                           path, t->name);
    }
    return QM_OK;
}

static int read_range(const json_t *entry, const char *path, uint64_t data_bytes, struct qm_tensor *t,
                      struct qm_error *err) {
    const json_t *v = json_object_get(entry, "data_offsets");
    const json_t *b = json_array_get(v, 0), *e = json_array_get(v, 1);
    if (!json_is_array(v) || json_array_size(v) != 2 || !json_is_integer(b) || !json_is_integer(e))
        return bad(err, path, t->name, "\"data_offsets\" to be a list of two integers",
                   json_is_array(v) ? "another list" : qm_json_type_name(v));
    long long begin = json_integer_value(b), end = json_integer_value(e);
    if (begin < 0 || end < begin)
        return qm_fail(err, QM_INPUT,
                       "%s: tensor \"%.200s\": expected data_offsets with 0 <= begin <= end, found [%lld, %lld]", path,
                       t->name, begin, end);
    if ((uint64_t)end > data_bytes)
        return qm_fail(
            err, QM_INPUT,
            "%s: tensor \"%.200s\": expected %lld bytes of data after the header, found %llu: the file is cut "
            "short; get it again",
            path, t->name, end, (unsigned long long)data_bytes);
    t->offset = (uint64_t)begin;
    t->bytes = (uint64_t)(end - begin);
    return QM_OK;
}

static int read_entry(const char *name, const json_t *entry, const char *path, uint64_t data_bytes, struct qm_tensor *t,
                      struct qm_error *err) {
    t->name = strdup(name);
    if (!t->name)
        return qm_fail_memory(err, strlen(name) + 1, "a tensor's name");
    if (!qm_json_is_object(entry))
        return bad(err, path, name, "an object", qm_json_type_name(entry));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)entry, key, value) {
        if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 && strcmp(key, "data_offsets") != 0)
            return qm_fail(err, QM_INPUT,
                           "%s: tensor \"%.200s\": expected dtype, shape and data_offsets only, found \"%.100s\" too",
                           path, name, key);
    }
    uint64_t bytes = 0;
    int rc = read_dtype(entry, path, t, err);
    if (!rc)
        rc = read_shape(entry, path, t, &bytes, err);
    if (!rc)
        rc = read_range(entry, path, data_bytes, t, err);
    if (!rc && bytes != t->bytes)
        rc =
            qm_fail(err, QM_INPUT,
                    "%s: tensor \"%.200s\": expected %llu bytes by its shape and dtype, found %llu by its data_offsets",
                    path, name, (unsigned long long)bytes, (unsigned long long)t->bytes);
    return rc;
}

static int check_metadata(const json_t *v, const char *path, struct qm_error *err) {
    if (!qm_json_is_object(v))
        return qm_fail(err, QM_INPUT, "%s: __metadata__: expected an object of strings, found %s", path,
                       qm_json_type_name(v));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)v, key, value) {
        if (!json_is_string(value))
            return qm_fail(err, QM_INPUT, "%s: __metadata__: expected \"%.100s\" to be a string, found %s", path, key,
                           qm_json_type_name(value));
    }
    return QM_OK;
}

static int by_offset(const void *a, const void *b) {
    const struct qm_tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct qm_tensor *)a)->name, ((const struct qm_tensor *)b)->name);
}

/* Tensors sorted by offset must follow each other exactly, to the last byte of the data. */
static int check_layout(const struct qm_tensor *t, int64_t n, const char *path, uint64_t data_bytes,
                        struct qm_error *err) {
    uint64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        if (t[i].offset < at)
            return qm_fail(err, QM_INPUT,
                           "%s: tensor \"%.200s\": expected to begin at %llu, where \"%.200s\" ends, found %llu: "
                           "they overlap",
                           path, t[i].name, (unsigned long long)at, t[i ? i - 1 : 0].name,
                           (unsigned long long)t[i].offset);
        if (t[i].offset > at)
            return qm_fail(err, QM_INPUT,
                           "%s: tensor \"%.200s\": expected to begin at %llu, found %llu: a hole of %llu bytes "
                           "that belong to no tensor",
                           path, t[i].name, (unsigned long long)at, (unsigned long long)t[i].offset,
                           (unsigned long long)(t[i].offset - at));
        at += t[i].bytes;
    }
    if (at != data_bytes)
        return qm_fail(err, QM_INPUT,
                       "%s: expected %llu bytes of data after the header, found %llu: %llu bytes left over that belong "
                       "to no tensor",
                       path, (unsigned long long)at, (unsigned long long)data_bytes,
                       (unsigned long long)(data_bytes - at));
    return QM_OK;
}

void qm_tensors_free(struct qm_tensor *t, int64_t n) {
    for (int64_t i = 0; t && i < n; i++)
        free(t[i].name);
    free(t);
}

static int read_entries(const json_t *root, const char *path, uint64_t data_bytes, struct qm_tensor *t, int64_t *n,
                        struct qm_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)root, key, value) {
        int rc = QM_OK;
        if (strcmp(key, "__metadata__") == 0)
            rc = check_metadata(value, path, err);
        else
            rc = read_entry(key, value, path, data_bytes, &t[(*n)++], err);
        if (rc)
            return rc;
    }
    return QM_OK;
}

int qm_safetensors_header(const char *json, size_t len, const char *path, uint64_t data_bytes,
                          struct qm_tensor **tensors, int64_t *n, struct qm_error *err) {
    *tensors = NULL;
    *n = 0;
    if (len == 0 || json[0] != '{')
        return qm_fail(err, QM_INPUT,
                       "%s: expected the header to begin with '{', found %s; this is not a safetensors file", path,
                       len == 0 ? "nothing" : "another byte");
    while (len > 0 && json[len - 1] == ' ')
        len--;
    if (json[len - 1] != '}')
        return qm_fail(err, QM_INPUT, "%s: expected the header to end with '}' and spaces, found another byte", path);
    json_t *root;
    int rc = qm_json_parse_strict(json, len, path, &root, err);
    if (rc)
        return qm_fail_context(err, "safetensors header");
    size_t entries = json_object_size(root);
    if (entries > MAX_TENSORS)
        rc = qm_fail(err, QM_INPUT, "%s: expected at most %d tensors, found %zu", path, MAX_TENSORS, entries);
    struct qm_tensor *t = rc ? NULL : calloc(entries + 1, sizeof *t);
    if (!rc && !t)
        rc = qm_fail_memory(err, (entries + 1) * sizeof *t, "a list of tensors");
    int64_t count = 0;
    if (!rc)
        rc = read_entries(root, path, data_bytes, t, &count, err);
    json_decref(root);
    if (!rc) {
        qsort(t, (size_t)count, sizeof *t, by_offset);
        rc = check_layout(t, count, path, data_bytes, err);
    }
    if (rc) {
        qm_tensors_free(t, count);
        return rc;
    }
    qsort(t, (size_t)count, sizeof *t, by_name);
    *tensors = t;
    *n = count;
    return QM_OK;
}
