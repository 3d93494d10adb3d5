/* Placements: opening, checking, counting what each device holds. */
#include "engine/placement.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/units.h"

_Static_assert(QM_FFN_UNIT % QM_PANEL_ROWS == 0 && QM_FFN_UNIT % QM_MXFP4_VALUES == 0, "whole panels, even cuts of k");
_Static_assert(QM_MAX_DEVICES <= UINT8_MAX, "a device's number is a byte");

int qm_placement_open(const struct qm_model *m, int devices, struct qm_placement *out, struct qm_error *err) {
    assert(devices >= 1 && devices <= QM_MAX_DEVICES);
    size_t layers = (size_t)m->config.layers, experts = layers * (size_t)m->config.experts;
    *out = (struct qm_placement){.devices = devices, .layers = m->config.layers, .experts = m->config.experts};
    out->layer = calloc(layers + 1, sizeof *out->layer);
    out->expert = calloc(experts + 1, sizeof *out->expert);
    if (out->layer && out->expert)
        return QM_OK;
    qm_placement_free(out);
    return qm_fail_memory(err, layers * sizeof *out->layer + experts, "a placement");
}

int qm_placement_copy(const struct qm_placement *p, struct qm_placement *out, struct qm_error *err) {
    size_t layers = (size_t)p->layers, experts = layers * (size_t)p->experts;
    *out = *p;
    out->layer = calloc(layers + 1, sizeof *out->layer);
    out->expert = calloc(experts + 1, sizeof *out->expert);
    if (!out->layer || !out->expert) {
        qm_placement_free(out);
        return qm_fail_memory(err, layers * sizeof *out->layer + experts, "a placement");
    }
    memcpy(out->layer, p->layer, layers * sizeof *out->layer);
    memcpy(out->expert, p->expert, experts);
    return QM_OK;
}

void qm_placement_free(struct qm_placement *p) {
    free(p->layer);
    free(p->expert);
    *p = (struct qm_placement){0};
}

int64_t qm_placement_experts_on(const struct qm_placement *p, int64_t layer, int device) {
    int64_t n = 0;
    for (int64_t e = 0; e < p->experts; e++)
        n += qm_placement_expert(p, layer, e) == device;
    return n;
}

int64_t qm_placement_columns_on(const struct qm_placement *p, const struct qm_model *m, int64_t layer, int device) {
    const struct qm_layer_placement *at = &p->layer[layer];
    int64_t on_the_cpu = at->ffn ? at->ffn_cpu : m->config.ffn;
    if (device == QM_DEVICE_CPU)
        return on_the_cpu;
    return device == at->ffn ? m->config.ffn - on_the_cpu : 0;
}

/* Takes the columns of a dense FFN's weight that are there. */
static bool take_columns(const struct qm_placement *p, const struct qm_model *m, int device,
                         struct qm_weight_part *part) {
    struct qm_weight *w = &part->weight;
    int64_t here = p->layer[w->layer].ffn ? p->layer[w->layer].ffn_cpu : 0;
    int64_t columns = qm_placement_columns_on(p, m, w->layer, device);
    if (here && device != QM_DEVICE_CPU) {
        part->panel = w->role == QM_W_GATE_UP || w->role == QM_W_GATE_UP_BIAS ? 2 * here / QM_PANEL_ROWS : 0;
        part->k = w->role == QM_W_DOWN ? here : 0;
    }
    return qm_unit_ffn_part(w, columns, device == QM_DEVICE_CPU || !here);
}

struct qm_weight_part qm_placement_part(const struct qm_placement *p, const struct qm_model *m,
                                        const struct qm_weight *w, int device) {
    struct qm_weight_part part = {.experts = w->experts, .weight = *w};
    bool cpu = device == QM_DEVICE_CPU, there = cpu;
    if (!p)
        return part;
    switch (qm_unit_of(m, w)) {
    case QM_UNIT_EMBED: there = cpu || (p->head == device && m->config.tie_embeddings); break;
    case QM_UNIT_HEAD: there = p->head == device; break;
    case QM_UNIT_ATTENTION: there = p->layer[w->layer].attention == device; break;
    case QM_UNIT_EXPERT: part.experts = qm_placement_experts_on(p, w->layer, device); return part;
    default: there = take_columns(p, m, device, &part); break;
    }
    part.experts = there ? part.experts : 0;
    return part;
}

