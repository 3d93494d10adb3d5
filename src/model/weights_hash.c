/* Hashing shards, and knowing them again. */
#include "model/weights_hash.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"

enum { PIECE = 8 << 20, LINE_LIMIT = 256 };
static const int64_t COARSE = 2000000000; /* nanoseconds: the coarsest file system's times */

static int64_t nanoseconds(struct timespec t) {
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void qm_files_known_free(struct qm_files_known *k) {
    free(k->file);
    *k = (struct qm_files_known){0};
}

static bool same_file(const struct qm_file_known *a, const struct qm_file_known *b) {
    return a->inode == b->inode && a->bytes == b->bytes && a->modified == b->modified && a->changed == b->changed;
}

static void forget(struct qm_files_known *k, int i) {
    memmove(&k->file[i], &k->file[i + 1], (size_t)(k->n - i - 1) * sizeof *k->file);
    k->n--;
}

/* What was known of the same inode gives way. */
static int add(struct qm_files_known *k, const struct qm_file_known *f, struct qm_error *err) {
    if (!k->file && !(k->file = calloc(QM_FILES_KNOWN, sizeof *k->file)))
        return qm_fail_memory(err, QM_FILES_KNOWN * sizeof *k->file, "the hashes of files");
    for (int i = k->n - 1; i >= 0; i--)
        if (k->file[i].inode == f->inode && k->file[i].bytes == f->bytes)
            forget(k, i);
    if (k->n == QM_FILES_KNOWN)
        forget(k, 0);
    k->file[k->n++] = *f;
    return QM_OK;
}

/* "HASH inode bytes modified changed hashed" */
static bool parse_line(const char *line, struct qm_file_known *f) {
    int end = 0;
    int n = sscanf(line, "%32[0-9a-f] %" SCNu64 " %" SCNu64 " %" SCNd64 " %" SCNd64 " %" SCNd64 "%n", f->hash,
                   &f->inode, &f->bytes, &f->modified, &f->changed, &f->hashed, &end);
    return n == 6 && line[end] == 0 && strlen(f->hash) == QM_HASH_TEXT - 1;
}

int qm_files_known_parse(struct qm_files_known *k, const char *text, size_t len, struct qm_error *err) {
    int rc = QM_OK;
    for (size_t at = 0, n; at < len && !rc; at += n + 1) {
        const char *end = memchr(text + at, '\n', len - at);
        struct qm_file_known f = {0};
        char line[LINE_LIMIT];
        n = end ? (size_t)(end - (text + at)) : len - at;
        if (n >= sizeof line)
            continue;
        memcpy(line, text + at, n);
        line[n] = 0;
        if (parse_line(line, &f))
            rc = add(k, &f, err);
    }
    return rc;
}

static int look_at(const struct qm_shard_file *file, struct qm_file_known *out, struct qm_error *err) {
    struct stat st;
    if (fstat(file->fd, &st) != 0)
        return qm_fail_errno(err, "%s", file->path);
    *out = (struct qm_file_known){.inode = (uint64_t)st.st_ino,
                                  .bytes = (uint64_t)st.st_size,
                                  .modified = nanoseconds(st.st_mtim),
                                  .changed = nanoseconds(st.st_ctim)};
    return QM_OK;
}

static bool is_of(const struct qm_file_known *f, const struct qm_shards *shards) {
    for (int i = 0; i < shards->n_files; i++) {
        struct qm_file_known now;
        if (!look_at(&shards->files[i], &now, NULL) && same_file(&now, f))
            return true;
    }
    return false;
}

int qm_files_known_text(const struct qm_files_known *k, const struct qm_shards *shards, struct qm_buf *out,
                        struct qm_error *err) {
    int rc = QM_OK;
    for (int i = 0; i < k->n && !rc; i++) {
        const struct qm_file_known *f = &k->file[i];
        if (!shards || is_of(f, shards))
            rc = qm_buf_printf(out, err, "%s %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %" PRId64 "\n", f->hash,
                               f->inode, f->bytes, f->modified, f->changed, f->hashed);
    }
    return rc;
}

static const struct qm_file_known *find(const struct qm_files_known *k, const struct qm_file_known *f) {
    for (int i = k->n - 1; i >= 0; i--)
        if (same_file(&k->file[i], f))
            return &k->file[i];
    return NULL;
}

/* What changed just before it was hashed may have changed just after it too, at the same time by its file system. The
 * time of the inode's change alone: the other can be set, to the future too. */
static bool can_be_trusted(const struct qm_file_known *f) {
    return f->changed < f->hashed && f->hashed - f->changed > COARSE;
}

struct reading {
    struct qm_hasher *hasher;
    char *piece;
    qm_hash_progress_fn *progress;
    void *arg;
    uint64_t done, total;
};

static int changed_meanwhile(const struct qm_shard_file *file, const char *when, struct qm_error *err) {
    return qm_fail(err, QM_INPUT, "%s changed while it was %s; start again when it is whole", file->path, when);
}

static int interrupted(struct qm_error *err) {
    return qm_fail(err, QM_INTERRUPTED, "interrupted while reading the weights");
}

static int hash_file(struct reading *r, const struct qm_shard_file *file, struct qm_file_known *f,
                     struct qm_error *err) {
    struct qm_file_known after = {0};
    struct timespec now;
    int rc = QM_OK;
    clock_gettime(CLOCK_REALTIME, &now);
    f->hashed = nanoseconds(now);
    qm_hasher_reset(r->hasher);
    posix_fadvise(file->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (uint64_t at = 0, n; at < f->bytes && !rc; at += n) {
        n = f->bytes - at < PIECE ? f->bytes - at : PIECE;
        rc = qm_pread_full(file->fd, file->path, r->piece, n, at, err);
        if (!rc)
            qm_hasher_add(r->hasher, r->piece, n);
        r->done += n;
        if (!rc && r->progress && r->progress(r->arg, r->done, r->total))
            rc = interrupted(err);
    }
    posix_fadvise(file->fd, 0, 0, POSIX_FADV_NORMAL);
    qm_hasher_text(r->hasher, f->hash);
    if (!rc)
        rc = look_at(file, &after, err);
    return rc || same_file(f, &after) ? rc : changed_meanwhile(file, "read", err);
}

/* The shard's hash, known or computed. */
static int hash_shard(struct reading *r, const struct qm_shard_file *file, struct qm_files_known *k,
                      char out[QM_HASH_TEXT], int *read, struct qm_error *err) {
    struct qm_file_known f;
    int rc = look_at(file, &f, err);
    if (rc)
        return rc;
    const struct qm_file_known *known = find(k, &f);
    if (known && can_be_trusted(known)) {
        memcpy(out, known->hash, QM_HASH_TEXT);
        return QM_OK;
    }
    ++*read;
    rc = hash_file(r, file, &f, err);
    memcpy(out, f.hash, QM_HASH_TEXT);
    return rc ? rc : add(k, &f, err);
}

static uint64_t bytes_to_read(const struct qm_shards *shards, const struct qm_files_known *k) {
    uint64_t bytes = 0;
    for (int i = 0; i < shards->n_files; i++) {
        struct qm_file_known f;
        const struct qm_file_known *known = look_at(&shards->files[i], &f, NULL) ? NULL : find(k, &f);
        bytes += known && can_be_trusted(known) ? 0 : shards->files[i].bytes;
    }
    return bytes;
}

static int by_text(const void *a, const void *b) {
    return memcmp(a, b, QM_HASH_TEXT);
}

int qm_weights_hash(const struct qm_shards *shards, struct qm_files_known *k, qm_hash_progress_fn *progress, void *arg,
                    char out[QM_HASH_TEXT], int *read, struct qm_error *err) {
    struct reading r = {.progress = progress, .arg = arg};
    int n = shards ? shards->n_files : 0;
    *read = 0;
    char(*each)[QM_HASH_TEXT] = calloc((size_t)n + 1, sizeof *each);
    r.piece = malloc(PIECE);
    int rc = each && r.piece ? qm_hasher_new(&r.hasher, err) : qm_fail_memory(err, PIECE, "reading the weights");
    if (!rc && n)
        r.total = bytes_to_read(shards, k);
    if (!rc && r.total && progress && progress(arg, 0, r.total))
        rc = interrupted(err);
    for (int i = 0; i < n && !rc; i++)
        rc = hash_shard(&r, &shards->files[i], k, each[i], read, err);
    if (!rc) {
        qsort(each, (size_t)n, sizeof *each, by_text);
        qm_hash_text(each, (size_t)n * sizeof *each, out);
    }
    qm_hasher_free(r.hasher);
    free(r.piece);
    free(each);
    return rc;
}

int qm_weights_unchanged(const struct qm_shards *shards, const struct qm_files_known *k, struct qm_error *err) {
    for (int i = 0; shards && i < shards->n_files; i++) {
        struct qm_file_known f;
        int rc = look_at(&shards->files[i], &f, err);
        if (rc)
            return rc;
        if (!find(k, &f))
            return changed_meanwhile(&shards->files[i], "loaded", err);
    }
    return QM_OK;
}
