/* Whole-file reads with a limit, exact positional reads, and output by rename. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

const char *qm_file_kind(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG: return "a regular file";
    case S_IFDIR: return "a folder";
    case S_IFIFO: return "a named pipe";
    case S_IFSOCK: return "a socket";
    case S_IFCHR:
    case S_IFBLK: return "a device";
    default: return "no file";
    }
}

bool qm_file_there(const char *path) {
    return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static bool is_handed_over(int fd) {
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type == PIPEFS_MAGIC;
}

/* A pipe without a name only where `handed` is set. Looked at before it is opened, as opening alone does something to
 * some devices, and after it, as it may be another by then. */
static int open_quick(const char *path, bool handed, int *out, struct stat *st, struct qm_error *err) {
    struct stat own;
    st = st ? st : &own;
    *out = -1;
    if (stat(path, st) != 0)
        return qm_fail_errno(err, "%s", path);
    int fd = -1;
    if (S_ISREG(st->st_mode) || (handed && S_ISFIFO(st->st_mode))) {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, st) != 0) {
            int rc = qm_fail_errno(err, "%s", path);
            if (fd >= 0)
                close(fd);
            return rc;
        }
    }
    bool pipe = fd >= 0 && handed && S_ISFIFO(st->st_mode) && is_handed_over(fd);
    if (pipe)
        fcntl(fd, F_SETFL, 0); /* from here on its writer is waited for */
    if (fd >= 0 && (pipe || S_ISREG(st->st_mode))) {
        *out = fd;
        return QM_OK;
    }
    if (fd >= 0)
        close(fd);
    return qm_fail(err, QM_INPUT, "%s: expected a regular file, found %s", path, qm_file_kind(st->st_mode));
}

int qm_open_regular(const char *path, int *fd, struct stat *st, struct qm_error *err) {
    return open_quick(path, false, fd, st, err);
}

