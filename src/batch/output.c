/* OUT.partial, OUT, and the lock beside them. */
#include "batch/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "batch/crash.h"
#include "batch/names.h"

enum { GATHER = 1 << 20, LOCK_TRIES = 25 };

static const char LENGTH_KEY[] = "partial_length", NAMED_KEY[] = "output_named";

static int write_failed(const char *path, struct qm_error *err) {
    if (errno == ENOSPC || errno == EDQUOT)
        return qm_fail(err, QM_SYSTEM,
                       "%s: the disk is full; nothing that was finished is lost. Free some space there, then run the "
                       "same command again",
                       path);
    return qm_fail(
        err, QM_SYSTEM,
        "%s: %s; what was finished is safe in the journal: once the disk is well, run the same command again", path,
        strerror(errno));
}

static int write_all(int fd, const char *path, const char *bytes, size_t n, struct qm_error *err) {
    while (n) {
        ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return write_failed(path, err);
        bytes += done;
        n -= (size_t)done;
    }
    return QM_OK;
}

int qm_sync_folder(const char *path, struct qm_error *err) {
    const char *slash = strrchr(path, '/');
    char *folder = !slash ? strdup(".") : slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
    if (!folder)
        return qm_fail_memory(err, strlen(path), "a folder's name");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) != 0 ? write_failed(folder, err) : QM_OK;
    if (fd >= 0)
        close(fd);
    free(folder);
    return rc;
}

/* --- the lock --- */

static long holder(int fd) {
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    return n > 0 ? atol(text) : 0;
}

/* A lock holds a process's number, or nothing yet. What is something else is not ours to empty. */
static int check_lock(const char *path, struct qm_error *err) {
    enum { MOST = 31 };
    struct stat st;
    char text[MOST + 1] = "";
    if (lstat(path, &st) != 0)
        return QM_OK;
    int fd = S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW) : -1;
    ssize_t n = fd >= 0 ? pread(fd, text, MOST, 0) : -1;
    int e = errno;
    if (fd >= 0)
        close(fd);
    errno = e;
    if (n < 0 && S_ISREG(st.st_mode))
        return qm_fail_errno(err, "%s: cannot be read", path);
    struct qm_batch_crash crash;
    qm_batch_crash_read(path, &crash);
    bool ours = n >= 0 && ((st.st_size < MOST && strspn(text, "0123456789\n") == (size_t)n) || crash.signal);
    return ours ? QM_OK
                : qm_fail(err, QM_INPUT,
                          "%s: expected this job's lock, or nothing, found %s: move it away, or name another output",
                          path,
                          S_ISLNK(st.st_mode)   ? "a symbolic link"
                          : S_ISREG(st.st_mode) ? "another file"
                                                : qm_file_kind(st.st_mode));
}

int qm_batch_lock(const char *path, int *out, struct qm_error *err) {
    const struct timespec moment = {.tv_nsec = 20000000};
    *out = -1;
    for (int tries = 1;; tries++) {
        int rc = check_lock(path, err);
        if (rc)
            return rc;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0666);
        if (fd < 0)
            return qm_fail_errno(err, "%s: cannot write here", path);
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            int e = errno;
            long process = holder(fd);
            close(fd);
            /* who looks whether somebody has it has it for a moment */
            if (e == EWOULDBLOCK && tries < LOCK_TRIES) {
                nanosleep(&moment, NULL);
                continue;
            }
            if (e != EWOULDBLOCK)
                return qm_fail(err, QM_SYSTEM, "%s: cannot be locked: %s", path, strerror(e));
            return qm_remedy(err, QM_REMEDY_LOOK_AT_JOB,
                             qm_fail(err, QM_INPUT,
                                     "another run (process %ld) is writing this output; wait until it ends", process));
        }
        /* The one before may have removed the name between open and flock. */
        struct stat mine, named;
        if (fstat(fd, &mine) == 0 && stat(path, &named) == 0 && mine.st_ino == named.st_ino &&
            mine.st_dev == named.st_dev) {
            char text[32];
            int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
            if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n) {
                *out = fd;
                return QM_OK;
            }
            rc = write_failed(path, err);
            close(fd);
            return rc;
        }
        close(fd);
    }
}

