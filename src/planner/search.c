/* The search: pins, orders of filling, improvement, and what to say where nothing fits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "planner/search_private.h"

enum { EVERY = 4096 };

static const char *device_name(const struct qm_machine_model *s, int device) {
    return device == QM_DEVICE_CPU ? "cpu" : s->device[device - 1].name;
}

static int pin_device(const char *option, const char *name, const struct qm_machine_model *s, int *out,
                      struct qm_error *err) {
    for (*out = 0; *out <= s->devices; ++*out)
        if (!strcmp(name, device_name(s, *out)))
            return QM_OK;
    return qm_fail(err, QM_USAGE, "%s: no device is called \"%s\"; the first is %s", option, name,
                   device_name(s, s->devices ? 1 : 0));
}

int qm_pin_parse(const char *option, const char *text, const struct qm_model *m, const struct qm_machine_model *s,
                 struct qm_pin *out, struct qm_error *err) {
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
                       "%s: expected layers, attention, ffn, experts (of layers A-B) or head, on a device, such as "
                       "'layers 0-3' or 'experts 10 on cpu', found \"%s\"",
                       option, text);
    out->what = (enum qm_pin_what)found;
    if (numbers) {
        out->first = a;
        out->last = numbers == 2 ? b : a;
    }
    if (out->first < 0 || out->last > last || out->first > out->last)
        return qm_fail(err, QM_USAGE, "%s: the model has layers 0-%lld, found \"%s\"", option, (long long)last, text);
    return on[0] ? pin_device(option, on, s, &out->device, err) : QM_OK;
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
            return qm_remedy(
                err, QM_REMEDY_FEWER_PINS,
                qm_fail(err, QM_FIT,
                        "%s is %.2f GiB short for the %s pinned to it: %.2f GiB needed, %.2f GiB available",
                        device_name(a->setup.speed, d), qm_gib(m.total - a->budget[d]),
                        qm_memory_short_part(m.weights, m.activations + m.workspace, m.maps, m.drafts, a->budget[d]),
                        qm_gib(m.total) + 0.005, qm_gib(a->budget[d])));
        uint64_t taken = m.total ? m.total : scratch.total;
        s->free[d] = a->budget[d] > taken ? a->budget[d] - taken : 0;
    }
    return QM_OK;
}

/* The best, where it fits and takes less than `below`, or is the first. */
static int try_below(struct qm_search *s, const struct qm_placement *p, double below, struct qm_error *err) {
    const struct qm_search_ask *a = s->ask;
    struct qm_time_setup t = a->setup;
    struct qm_scenario_time time;
    for (int d = 0; d < p->devices; d++) {
        struct qm_device_memory m;
        qm_placement_memory(p, t.model, &t.workload, d, &m);
        if (m.total <= a->budget[d])
            continue;
        if (d == QM_DEVICE_CPU && m.total - a->budget[d] < s->least_short) {
            s->least_short = m.total - a->budget[d];
            s->least_part =
                qm_memory_short_part(m.weights, m.activations + m.workspace, m.maps, m.drafts, a->budget[d]);
        }
        return QM_OK;
    }
    t.placement = p;
    qm_time_scenario(&t, &a->scenario, &time);
    s->tried++;
    double seconds = time.prefill.seconds + time.decode.seconds;
    if (s->best->placement.layer && seconds >= below)
        return QM_OK;
    qm_placement_free(&s->best->placement);
    s->best->seconds = seconds;
    return qm_placement_copy(p, &s->best->placement, err);
}