static int read_all(int fd, const char *path, size_t limit, struct qm_buf *out, struct qm_error *err) {
    size_t total = 0;
    int rc = QM_OK;
    while (!rc) {
        if ((rc = qm_buf_reserve(out, 65536, err)))
            break;
        ssize_t n = read(fd, out->data + out->len, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = qm_fail_errno(err, "%s", path);
        if (n <= 0)
            break;
        total += (size_t)n;
        out->len += (size_t)n;
        out->data[out->len] = 0;
        if (total > limit)
            rc = qm_fail(err, QM_INPUT, "%s: larger than the limit of %zu bytes for this kind of file", path, limit);
    }
    return rc;
}

static int read_quick(const char *path, bool handed, size_t limit, struct qm_buf *out, struct qm_error *err) {
    int fd, rc = open_quick(path, handed, &fd, NULL, err);
    if (rc)
        return rc;
    rc = read_all(fd, path, limit, out, err);
    close(fd);
    return rc;
}

int qm_read_file(const char *path, size_t limit, struct qm_buf *out, struct qm_error *err) {
    return read_quick(path, false, limit, out, err);
}

int qm_read_given(const char *path, size_t limit, struct qm_buf *out, struct qm_error *err) {
    return read_quick(path, true, limit, out, err);
}

int qm_read_input(const char *path, size_t limit, struct qm_buf *out, struct qm_error *err) {
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return qm_fail_errno(err, "%s", path);
    int rc = read_all(fd, is_stdin ? "standard input" : path, limit, out, err);
    if (!is_stdin)
        close(fd);
    return rc;
}

int qm_pread_full(int fd, const char *path, void *dst, size_t n, uint64_t offset, struct qm_error *err) {
    char *p = dst;
    while (n) {
        size_t piece = n < (size_t)1 << 30 ? n : (size_t)1 << 30;
        ssize_t got = pread(fd, p, piece, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return qm_fail_errno(err, "%s: read of %zu bytes at %llu", path, piece, (unsigned long long)offset);
        if (got == 0)
            return qm_fail(
                err, QM_INPUT,
                "%s: the file ends at byte %llu, %zu bytes before what its header says (it shrank while it was read)",
                path, (unsigned long long)offset, n);
        p += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return QM_OK;
}

/* Temporary names a signal handler must be able to remove: fixed slots, published by an atomic pointer. */
enum { OUT_SLOTS = 16 };
static _Atomic(char *) open_outputs[OUT_SLOTS];

static int claim_slot(char *temporary) {
    for (int i = 0; i < OUT_SLOTS; i++) {
        char *none = NULL;
        if (atomic_compare_exchange_strong(&open_outputs[i], &none, temporary))
            return i;
    }
    return -1;
}

static void release(struct qm_out *o) {
    if (o->slot >= 0)
        atomic_store(&open_outputs[o->slot], NULL);
    free(o->path);
    free(o->temporary);
    *o = (struct qm_out){.slot = -1};
}

int qm_out_open(struct qm_out *o, const char *path, struct qm_error *err) {
    *o = (struct qm_out){.slot = -1};
    struct stat st;
    if (!strcmp(path, "-")) {
        int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        o->path = strdup("standard output");
        o->file = out >= 0 ? fdopen(out, "wb") : NULL;
        if (o->path && o->file)
            return QM_OK;
        int rc = qm_fail_errno(err, "standard output");
        if (out >= 0 && !o->file)
            close(out);
        release(o);
        return rc;
    }
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        /* a pipe that nobody reads fails at once (ENXIO) instead of being waited for */
        int to = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (to >= 0)
            fcntl(to, F_SETFL, 0);
        o->path = strdup(path);
        o->file = to >= 0 ? fdopen(to, "wb") : NULL;
        if (o->path && o->file)
            return QM_OK;
        int rc = errno == ENXIO && S_ISFIFO(st.st_mode)
                     ? qm_fail(err, QM_INPUT, "%s: a named pipe that nobody reads", path)
                     : qm_fail_errno(err, "%s", path);
        if (to >= 0 && !o->file)
            close(to);
        release(o);
        return rc;
    }
    size_t n = strlen(path) + 32;
    o->path = strdup(path);
    o->temporary = malloc(n);
    if (!o->path || !o->temporary) {
        release(o);
        return qm_fail_memory(err, n, "an output name");
    }
    snprintf(o->temporary, n, "%s.tmp-XXXXXX", path);
    int fd = mkstemp(o->temporary);
    mode_t mask = umask(0);
    umask(mask);
    if (fd >= 0 && fchmod(fd, 0666 & ~mask) == 0 && (o->file = fdopen(fd, "wb"))) {
        o->slot = claim_slot(o->temporary);
        return QM_OK;
    }
    int rc = qm_fail_errno(err, "%s: cannot write here", path);
    if (fd >= 0) {
        close(fd);
        unlink(o->temporary);
    }
    release(o);
    return rc;
}

int qm_out_commit(struct qm_out *o, struct qm_error *err) {
    int failed = fflush(o->file) != 0 || ferror(o->file);
    if (!failed && o->temporary)
        failed = fsync(fileno(o->file)) != 0;
    int e = errno;
    if (fclose(o->file) != 0 && !failed) {
        failed = 1;
        e = errno;
    }
    o->file = NULL;
    if (!failed && (!o->temporary || rename(o->temporary, o->path) == 0)) {
        release(o);
        return QM_OK;
    }
    int rc = qm_fail(err, QM_SYSTEM, "%s: %s; nothing was written", o->path, strerror(failed ? e : errno));
    if (o->temporary)
        unlink(o->temporary);
    release(o);
    return rc;
}

void qm_out_abort(struct qm_out *o) {
    if (o->file)
        fclose(o->file);
    if (o->temporary)
        unlink(o->temporary);
    release(o);
}

int qm_out_try(const char *path, struct qm_error *err) {
    struct qm_out trial = {0};
    struct stat there;
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode) && !S_ISDIR(there.st_mode))
        return QM_OK;
    int rc = qm_out_open(&trial, path, err);
    qm_out_abort(&trial);
    return rc;
}

void qm_out_abort_all(void) {
    for (int i = 0; i < OUT_SLOTS; i++) {
        char *temporary = atomic_load(&open_outputs[i]);
        if (temporary)
            unlink(temporary);
    }
}

int qm_write_file(const char *path, const void *bytes, size_t n, struct qm_error *err) {
    struct qm_out out;
    int rc = qm_out_open(&out, path, err);
    if (rc)
        return rc;
    if (fwrite(bytes, 1, n, out.file) == n)
        return qm_out_commit(&out, err);
    rc = qm_fail_errno(err, "%s", path);
    qm_out_abort(&out);
    return rc;
}

int qm_make_directories(const char *path, struct qm_error *err) {
    char directory[4096];
    snprintf(directory, sizeof directory, "%s", path);
    for (char *slash = strchr(directory + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(directory, 0755) != 0 && errno != EEXIST)
            return qm_fail_errno(err, "%s", directory);
        *slash = '/';
    }
    return QM_OK;
}