void qm_batch_unlock(const char *path, int fd) {
    if (fd < 0)
        return;
    unlink(path);
    close(fd);
}

long qm_batch_lock_holder(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return 0;
    long process = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK ? holder(fd) : 0;
    close(fd);
    return process;
}

/* --- OUT.partial --- */

struct qm_batch_output {
    struct qm_journal *journal;
    char *path;
    int fd;
    int64_t length;
};

/* Text on its way to a file (or, with fd -1, to standard output), gathered into larger writes. */
struct sink {
    int fd;
    const char *path;
    struct qm_buf text;
    int64_t length;
    qm_batch_format_fn *format;
    void *arg;
    qm_batch_write_fn *write; /* in the file's place */
    void *write_arg;
};

static int pour(struct sink *s, size_t least, struct qm_error *err) {
    if (s->text.len < least || !s->text.len)
        return QM_OK;
    int rc = s->write ? s->write(s->write_arg, s->text.data, s->text.len, err)
                      : write_all(s->fd, s->path, s->text.data, s->text.len, err);
    s->length += (int64_t)s->text.len;
    s->text.len = 0;
    return rc;
}

static int as_line(struct qm_buf *text, const struct qm_journal_row *row, struct qm_error *err) {
    int rc = qm_buf_add(text, row->text, row->len, err);
    return rc ? rc : qm_buf_add(text, "\n", 1, err);
}

static int pour_row(void *arg, const struct qm_journal_row *row, struct qm_error *err) {
    struct sink *s = arg;
    int rc = s->format ? s->format(s->arg, row, &s->text, err) : as_line(&s->text, row, err);
    return rc ? rc : pour(s, GATHER, err);
}

static int pour_all(struct sink *s, struct qm_journal *j, enum qm_journal_order order, struct qm_error *err) {
    int rc = qm_journal_each(j, order, true, pour_row, s, err);
    if (!rc && s->format)
        rc = s->format(s->arg, NULL, &s->text, err);
    if (!rc)
        rc = pour(s, 0, err);
    qm_buf_free(&s->text);
    return rc;
}

/* Written anew in place: a reader sees it grow again, and a kill leaves what the next run writes anew once more. */
static int rebuild(struct qm_batch_output *o, struct qm_error *err) {
    struct sink s = {.fd = o->fd, .path = o->path};
    if (ftruncate(o->fd, 0) != 0)
        return write_failed(o->path, err);
    int rc = pour_all(&s, o->journal, QM_JOURNAL_BY_COMPLETION, err);
    if (!rc)
        rc = qm_journal_set_int(o->journal, LENGTH_KEY, s.length, err);
    if (!rc)
        rc = qm_journal_commit(o->journal, err);
    o->length = s.length;
    return rc;
}

static int open_partial(struct qm_batch_output *o, struct stat *st, struct qm_error *err) {
    o->fd = open(o->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0666);
    if (o->fd < 0)
        return qm_fail_errno(err, "%s: cannot write here", o->path);
    if (fstat(o->fd, st) != 0)
        return write_failed(o->path, err);
    return S_ISREG(st->st_mode)
               ? QM_OK
               : qm_fail(err, QM_INPUT, "%s: expected a regular file, found %s", o->path, qm_file_kind(st->st_mode));
}

/* Rows that the journal does not know are those of its last transaction, where it was killed: they are computed again.
 * But then its log is there. Without it they may be rows that only this file has: it is kept, beside. */
static int settle(struct qm_batch_output *o, bool log, const struct qm_batch_ui *ui, struct qm_error *err) {
    struct stat st;
    int rc = qm_journal_get_int(o->journal, LENGTH_KEY, 0, &o->length, err);
    if (!rc)
        rc = open_partial(o, &st, err);
    if (!rc && st.st_size > o->length && !log) {
        close(o->fd);
        o->fd = -1;
        rc = qm_batch_names_aside(o->path, "it holds rows that the journal does not know", ui, err);
        if (!rc)
            rc = open_partial(o, &st, err);
    }
    if (rc)
        return rc;
    if (o->length < 0 || st.st_size < o->length)
        return rebuild(o, err);
    return ftruncate(o->fd, o->length) == 0 ? QM_OK : write_failed(o->path, err);
}

