/* The units of a search: what each saves on a device, streaming, and the bound. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/search_private.h"

/* A unit's seconds in the whole scenario on one device. */
static void unit_seconds(const struct qm_search *s, const struct qm_item *i, int device, double *prefill,
                         double *decode) {
    const struct qm_time_setup *t = &s->ask->setup;
    const struct qm_scenario *j = &s->ask->scenario;
    double p = i->kind == QM_UNIT_EXPERT ? qm_routing_share(t->routing, &t->model->config, i->layer, i->expert) : 0;
    int64_t chunk = t->workload.chunk < j->prompt ? t->workload.chunk : j->prompt;
    *prefill = *decode = 0;
    if (j->prompt) {
        double steps = (double)j->prompt / (double)chunk * (double)j->sequences;
        int64_t middle = j->depth + (j->prompt - chunk) / 2;
        if (i->kind == QM_UNIT_HEAD)
            steps = (double)j->sequences; /* the last position's logits alone */
        *prefill = steps * qm_time_unit(t, i->kind, i->layer, device, p, 1, middle, chunk, 1);
    }
    if (j->generate)
        *decode = (double)j->generate * qm_time_unit(t, i->kind, i->layer, device, p, j->sequences,
                                                     j->depth + j->prompt + j->generate / 2, 1, 1);
}

static void weigh(const struct qm_search *s, struct qm_item *i) {
    double prefill, decode;
    unit_seconds(s, i, QM_DEVICE_CPU, &prefill, &decode);
    i->cpu = prefill + decode;
    i->saved = -INFINITY;
    for (int d = 1; d <= s->ask->setup.speed->devices; d++) {
        double there, decode_there;
        unit_seconds(s, i, d, &there, &decode_there);
        if (i->cpu - there - decode_there > i->saved) {
            i->saved = i->cpu - there - decode_there;
            i->prefill_saved = prefill - there;
            i->decode_saved = decode - decode_there;
        }
    }
    i->decode_bytes = (double)i->bytes;
    if (i->kind == QM_UNIT_EXPERT) { /* in the time of others, at best */
        i->prefill_saved = prefill;
        i->decode_saved = decode;
    }
    if (i->kind == QM_UNIT_FFN) { /* split so that both take as long, at best: the device's part is in the CPU's time */
        double part = decode > 0 ? decode / (2 * decode - i->decode_saved) : 0;
        i->prefill_saved = prefill > 0 ? prefill * prefill / (2 * prefill - i->prefill_saved) : 0;
        i->decode_saved = part * decode;
        i->decode_bytes *= part;
    }
}

static bool same_share(const struct qm_search *s, const struct qm_item *a, const struct qm_item *b) {
    const struct qm_time_setup *t = &s->ask->setup;
    return a->kind == b->kind && a->kind == QM_UNIT_EXPERT && a->layer == b->layer &&
           (!t->routing || qm_routing_share(t->routing, &t->model->config, a->layer, a->expert) ==
                               qm_routing_share(t->routing, &t->model->config, b->layer, b->expert));
}

static void add(struct qm_search *s, enum qm_unit_kind kind, int64_t layer, int64_t expert) {
    const struct qm_model *m = s->ask->setup.model;
    struct qm_item *i = &s->items[s->n_items++];
    *i = (struct qm_item){.kind = kind, .layer = layer, .expert = expert};
    i->bytes = qm_unit_weight_bytes(m, kind, layer, 1);
    if (kind == QM_UNIT_ATTENTION)
        i->bytes += qm_unit_kv_bytes(m, &s->ask->setup.workload, layer);
    if (kind == QM_UNIT_HEAD)
        i->bytes += qm_unit_tied_bytes(m);
    if (s->n_items > 1 && same_share(s, i, i - 1)) {
        i->cpu = i[-1].cpu;
        i->saved = i[-1].saved;
        i->prefill_saved = i[-1].prefill_saved;
        i->decode_saved = i[-1].decode_saved;
        i->decode_bytes = i[-1].decode_bytes;
    } else {
        weigh(s, i);
    }
}

int qm_search_items(struct qm_search *s, struct qm_error *err) {
    const struct qm_config *c = &s->ask->setup.model->config;
    size_t most = (size_t)c->layers * (2 + (size_t)c->experts) + 1;
    s->items = calloc(most, sizeof *s->items);
    if (!s->items)
        return qm_fail_memory(err, most * sizeof *s->items, "the search for a placement");
    add(s, QM_UNIT_HEAD, -1, 0);
    for (int64_t l = 0; l < c->layers; l++) {
        add(s, QM_UNIT_ATTENTION, l, 0);
        if (!c->layer[l].moe)
            add(s, QM_UNIT_FFN, l, 0);
        for (int64_t e = 0; e < c->experts && c->layer[l].moe; e++)
            add(s, QM_UNIT_EXPERT, l, e);
    }
    return QM_OK;
}

void qm_item_place(struct qm_placement *p, const struct qm_item *item, int device) {
    uint8_t d = (uint8_t)device;
    switch (item->kind) {
    case QM_UNIT_HEAD: p->head = d; break;
    case QM_UNIT_ATTENTION: p->layer[item->layer].attention = d; break;
    case QM_UNIT_FFN:
        p->layer[item->layer].ffn = d;
        p->layer[item->layer].ffn_cpu = 0;
        break;
    default: p->expert[item->layer * p->experts + item->expert] = d; break;
    }
}