static int check_columns(const struct qm_placement *p, const struct qm_model *m, int64_t l, struct qm_error *err) {
    const struct qm_layer_placement *at = &p->layer[l];
    if (!at->ffn_cpu)
        return QM_OK;
    if (!qm_unit_ffn_divides(m, l))
        return qm_fail(
            err, QM_INPUT,
            "placement: layer %lld: expected its FFN whole on one device, as its sum is normed, found %d columns "
            "on the CPU",
            (long long)l, at->ffn_cpu);
    if (m->config.layer[l].moe || !at->ffn)
        return qm_fail(err, QM_INPUT,
                       "placement: layer %lld has no FFN on a device, of which the CPU could have columns",
                       (long long)l);
    if (at->ffn_cpu < 0 || at->ffn_cpu >= m->config.ffn || at->ffn_cpu % QM_FFN_UNIT)
        return qm_fail(err, QM_INPUT,
                       "placement: layer %lld: %d columns of its FFN on the CPU: expected a multiple of %d below %lld",
                       (long long)l, at->ffn_cpu, QM_FFN_UNIT, (long long)m->config.ffn);
    return QM_OK;
}

static int check_layer(const struct qm_placement *p, const struct qm_model *m, int64_t l, struct qm_error *err) {
    const struct qm_layer_placement *at = &p->layer[l];
    bool moe = m->config.layer[l].moe;
    const uint8_t devices[] = {at->attention, at->ffn, at->stream_attention, at->stream_ffn};
    for (size_t i = 0; i < sizeof devices; i++)
        if (devices[i] >= p->devices)
            return qm_fail(err, QM_INPUT, "placement: layer %lld is on device %d: there are %d", (long long)l,
                           devices[i], p->devices);
    for (int64_t e = 0; e < p->experts; e++)
        if (qm_placement_expert(p, l, e) >= (moe ? p->devices : 1))
            return qm_fail(err, QM_INPUT, "placement: layer %lld, expert %lld is on device %d: %s", (long long)l,
                           (long long)e, qm_placement_expert(p, l, e),
                           moe ? "it is not there" : "the layer has no experts");
    if (moe && at->ffn)
        return qm_fail(err, QM_INPUT, "placement: layer %lld has experts and no dense FFN", (long long)l);
    if (at->stream_attention && at->attention)
        return qm_fail(err, QM_INPUT, "placement: layer %lld: attention is on device %d and can't be streamed",
                       (long long)l, at->attention);
    int64_t here = moe ? qm_placement_experts_on(p, l, QM_DEVICE_CPU) : qm_placement_columns_on(p, m, l, QM_DEVICE_CPU);
    if (at->stream_ffn && here <= 0)
        return qm_fail(err, QM_INPUT, "placement: layer %lld: nothing of its %s is on the CPU, to be streamed",
                       (long long)l, moe ? "experts" : "FFN");
    return check_columns(p, m, l, err);
}

