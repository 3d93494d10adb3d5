/* Blocks of keys and values in a file of slots. What a block's bytes mean is the engine's; which blocks belong together
 * is the prefix cache's. Hashes and checksums are XXH3 (xxHash by Yann Collet, github.com/Cyan4973/xxHash). Numbers in
 * the file are little-endian, as the processors are that this runs on. */
#include "session/kv_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "simd/kernels.h"

#define FILE_MAGIC 0x3130564B4D51FEu /* as bytes: FE "QMKV01" 00 */
#define SLOT_MAGIC 0x31304B4C424DFEu

enum { UNIT = 4096, MAX_BLOCK_TOKENS = 4096, MAX_SLOTS = 1 << 22 };
_Static_assert((int)QM_KV_PAGE_TOKENS <= (int)MAX_BLOCK_TOKENS, "a block is a page");
_Static_assert(sizeof(struct qm_kv_hash) == 16, "no padding: it is written as it is");

struct file_head {
    uint64_t magic, key, block_bytes, block_tokens, checksum; /* checksum: of what is before it */
};

/* Before a slot's tokens; its block comes after them. */
struct slot_head {
    uint64_t magic, checksum; /* checksum: of the rest of the head, and the tokens */
    struct qm_kv_hash hash, parent;
    uint64_t block_checksum;
};

/* A slot, by its number. */
struct slot {
    struct qm_kv_hash hash;
    uint64_t used;
    int32_t chain; /* the next in its bucket, or free; -1: none */
    bool valid;
};

struct qm_kv_store {
    struct qm_kv_store_options options; /* but for the path */
    int fd;
    bool off;
    uint64_t head_bytes, slot_bytes; /* head and tokens; with the block, in whole UNITs */
    int64_t most, n, valid;          /* slots: that max_bytes holds, in the file, with a block */
    struct slot *slots;
    int32_t *buckets, free; /* [mask + 1] */
    uint64_t mask, clock, epoch;
    int64_t damaged; /* found while reading */
    uint8_t *head;   /* [head_bytes] of the slot at hand */
    char note[512];
};

struct qm_kv_hash qm_kv_hash(struct qm_kv_hash parent, const int32_t *tokens, int64_t n) {
    XXH128_hash_t own = XXH3_128bits(tokens, (size_t)n * sizeof *tokens);
    uint64_t both[4] = {parent.hi, parent.lo, own.high64, own.low64};
    XXH128_hash_t h = XXH3_128bits(both, sizeof both);
    return (struct qm_kv_hash){.hi = h.high64, .lo = h.low64};
}

__attribute__((format(printf, 2, 3))) static void add_note(struct qm_kv_store *s, const char *format, ...) {
    size_t at = strlen(s->note);
    if (at && at + 2 < sizeof s->note)
        at += (size_t)snprintf(s->note + at, sizeof s->note - at, "; ");
    va_list args;
    va_start(args, format);
    vsnprintf(s->note + at, sizeof s->note - at, format, args);
    va_end(args);
}

static uint64_t slot_at(const struct qm_kv_store *s, int64_t slot) {
    return UNIT + (uint64_t)slot * s->slot_bytes;
}

/* All n bytes, or -1 with errno; 0 for fewer at the end of the file. */
static int read_at(const struct qm_kv_store *s, void *to, uint64_t n, uint64_t at) {
    for (uint64_t done = 0; done < n;) {
        ssize_t got = pread(s->fd, (uint8_t *)to + done, (size_t)(n - done), (off_t)(at + done));
        if (got < 0 && errno != EINTR)
            return -1;
        if (got == 0)
            return 0;
        done += got > 0 ? (uint64_t)got : 0;
    }
    return 1;
}

static int write_at(const struct qm_kv_store *s, const void *from, uint64_t n, uint64_t at) {
    for (uint64_t done = 0; done < n;) {
        ssize_t put = pwrite(s->fd, (const uint8_t *)from + done, (size_t)(n - done), (off_t)(at + done));
        if (put < 0 && errno != EINTR)
            return -1;
        done += put > 0 ? (uint64_t)put : 0;
    }
    return 0;
}

