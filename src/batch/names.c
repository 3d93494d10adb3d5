/* Whose is what stands beside OUT: by marks at the beginning of files, and by the journal. */
#include "batch/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "session/kv_store.h"

enum { NAME_ROOM = 4400, MAX_ASIDE = 10000 };

/* What a file's first bytes say. */
enum owner { NOBODY, EMPTY, OURS, FOREIGN, UNREADABLE /* for a while perhaps: errno says why */ };

static void beside(const char *path, const char *suffix, char out[NAME_ROOM]) {
    snprintf(out, NAME_ROOM, "%s%s", path, suffix);
}

/* The first n bytes, the rest zero; how many there are, or -1. Never waits, follows no link. */
static ssize_t first_bytes(const char *path, unsigned char *out, size_t n) {
    struct stat st;
    memset(out, 0, n);
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    ssize_t got = fd >= 0 ? pread(fd, out, n, 0) : -1;
    int e = errno;
    if (fd >= 0)
        close(fd);
    errno = e;
    return got;
}

/* SQLite's file format: the mark, and the application's number at byte 68, high byte first. */
static bool journal_mark(const unsigned char *head) {
    return !memcmp(head, "SQLite format 3", 16) && !memcmp(head + 68, "qmbj", 4);
}

/* 0x377f0682 or 0x377f0683, high byte first. */
static bool log_mark(const unsigned char *head) {
    return !memcmp(head, "\x37\x7f\x06", 3) && (head[3] & 0xFE) == 0x82;
}

/* The log's index: its version, 3007000, in this machine's order, or zeros while it is made. */
static bool index_mark(const unsigned char *head) {
    uint32_t version;
    memcpy(&version, head, sizeof version);
    return version == 3007000 || version == 0;
}

/* SQLite's rollback journal, there for a moment while the database is made: its mark, or zeros until it is synced. */
static bool rollback_mark(const unsigned char *head) {
    static const unsigned char mark[8] = {0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7}, none[8];
    return !memcmp(head, mark, sizeof mark) || !memcmp(head, none, sizeof none);
}

static bool any(const unsigned char *head) {
    (void)head;
    return true;
}

typedef bool mark_fn(const unsigned char *head);

/* The names, and what marks each as the program's: OUT and OUT.partial hold lines that anybody could have written. */
static const struct own {
    const char *suffix;
    mark_fn *mark;
} own[] = {{".journal", journal_mark},
           {".journal-wal", log_mark},
           {".journal-shm", index_mark},
           {".kv", qm_kv_store_mark},
           {".journal-journal", rollback_mark},
           {".partial", any},
           {"", any}};
enum { N_OWN = sizeof own / sizeof *own };

static enum owner owner_of(const char *path, mark_fn *mark) {
    unsigned char head[100];
    struct stat st;
    if (lstat(path, &st) != 0)
        return NOBODY;
    ssize_t n = first_bytes(path, head, sizeof head);
    if (n < 0 && S_ISREG(st.st_mode))
        return UNREADABLE;
    return n == 0 ? EMPTY : n > 0 && mark(head) ? OURS : FOREIGN;
}

bool qm_batch_is_journal(const char *path) {
    return owner_of(path, journal_mark) == OURS;
}

bool qm_batch_is_store(const char *path) {
    return owner_of(path, qm_kv_store_mark) == OURS;
}

bool qm_batch_job_of(const char *path, char *out, size_t size) {
    size_t n = strlen(path);
    char journal[NAME_ROOM];
    for (int i = 0; i < N_OWN + 1; i++) {
        const char *suffix = i < N_OWN ? own[i].suffix : ".lock";
        size_t tail = strlen(suffix);
        if (n <= tail || strcmp(path + n - tail, suffix) != 0 || n - tail >= size)
            continue;
        snprintf(out, size, "%.*s", (int)(n - tail), path);
        beside(out, ".journal", journal);
        if (qm_batch_is_journal(journal))
            return true;
    }
    return false;
}

/* "", a suffix of ours, or a temporary name (as of mkstemp), and behind each maybe ".aside-N". */
static bool own_ending(const char *s) {
    static const char temporary[] = ".tmp-", aside[] = ".aside-";
    enum { RANDOM = 6 };
    size_t n = strlen(s);
    const char *moved = strstr(s, aside);
    if (moved && moved[sizeof aside - 1] && !moved[sizeof aside - 1 + strspn(moved + sizeof aside - 1, "0123456789")])
        n = (size_t)(moved - s);
    for (int i = 0; i < N_OWN; i++)
        if (strlen(own[i].suffix) == n && !strncmp(s, own[i].suffix, n))
            return true;
    return (n == 5 && !strncmp(s, ".lock", n)) ||
           (n == sizeof temporary - 1 + RANDOM && !strncmp(s, temporary, sizeof temporary - 1));
}