int qm_placement_check(const struct qm_placement *p, const struct qm_model *m, struct qm_error *err) {
    const struct qm_config *c = &m->config;
    if (p->layers != c->layers || p->experts != c->experts)
        return qm_fail(err, QM_INPUT,
                       "placement: of a model with %lld layers and %lld experts; this one has %lld and %lld",
                       (long long)p->layers, (long long)p->experts, (long long)c->layers, (long long)c->experts);
    if (p->devices < 1 || p->devices > QM_MAX_DEVICES || p->head >= p->devices || p->stream_rows < 0)
        return qm_fail(err, QM_INPUT, "placement: the head is on device %d of %d, streaming from %lld tokens on",
                       p->head, p->devices, (long long)p->stream_rows);
    int rc = QM_OK;
    for (int64_t l = 0; l < p->layers && !rc; l++)
        rc = check_layer(p, m, l, err);
    return rc;
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* What the device has of the layer's FFN, dense or experts. */
static uint64_t ffn_bytes(const struct qm_placement *p, const struct qm_model *m, int64_t l, int device) {
    if (m->config.layer[l].moe)
        return qm_unit_weight_bytes(m, QM_UNIT_EXPERT, l, qm_placement_experts_on(p, l, device));
    return qm_unit_ffn_bytes(m, l, qm_placement_columns_on(p, m, l, device),
                             device == QM_DEVICE_CPU || !p->layer[l].ffn_cpu);
}

/* The largest unit that is streamed to the device; true where any is. */
static bool largest_streamed(const struct qm_placement *p, const struct qm_model *m, const struct qm_workload *w,
                             int device, uint64_t *most) {
    bool any = false;
    *most = 0;
    for (int64_t l = 0; l < p->layers && p->stream_rows; l++) {
        if (p->layer[l].stream_attention == device) {
            *most = larger(*most, qm_unit_weight_bytes(m, QM_UNIT_ATTENTION, l, 0) + qm_unit_kv_bytes(m, w, l));
            any = true;
        }
        if (p->layer[l].stream_ffn == device) {
            *most = larger(*most, ffn_bytes(p, m, l, QM_DEVICE_CPU));
            any = true;
        }
    }
    return any;
}

static uint64_t head_bytes(const struct qm_placement *p, const struct qm_model *m, int device) {
    if (p->head != device)
        return 0;
    return qm_unit_weight_bytes(m, QM_UNIT_HEAD, -1, 0) + (device == QM_DEVICE_CPU ? 0 : qm_unit_tied_bytes(m));
}

static bool is_split(const struct qm_placement *p, const struct qm_model *m, int64_t l) {
    const struct qm_layer_placement *at = &p->layer[l];
    if (!m->config.layer[l].moe)
        return at->ffn_cpu > 0;
    bool streams = p->stream_rows && at->stream_ffn != at->stream_attention;
    for (int64_t e = 0; e < p->experts; e++) {
        int on = qm_placement_expert(p, l, e);
        if (on != at->attention || (on == QM_DEVICE_CPU && streams))
            return true;
    }
    return false;
}

uint64_t qm_placement_sum_bytes(const struct qm_placement *p, const struct qm_model *m, const struct qm_workload *w,
                                int device) {
    struct qm_scratch_layout scratch;
    qm_scratch_plan(m, w, &scratch);
    uint64_t one = (uint64_t)(w->chunk * scratch.ld_hidden) * sizeof(float);
    for (int64_t l = 0; l < p->layers; l++)
        if (is_split(p, m, l))
            return device == QM_DEVICE_CPU ? (uint64_t)p->devices * one : one;
    return 0;
}

int64_t qm_placement_logit_rows(const struct qm_workload *w) {
    enum { ROWS = 16 };
    int64_t rows = w->sequences > ROWS ? w->sequences : ROWS;
    return rows < w->chunk ? rows : w->chunk;
}

uint64_t qm_placement_logit_bytes(const struct qm_placement *p, const struct qm_model *m, const struct qm_workload *w,
                                  int device) {
    if (p->head == QM_DEVICE_CPU || (device != QM_DEVICE_CPU && device != p->head))
        return 0;
    int64_t sequences = w->sequences < w->chunk ? w->sequences : w->chunk;
    uint64_t floats = (uint64_t)(qm_placement_logit_rows(w) * m->config.vocab + sequences * m->config.hidden);
    return (floats * sizeof(float) + 63) / 64 * 64;
}

void qm_placement_memory(const struct qm_placement *p, const struct qm_model *m, const struct qm_workload *w,
                         int device, struct qm_device_memory *out) {
    *out = (struct qm_device_memory){.weights = head_bytes(p, m, device)};
    uint64_t slot = 0;
    bool used = device == QM_DEVICE_CPU || p->head == device;
    if (device == QM_DEVICE_CPU)
        out->weights += qm_unit_weight_bytes(m, QM_UNIT_EMBED, -1, 0);
    else
        used |= largest_streamed(p, m, w, device, &slot);
    for (int64_t l = 0; l < p->layers; l++) {
        if (p->layer[l].attention == device) {
            out->weights += qm_unit_weight_bytes(m, QM_UNIT_ATTENTION, l, 0);
            out->kv += qm_unit_kv_bytes(m, w, l);
            used = true;
        }
        uint64_t ffn = ffn_bytes(p, m, l, device);
        out->weights += ffn;
        used |= ffn > 0;
    }
    struct qm_workload of_device = *w;
    if (device != QM_DEVICE_CPU)
        of_device.threads = 1;
    struct qm_scratch_layout scratch;
    qm_scratch_plan(m, &of_device, &scratch);
    out->activations =
        scratch.total + qm_placement_sum_bytes(p, m, w, device) + qm_placement_logit_bytes(p, m, w, device);
    out->activations = used ? out->activations : 0;
    out->workspace = 2 * slot;
    out->maps =
        device == QM_DEVICE_CPU && w->map_tokens ? qm_attention_map_bytes(&m->config, w->chunk, w->map_tokens) : 0;
    out->drafts = device == QM_DEVICE_CPU ? qm_memory_draft_bytes(m, w) : 0;
    out->total = out->weights + out->kv + out->activations + out->workspace + out->maps + out->drafts;
}

void qm_placement_estimate(const struct qm_placement *p, const struct qm_model *m, const struct qm_workload *w,
                           struct qm_memory_table *out) {
    struct qm_device_memory cpu;
    qm_memory_estimate(m, w, out);
    if (!p)
        return;
    qm_placement_memory(p, m, w, QM_DEVICE_CPU, &cpu);
    *out = (struct qm_memory_table){.weights = cpu.weights,
                                    .kv = cpu.kv,
                                    .kv_per_token = out->kv_per_token,
                                    .scratch = cpu.activations,
                                    .maps = cpu.maps,
                                    .drafts = cpu.drafts,
                                    .total = cpu.total};
}
