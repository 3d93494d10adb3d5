/* XXH3 behind names of our own. */
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

struct qm_hasher {
    XXH3_state_t *state;
};

int qm_hasher_new(struct qm_hasher **out, struct qm_error *err) {
    struct qm_hasher *h = malloc(sizeof *h);
    XXH3_state_t *state = XXH3_createState();
    if (!h || !state) {
        free(h);
        XXH3_freeState(state);
        return qm_fail_memory(err, sizeof *h, "a fingerprint");
    }
    h->state = state;
    qm_hasher_reset(h);
    *out = h;
    return QM_OK;
}

void qm_hasher_free(struct qm_hasher *h) {
    if (!h)
        return;
    XXH3_freeState(h->state);
    free(h);
}

void qm_hasher_reset(struct qm_hasher *h) {
    XXH3_128bits_reset(h->state);
}

void qm_hasher_add(struct qm_hasher *h, const void *bytes, size_t n) {
    XXH3_128bits_update(h->state, bytes, n);
}

static void as_text(XXH128_hash_t hash, char out[QM_HASH_TEXT]) {
    snprintf(out, QM_HASH_TEXT, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

void qm_hasher_text(const struct qm_hasher *h, char out[QM_HASH_TEXT]) {
    as_text(XXH3_128bits_digest(h->state), out);
}

uint64_t qm_hasher_short(const struct qm_hasher *h) {
    return XXH3_128bits_digest(h->state).low64;
}

uint64_t qm_hash64(const void *bytes, size_t n, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, n, seed);
}

void qm_hash_text(const void *bytes, size_t n, char out[QM_HASH_TEXT]) {
    as_text(XXH3_128bits(bytes, n), out);
}
