/* The window of unfinished rows: a list in the input's order, of entries that are made once. */
#include "batch/window.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

struct entry {
    struct qm_batch_pending row;
    uint64_t name; /* hash of custom_id */
    struct entry *prev, *next;
};

struct qm_batch_window {
    int64_t capacity, last_number;    /* last_number: of the row added last */
    struct qm_batch_prefix last;      /* of the row taken before */
    struct entry *entries;            /* [capacity] */
    struct entry *first, *end, *free; /* the list's ends; entries without a row, by next */
};

int qm_batch_window_new(int64_t capacity, struct qm_batch_window **out, struct qm_error *err) {
    struct qm_batch_window *w = calloc(1, sizeof *w);
    struct entry *entries = w ? calloc((size_t)capacity, sizeof *entries) : NULL;
    *out = NULL;
    if (!entries) {
        free(w);
        return qm_fail_memory(err, (uint64_t)capacity * sizeof *entries, "rows looked ahead");
    }
    *w = (struct qm_batch_window){.capacity = capacity, .entries = entries, .free = entries};
    for (int64_t i = 0; i + 1 < capacity; i++)
        entries[i].next = &entries[i + 1];
    *out = w;
    return QM_OK;
}

void qm_batch_window_free(struct qm_batch_window *w) {
    if (!w)
        return;
    for (int64_t i = 0; i < w->capacity; i++)
        free(w->entries[i].row.custom_id);
    free(w->entries);
    free(w);
}

bool qm_batch_window_room(const struct qm_batch_window *w) {
    return w->free != NULL;
}

int qm_batch_window_add(struct qm_batch_window *w, const struct qm_batch_line *line, const char *custom_id,
                        const struct qm_batch_prefix *prefix, bool follows, struct qm_error *err) {
    char *name = strdup(custom_id);
    if (!name)
        return qm_fail_memory(err, strlen(custom_id), "a row's name");
    struct entry *e = w->free;
    w->free = e->next;
    *e = (struct entry){.row = {.line = *line, .prefix = *prefix, .custom_id = name, .follows = follows},
                        .name = qm_hash64(name, strlen(name), 0),
                        .prev = w->end};
    e->row.line.text = NULL;
    *(w->end ? &w->end->next : &w->first) = e;
    w->end = e;
    w->last_number = line->number;
    return QM_OK;
}

const struct qm_batch_pending *qm_batch_window_named(const struct qm_batch_window *w, const char *custom_id) {
    uint64_t name = qm_hash64(custom_id, strlen(custom_id), 0);
    for (const struct entry *e = w->first; e; e = e->next)
        if (e->name == name && !strcmp(e->row.custom_id, custom_id))
            return &e->row;
    return NULL;
}

struct qm_batch_pending *qm_batch_window_take(struct qm_batch_window *w) {
    struct qm_batch_pending *best = NULL;
    int most = -1;
    for (struct entry *e = w->first; e; e = e->next) {
        if (e->row.taken)
            continue;
        bool waited = !best && w->last_number - e->row.line.number >= w->capacity;
        int common = qm_batch_prefix_common(&w->last, &e->row.prefix);
        if (common > most) {
            most = common;
            best = &e->row;
        }
        if (waited || most == w->last.n)
            break; /* none shares more */
    }
    if (best) {
        best->taken = true;
        w->last = best->prefix;
    }
    return best;
}

void qm_batch_window_remove(struct qm_batch_window *w, int64_t number) {
    struct entry *e = w->first;
    while (e && e->row.line.number != number)
        e = e->next;
    if (!e)
        return;
    *(e->prev ? &e->prev->next : &w->first) = e->next;
    *(e->next ? &e->next->prev : &w->end) = e->prev;
    free(e->row.custom_id);
    *e = (struct entry){.next = w->free};
    w->free = e;
}

const struct qm_batch_pending *qm_batch_window_first(const struct qm_batch_window *w) {
    return w->first ? &w->first->row : NULL;
}
