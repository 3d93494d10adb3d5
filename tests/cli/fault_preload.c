/* Put before the C library (LD_PRELOAD): one call that changes a file below $FAULT_DIR fails: the $FAULT_AT-th of
 * write, pwrite, ftruncate, fsync, fdatasync, rename, unlink and open for creation, counted from 1; 0: none does. With
 * $FAULT_CODE it fails with that errno (default EIO); a write of more than a byte leaves half of it behind first. With
 * $FAULT_READ it is one of read and pread instead, and all after it: a disk that can't be read stays so. The
 * number of calls is in $FAULT_COUNT (a file's path) when the process ends, however it does.
 * Used by tests/cli/batch_disk.sh. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_long *counter;
static long fail_at;
static int code = EIO, reads;
static const char *folder;

static void *real(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void begin(void) {
    static atomic_long own;
    const char *at = getenv("FAULT_AT"), *number = getenv("FAULT_CODE"), *count = getenv("FAULT_COUNT");
    folder = getenv("FAULT_DIR");
    counter = &own;
    fail_at = at ? atol(at) : 0;
    code = number ? atoi(number) : EIO;
    reads = getenv("FAULT_READ") != NULL;
    int (*real_truncate)(int, off_t) = (int (*)(int, off_t))real("ftruncate");
    int fd = count ? ((int (*)(const char *, int, ...))real("open"))(count, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (fd < 0 || real_truncate(fd, sizeof own) != 0)
        return;
    void *shared = mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared != MAP_FAILED) {
        counter = shared;
        atomic_store(counter, 0);
    }
}

static int below(const char *path) {
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = 0;
    return below(path);
}

/* Whether this call is the one. */
static int fails(void) {
    if (reads || atomic_fetch_add(counter, 1) + 1 != fail_at)
        return 0;
    errno = code;
    return 1;
}

static int fails_to_read(int fd) {
    if (!reads || !is_ours(fd) || !fail_at || atomic_fetch_add(counter, 1) + 1 < fail_at)
        return 0;
    errno = code;
    return 1;
}

ssize_t read(int fd, void *bytes, size_t n) {
    ssize_t (*next)(int, void *, size_t) = (ssize_t(*)(int, void *, size_t))real("read");
    return fails_to_read(fd) ? -1 : next(fd, bytes, n);
}

ssize_t pread64(int fd, void *bytes, size_t n, off64_t at) {
    ssize_t (*next)(int, void *, size_t, off64_t) = (ssize_t(*)(int, void *, size_t, off64_t))real("pread64");
    return fails_to_read(fd) ? -1 : next(fd, bytes, n, at);
}

ssize_t pread(int fd, void *bytes, size_t n, off_t at) {
    return pread64(fd, bytes, n, at);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    ssize_t (*next)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))real("write");
    if (is_ours(fd) && fails()) {
        if (n > 1 && next(fd, bytes, n / 2) < 0)
            return -1;
        errno = code;
        return -1;
    }
    return next(fd, bytes, n);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
    ssize_t (*next)(int, const void *, size_t, off64_t) =
        (ssize_t(*)(int, const void *, size_t, off64_t))real("pwrite64");
    if (is_ours(fd) && fails()) {
        if (n > 1 && next(fd, bytes, n / 2, at) < 0)
            return -1;
        errno = code;
        return -1;
    }
    return next(fd, bytes, n, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
    return pwrite64(fd, bytes, n, at);
}

#define ON_FD(name, parameters, arguments)                                                                             \
    int name parameters {                                                                                              \
        int(*next) parameters = (int(*) parameters)real(#name);                                                        \
        return is_ours(fd) && fails() ? -1 : next arguments;                                                           \
    }
ON_FD(fsync, (int fd), (fd))
ON_FD(fdatasync, (int fd), (fd))
ON_FD(ftruncate, (int fd, off_t n), (fd, n))
ON_FD(ftruncate64, (int fd, off64_t n), (fd, n))

int rename(const char *from, const char *to) {
    int (*next)(const char *, const char *) = (int (*)(const char *, const char *))real("rename");
    return below(to) && fails() ? -1 : next(from, to);
}

int unlink(const char *path) {
    int (*next)(const char *) = (int (*)(const char *))real("unlink");
    return below(path) && fails() ? -1 : next(path);
}

static int open_any(const char *name, const char *path, int flags, va_list args) {
    int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))real(name);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    return below(path) && (flags & O_CREAT) && fails() ? -1 : next(path, flags, mode);
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list args;                                                                                                  \
        va_start(args, flags);                                                                                         \
        int fd = open_any(#name, path, flags, args);                                                                   \
        va_end(args);                                                                                                  \
        return fd;                                                                                                     \
    }
OPEN(open)
OPEN(open64)
