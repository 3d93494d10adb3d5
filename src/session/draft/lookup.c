/* The tree of segments, its index, and the search in it. Nothing read from a segment is trusted to be of the text that
 * a link was made for, since segments are written over: a link may lead to other tokens, which compare as different or
 * make a wrong draft, never out of bounds. */
#include "session/draft/lookup.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
    SEGMENT = 64,    /* tokens */
    LEAST = 64,      /* segments */
    LONG = 4,        /* tokens that the chains are keyed by */
    SHORT = 2,       /* and those of the one place kept beside them */
    CANDIDATES = 16, /* of a chain that are compared */
    MATCH = 32,      /* tokens compared at most */
};
static const uint32_t NONE = UINT32_MAX;

struct segment {
    uint64_t hash;   /* of the text up to its end, once it is full */
    uint32_t parent; /* the segment before it */
    uint32_t next;   /* the latest one behind it */
    uint32_t same;   /* the next one in its list of by_hash */
    uint16_t n;      /* tokens in it */
    uint16_t stamp;  /* changes when it is written over */
};

struct qm_lookup {
    uint32_t segments, oldest; /* oldest: the next to be written over */
    uint32_t long_mask, short_mask, hash_mask;
    struct segment *segment;
    int32_t *tokens;  /* [segments * SEGMENT]; a place is an index into it */
    uint32_t *before; /* [the same] the place before this one whose last LONG tokens have the same key */
    uint32_t *latest_long, *latest_short; /* [masks + 1] by key; NONE */
    uint32_t *by_hash;                    /* [hash_mask + 1] full segments; NONE */
    uint64_t bytes;
};

struct text {
    uint32_t segment; /* NONE: none yet */
    uint16_t stamp;
    uint64_t hash;       /* of the text up to the end of the last full segment */
    uint32_t last;       /* place of its last token; NONE */
    bool shared;         /* that place belongs to another text as well, and is in the index already */
    int64_t n;           /* tokens in all */
    int32_t tail[MATCH]; /* the last ones: token i is at i % MATCH */
};

static uint32_t power_of_two(uint64_t most) {
    uint32_t n = 1;
    while ((uint64_t)n * 2 <= most)
        n *= 2;
    return n;
}

int qm_lookup_new(uint64_t bytes, struct qm_lookup **out, struct qm_error *err) {
    *out = NULL;
    uint64_t segments = bytes / ((uint64_t)QM_LOOKUP_TOKEN_BYTES * SEGMENT);
    segments = segments < LEAST ? LEAST : segments > UINT32_MAX / SEGMENT - 1 ? UINT32_MAX / SEGMENT - 1 : segments;
    struct qm_lookup *l = calloc(1, sizeof *l);
    if (!l)
        return qm_fail_memory(err, sizeof *l, "drafts by lookup");
    size_t n = (size_t)segments, tokens = n * SEGMENT;
    l->segments = (uint32_t)segments;
    l->long_mask = power_of_two(tokens / 2) - 1;
    l->short_mask = power_of_two(tokens) - 1;
    l->hash_mask = power_of_two(n) - 1;
    size_t heads = (size_t)l->long_mask + l->short_mask + l->hash_mask + 3;
    l->segment = malloc(n * sizeof *l->segment);
    l->tokens = malloc(tokens * sizeof *l->tokens);
    l->before = malloc(tokens * sizeof *l->before);
    l->latest_long = malloc(heads * sizeof *l->latest_long);
    l->bytes = sizeof *l + n * sizeof *l->segment + tokens * (sizeof *l->tokens + sizeof *l->before) +
               heads * sizeof *l->latest_long;
    *out = l;
    if (!l->segment || !l->tokens || !l->before || !l->latest_long) {
        uint64_t needed = l->bytes;
        qm_lookup_free(l);
        *out = NULL;
        return qm_fail_memory(err, needed, "drafts by lookup");
    }
    l->latest_short = l->latest_long + l->long_mask + 1;
    l->by_hash = l->latest_short + l->short_mask + 1;
    memset(l->latest_long, 0xFF, heads * sizeof *l->latest_long);
    for (size_t i = 0; i < n; i++)
        l->segment[i] = (struct segment){.parent = NONE, .next = NONE, .same = NONE};
    return QM_OK;
}

