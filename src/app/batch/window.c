/* The window of unfinished rows: a ring by line number. */
#include "app/batch/window.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

struct qm_batch_window {
    int64_t capacity, first, end; /* rows first..end by number may be there; first == end: none */
    struct qm_batch_prefix last;  /* of the row taken before */
    struct entry {
        struct qm_batch_pending row;
        uint64_t name; /* hash of custom_id */
        bool there;
    } * ring; /* row of number n at n % capacity */
};

int qm_batch_window_new(int64_t capacity, struct qm_batch_window **out, struct qm_error *err) {
    struct qm_batch_window *w = calloc(1, sizeof *w);
    struct entry *ring = w ? calloc((size_t)capacity, sizeof *ring) : NULL;
    *out = NULL;
    if (!ring) {
        free(w);
        return qm_fail_memory(err, (uint64_t)capacity * sizeof *ring, "rows looked ahead");
    }
    *w = (struct qm_batch_window){.capacity = capacity, .ring = ring};
    *out = w;
    return QM_OK;
}

void qm_batch_window_free(struct qm_batch_window *w) {
    if (!w)
        return;
    for (int64_t i = 0; i < w->capacity; i++)
        free(w->ring[i].row.custom_id);
    free(w->ring);
    free(w);
}

static struct entry *at(const struct qm_batch_window *w, int64_t number) {
    return &w->ring[number % w->capacity];
}

bool qm_batch_window_room(const struct qm_batch_window *w, int64_t number) {
    return w->first == w->end || number - w->first < w->capacity;
}

int qm_batch_window_add(struct qm_batch_window *w, const struct qm_batch_line *line, const char *custom_id,
                        const struct qm_batch_prefix *prefix, struct qm_error *err) {
    char *name = strdup(custom_id);
    if (!name)
        return qm_fail_memory(err, strlen(custom_id), "a row's name");
    if (w->first == w->end)
        w->first = line->number;
    w->end = line->number + 1;
    struct entry *e = at(w, line->number);
    *e = (struct entry){.row = {.line = *line, .prefix = *prefix, .custom_id = name},
                        .name = qm_hash64(name, strlen(name), 0),
                        .there = true};
    e->row.line.text = NULL;
    return QM_OK;
}

const struct qm_batch_pending *qm_batch_window_named(const struct qm_batch_window *w, const char *custom_id) {
    uint64_t name = qm_hash64(custom_id, strlen(custom_id), 0);
    for (int64_t n = w->first; n < w->end; n++) {
        const struct entry *e = at(w, n);
        if (e->there && e->name == name && !strcmp(e->row.custom_id, custom_id))
            return &e->row;
    }
    return NULL;
}

struct qm_batch_pending *qm_batch_window_take(struct qm_batch_window *w) {
    struct qm_batch_pending *best = NULL;
    int most = -1;
    for (int64_t n = w->first; n < w->end; n++) {
        struct entry *e = at(w, n);
        if (!e->there || e->row.taken)
            continue;
        int common = qm_batch_prefix_common(&w->last, &e->row.prefix);
        if (common > most) {
            most = common;
            best = &e->row;
        }
        if (most == w->last.n)
            break; /* none shares more */
    }
    if (best) {
        best->taken = true;
        w->last = best->prefix;
    }
    return best;
}

void qm_batch_window_remove(struct qm_batch_window *w, int64_t number) {
    struct entry *e = at(w, number);
    free(e->row.custom_id);
    *e = (struct entry){0};
    while (w->first < w->end && !at(w, w->first)->there)
        w->first++;
}

const struct qm_batch_pending *qm_batch_window_first(const struct qm_batch_window *w) {
    return w->first < w->end ? &at(w, w->first)->row : NULL;
}
