/* The memory, the limits and the way out of one compile or render; see value.h. Not thread-safe: a struct
 * tpl belongs to one call. */
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/template/value.h"

struct tpl_chunk {
    struct tpl_chunk *next;
    alignas(16) char data[];
};

void tpl_free_memory(struct tpl *t) {
    for (struct tpl_chunk *c = t->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    t->chunks = NULL;
}

enum { CHUNK = 32768 };

static struct tpl_chunk *new_chunk(struct tpl *t, size_t size) {
    if (size > TPL_MAX_MEMORY - t->memory)
        tpl_fail(t, "needs more than %d MiB of memory", TPL_MAX_MEMORY >> 20);
    struct tpl_chunk *c = malloc(sizeof *c + size);
    if (!c) {
        qm_fail_memory(t->err, size, "a chat template");
        longjmp(t->leave, 1);
    }
    t->memory += size;
    c->next = t->chunks;
    t->chunks = c;
    return c;
}

void *tpl_alloc(struct tpl *t, size_t n) {
    if (n > TPL_MAX_MEMORY)
        tpl_fail(t, "needs more than %d MiB of memory", TPL_MAX_MEMORY >> 20);
    n = (n + 15) & ~(size_t)15;
    if (n > CHUNK / 4)
        return new_chunk(t, n)->data; /* the open chunk stays open */
    if (!t->at || n > (size_t)(t->end - t->at)) {
        t->at = new_chunk(t, CHUNK)->data;
        t->end = t->at + CHUNK;
    }
    void *p = t->at;
    t->at += n;
    return p;
}

void *tpl_alloc_n(struct tpl *t, size_t n, size_t size) {
    if (size && n > TPL_MAX_MEMORY / size)
        tpl_fail(t, "needs more than %d MiB of memory", TPL_MAX_MEMORY >> 20);
    return tpl_alloc(t, n * size);
}

void tpl_charge(struct tpl *t, size_t n) {
    t->steps += n;
    if (t->steps > TPL_MAX_STEPS)
        tpl_fail(t, "takes more than %d steps", TPL_MAX_STEPS);
}

void tpl_enter(struct tpl *t) {
    if (++t->depth > TPL_MAX_DEPTH)
        tpl_fail(t, "nested more than %d levels deep", TPL_MAX_DEPTH);
}

void tpl_fail(struct tpl *t, const char *format, ...) {
    char text[800];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    qm_fail(t->err, QM_INPUT, "%s:%d: %s", t->name, t->line, text);
    longjmp(t->leave, 1);
}

void tpl_fail_exact(struct tpl *t, const char *message) {
    qm_fail(t->err, QM_INPUT, "%s", message);
    longjmp(t->leave, 1);
}
