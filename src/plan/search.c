/* The search: pins, orders of filling, improvement, and what to say where nothing fits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/search_private.h"

enum { EVERY = 4096 };

static double gib(uint64_t bytes) {
    return (double)bytes / (double)(1 << 30);
}

static const char *device_name(const struct qm_speed *s, int device) {
    return device == QM_DEVICE_CPU ? "cpu" : s->device[device - 1].name;
}

static int pin_device(const char *name, const struct qm_speed *s, int *out, struct qm_error *err) {
    for (*out = 0; *out <= s->devices; ++*out)
        if (!strcmp(name, device_name(s, *out)))
            return QM_OK;
    return qm_fail(err, QM_USAGE, "--pin: no device is called \"%s\"; the first is %s", name,
                   device_name(s, s->devices ? 1 : 0));
}

int qm_pin_parse(const char *text, const struct qm_model *m, const struct qm_speed *s, struct qm_pin *out,
                 struct qm_error *err) {
    static const char *const names[] = {"layers", "attention", "ffn", "experts", "head"};
    char what[16] = "", range[32] = "", on[64] = "";
    int64_t last = m->config.layers - 1;
    *out = (struct qm_pin){.last = last, .device = s->devices ? 1 : 0};
    const char *at = strstr(text, " on ");
    if (at && strlen(at + 4) < sizeof on)
        memcpy(on, at + 4, strlen(at + 4) + 1);
    char head[64] = "", rest;
    size_t n = at ? (size_t)(at - text) : strlen(text);
    if (n < sizeof head)
        memcpy(head, text, n);
    int fields = sscanf(head, "%15s %31s %c", what, range, &rest), found = -1;
    for (int i = 0; i < 5; i++)
        if (!strcmp(what, names[i]))
            found = i;
    long long a, b;
    int numbers = fields == 2 ? sscanf(range, "%lld-%lld%c", &a, &b, &rest) : 0;
    bool range_is =
        fields == 1 || (found != QM_PIN_HEAD && fields == 2 && (numbers == 2 || (numbers == 1 && !strchr(range, '-'))));
    if (found < 0 || !range_is || (at && !on[0]))
        return qm_fail(err, QM_USAGE,
                       "--pin: expected layers, attention, ffn, experts (of layers A-B) or head, on a device, such as "
                       "'layers 0-3' or 'experts 10 on cpu', found \"%s\"",
                       text);
    out->what = (enum qm_pin_what)found;
    if (numbers) {
        out->first = a;
        out->last = numbers == 2 ? b : a;
    }
    if (out->first < 0 || out->last > last || out->first > out->last)
        return qm_fail(err, QM_USAGE, "--pin: the model has layers 0-%lld, found \"%s\"", (long long)last, text);
    return on[0] ? pin_device(on, s, &out->device, err) : QM_OK;
}

static bool pinned_by(const struct qm_pin *p, const struct qm_item *i) {
    if (i->kind == QM_UNIT_HEAD)
        return p->what == QM_PIN_HEAD;
    if (p->what == QM_PIN_HEAD || i->layer < p->first || i->layer > p->last)
        return false;
    switch (p->what) {
    case QM_PIN_ATTENTION: return i->kind == QM_UNIT_ATTENTION;
    case QM_PIN_FFN: return i->kind == QM_UNIT_FFN;
    case QM_PIN_EXPERTS: return i->kind == QM_UNIT_EXPERT;
    default: return true;
    }
}

/* The pins' placement, and what it leaves of each device. */
static int take_pins(struct qm_search *s, struct qm_error *err) {
    const struct qm_search_ask *a = s->ask;
    for (int64_t i = 0; i < s->n_items; i++)
        for (int p = 0; p < a->n_pins; p++)
            if (pinned_by(&a->pins[p], &s->items[i])) {
                s->items[i].pinned = true;
                qm_item_place(&s->pinned, &s->items[i], a->pins[p].device);
            }
    struct qm_workload one = a->setup.workload;
    struct qm_scratch_layout scratch;
    one.threads = 1;
    qm_scratch_plan(a->setup.model, &one, &scratch);
    for (int d = 1; d < s->pinned.devices; d++) {
        struct qm_device_memory m;
        qm_placement_memory(&s->pinned, a->setup.model, &a->setup.workload, d, &m);
        if (m.total > a->budget[d])
            return qm_fail(err, QM_FIT,
                           "%s is %.2f GiB short for what is pinned to it: %.2f GiB needed, %.2f GiB available; pin "
                           "less, or raise --vram to %.2f GiB",
                           device_name(a->setup.speed, d), gib(m.total - a->budget[d]), gib(m.total), gib(a->budget[d]),
                           gib(m.total) + 0.01);
        uint64_t taken = m.total ? m.total : scratch.total;
        s->free[d] = a->budget[d] > taken ? a->budget[d] - taken : 0;
    }
    return QM_OK;
}

