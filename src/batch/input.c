/* Streaming lines out of a large file, with fingerprints of its blocks on the way. */
#include "batch/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum { PIECE = 1 << 20, SAMPLES = 16, SAMPLE_BYTES = 64 << 10, HEAD = 4096 };

struct qm_batch_input {
    char *path;
    int fd;
    struct qm_batch_identity identity;
    uint64_t line_limit;
    /* buffer.data[at..len) is read and not yet given; it ends at `offset` in the file */
    struct qm_buf buffer;
    size_t at;
    uint64_t offset;
    int64_t rows, lines; /* given or passed over so far */
    char head[HEAD];     /* of a line that is too long */
    struct qm_hasher *block;
    qm_batch_block_fn *on_block;
    void *on_block_arg;
};

static void take_time(const struct stat *st, struct qm_batch_identity *out) {
    out->size = (uint64_t)st->st_size;
    out->modified = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    out->changed = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
    out->device = st->st_dev;
    out->inode = st->st_ino;
}

/* The first and the last bytes and some between, and the size. */
static int take_sample(struct qm_batch_input *in, struct qm_error *err) {
    char *bytes = malloc(SAMPLE_BYTES);
    struct qm_hasher *h = NULL;
    int rc = bytes ? qm_hasher_new(&h, err) : qm_fail_memory(err, SAMPLE_BYTES, "the input's fingerprint");
    uint64_t size = in->identity.size, n = size < SAMPLE_BYTES ? size : SAMPLE_BYTES;
    for (uint64_t i = 0; i < SAMPLES && !rc; i++) {
        /* the spread in parts, so that no product overflows */
        uint64_t spread = size - n, from = spread / (SAMPLES - 1) * i + spread % (SAMPLES - 1) * i / (SAMPLES - 1);
        if (!(rc = qm_pread_full(in->fd, in->path, bytes, (size_t)n, from, err)))
            qm_hasher_add(h, bytes, (size_t)n);
    }
    if (!rc) {
        qm_hasher_add(h, &size, sizeof size);
        qm_hasher_text(h, in->identity.sample);
    }
    qm_hasher_free(h);
    free(bytes);
    return rc;
}

int qm_batch_input_open(const char *path, uint64_t line_limit, struct qm_batch_input **out, struct qm_error *err) {
    struct qm_batch_input *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return qm_fail_memory(err, sizeof *in, "the input");
    in->line_limit = line_limit;
    in->path = strdup(path);
    in->fd = -1;
    struct stat st;
    int rc =
        in->path ? qm_open_regular(path, &in->fd, &st, err) : qm_fail_memory(err, strlen(path), "the input's name");
    if (!rc)
        take_time(&st, &in->identity);
    else if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        rc = qm_fail(err, QM_INPUT, "%s: expected a regular file, found %s: a job that resumes reads its input again",
                     path, qm_file_kind(st.st_mode));
    if (!rc)
        rc = qm_hasher_new(&in->block, err);
    if (!rc)
        rc = take_sample(in, err);
    if (rc) {
        qm_batch_input_close(in);
        return rc;
    }
    *out = in;
    return QM_OK;
}

void qm_batch_input_close(struct qm_batch_input *in) {
    if (!in)
        return;
    if (in->fd >= 0)
        close(in->fd);
    qm_hasher_free(in->block);
    qm_buf_free(&in->buffer);
    free(in->path);
    free(in);
}

const struct qm_batch_identity *qm_batch_input_identity(const struct qm_batch_input *in) {
    return &in->identity;
}

void qm_batch_input_on_block(struct qm_batch_input *in, qm_batch_block_fn *on_block, void *arg) {
    in->on_block = on_block;
    in->on_block_arg = arg;
}

static int changed(const struct qm_batch_input *in, struct qm_error *err) {
    return qm_remedy(
        err, QM_REMEDY_START_OVER,
        qm_fail(err, QM_INPUT,
                "%s: changed while it was read; put the file back as it was and run the same command again", in->path));
}