int32_t qm_columns_left(const struct qm_model *m, double share) {
    int64_t units = (int64_t)((1 - share) * (double)m->config.ffn / QM_FFN_UNIT + 0.5), all = m->config.ffn;
    if (share < 1 && units == 0)
        units = 1;
    while (units > 0 && units * QM_FFN_UNIT >= all)
        units--;
    return (int32_t)(units * QM_FFN_UNIT);
}

/* The device whose link is the fastest. */
static uint8_t streaming_device(const struct qm_machine_model *s) {
    int best = 0;
    for (int d = 1; d < s->devices; d++)
        if (s->device[d].up > s->device[best].up)
            best = d;
    return (uint8_t)(best + 1);
}

/* A layer to the device whose link is done with those before it first, with this one. */
static uint8_t next_device(const struct qm_search *s, int64_t l, double done[QM_MAX_DEVICES]) {
    const struct qm_time_setup *t = &s->ask->setup;
    double bytes = (double)(qm_unit_weight_bytes(t->model, QM_UNIT_FFN, l, 0) +
                            qm_unit_weight_bytes(t->model, QM_UNIT_EXPERT, l, t->model->config.experts));
    int best = 1;
    for (int d = 1; d <= t->speed->devices; d++)
        if (done[d] + bytes / t->speed->device[d - 1].up < done[best] + bytes / t->speed->device[best - 1].up)
            best = d;
    done[best] += bytes / t->speed->device[best - 1].up;
    return (uint8_t)best;
}

bool qm_search_stream(const struct qm_search *s, struct qm_placement *p, enum qm_streaming way) {
    const struct qm_time_setup *setup = &s->ask->setup;
    bool any = false, each = way >= QM_STREAM_FFN_TO_EACH;
    double done[QM_MAX_DEVICES] = {0};
    if (each && setup->speed->devices < 2)
        return false;
    for (int64_t l = 0; l < p->layers && way != QM_STREAM_NONE; l++) {
        struct qm_layer_placement *at = &p->layer[l];
        bool moe = setup->model->config.layer[l].moe;
        bool ffn = moe ? qm_placement_experts_on(p, l, QM_DEVICE_CPU) > 0
                       : qm_placement_columns_on(p, setup->model, l, QM_DEVICE_CPU) > 0;
        bool attention = (way == QM_STREAM_ALL || way == QM_STREAM_ALL_TO_EACH) && at->attention == QM_DEVICE_CPU;
        uint8_t device = !each ? streaming_device(setup->speed) : ffn || attention ? next_device(s, l, done) : 0;
        at->stream_ffn = ffn ? device : 0;
        at->stream_attention = attention ? device : 0;
        any |= at->stream_ffn || at->stream_attention;
    }
    struct qm_time_setup t = *setup;
    t.placement = p;
    int64_t middle = s->ask->scenario.depth + s->ask->scenario.prompt / 2;
    for (int64_t rows = 8; any && rows <= setup->workload.chunk; rows *= 2) {
        struct qm_step_time with, without;
        p->stream_rows = rows;
        qm_time_step(&t, 1, middle, rows, 0, &with);
        p->stream_rows = 0;
        qm_time_step(&t, 1, middle, rows, 0, &without);
        if (with.seconds < without.seconds) {
            p->stream_rows = rows;
            return true;
        }
    }
    for (int64_t l = 0; l < p->layers; l++)
        p->layer[l].stream_attention = p->layer[l].stream_ffn = 0;
    return false;
}

static int by_decode_density(const void *a, const void *b) {
    const struct qm_item *const *x = a, *const *y = b;
    double dx = (*x)->decode_saved / (*x)->decode_bytes, dy = (*y)->decode_saved / (*y)->decode_bytes;
    return (dx < dy) - (dx > dy);
}

double qm_search_bound(const struct qm_search *s, double on_the_cpu) {
    const struct qm_item **order = calloc((size_t)s->n_items, sizeof *order);
    const struct qm_machine_model *speed = s->ask->setup.speed;
    const struct qm_scenario *j = &s->ask->scenario;
    double room = 0, chunks = (double)j->prompt / (double)s->ask->setup.workload.chunk + 1;
    if (!order)
        return 0;
    for (int d = 1; d <= speed->devices; d++)
        room += (double)s->ask->budget[d];
    double bound = on_the_cpu;
    for (int64_t i = 0; i < s->n_items; i++) {
        order[i] = &s->items[i];
        bound -= s->items[i].prefill_saved > 0 ? s->items[i].prefill_saved : 0;
    }
    qsort(order, (size_t)s->n_items, sizeof *order, by_decode_density);
    for (int64_t i = 0; i < s->n_items && room > 0 && order[i]->decode_saved > 0; i++) {
        double bytes = order[i]->decode_bytes, part = bytes < room ? 1 : room / bytes;
        bound -= part * order[i]->decode_saved;
        room -= bytes;
    }
    /* regions of layers whose experts are all elsewhere */
    bound -= 2 * (speed->region_us + speed->barrier_us) * 1e-6 * (double)s->ask->setup.model->config.layers *
             ((double)j->generate + chunks * (double)j->sequences);
    free(order);
    return bound > 0 ? bound : 0;
}