void qm_lookup_free(struct qm_lookup *l) {
    if (!l)
        return;
    free(l->segment);
    free(l->tokens);
    free(l->before);
    free(l->latest_long);
    free(l);
}

uint64_t qm_lookup_bytes(const struct qm_lookup *l) {
    return l->bytes;
}

static int open_text(void *self, void **out, struct qm_error *err) {
    (void)self;
    struct text *t = calloc(1, sizeof *t);
    if (!t)
        return qm_fail_memory(err, sizeof *t, "drafts by lookup");
    t->segment = t->last = NONE;
    *out = t;
    return QM_OK;
}

static void close_text(void *self, void *text) {
    (void)self;
    free(text);
}

/* Token i from the text's end; 0: the last. */
static int32_t tail(const struct text *t, int64_t i) {
    return t->tail[(t->n - 1 - i) % MATCH];
}

static uint32_t key(const struct text *t, int n) {
    uint64_t x = 0;
    for (int i = 0; i < n; i++)
        x = (x + (uint32_t)tail(t, i)) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(x >> 32);
}

/* ---- segments ---- */

static void unlist(struct qm_lookup *l, uint32_t s) {
    uint32_t *at = &l->by_hash[l->segment[s].hash & l->hash_mask];
    while (*at != NONE && *at != s)
        at = &l->segment[*at].same;
    if (*at == s)
        *at = l->segment[s].same;
}

/* The oldest segment, to be written over; it follows the text's last one. */
static void take_segment(struct qm_lookup *l, struct text *t, uint32_t parent) {
    uint32_t s = l->oldest;
    struct segment *new = &l->segment[s];
    l->oldest = s + 1 == l->segments ? 0 : s + 1;
    if (new->n == SEGMENT)
        unlist(l, s);
    *new = (struct segment){.parent = parent, .next = NONE, .same = NONE, .stamp = (uint16_t)(new->stamp + 1)};
    if (parent != NONE)
        l->segment[parent].next = s;
    t->segment = s;
    t->stamp = new->stamp;
}

static uint64_t hash_of(const struct text *t, const int32_t *ids) {
    return qm_hash64(ids, SEGMENT * sizeof *ids, t->hash);
}

/* The full segment that follows the text so far and has these tokens, or NONE. */
static uint32_t find_segment(const struct qm_lookup *l, uint64_t hash, uint32_t parent, const int32_t *ids) {
    uint32_t s = l->by_hash[hash & l->hash_mask];
    while (s != NONE && (l->segment[s].hash != hash || l->segment[s].parent != parent ||
                         memcmp(l->tokens + (size_t)s * SEGMENT, ids, SEGMENT * sizeof *ids) != 0))
        s = l->segment[s].same;
    return s;
}

static bool still_there(const struct qm_lookup *l, const struct text *t) {
    return t->segment != NONE && l->segment[t->segment].stamp == t->stamp;
}

static void fill_segment(struct qm_lookup *l, struct text *t) {
    struct segment *s = &l->segment[t->segment];
    uint32_t *list;
    t->hash = s->hash = hash_of(t, l->tokens + (size_t)t->segment * SEGMENT);
    list = &l->by_hash[s->hash & l->hash_mask];
    s->same = *list;
    *list = t->segment;
}

/* The last token's place is known by the tokens that end there, from when something follows it. */
static void index_last(struct qm_lookup *l, const struct text *t) {
    if (t->last == NONE || t->n < SHORT)
        return;
    l->latest_short[key(t, SHORT) & l->short_mask] = t->last;
    if (t->n < LONG || t->shared)
        return;
    uint32_t *latest = &l->latest_long[key(t, LONG) & l->long_mask];
    l->before[t->last] = *latest;
    *latest = t->last;
}

static void append_one(struct qm_lookup *l, struct text *t, int32_t id) {
    struct segment *s = &l->segment[t->segment];
    index_last(l, t);
    t->last = t->segment * SEGMENT + s->n;
    t->shared = false;
    l->tokens[t->last] = id;
    t->tail[t->n++ % MATCH] = id;
    if (++s->n == SEGMENT)
        fill_segment(l, t);
}