/* Nothing of what was read may be of another content than the rest: seen by its time before any of it is used. */
static int check_written(const struct qm_batch_input *in, struct qm_error *err) {
    struct stat st;
    struct qm_batch_identity now;
    if (fstat(in->fd, &st) != 0)
        return qm_fail_errno(err, "%s", in->path);
    take_time(&st, &now);
    return now.size == in->identity.size && now.modified == in->identity.modified ? QM_OK : changed(in, err);
}

static int end_block(struct qm_batch_input *in, struct qm_error *err) {
    char hash[QM_HASH_TEXT];
    qm_hasher_text(in->block, hash);
    qm_hasher_reset(in->block);
    return in->on_block ? in->on_block(in->on_block_arg, (int64_t)((in->offset - 1) / QM_BATCH_BLOCK), hash, err)
                        : QM_OK;
}

/* Takes n bytes that were read at in->offset into the fingerprints. */
static int pass(struct qm_batch_input *in, const char *bytes, size_t n, struct qm_error *err) {
    int rc = QM_OK;
    while (n && !rc) {
        uint64_t room = QM_BATCH_BLOCK - in->offset % QM_BATCH_BLOCK;
        size_t now = n < room ? n : (size_t)room;
        qm_hasher_add(in->block, bytes, now);
        in->offset += now;
        bytes += now;
        n -= now;
        if (in->offset % QM_BATCH_BLOCK == 0 || in->offset == in->identity.size)
            rc = end_block(in, err);
    }
    return rc;
}

/* Appends a piece of the file to the buffer. *more false: the file has ended. */
static int fill(struct qm_batch_input *in, bool *more, struct qm_error *err) {
    if (in->at) {
        in->buffer.len -= in->at;
        memmove(in->buffer.data, in->buffer.data + in->at, in->buffer.len);
        in->at = 0;
    }
    *more = in->offset < in->identity.size;
    if (!*more)
        return QM_OK;
    uint64_t left = in->identity.size - in->offset;
    size_t n = left < PIECE ? (size_t)left : PIECE;
    int rc = qm_buf_reserve(&in->buffer, n, err);
    if (rc)
        return rc;
    char *to = in->buffer.data + in->buffer.len;
    if ((rc = qm_pread_full(in->fd, in->path, to, n, in->offset, err)) || (rc = check_written(in, err)) ||
        (rc = pass(in, to, n, err)))
        return rc;
    in->buffer.len += n;
    in->buffer.data[in->buffer.len] = 0;
    return QM_OK;
}

/* The next line, empty or not, without its end. */
static int next_line(struct qm_batch_input *in, struct qm_batch_line *out, bool *end, struct qm_error *err) {
    size_t searched = 0, head = 0;
    uint64_t dropped = 0; /* bytes of a line that is too long */
    bool more = true;
    const char *newline = NULL;
    for (;;) {
        size_t have = in->buffer.len - in->at;
        if (have > searched)
            newline = memchr(in->buffer.data + in->at + searched, '\n', have - searched);
        if (newline || !more)
            break;
        searched = have;
        if (dropped + have > in->line_limit) {
            if (!dropped) {
                head = have < HEAD ? have : HEAD;
                memcpy(in->head, in->buffer.data + in->at, head);
            }
            dropped += have;
            in->at = in->buffer.len;
            searched = 0;
        }
        int rc = fill(in, &more, err);
        if (rc)
            return rc;
    }
    const char *text = in->buffer.data ? in->buffer.data + in->at : "";
    size_t have = in->buffer.len - in->at, n = newline ? (size_t)(newline - text) : have;
    *end = !newline && dropped + n == 0;
    bool too_long = dropped + n > in->line_limit;
    if (too_long && !dropped) {
        head = n < HEAD ? n : HEAD;
        memcpy(in->head, text, head);
    }
    in->lines += !*end;
    *out = (struct qm_batch_line){.number = in->rows + 1,
                                  .file_line = in->lines,
                                  .offset = in->offset - have - dropped,
                                  .length = dropped + n,
                                  .text = too_long ? NULL : text,
                                  .head = in->head,
                                  .head_length = head};
    in->at += n + (newline != NULL);
    return QM_OK;
}