int qm_search_try(struct qm_search *s, const struct qm_placement *p, struct qm_error *err) {
    return try_below(s, p, s->best->seconds, err);
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

/* How units are given out. */
struct filling {
    enum order order;
    double share;      /* of a dense FFN's columns that go to a device: 1: all, or none */
    uint64_t reserved; /* bytes of each device */
};

/* Units in the order given, each to the first device with room. */
static int fill(struct qm_search *s, const struct filling *how, struct qm_placement *p, struct qm_error *err) {
    const struct qm_model *m = s->ask->setup.model;
    struct ranked *order = calloc((size_t)s->n_items, sizeof *order);
    int32_t left = how->share < 1 ? qm_columns_left(m, how->share) : 0;
    uint64_t room[QM_MAX_DEVICES];
    int rc = order ? qm_placement_copy(&s->pinned, p, err)
                   : qm_fail_memory(err, (uint64_t)s->n_items * sizeof *order, "the search for a placement");
    for (int d = 1; d < s->pinned.devices; d++) /* streaming may be to any of them */
        room[d] = s->free[d] > how->reserved ? s->free[d] - how->reserved : 0;
    for (int64_t i = 0; i < s->n_items && !rc; i++)
        order[i] = (struct ranked){&s->items[i], rank(&s->items[i], how->order),
                                   s->items[i].saved / (double)s->items[i].bytes};
    if (!rc)
        qsort(order, (size_t)s->n_items, sizeof *order, by_rank);
    for (int64_t i = 0; i < s->n_items && !rc; i++) {
        const struct qm_item *item = order[i].item;
        bool split = left && item->kind == QM_UNIT_FFN && qm_unit_ffn_divides(m, item->layer);
        uint64_t bytes = split ? qm_unit_ffn_bytes(m, item->layer, m->config.ffn - left, false) : item->bytes;
        for (int d = 1; d < s->pinned.devices && !item->pinned && (s->needed || split || item->saved > 0); d++)
            if (bytes <= room[d]) {
                room[d] -= bytes;
                qm_item_place(p, item, d);
                if (split)
                    p->layer[item->layer].ffn_cpu = left;
                break;
            }
    }
    free(order);
    return rc;
}

static int try_filling(struct qm_search *s, const struct filling *how, struct qm_error *err) {
    int rc = QM_OK;
    for (int way = 0; way < QM_STREAM_WAYS && !rc; way++) {
        struct filling room = *how;
        struct qm_placement p = {0};
        room.reserved = way == QM_STREAM_NONE ? 0 : s->largest_slots;
        rc = fill(s, &room, &p, err);
        if (!rc)
            rc = try_streamed(s, &p, (enum qm_streaming)way, err);
        qm_placement_free(&p);
    }
    return rc;
}

static bool can_be_split(const struct qm_search *s, const struct qm_item *i) {
    return i->kind == QM_UNIT_FFN && !i->pinned && s->ask->setup.model->config.ffn > QM_FFN_UNIT &&
           qm_unit_ffn_divides(s->ask->setup.model, i->layer);
}

/* The bytes of FFNs that can be split. */
static uint64_t splittable_bytes(const struct qm_search *s) {
    uint64_t all = 0;
    for (int64_t i = 0; i < s->n_items; i++)
        all += can_be_split(s, &s->items[i]) ? s->items[i].bytes : 0;
    return all;
}

/* What would be left for FFNs on all devices beside everything else, as a share of them. */
static double even_share(const struct qm_search *s, uint64_t ffn) {
    double room = 0;
    for (int d = 1; d < s->pinned.devices; d++)
        room += (double)s->free[d];
    for (int64_t i = 0; i < s->n_items; i++)
        room -= s->items[i].pinned || can_be_split(s, &s->items[i]) ? 0 : (double)s->items[i].bytes;
    return room / (double)ffn;
}

static int try_orders(struct qm_search *s, struct qm_error *err) {
    enum { SHARES = 8 };
    uint64_t ffn = splittable_bytes(s);
    int rc = QM_OK;
    for (int o = 0; o < ORDERS && !rc; o++)
        rc = try_filling(s, &(struct filling){.order = (enum order)o, .share = 1}, err);
    for (int o = ATTENTION_FIRST; o < ORDERS && ffn && !rc; o++)
        for (int i = 1; i < SHARES && !rc; i++)
            rc = try_filling(s, &(struct filling){.order = (enum order)o, .share = (double)i / SHARES}, err);
    double even = ffn ? even_share(s, ffn) : 0;
    return rc || even <= 0 || even >= 1
               ? rc
               : try_filling(s, &(struct filling){.order = ATTENTION_FIRST, .share = even}, err);
}

/* Moves the columns of every split FFN. */
static void move_columns(const struct qm_search *s, struct qm_placement *p, int64_t columns) {
    for (int64_t l = 0; l < p->layers; l++) {
        int64_t to = p->layer[l].ffn_cpu + columns, all = s->ask->setup.model->config.ffn;
        if (p->layer[l].ffn_cpu && to > 0 && to < all)
            p->layer[l].ffn_cpu = (int32_t)to;
    }
}

/* Shares by steps that become smaller, as long as that makes it faster. */
static int refine_shares(struct qm_search *s, struct qm_error *err) {
    int64_t all = s->ask->setup.model->config.ffn;
    int rc = QM_OK;
    for (int64_t step = all / 8; step >= QM_FFN_UNIT && !rc; step /= 2)
        for (int sign = -1; sign <= 1 && !rc; sign += 2) {
            double before;
            do {
                struct qm_placement p = {0};
                before = s->best->seconds;
                rc = qm_placement_copy(&s->best->placement, &p, err);
                if (!rc) {
                    move_columns(s, &p, sign * (step / QM_FFN_UNIT * QM_FFN_UNIT));
                    rc = qm_search_try(s, &p, err);
                }
                qm_placement_free(&p);
            } while (!rc && s->best->seconds < before * (1 - 1e-6));
        }
    return rc;
}

static void place_layer(struct qm_search *s, struct qm_placement *p, int64_t layer, int device) {
    for (int64_t i = 0; i < s->n_items; i++)
        if (s->items[i].layer == layer && !s->items[i].pinned)
            qm_item_place(p, &s->items[i], device);
    p->layer[layer].stream_attention = p->layer[layer].stream_ffn = 0;
}

/* Each layer once elsewhere as a whole, where that wins enough to be worth a less even placement. */
static int improve(struct qm_search *s, struct qm_error *err) {
    const double worth = 0.998;
    int rc = QM_OK;
    for (int64_t l = 0; l < s->pinned.layers && !rc; l++)
        for (int d = 0; d < s->pinned.devices && !rc; d++) {
            struct qm_placement p = {0};
            rc = qm_placement_copy(&s->best->placement, &p, err);
            if (!rc) {
                place_layer(s, &p, l, d);
                rc = try_below(s, &p, worth * s->best->seconds, err);
            }
            qm_placement_free(&p);
        }
    return rc;
}

/* Stops streaming the last `n` layers of those whose FFN, or attention, is streamed. */
static bool stream_less(struct qm_placement *p, bool ffn, int64_t n) {
    bool any = false;
    for (int64_t l = p->layers - 1; l >= 0 && n > 0; l--) {
        uint8_t *stream = ffn ? &p->layer[l].stream_ffn : &p->layer[l].stream_attention;
        n -= *stream != 0;
        any |= *stream != 0;
        *stream = 0;
    }
    return any;
}

/* Where the link is what takes longest, the CPU computes some layers of a prompt itself: fewer are streamed, by steps
 * that become smaller, as long as that makes it faster. */
static int refine_streams(struct qm_search *s, struct qm_error *err) {
    int rc = QM_OK;
    for (int ffn = 0; ffn <= 1 && s->best->placement.stream_rows; ffn++)
        for (int64_t step = (s->pinned.layers + 1) / 2; step >= 1 && !rc; step = step == 1 ? 0 : (step + 1) / 2) {
            double before;
            do {
                struct qm_placement p = {0};
                before = s->best->seconds;
                rc = qm_placement_copy(&s->best->placement, &p, err);
                if (!rc && stream_less(&p, ffn, step))
                    rc = qm_search_try(s, &p, err);
                qm_placement_free(&p);
            } while (!rc && s->best->seconds < before * (1 - 1e-6));
        }
    return rc;
}

enum { QUARTERS = 4 };

/* Where a unit can be: devices, and an FFN also by quarters on each but the CPU. */
static int64_t choices(const struct qm_search *s, const struct qm_item *i) {
    int devices = s->pinned.devices;
    return i->pinned ? 1 : can_be_split(s, i) ? devices + (devices - 1) * (QUARTERS - 1) : devices;
}

static void choose(const struct qm_search *s, const struct qm_item *i, int64_t choice, struct qm_placement *p) {
    int64_t split = choice - s->pinned.devices;
    if (i->pinned)
        return;
    qm_item_place(p, i, (int)(split < 0 ? choice : 1 + split / (QUARTERS - 1)));
    if (split >= 0)
        p->layer[i->layer].ffn_cpu =
            qm_columns_left(s->ask->setup.model, (double)(1 + split % (QUARTERS - 1)) / QUARTERS);
}

int qm_search_every(struct qm_search *s, bool *few, struct qm_error *err) {
    int64_t all = 1;
    int rc = QM_OK;
    for (int64_t i = 0; i < s->n_items && all <= EVERY; i++)
        all *= choices(s, &s->items[i]);
    *few = all <= EVERY;
    for (int64_t n = 0; n < all && *few && !rc; n++)
        for (int way = 0; way < QM_STREAM_WAYS && !rc; way++) {
            struct qm_placement p = {0};
            int64_t digits = n;
            rc = qm_placement_copy(&s->pinned, &p, err);
            for (int64_t i = 0; i < s->n_items && !rc; digits /= choices(s, &s->items[i]), i++)
                choose(s, &s->items[i], digits % choices(s, &s->items[i]), &p);
            if (!rc)
                rc = try_streamed(s, &p, (enum qm_streaming)way, err);
            qm_placement_free(&p);
        }
    return rc;
}

/* Whole layers from the end, as many as asked for, on the devices, as many on each as fit. */
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
            rc = qm_fail(err, QM_FIT,
                         "the devices are %.2f GiB short for the last %lld layers: %.2f GiB needed, %.2f GiB free",
                         qm_gib(need > there ? need - there : item->bytes), (long long)a->last_layers, qm_gib(need),
                         qm_gib(there));
            qm_remedy(err, QM_REMEDY_FEWER_LAYERS, rc);
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

static int look(struct qm_search *s, struct qm_error *err) {
    int rc = qm_search_try(s, &s->pinned, err);
    if (rc || s->pinned.devices == 1)
        return rc;
    s->needed = !s->best->placement.layer;
    rc = qm_search_every(s, &s->best->exact, err);
    if (!rc && !s->best->exact) {
        rc = try_orders(s, err);
        if (!rc && s->best->placement.layer)
            rc = refine_streams(s, err);
        if (!rc && s->best->placement.layer)
            rc = improve(s, err);
    }
    if (!rc && s->best->placement.layer)
        rc = refine_shares(s, err);
    return rc || !s->best->placement.layer ? rc : refine_streams(s, err);
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
    return qm_remedy(
        err, QM_REMEDY_MORE_MEMORY,
        qm_fail(err, QM_FIT,
                "the CPU is %.2f GiB short for the %s, with all that fits on the devices: %.2f GiB of RAM are there",
                qm_gib(s->least_short), s->least_part ? s->least_part : "weights",
                qm_gib(s->ask->budget[QM_DEVICE_CPU])));
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
        struct qm_scenario_time time;
        struct qm_time_setup on_cpu = *t;
        rc = qm_placement_open(t->model, 1 + t->speed->devices, &cpu, err);
        on_cpu.placement = &cpu;
        if (!rc) {
            qm_time_scenario(&on_cpu, &ask->scenario, &time);
            double all = time.prefill.seconds + time.decode.seconds;
            out->bound = out->exact && !splittable_bytes(&s) ? out->seconds : qm_search_bound(&s, all);
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