static void append(void *self, void *text, const int32_t *ids, int64_t n) {
    struct qm_lookup *l = self;
    struct text *t = text;
    while (n > 0) {
        bool there = still_there(l, t), full = there && l->segment[t->segment].n == SEGMENT;
        uint32_t parent = full ? t->segment : NONE;
        if (!there && t->segment != NONE) { /* written over: what follows begins anew */
            t->last = NONE;
            t->hash = 0;
        }
        if (there && !full) {
            append_one(l, t, *ids++);
            n--;
            continue;
        }
        uint32_t same = n >= SEGMENT ? find_segment(l, hash_of(t, ids), parent, ids) : NONE;
        if (same == NONE) {
            take_segment(l, t, parent);
            continue;
        }
        if (parent != NONE)
            l->segment[parent].next = same;
        index_last(l, t);
        t->segment = same;
        t->stamp = l->segment[same].stamp;
        t->hash = l->segment[same].hash;
        t->last = same * SEGMENT + SEGMENT - 1;
        t->shared = true;
        for (int i = 0; i < SEGMENT; i++)
            t->tail[t->n++ % MATCH] = ids[i];
        ids += SEGMENT;
        n -= SEGMENT;
    }
}

/* ---- the search ---- */

static uint32_t place_before(const struct qm_lookup *l, uint32_t place) {
    if (place % SEGMENT)
        return place - 1;
    uint32_t parent = l->segment[place / SEGMENT].parent;
    return parent != NONE && l->segment[parent].n == SEGMENT ? parent * SEGMENT + SEGMENT - 1 : NONE;
}

static uint32_t place_after(const struct qm_lookup *l, uint32_t place) {
    const struct segment *s = &l->segment[place / SEGMENT];
    if (place % SEGMENT + 1 < s->n)
        return place + 1;
    return s->n == SEGMENT && s->next != NONE && l->segment[s->next].n ? s->next * SEGMENT : NONE;
}

/* How many of the text's last tokens stand before and at a place. */
static int match(const struct qm_lookup *l, const struct text *t, uint32_t place) {
    int n = 0, most = t->n < MATCH ? (int)t->n : MATCH;
    while (n < most && place != NONE && place % SEGMENT < l->segment[place / SEGMENT].n &&
           l->tokens[place] == tail(t, n)) {
        n++;
        place = place_before(l, place);
    }
    return n;
}

static int find(const struct qm_lookup *l, const struct text *t, uint32_t *where) {
    int best = 0;
    if (t->n >= LONG) {
        uint32_t place = l->latest_long[key(t, LONG) & l->long_mask];
        for (int i = 0; i < CANDIDATES && place != NONE && best < MATCH; i++, place = l->before[place]) {
            int n = match(l, t, place);
            if (n >= LONG && n > best && place != t->last) {
                best = n;
                *where = place;
            }
        }
    }
    if (!best && t->n >= SHORT) {
        uint32_t place = l->latest_short[key(t, SHORT) & l->short_mask];
        int n = place != NONE && place != t->last ? match(l, t, place) : 0;
        if (n >= SHORT) {
            best = n;
            *where = place;
        }
    }
    return best;
}

/* By the length of the match. */
static int confidence(int n) {
    static const int from[QM_DRAFT_LOOKUP_CLASSES] = {0, 3, 4, 6, 9, 13, 20, MATCH};
    int c = 0;
    while (c + 1 < QM_DRAFT_LOOKUP_CLASSES && n >= from[c + 1])
        c++;
    return c;
}

static int propose(void *self, void *text, const struct qm_draft_limit *limit, struct qm_draft *out) {
    const struct qm_lookup *l = self;
    const struct text *t = text;
    uint32_t place = NONE;
    int matched = find(l, t, &place), n = 0, lap = 0;
    while (matched && n < limit->most) {
        if (!lap && place == t->last) /* the text repeats itself up to its end, and may go on so */
            lap = n;
        if (lap) {
            out[n].id = out[n - lap].id;
        } else {
            place = place_after(l, place);
            if (place == NONE)
                break;
            out[n].id = l->tokens[place];
        }
        out[n].confidence = confidence(matched + n);
        n++;
    }
    return n;
}

struct qm_drafter qm_lookup_drafter(struct qm_lookup *l) {
    return (struct qm_drafter){.self = l, .open = open_text, .close = close_text, .append = append, .propose = propose};
}
