/* safetensors files: the named tensors of a model directory, as offsets into open files. Nothing is read
 * here but headers, and nothing is mapped: tensor bytes are read by qm_pread_full by whoever packs them.
 * Source: the safetensors format description (8-byte little-endian header length, JSON header of at most
 * 100 MB, then the data).
 * Strict: UTF-8 JSON object, no duplicate keys, known dtypes, shape x dtype = range, ranges without
 * overlap, holes or bytes left over, the file as long as it says. Each violation has its own message.
 * Kept are the dtypes that published models have for weights, their codes and scales, and tables (BF16, F16, F32, U8,
 * F8_E4M3, F8_E8M0, I8, I32, I64); the format's others are refused by name. Which of them a weight may have is for
 * weights.h to say.
 * Immutable once open; any thread may read. */
#ifndef QM_MODEL_SAFETENSORS_H
#define QM_MODEL_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/error.h"

enum { QM_TENSOR_MAX_DIMS = 8 };

struct qm_tensor {
    char *name;
    enum qm_dtype dtype;
    int dims;
    int64_t shape[QM_TENSOR_MAX_DIMS];
    int file;        /* index into qm_shards.files */
    uint64_t offset; /* of its first byte in that file (from qm_safetensors_header: in the data) */
    uint64_t bytes;
};

struct qm_shard_file {
    char *path;
    int fd;
    uint64_t bytes;
};

struct qm_shards {
    struct qm_shard_file *files;
    int n_files;
    struct qm_tensor *tensors; /* sorted by name */
    int64_t n_tensors;
};

/* Parses one header (the JSON text only) for a file of data_bytes after it, into tensors sorted by name, to be
 * freed by qm_tensors_free. For tests and fuzzing too. */
int qm_safetensors_header(const char *json, size_t len, const char *path, uint64_t data_bytes,
                          struct qm_tensor **tensors, int64_t *n, struct qm_error *err);

void qm_tensors_free(struct qm_tensor *tensors, int64_t n);

/* Opens DIR/model.safetensors.index.json and every shard it names, or DIR/model.safetensors. The index must
 * agree with the shards. A directory with neither is QM_INPUT (naming *.gguf or *.bin files found there as
 * what is not read). */
int qm_shards_open(const char *dir, struct qm_shards **out, struct qm_error *err);
void qm_shards_close(struct qm_shards *s);
const struct qm_tensor *qm_shards_find(const struct qm_shards *s, const char *name);

#endif