int qm_batch_output_expect(struct qm_journal *journal, int64_t bytes, struct qm_error *err) {
    int64_t length;
    int rc = qm_journal_get_int(journal, LENGTH_KEY, 0, &length, err);
    return !rc && length != bytes ? qm_journal_set_int(journal, LENGTH_KEY, -1, err) : rc;
}

int qm_batch_output_open(const struct qm_batch_paths *paths, struct qm_journal *journal, bool log,
                         const struct qm_batch_ui *ui, struct qm_batch_output **out, struct qm_error *err) {
    struct qm_batch_output *o = calloc(1, sizeof *o);
    *out = NULL;
    if (!o || !(o->path = strdup(paths->partial))) {
        free(o);
        return qm_fail_memory(err, sizeof *o, "the output");
    }
    o->journal = journal;
    o->fd = -1;
    int rc = settle(o, log, ui, err);
    if (rc) {
        qm_batch_output_close(o);
        return rc;
    }
    *out = o;
    return QM_OK;
}

void qm_batch_output_close(struct qm_batch_output *o) {
    if (!o)
        return;
    if (o->fd >= 0)
        close(o->fd);
    free(o->path);
    free(o);
}

int qm_batch_output_add(struct qm_batch_output *o, const char *line, size_t len, struct qm_error *err) {
    int rc = write_all(o->fd, o->path, line, len, err);
    if (!rc)
        rc = write_all(o->fd, o->path, "\n", 1, err);
    /* half a line would only puzzle a reader; the next run cuts it off where this fails */
    if (rc && ftruncate(o->fd, o->length) != 0)
        qm_fail_context(err, "%s ends in half a line", o->path);
    if (rc)
        return rc;
    o->length += (int64_t)len + 1;
    return qm_journal_set_int(o->journal, LENGTH_KEY, o->length, err);
}

/* --- OUT --- */

int qm_batch_output_mine(const struct qm_batch_paths *paths, struct qm_journal *journal, bool *mine,
                         struct qm_error *err) {
    struct stat st;
    int64_t named;
    int rc = qm_journal_get_int(journal, NAMED_KEY, 0, &named, err);
    *mine = named || lstat(paths->out, &st) != 0;
    return rc;
}

int qm_batch_output_finish(const struct qm_batch_paths *paths, struct qm_journal *journal, enum qm_journal_order order,
                           qm_batch_format_fn *format, void *arg, const struct qm_batch_ui *ui, struct qm_error *err) {
    struct qm_out file;
    bool mine = true;
    int rc = qm_out_open(&file, paths->out, err);
    if (rc)
        return rc;
    struct sink s = {.fd = fileno(file.file), .path = paths->out, .format = format, .arg = arg};
    rc = pour_all(&s, journal, order, err);
    if (!rc)
        rc = qm_batch_output_mine(paths, journal, &mine, err);
    if (!rc && !mine)
        rc = qm_batch_names_aside(paths->out, "this job has not written it", ui, err);
    /* from here on a file of this name is the job's own, should it be killed before it says that it is complete */
    if (!rc)
        rc = qm_journal_set_int(journal, NAMED_KEY, 1, err);
    if (!rc)
        rc = qm_journal_commit(journal, err);
    if (rc) {
        qm_out_abort(&file);
        return rc;
    }
    rc = qm_out_commit(&file, err);
    return rc ? rc : qm_sync_folder(paths->out, err);
}

int qm_batch_output_export(struct qm_journal *journal, enum qm_journal_order order, qm_batch_write_fn *write, void *arg,
                           struct qm_error *err) {
    struct sink s = {.fd = -1, .write = write, .write_arg = arg};
    return pour_all(&s, journal, order, err);
}