static bool no_room(int error) {
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

/* errno says why; the store is off from now on. */
static int turn_off(struct qm_kv_store *s, const char *what, struct qm_error *err) {
    int error = errno;
    s->off = true;
    add_note(s, "%s: %s; nothing more is stored", what, strerror(error));
    return qm_fail(err, no_room(error) ? QM_FIT : QM_SYSTEM, "the store of keys and values: %s: %s", what,
                   strerror(error));
}

/* --- the table -------------------------------------------------------------------------------------------- */

static int32_t find_slot(const struct qm_kv_store *s, struct qm_kv_hash h) {
    for (int32_t i = s->off ? -1 : s->buckets[h.lo & s->mask]; i >= 0; i = s->slots[i].chain)
        if (s->slots[i].hash.hi == h.hi && s->slots[i].hash.lo == h.lo)
            return i;
    return -1;
}

static void enter(struct qm_kv_store *s, int32_t i, struct qm_kv_hash h, uint64_t used) {
    int32_t *bucket = &s->buckets[h.lo & s->mask];
    s->slots[i] = (struct slot){.hash = h, .used = used, .chain = *bucket, .valid = true};
    *bucket = i;
    s->valid++;
}

static void leave_free(struct qm_kv_store *s, int32_t i) {
    s->slots[i] = (struct slot){.chain = s->free};
    s->free = i;
}

static void forget(struct qm_kv_store *s, int32_t i) {
    int32_t *at = &s->buckets[s->slots[i].hash.lo & s->mask];
    while (*at != i)
        at = &s->slots[*at].chain;
    *at = s->slots[i].chain;
    s->valid--;
    leave_free(s, i);
}

/* The table, for as many slots as there can be: it never grows. */
static int make_table(struct qm_kv_store *s, struct qm_error *err) {
    uint64_t buckets = 64;
    while (buckets < (uint64_t)s->most)
        buckets *= 2;
    s->mask = buckets - 1;
    s->slots = calloc((size_t)s->most, sizeof *s->slots);
    s->buckets = malloc((size_t)buckets * sizeof *s->buckets);
    if (!s->slots || !s->buckets)
        return qm_fail_memory(err, (uint64_t)s->most * sizeof *s->slots, "the table of stored blocks");
    memset(s->buckets, 0xFF, (size_t)buckets * sizeof *s->buckets);
    return QM_OK;
}

/* --- opening ---------------------------------------------------------------------------------------------- */

static uint64_t head_checksum(const struct qm_kv_store *s) {
    enum { AFTER = offsetof(struct slot_head, hash) };
    return XXH3_64bits(s->head + AFTER, (size_t)s->head_bytes - AFTER);
}

static int write_file_head(struct qm_kv_store *s, struct qm_error *err) {
    struct file_head h = {.magic = FILE_MAGIC,
                          .key = s->options.key,
                          .block_bytes = s->options.block_bytes,
                          .block_tokens = (uint64_t)s->options.block_tokens};
    h.checksum = XXH3_64bits(&h, offsetof(struct file_head, checksum));
    uint8_t unit[UNIT] = {0};
    memcpy(unit, &h, sizeof h);
    if (ftruncate(s->fd, 0) || write_at(s, unit, sizeof unit, 0))
        turn_off(s, "cannot be written", err);
    return QM_OK;
}

/* Whose file it is: 1 of this key, 0 to be written anew; else the store is off. */
static int read_file_head(struct qm_kv_store *s, uint64_t size) {
    struct file_head h = {0};
    if (size == 0)
        return 0;
    int got = read_at(s, &h, sizeof h, 0);
    if (got < 0) {
        turn_off(s, "cannot be read", NULL);
        return -1;
    }
    if (got > 0 && h.magic == FILE_MAGIC && h.checksum == XXH3_64bits(&h, offsetof(struct file_head, checksum))) {
        if (h.key == s->options.key && h.block_bytes == s->options.block_bytes &&
            h.block_tokens == (uint64_t)s->options.block_tokens)
            return 1;
        add_note(s, "what it held was of another model, KV type, instruction set or version, and is dropped");
        return 0;
    }
    if (h.magic == FILE_MAGIC || (h.magic == 0 && size <= UNIT)) { /* a crash while it was made */
        add_note(s, "its head is damaged; it is begun anew");
        return 0;
    }
    s->off = true;
    add_note(s, "it is not a file of keys and values, and is left alone; nothing is stored");
    return -1;
}

/* The heads of the slots that are there. */
static void read_slots(struct qm_kv_store *s, uint64_t size) {
    int64_t damaged = 0, n = size > UNIT ? (int64_t)((size - UNIT) / s->slot_bytes) : 0;
    if (n > s->most) {
        add_note(s, "%lld blocks beyond the size allowed are dropped", (long long)(n - s->most));
        n = s->most;
        if (ftruncate(s->fd, (off_t)slot_at(s, n)))
            turn_off(s, "cannot be made smaller", NULL);
    }
    for (int32_t i = 0; i < n; i++) {
        struct slot_head h = {0};
        int got = read_at(s, s->head, s->head_bytes, slot_at(s, i));
        if (got > 0)
            memcpy(&h, s->head, sizeof h);
        s->n = i + 1;
        bool whole = got > 0 && h.magic == SLOT_MAGIC && h.checksum == head_checksum(s);
        if (whole && find_slot(s, h.hash) < 0) {
            enter(s, i, h.hash, 0);
        } else {
            leave_free(s, i);
            damaged += !whole;
        }
    }
    if (damaged)
        add_note(s, "%lld damaged blocks are ignored", (long long)damaged);
}

bool qm_kv_store_mark(const unsigned char head[8]) {
    static const unsigned char made[8] = {0};
    return !memcmp(head, "\xFEQMKV", 5) || !memcmp(head, made, sizeof made);
}

static int open_file(struct qm_kv_store *s, const char *path, struct qm_error *err) {
    struct stat st;
    s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW, 0600);
    if (s->fd < 0 || fstat(s->fd, &st))
        return qm_fail_errno(err, "%s", path);
    if (!S_ISREG(st.st_mode))
        return qm_fail(err, QM_INPUT, "%s: a regular file is expected for keys and values", path);
    if (flock(s->fd, LOCK_EX | LOCK_NB))
        return errno == EWOULDBLOCK ? qm_fail(err, QM_INPUT, "%s: another process has it open", path)
                                    : qm_fail_errno(err, "%s: locking it", path);
    if (fstat(s->fd, &st)) /* its size, now that nobody else writes */
        return qm_fail_errno(err, "%s", path);
    int ours = read_file_head(s, (uint64_t)st.st_size);
    if (ours > 0)
        read_slots(s, (uint64_t)st.st_size);
    return ours == 0 ? write_file_head(s, NULL) : QM_OK;
}

