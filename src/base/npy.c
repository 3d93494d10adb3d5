/* The .npy writer. */
#include "base/npy.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { HEADER_ALIGN = 64, PREFIX = 10 };

int qm_npy_open(struct qm_npy *a, const char *path, const int64_t *shape, int dims, struct qm_error *err) {
    assert(dims >= 1 && dims <= 8);
    *a = (struct qm_npy){.total = 1};
    char header[512];
    int n = PREFIX +
            snprintf(header + PREFIX, sizeof header - PREFIX, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < dims; i++) {
        assert(shape[i] >= 0);
        a->total *= (uint64_t)shape[i];
        n += snprintf(header + n, sizeof header - (size_t)n, i ? ", %lld" : "%lld", (long long)shape[i]);
    }
    n += snprintf(header + n, sizeof header - (size_t)n, dims == 1 ? ",), }" : "), }");
    int padded = (n + 1 + HEADER_ALIGN - 1) / HEADER_ALIGN * HEADER_ALIGN;
    memset(header + n, ' ', (size_t)(padded - n));
    header[padded - 1] = '\n';
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((padded - PREFIX) & 255);
    header[9] = (char)((padded - PREFIX) >> 8);
    a->header = (uint64_t)padded;
    int rc = qm_out_open(&a->out, path, err);
    if (rc)
        return rc;
    if (fwrite(header, 1, (size_t)padded, a->out.file) == (size_t)padded)
        return QM_OK;
    rc = qm_fail_errno(err, "%s", path);
    qm_npy_abort(a);
    return rc;
}

int qm_npy_write(struct qm_npy *a, uint64_t at, const float *x, size_t n, struct qm_error *err) {
    assert(at + n <= a->total);
    if (at != a->position && fseeko(a->out.file, (off_t)(a->header + at * sizeof *x), SEEK_SET) != 0)
        return qm_fail_errno(err, "%s", a->out.path);
    if (fwrite(x, sizeof *x, n, a->out.file) != n)
        return qm_fail(err, QM_SYSTEM, "%s: %s; nothing was kept", a->out.path, strerror(errno));
    a->position = at + n;
    return QM_OK;
}

int qm_npy_commit(struct qm_npy *a, struct qm_error *err) {
    return qm_out_commit(&a->out, err);
}

void qm_npy_abort(struct qm_npy *a) {
    if (a->out.file)
        qm_out_abort(&a->out);
}