static bool same_folder(const char *a, const char *b) {
    char folder[2][NAME_ROOM];
    struct stat st[2];
    const char *path[] = {a, b};
    for (int i = 0; i < 2; i++) {
        const char *slash = strrchr(path[i], '/');
        snprintf(folder[i], NAME_ROOM, "%.*s/", slash ? (int)(slash - path[i]) : 1, slash ? path[i] : ".");
        if (stat(folder[i], &st[i]) != 0)
            return false;
    }
    return st[0].st_dev == st[1].st_dev && st[0].st_ino == st[1].st_ino;
}

bool qm_batch_name_of(const char *path, const char *out) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *out_slash = strrchr(out, '/'), *out_name = out_slash ? out_slash + 1 : out;
    size_t n = strlen(out_name);
    return !strncmp(name, out_name, n) && own_ending(name + n) && same_folder(path, out);
}

static const char *kind_of(const char *path) {
    struct stat st;
    return lstat(path, &st) != 0 ? "nothing" : S_ISLNK(st.st_mode) ? "a symbolic link" : qm_file_kind(st.st_mode);
}

static bool is_regular(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode);
}

int qm_batch_names_check(const struct qm_batch_paths *paths, bool *log, struct qm_error *err) {
    char path[NAME_ROOM];
    enum owner owner[N_OWN];
    for (int i = 0; i < N_OWN; i++) {
        beside(paths->out, own[i].suffix, path);
        owner[i] = owner_of(path, own[i].mark);
        if (owner[i] == UNREADABLE)
            return qm_fail_errno(err, "%s: cannot be read", path);
        if (owner[i] != NOBODY && !is_regular(path))
            return qm_fail(err, QM_INPUT,
                           "%s: expected a file of this job's own, or nothing, found %s: move it away, or name another "
                           "output",
                           path, kind_of(path));
    }
    *log = owner[1] == OURS;
    for (int i = 1; i < N_OWN; i++) {
        beside(paths->out, own[i].suffix, path);
        if (owner[i] == FOREIGN)
            return qm_fail(err, QM_INPUT,
                           "%s is a name of this job's own, and what is there is not: move it away, or name another "
                           "output",
                           path);
        /* an empty OUT may be an answer to nothing; the others hold nothing then */
        bool full = owner[i] == OURS || (owner[i] == EMPTY && !*own[i].suffix);
        bool begins = own[i].mark == index_mark || own[i].mark == rollback_mark; /* as a journal that is being made */
        bool harmless = own[i].mark == qm_kv_store_mark || (owner[0] == EMPTY && begins);
        if (full && !harmless && (owner[0] == NOBODY || owner[0] == EMPTY))
            return qm_remedy(
                err, QM_REMEDY_MOVE_ASIDE,
                qm_fail(err, QM_INPUT,
                        "%s is there, and no journal of a job that wrote it: put %s back, or name another output", path,
                        paths->journal));
    }
    return QM_OK;
}

int qm_batch_names_aside(const char *path, const char *why, const struct qm_batch_ui *ui, struct qm_error *err) {
    char to[NAME_ROOM];
    for (int i = 1; i <= MAX_ASIDE; i++) {
        snprintf(to, sizeof to, "%s.aside-%d", path, i);
        if (renameat2(AT_FDCWD, path, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
            qm_batch_note(ui, "%s: %s; it was moved aside, to %s", path, why, to);
            return QM_OK;
        }
        struct stat st;
        bool taken = errno == EEXIST || lstat(to, &st) == 0;
        if (!taken && errno == EINVAL && rename(path, to) == 0) { /* a file system that can't say "no replace" */
            qm_batch_note(ui, "%s: %s; it was moved aside, to %s", path, why, to);
            return QM_OK;
        }
        if (!taken)
            break;
    }
    return qm_fail_errno(err, "%s: cannot be moved aside", path);
}

int qm_batch_names_clear(const struct qm_batch_paths *paths, const struct qm_batch_ui *ui, struct qm_error *err) {
    char path[NAME_ROOM];
    bool known = qm_batch_is_journal(paths->journal);
    int rc = QM_OK;
    /* the journal goes first: without it nothing of the old job is believed */
    for (int i = 0; i < N_OWN && !rc; i++) {
        beside(paths->out, own[i].suffix, path);
        enum owner owner = owner_of(path, own[i].mark);
        if (owner == NOBODY)
            continue;
        if (owner == UNREADABLE)
            return qm_fail_errno(err, "%s: cannot be read", path);
        bool ours = owner == EMPTY || (owner == OURS && (known || own[i].mark == qm_kv_store_mark));
        if (!ours)
            rc = qm_batch_names_aside(path, "no journal knows it", ui, err);
        else if (unlink(path) != 0 && errno != ENOENT)
            rc = qm_fail_errno(err, "%s: cannot be removed", path);
    }
    return rc;
}