static bool blank(const char *text, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        if (!strchr(" \t\r", text[i]) || !text[i])
            return false;
    return true;
}

static int next_row(void *self, struct qm_batch_line *out, bool *end, struct qm_error *err) {
    struct qm_batch_input *in = self;
    static const char mark[] = "\xEF\xBB\xBF"; /* a byte-order mark, as some editors write it */
    for (;;) {
        int rc = next_line(in, out, end, err);
        if (rc || *end)
            return rc;
        if (!out->text)
            break;
        if (out->offset == 0 && out->length >= 3 && !memcmp(out->text, mark, 3)) {
            out->offset += 3;
            out->length -= 3;
            out->text += 3;
        }
        if (out->length && out->text[out->length - 1] == '\r')
            out->length--;
        if (!blank(out->text, out->length))
            break;
    }
    in->rows++;
    /* one that is too long is reported, not answered: that there was one is what counts */
    out->hash =
        out->text ? qm_hash64(out->text, (size_t)out->length, 0) : qm_hash64(out->head, out->head_length, out->length);
    return QM_OK;
}

/* Reading begins at the block's beginning, so that the block is fingerprinted whole. */
static int seek_row(void *self, const struct qm_batch_line *at, struct qm_error *err) {
    struct qm_batch_input *in = self;
    uint64_t offset = at->offset;
    int64_t number = at->number;
    if (offset > in->identity.size || number < 1 || at->file_line < 1)
        return qm_fail(err, QM_INPUT, "%s: has no row %lld at byte %llu", in->path, (long long)number,
                       (unsigned long long)offset);
    qm_hasher_reset(in->block);
    in->offset = offset / QM_BATCH_BLOCK * QM_BATCH_BLOCK;
    in->buffer.len = in->at = 0;
    in->rows = number - 1;
    in->lines = at->file_line - 1;
    bool more = true;
    int rc = QM_OK;
    while (!rc && more && in->offset < offset) {
        in->at = in->buffer.len;
        rc = fill(in, &more, err);
    }
    if (!rc)
        in->at = in->buffer.len - (size_t)(in->offset - offset);
    return rc;
}

static int read_row(void *self, const struct qm_batch_line *line, struct qm_buf *out, struct qm_error *err) {
    const struct qm_batch_input *in = self;
    int rc = qm_buf_reserve(out, (size_t)line->length, err);
    if (!rc)
        rc = qm_pread_full(in->fd, in->path, out->data + out->len, (size_t)line->length, line->offset, err);
    if (rc)
        return rc;
    if (qm_hash64(out->data + out->len, (size_t)line->length, 0) != line->hash)
        return changed(in, err);
    out->len += (size_t)line->length;
    out->data[out->len] = 0;
    return QM_OK;
}

/* The file of that name, not the one that is open: an editor may have put another in its place. */
static int is_unchanged(void *self, bool *same, struct qm_error *err) {
    const struct qm_batch_input *in = self;
    struct stat st;
    struct qm_batch_identity now, then = in->identity;
    if (stat(in->path, &st) != 0) { /* gone: then what was open is what was answered */
        *same = true;
        return check_written(in, err);
    }
    take_time(&st, &now);
    *same = now.size == then.size && now.modified == then.modified && now.changed == then.changed &&
            now.device == then.device && now.inode == then.inode;
    return QM_OK;
}

static double bytes_ahead(void *self, const struct qm_batch_line *at) {
    const struct qm_batch_input *in = self;
    return in->identity.size > at->offset ? (double)(in->identity.size - at->offset) : 0;
}

struct qm_batch_source qm_batch_input_source(struct qm_batch_input *in) {
    return (struct qm_batch_source){in, next_row, seek_row, read_row, is_unchanged, bytes_ahead, in->identity.size, -1};
}