int qm_kv_store_open(const struct qm_kv_store_options *o, struct qm_kv_store **out, struct qm_error *err) {
    *out = NULL;
    if (o->block_tokens < 1 || o->block_tokens > MAX_BLOCK_TOKENS || o->block_bytes == 0 ||
        o->block_bytes > (uint64_t)1 << 40)
        return qm_fail(err, QM_USAGE, "blocks of %lld tokens and %llu bytes cannot be stored",
                       (long long)o->block_tokens, (unsigned long long)o->block_bytes);
    struct qm_kv_store *s = calloc(1, sizeof *s);
    if (!s)
        return qm_fail_memory(err, sizeof *s, "the store of keys and values");
    s->options = *o;
    s->options.path = NULL;
    s->fd = s->free = -1;
    s->clock = s->epoch = 1;
    s->head_bytes = sizeof(struct slot_head) + (uint64_t)o->block_tokens * sizeof(int32_t);
    s->slot_bytes = (s->head_bytes + o->block_bytes + UNIT - 1) / UNIT * UNIT;
    uint64_t bytes = o->max_bytes < (uint64_t)INT64_MAX ? o->max_bytes : (uint64_t)INT64_MAX;
    uint64_t most = bytes > UNIT ? (bytes - UNIT) / s->slot_bytes : 0;
    s->most = (int64_t)(most < MAX_SLOTS ? most : MAX_SLOTS);
    int rc = QM_OK;
    if (s->most == 0)
        rc = qm_fail(err, QM_FIT, "%s: %llu bytes hold no block of keys and values: one takes %llu", o->path,
                     (unsigned long long)o->max_bytes, (unsigned long long)(s->slot_bytes + UNIT));
    s->head = rc ? NULL : malloc((size_t)s->head_bytes);
    if (!rc && !s->head)
        rc = qm_fail_memory(err, s->head_bytes, "the store of keys and values");
    if (!rc)
        rc = make_table(s, err);
    if (!rc)
        rc = open_file(s, o->path, err);
    if (rc) {
        qm_kv_store_close(s);
        return rc;
    }
    *out = s;
    return QM_OK;
}

void qm_kv_store_close(struct qm_kv_store *s) {
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd); /* and with it the lock */
    free(s->slots);
    free(s->buckets);
    free(s->head);
    free(s);
}

const char *qm_kv_store_note(const struct qm_kv_store *s) {
    return s->note;
}

bool qm_kv_store_off(const struct qm_kv_store *s) {
    return s->off;
}

int64_t qm_kv_store_blocks(const struct qm_kv_store *s) {
    return s->off ? 0 : s->valid;
}

/* --- use -------------------------------------------------------------------------------------------------- */

void qm_kv_store_begin(struct qm_kv_store *s) {
    s->epoch = ++s->clock;
}

