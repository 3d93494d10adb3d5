/* Fuzz target: files of stored blocks of keys and values. What is got is what its checksums say; nothing else happens.
 * The checksums are repaired in a copy, so that what is behind them is reached too. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "session/kv_store.h"

enum { BYTES = 100, TOKENS = 4, UNIT = 4096, HEAD = 56 + 4 * TOKENS };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void repair(uint8_t *file, size_t size) {
    if (size < UNIT)
        return;
    uint64_t sum = XXH3_64bits(file, 32);
    memcpy(file + 32, &sum, sizeof sum);
    for (size_t at = UNIT; size - at >= UNIT; at += UNIT) {
        sum = XXH3_64bits(file + at + HEAD, BYTES);
        memcpy(file + at + 48, &sum, sizeof sum);
        sum = XXH3_64bits(file + at + 16, HEAD - 16);
        memcpy(file + at + 8, &sum, sizeof sum);
    }
}

/* Opens what the file is, reads every block that it claims, and writes until it is full. */
static void use(const uint8_t *file, size_t size) {
    int fd = memfd_create("fuzz", 0);
    char path[64];
    if (fd < 0 || (size && write(fd, file, size) != (ssize_t)size))
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct qm_kv_store_options o = {
        .path = path, .max_bytes = 6 * UNIT, .key = 7, .block_bytes = BYTES, .block_tokens = TOKENS};
    struct qm_kv_store *s;
    if (qm_kv_store_open(&o, &s, NULL) == 0) {
        uint8_t bytes[BYTES] = {0};
        for (size_t at = UNIT; size >= UNIT && size - at >= UNIT; at += UNIT) {
            struct qm_kv_hash h[2];
            int32_t tokens[TOKENS];
            memcpy(h, file + at + 16, sizeof h);
            memcpy(tokens, file + at + 56, sizeof tokens);
            if (qm_kv_store_get(s, h[0], h[1], tokens, bytes, NULL) == 0 && !qm_kv_store_has(s, h[0]))
                abort();
        }
        qm_kv_store_begin(s);
        for (int32_t i = 0; i < 7; i++) {
            int32_t tokens[TOKENS] = {i, 1, 2, 3};
            struct qm_kv_hash none = {0, 0}, h = qm_kv_hash(none, tokens, TOKENS);
            memset(bytes, i, sizeof bytes);
            bool there = qm_kv_store_has(s, h); /* then it has the file's bytes */
            if (qm_kv_store_put(s, h, none, tokens, bytes, NULL) == 0 && !there &&
                qm_kv_store_get(s, h, none, tokens, bytes, NULL) == 0 && bytes[BYTES - 1] != i)
                abort();
        }
        qm_kv_store_close(s);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 8 * UNIT)
        return 0;
    use(data, size);
    uint8_t *copy = malloc(size + 1);
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    repair(copy, size);
    use(copy, size);
    free(copy);
    return 0;
}
