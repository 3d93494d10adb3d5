/* A placement in a few lines: which layers, or which parts of them, each device has, and what is streamed to it. */
#include <stdio.h>
#include <stdlib.h>

#include "app/plan/plan.h"

enum { WIDE = 72 };

/* What of a layer is on a device. */
enum part { NOTHING, ATTENTION, FFN, SOME, ATTENTION_SOME, LAYER, DONE };

struct share {
    enum part part;
    bool moe;
    int64_t some; /* of the layer's experts, or of its FFN's columns, where not all */
};

struct text {
    const struct qm_plan_answer *answer;
    struct qm_buf *out;
    struct share *share; /* [layers] of one device */
    size_t line;         /* where the line begins */
    bool any;            /* on the device's lines already */
};

static struct share efficiency_of(const struct qm_plan_answer *a, int64_t l, int device) {
    const struct qm_placement *p = &a->placement;
    bool attention = p->layer[l].attention == device, moe = a->model->config.layer[l].moe;
    int64_t n = moe ? qm_placement_experts_on(p, l, device) : qm_placement_columns_on(p, a->model, l, device);
    if (n == (moe ? p->experts : a->model->config.ffn))
        return (struct share){attention ? LAYER : FFN, moe, 0};
    if (n == 0)
        return (struct share){attention ? ATTENTION : NOTHING, moe, 0};
    return (struct share){attention ? ATTENTION_SOME : SOME, moe, n};
}

static struct share streamed_of(const struct qm_plan_answer *a, int64_t l, int device) {
    const struct qm_layer_placement *at = &a->placement.layer[l];
    bool attention = at->stream_attention == device, ffn = at->stream_ffn == device;
    return (struct share){attention && ffn ? LAYER
                          : attention      ? ATTENTION
                          : ffn            ? FFN
                                           : NOTHING,
                          a->model->config.layer[l].moe, 0};
}

static bool same(struct share a, struct share b) {
    bool either = a.part == LAYER || a.part == ATTENTION; /* experts or not */
    return a.part == b.part && a.some == b.some && (either || a.moe == b.moe);
}

/* Separated from what is there, on a new line where this one is long. */
static int part_from(struct text *t, const char *mark, struct qm_error *err) {
    if (!t->any)
        return QM_OK;
    if (t->out->len - t->line <= WIDE)
        return qm_buf_printf(t->out, err, "%s ", mark);
    int rc = qm_buf_printf(t->out, err, "%s\n", mark);
    t->line = t->out->len;
    return rc ? rc : qm_buf_str(t->out, "  ", err);
}

static int what(struct text *t, struct share s, bool one, struct qm_error *err) {
    const struct qm_config *c = &t->answer->model->config;
    const char *attention = s.part == ATTENTION_SOME ? "attention and " : "";
    switch (s.part) {
    case LAYER: return qm_buf_str(t->out, one ? "layer " : "layers ", err);
    case ATTENTION: return qm_buf_str(t->out, "attention of ", err);
    case FFN: return qm_buf_str(t->out, s.moe ? "experts of " : "FFN of ", err);
    default: break;
    }
    if (s.moe)
        return qm_buf_printf(t->out, err, "%s%lld of %lld experts of ", attention, (long long)s.some,
                             (long long)c->experts);
    return qm_buf_printf(t->out, err, "%s%.0f %% of the FFN of ", attention, 100 * (double)s.some / (double)c->ffn);
}

/* All layers of which the device has what it has of `first`. */
static int layers_like(struct text *t, int64_t first, struct qm_error *err) {
    const struct share s = t->share[first];
    int64_t layers = t->answer->placement.layers, n = 0;
    for (int64_t l = first; l < layers; l++)
        n += same(t->share[l], s);
    int rc = part_from(t, ";", err);
    if (!rc)
        rc = what(t, s, n == 1, err);
    t->any = false;
    for (int64_t l = first, end; l < layers && !rc; l = end) {
        for (end = l; end < layers && same(t->share[end], s); end++)
            t->share[end].part = DONE;
        if (end == l) {
            end++;
            continue;
        }
        rc = part_from(t, ",", err);
        t->any = true;
        if (!rc)
            rc = end - l == 1 ? qm_buf_printf(t->out, err, "%lld", (long long)l)
                              : qm_buf_printf(t->out, err, "%lld-%lld", (long long)l, (long long)end - 1);
    }
    return rc;
}

static int all_layers(struct text *t, struct qm_error *err) {
    int rc = QM_OK;
    for (int64_t l = 0; l < t->answer->placement.layers && !rc; l++)
        if (t->share[l].part != NOTHING && t->share[l].part != DONE)
            rc = layers_like(t, l, err);
    return rc;
}

static int device_lines(const struct qm_plan_ask *ask, struct text *t, int device, struct qm_error *err) {
    const struct qm_plan_answer *a = t->answer;
    t->line = t->out->len;
    t->any = device == QM_DEVICE_CPU;
    int rc = qm_buf_printf(t->out, err, "%s: %s", qm_plan_device_name(ask->speed, device), t->any ? "embedding" : "");
    if (!rc && a->placement.head == device) {
        rc = qm_buf_str(t->out, t->any ? "; head" : "head", err);
        t->any = true;
    }
    for (int64_t l = 0; l < a->placement.layers; l++)
        t->share[l] = efficiency_of(a, l, device);
    if (!rc)
        rc = all_layers(t, err);
    return rc ? rc : qm_buf_str(t->out, t->any ? "\n" : "nothing\n", err);
}

static int streamed_lines(const struct qm_plan_ask *ask, struct text *t, int device, struct qm_error *err) {
    const struct qm_plan_answer *a = t->answer;
    bool any = false;
    for (int64_t l = 0; l < a->placement.layers; l++) {
        t->share[l] = streamed_of(a, l, device);
        any |= t->share[l].part != NOTHING;
    }
    if (!any || !a->placement.stream_rows)
        return QM_OK;
    t->line = t->out->len;
    t->any = false;
    int rc = qm_buf_printf(t->out, err,
                           "streamed to %s in steps of %lld tokens or more: ", qm_plan_device_name(ask->speed, device),
                           (long long)a->placement.stream_rows);
    if (!rc)
        rc = all_layers(t, err);
    return rc ? rc : qm_buf_str(t->out, "\n", err);
}

int qm_plan_placement_text(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_buf *out,
                           struct qm_error *err) {
    struct text t = {.answer = a, .out = out, .share = calloc((size_t)a->placement.layers + 1, sizeof *t.share)};
    int rc = t.share ? QM_OK : qm_fail_memory(err, (uint64_t)a->placement.layers * sizeof *t.share, "the plan");
    for (int d = 0; d < a->placement.devices && !rc; d++)
        rc = device_lines(ask, &t, d, err);
    for (int d = 1; d < a->placement.devices && !rc; d++)
        rc = streamed_lines(ask, &t, d, err);
    free(t.share);
    return rc;
}