bool qm_kv_store_has(const struct qm_kv_store *s, struct qm_kv_hash h) {
    return find_slot(s, h) >= 0;
}

bool qm_kv_store_touch(struct qm_kv_store *s, struct qm_kv_hash h) {
    int32_t i = find_slot(s, h);
    if (i >= 0)
        s->slots[i].used = s->clock;
    return i >= 0;
}

/* A free slot, a new one, or the one used longest ago; -1: none may be given up. */
static int take_slot(struct qm_kv_store *s, int32_t *out, struct qm_error *err) {
    *out = s->free;
    if (s->free >= 0) {
        s->free = s->slots[s->free].chain;
        return QM_OK;
    }
    if (s->n < s->most) {
        *out = (int32_t)s->n++;
        return QM_OK;
    }
    int32_t oldest = 0;
    for (int32_t i = 1; i < s->n; i++)
        if (s->slots[i].used < s->slots[oldest].used)
            oldest = i;
    if (s->slots[oldest].used >= s->epoch)
        return qm_fail(err, QM_FIT, "the store of keys and values is full: %lld blocks", (long long)s->n);
    forget(s, oldest);
    s->free = s->slots[oldest].chain;
    *out = oldest;
    return QM_OK;
}

int qm_kv_store_put(struct qm_kv_store *s, struct qm_kv_hash h, struct qm_kv_hash parent, const int32_t *tokens,
                    const void *bytes, struct qm_error *err) {
    if (s->off)
        return qm_fail(err, QM_FIT, "the store of keys and values is off: %s", s->note);
    if (qm_kv_store_touch(s, h))
        return QM_OK;
    int32_t slot;
    int rc = take_slot(s, &slot, err);
    if (rc)
        return rc;
    struct slot_head head = {.magic = SLOT_MAGIC,
                             .hash = h,
                             .parent = parent,
                             .block_checksum = XXH3_64bits(bytes, (size_t)s->options.block_bytes)};
    memcpy(s->head, &head, sizeof head);
    memcpy(s->head + sizeof head, tokens, (size_t)s->head_bytes - sizeof head);
    head.checksum = head_checksum(s);
    memcpy(s->head, &head, sizeof head);
    uint8_t end = 0; /* of the last slot: so that the file has whole slots */
    if (write_at(s, bytes, s->options.block_bytes, slot_at(s, slot) + s->head_bytes) ||
        write_at(s, &end, s->head_bytes + s->options.block_bytes < s->slot_bytes, slot_at(s, slot + 1) - 1) ||
        write_at(s, s->head, s->head_bytes, slot_at(s, slot)))
        return turn_off(s, "a block cannot be written", err);
    enter(s, slot, h, s->clock);
    return QM_OK;
}

int qm_kv_store_get(struct qm_kv_store *s, struct qm_kv_hash h, struct qm_kv_hash parent, const int32_t *tokens,
                    void *bytes, struct qm_error *err) {
    int32_t slot = find_slot(s, h);
    if (slot < 0)
        return qm_fail(err, QM_INPUT, "a block of keys and values is not in the store");
    struct slot_head head;
    int got = read_at(s, s->head, s->head_bytes, slot_at(s, slot));
    if (got > 0)
        got = read_at(s, bytes, s->options.block_bytes, slot_at(s, slot) + s->head_bytes);
    if (got < 0)
        return turn_off(s, "a block cannot be read", err);
    memcpy(&head, s->head, sizeof head);
    bool whole = got > 0 && head.magic == SLOT_MAGIC && head.checksum == head_checksum(s) &&
                 memcmp(&head.hash, &h, sizeof h) == 0 &&
                 head.block_checksum == XXH3_64bits(bytes, (size_t)s->options.block_bytes);
    if (!whole) {
        forget(s, slot);
        if (s->damaged++ == 0)
            add_note(s, "a damaged block is ignored");
        return qm_fail(err, QM_INPUT, "a stored block of keys and values is damaged");
    }
    if (memcmp(&head.parent, &parent, sizeof parent) != 0 ||
        memcmp(s->head + sizeof head, tokens, (size_t)s->head_bytes - sizeof head) != 0)
        return qm_fail(err, QM_INPUT, "a stored block of keys and values is of other tokens");
    s->slots[slot].used = s->clock;
    return QM_OK;
}

int qm_kv_store_sync(struct qm_kv_store *s, struct qm_error *err) {
    if (s->off)
        return QM_OK;
    return fdatasync(s->fd) ? turn_off(s, "its blocks cannot be brought to the disk", err) : QM_OK;
}
