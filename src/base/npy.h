/* Arrays of float32 in NumPy's .npy format, version 1.0, C order, little-endian ('<f4'), written as they come,
 * so that a large array is never in memory. Written under a temporary name and renamed by qm_npy_commit; until
 * then nothing is there. Source: numpy.lib.format. */
#ifndef QM_BASE_NPY_H
#define QM_BASE_NPY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/file.h"

struct qm_npy {
    struct qm_out out;
    uint64_t header;   /* bytes before the data */
    uint64_t position; /* floats: where the next write goes */
    uint64_t total;    /* floats of the shape */
};

/* dims from 1 to 8. */
int qm_npy_open(struct qm_npy *a, const char *path, const int64_t *shape, int dims, struct qm_error *err);
/* Writes n floats at index `at` of the flattened array. What is written out of order needs a regular file. */
int qm_npy_write(struct qm_npy *a, uint64_t at, const float *x, size_t n, struct qm_error *err);
int qm_npy_commit(struct qm_npy *a, struct qm_error *err);
/* Removes what was written. Does nothing after a commit, or for a zero-initialised one. */
void qm_npy_abort(struct qm_npy *a);

#endif