int qm_search_try(struct qm_search *s, const struct qm_placement *p, struct qm_error *err) {
    const struct qm_search_ask *a = s->ask;
    struct qm_time_setup t = a->setup;
    struct qm_job_time time;
    for (int d = 0; d < p->devices; d++) {
        struct qm_device_memory m;
        qm_placement_memory(p, t.model, &t.workload, d, &m);
        if (m.total <= a->budget[d])
            continue;
        if (d == QM_DEVICE_CPU && m.total - a->budget[d] < s->least_short)
            s->least_short = m.total - a->budget[d];
        return QM_OK;
    }
    t.placement = p;
    qm_time_job(&t, &a->job, &time);
    s->tried++;
    double seconds = time.prefill.seconds + time.decode.seconds;
    if (s->best->placement.layer && seconds >= s->best->seconds)
        return QM_OK;
    qm_placement_free(&s->best->placement);
    s->best->seconds = seconds;
    return qm_placement_copy(p, &s->best->placement, err);
}

static int try_streamed(struct qm_search *s, struct qm_placement *p, enum qm_streaming way, struct qm_error *err) {
    if (way != QM_STREAM_NONE && !qm_search_stream(s, p, way))
        return QM_OK;
    return qm_search_try(s, p, err);
}

/* The orders in which units go to devices. */
enum order { BY_DENSITY, LAST_LAYERS, FIRST_LAYERS, ATTENTION_FIRST, EXPERTS_FIRST, ORDERS };

static int rank(const struct qm_item *i, enum order o) {
    bool experts = i->kind == QM_UNIT_EXPERT || i->kind == QM_UNIT_FFN;
    switch (o) {
    case LAST_LAYERS: return i->kind == QM_UNIT_HEAD ? 0 : QM_MAX_LAYERS - (int)i->layer;
    case FIRST_LAYERS: return i->kind == QM_UNIT_HEAD ? QM_MAX_LAYERS : (int)i->layer;
    case ATTENTION_FIRST: return experts;
    case EXPERTS_FIRST: return !experts;
    default: return 0;
    }
}

struct ranked {
    struct qm_item *item;
    int rank;
    double density;
};

