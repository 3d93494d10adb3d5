/* The `loop` object of a for: reads one item ahead when asked for last or nextitem, as Jinja's does. */
#include <string.h>

#include "text/template/eval.h"

bool tpl_loop_next(struct tpl *t, struct tpl_loop *loop, struct tpl_val *out) {
    struct tpl_val item = loop->after;
    loop->after = tpl_missing();
    if (item.kind == TPL_MISSING && !tpl_next(t, &loop->it, &item))
        return false;
    loop->index0++;
    loop->before = loop->current;
    loop->current = item;
    *out = item;
    return true;
}

static bool peek(struct tpl *t, struct tpl_loop *loop) {
    struct tpl_val next;
    if (loop->after.kind == TPL_MISSING && tpl_next(t, &loop->it, &next))
        loop->after = next;
    return loop->after.kind != TPL_MISSING;
}

static tpl_int length(struct tpl *t, struct tpl_loop *loop) {
    size_t n;
    if (loop->length >= 0)
        return loop->length;
    if (tpl_length(loop->iterable, &n))
        return loop->length = (tpl_int)n;
    struct tpl_vec rest = {.t = t};
    for (struct tpl_val v; tpl_next(t, &loop->it, &v);)
        tpl_push(&rest, v);
    loop->it = tpl_iterate(t, tpl_vec_done(&rest, TPL_LIST));
    return loop->length = (tpl_int)rest.n + loop->index0 + 1 + (loop->after.kind != TPL_MISSING);
}

static struct tpl_val cycle(struct tpl *t, struct tpl_val self, const struct tpl_val *a, const struct tpl_args *raw) {
    (void)a;
    if (!raw->n || raw->nk)
        tpl_fail(t, "no items for cycling given");
    return raw->v[(size_t)self.loop->index0 % raw->n];
}

static struct tpl_val changed(struct tpl *t, struct tpl_val self, const struct tpl_val *a, const struct tpl_args *raw) {
    (void)a;
    struct tpl_val now = tpl_seq(t, TPL_TUPLE, raw->v, raw->n);
    bool same = self.loop->changed.kind != TPL_MISSING && tpl_equal(t, self.loop->changed, now);
    self.loop->changed = now;
    return tpl_bool(!same);
}

const struct tpl_builtin tpl_loop_methods[] = {{"cycle", cycle, NULL}, {"changed", changed, NULL}, {0}};

struct tpl_val tpl_loop_attr(struct tpl *t, struct tpl_loop *loop, const struct tpl_str *name) {
    if (tpl_str_is(name, "index"))
        return tpl_num(loop->index0 + 1);
    if (tpl_str_is(name, "index0"))
        return tpl_num(loop->index0);
    if (tpl_str_is(name, "first"))
        return tpl_bool(loop->index0 == 0);
    if (tpl_str_is(name, "last"))
        return tpl_bool(!peek(t, loop));
    if (tpl_str_is(name, "length"))
        return tpl_num(length(t, loop));
    if (tpl_str_is(name, "revindex"))
        return tpl_num(length(t, loop) - loop->index0);
    if (tpl_str_is(name, "revindex0"))
        return tpl_num(length(t, loop) - loop->index0 - 1);
    if (tpl_str_is(name, "depth"))
        return tpl_num(loop->depth0 + 1);
    if (tpl_str_is(name, "depth0"))
        return tpl_num(loop->depth0);
    if (tpl_str_is(name, "previtem"))
        return loop->index0 == 0 ? tpl_undefined(t, "there is no previous item") : loop->before;
    if (tpl_str_is(name, "nextitem"))
        return peek(t, loop) ? loop->after : tpl_undefined(t, "there is no next item");
    return tpl_missing();
}

void tpl_repr_loop(struct tpl_sb *b, struct tpl_loop *loop) {
    tpl_sb_z(b, "<LoopContext ");
    tpl_print_int(b, loop->index0 + 1, 10);
    tpl_sb_z(b, "/");
    tpl_print_int(b, length(b->t, loop), 10);
    tpl_sb_z(b, ">");
}
