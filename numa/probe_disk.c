/* How fast a file can be read: the part of the probes that touches a disk. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "numa/probe.h"

enum { BLOCK = 4 << 20, ALIGN = 4096, LEAST = 1 << 20 };
static const double SECONDS = 1;

struct reading {
    int fd;
    uint64_t size;
    double deadline;
    _Atomic uint64_t next, done;
    _Atomic int failed; /* errno */
};

static void read_blocks(void *arg, int thread, int threads) {
    struct reading *r = arg;
    (void)thread, (void)threads;
    void *block = aligned_alloc(ALIGN, BLOCK);
    if (!block)
        r->failed = ENOMEM;
    while (block && !r->failed && qm_now() < r->deadline) {
        uint64_t at = atomic_fetch_add(&r->next, BLOCK);
        if (at >= r->size)
            break;
        ssize_t n = pread(r->fd, block, BLOCK, (off_t)at);
        if (n < 0 && errno != EINTR)
            r->failed = errno;
        else if (n > 0)
            r->done += (uint64_t)n;
    }
    free(block);
}

/* The largest regular file of a directory, followed through links (a model cache is made of them). */
static int largest_file(const char *dir, char *out, size_t size, struct qm_error *err) {
    DIR *d = opendir(dir);
    if (!d)
        return qm_fail_errno(err, "%s", dir);
    off_t most = -1;
    char path[4096];
    struct stat st;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        int n = snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (n >= (int)sizeof path || stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= most)
            continue;
        most = st.st_size;
        snprintf(out, size, "%s", path);
    }
    closedir(d);
    return most >= 0 ? QM_OK : qm_fail(err, QM_INPUT, "%s: no file in it to read", dir);
}

/* Past the page cache where the file system allows it. */
static int open_direct(const char *path, bool *direct, struct qm_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    *direct = fd >= 0;
    if (fd < 0)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        qm_fail_errno(err, "%s", path);
    else if (!*direct)
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return fd;
}

int qm_probe_disk_read(struct qm_team *team, const char *path, struct qm_probe_disk *out, struct qm_error *err) {
    struct stat st;
    *out = (struct qm_probe_disk){0};
    if (stat(path, &st) != 0)
        return qm_fail_errno(err, "%s", path);
    int rc = QM_OK;
    if (S_ISDIR(st.st_mode))
        rc = largest_file(path, out->file, sizeof out->file, err);
    else
        snprintf(out->file, sizeof out->file, "%s", path);
    if (rc)
        return rc;
    if (stat(out->file, &st) != 0)
        return qm_fail_errno(err, "%s", out->file);
    if (!S_ISREG(st.st_mode)) /* a pipe would be waited for */
        return qm_fail(err, QM_INPUT, "%s: expected a file or a folder, found %s", path, qm_file_kind(st.st_mode));
    int fd = open_direct(out->file, &out->direct, err);
    if (fd < 0)
        return err ? err->code : QM_SYSTEM;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < LEAST) {
        close(fd);
        return qm_fail(err, QM_INPUT, "%s: expected a file of at least 1 MiB to measure the disk by", out->file);
    }
    double begin = qm_now();
    struct reading r = {.fd = fd, .size = (uint64_t)st.st_size, .deadline = begin + SECONDS};
    qm_team_run(team, read_blocks, &r);
    out->bytes = r.done;
    out->rate = (double)r.done / (qm_now() - begin);
    close(fd);
    if (r.failed) {
        errno = r.failed;
        return qm_fail_errno(err, "%s: reading", out->file);
    }
    return QM_OK;
}