static int by_rank(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    if (x->density != y->density)
        return x->density > y->density ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

/* Units in the order given, each to the first device with room. */
static int fill(struct qm_search *s, enum order o, uint64_t reserved, struct qm_placement *p, struct qm_error *err) {
    struct ranked *order = calloc((size_t)s->n_items, sizeof *order);
    uint64_t room[QM_MAX_DEVICES];
    int rc = order ? qm_placement_copy(&s->pinned, p, err)
                   : qm_fail_memory(err, (uint64_t)s->n_items * sizeof *order, "the search for a placement");
    for (int d = 1; d < s->pinned.devices; d++) /* streaming is to one of them, which is not known yet */
        room[d] = s->free[d] > reserved ? s->free[d] - reserved : 0;
    for (int64_t i = 0; i < s->n_items && !rc; i++)
        order[i] = (struct ranked){&s->items[i], rank(&s->items[i], o), s->items[i].saved / (double)s->items[i].bytes};
    if (!rc)
        qsort(order, (size_t)s->n_items, sizeof *order, by_rank);
    for (int64_t i = 0; i < s->n_items && !rc; i++) {
        const struct qm_item *item = order[i].item;
        for (int d = 1; d < s->pinned.devices && !item->pinned && (s->needed || item->saved > 0); d++)
            if (item->bytes <= room[d]) {
                room[d] -= item->bytes;
                qm_item_place(p, item, d);
                break;
            }
    }
    free(order);
    return rc;
}

static int try_orders(struct qm_search *s, struct qm_error *err) {
    int rc = QM_OK;
    for (int o = 0; o < ORDERS && !rc; o++)
        for (int way = 0; way < QM_STREAM_WAYS && !rc; way++) {
            struct qm_placement p = {0};
            rc = fill(s, (enum order)o, way == QM_STREAM_NONE ? 0 : s->largest_slots, &p, err);
            if (!rc)
                rc = try_streamed(s, &p, (enum qm_streaming)way, err);
            qm_placement_free(&p);
        }
    return rc;
}

static void place_layer(struct qm_search *s, struct qm_placement *p, int64_t layer, int device) {
    for (int64_t i = 0; i < s->n_items; i++)
        if (s->items[i].layer == layer && !s->items[i].pinned)
            qm_item_place(p, &s->items[i], device);
    p->layer[layer].stream_attention = p->layer[layer].stream_ffn = 0;
}

/* Each layer once elsewhere as a whole. */
static int improve(struct qm_search *s, struct qm_error *err) {
    int rc = QM_OK;
    for (int64_t l = 0; l < s->pinned.layers && !rc; l++)
        for (int d = 0; d < s->pinned.devices && !rc; d++) {
            struct qm_placement p = {0};
            rc = qm_placement_copy(&s->best->placement, &p, err);
            if (!rc) {
                place_layer(s, &p, l, d);
                rc = qm_search_try(s, &p, err);
            }
            qm_placement_free(&p);
        }
    return rc;
}

int qm_search_every(struct qm_search *s, struct qm_error *err) {
    int64_t all = 1;
    for (int64_t i = 0; i < s->n_items; i++)
        all *= s->pinned.devices;
    int rc = QM_OK;
    for (int64_t n = 0; n < all && !rc; n++)
        for (int way = 0; way < QM_STREAM_WAYS && !rc; way++) {
            struct qm_placement p = {0};
            int64_t digits = n;
            bool allowed = true;
            rc = qm_placement_copy(&s->pinned, &p, err);
            for (int64_t i = 0; i < s->n_items && !rc; i++, digits /= p.devices) {
                allowed &= !s->items[i].pinned || digits % p.devices == 0;
                if (!s->items[i].pinned)
                    qm_item_place(&p, &s->items[i], (int)(digits % p.devices));
            }
            if (!rc && allowed)
                rc = try_streamed(s, &p, (enum qm_streaming)way, err);
            qm_placement_free(&p);
        }
    return rc;
}

/* Whole layers from the end, as many as asked for, on the devices in turns of what fits. */
static int last_layers(struct qm_search *s, struct qm_error *err) {
    const struct qm_search_ask *a = s->ask;
    int64_t first = s->pinned.layers - a->last_layers;
    struct qm_placement p = {0};
    uint64_t room[QM_MAX_DEVICES], need = 0;
    int device = 1, rc = qm_placement_copy(&s->pinned, &p, err);
    memcpy(room, s->free, sizeof room);
    for (int64_t i = 0; i < s->n_items && !rc; i++) {
        const struct qm_item *item = &s->items[i];
        if (item->pinned || (item->kind == QM_UNIT_HEAD ? first > 0 : item->layer < first))
            continue;
        need += item->bytes;
        while (device < p.devices && item->bytes > room[device])
            device++;
        if (device == p.devices) {
            uint64_t there = 0;
            for (int64_t j = i + 1; j < s->n_items; j++)
                need += s->items[j].pinned ? 0 : s->items[j].bytes;
            for (int d = 1; d < p.devices; d++)
                there += s->free[d];
            rc = qm_fail(
                err, QM_FIT,
                "--offload %lld: the devices are %.2f GiB short: %.2f GiB needed, %.2f GiB free; fewer layers, "
                "or --offload auto",
                (long long)a->last_layers, gib(need > there ? need - there : item->bytes), gib(need), gib(there));
        } else {
            room[device] -= item->bytes;
            qm_item_place(&p, item, device);
        }
    }
    if (!rc)
        rc = qm_search_try(s, &p, err);
    qm_placement_free(&p);
    return rc;
}

static int64_t combinations(const struct qm_search *s) {
    int64_t all = 1;
    for (int64_t i = 0; i < s->n_items && all <= EVERY; i++)
        all *= s->pinned.devices;
    return all;
}

static int look(struct qm_search *s, struct qm_error *err) {
    int rc = qm_search_try(s, &s->pinned, err);
    if (rc || s->pinned.devices == 1)
        return rc;
    s->needed = !s->best->placement.layer;
    s->best->exact = combinations(s) <= EVERY;
    if (s->best->exact)
        return qm_search_every(s, err);
    rc = try_orders(s, err);
    return rc || !s->best->placement.layer ? rc : improve(s, err);
}

static uint64_t two_largest_slots(const struct qm_search_ask *a) {
    const struct qm_model *m = a->setup.model;
    uint64_t most = 0;
    for (int64_t l = 0; l < m->config.layers; l++) {
        uint64_t ffn =
            qm_unit_weight_bytes(m, QM_UNIT_FFN, l, 0) + qm_unit_weight_bytes(m, QM_UNIT_EXPERT, l, m->config.experts);
        uint64_t attention =
            qm_unit_weight_bytes(m, QM_UNIT_ATTENTION, l, 0) + qm_unit_kv_bytes(m, &a->setup.workload, l);
        most = ffn > most ? ffn : most;
        most = attention > most ? attention : most;
    }
    return 2 * most;
}

static int refuse(const struct qm_search *s, struct qm_error *err) {
    return qm_fail(err, QM_FIT,
                   "the CPU is %.2f GiB short, with all that fits on the devices: %.2f GiB of RAM are there; a smaller "
                   "--context, or --vram or --ram of that much more",
                   gib(s->least_short), gib(s->ask->budget[QM_DEVICE_CPU]));
}

int qm_search(const struct qm_search_ask *ask, struct qm_search_result *out, struct qm_error *err) {
    struct qm_search s = {.ask = ask, .best = out, .least_short = UINT64_MAX};
    const struct qm_time_setup *t = &ask->setup;
    *out = (struct qm_search_result){0};
    int rc = qm_placement_open(t->model, 1 + t->speed->devices, &s.pinned, err);
    if (!rc)
        rc = qm_search_items(&s, err);
    if (!rc)
        rc = take_pins(&s, err);
    s.largest_slots = two_largest_slots(ask);
    if (!rc)
        rc = ask->last_layers >= 0 ? last_layers(&s, err) : look(&s, err);
    if (!rc && !out->placement.layer)
        rc = refuse(&s, err);
    if (!rc && ask->last_layers < 0 && t->speed->devices) {
        struct qm_placement cpu;
        struct qm_job_time time;
        struct qm_time_setup on_cpu = *t;
        rc = qm_placement_open(t->model, 1 + t->speed->devices, &cpu, err);
        on_cpu.placement = &cpu;
        if (!rc) {
            qm_time_job(&on_cpu, &ask->job, &time);
            double all = time.prefill.seconds + time.decode.seconds;
            out->bound = out->exact ? out->seconds : qm_search_bound(&s, all);
            qm_placement_free(&cpu);
        }
    }
    out->tried = s.tried;
    if (rc)
        qm_placement_free(&out->placement);
    qm_placement_free(&s.pinned);
    free(s.items);
    return rc;
}
