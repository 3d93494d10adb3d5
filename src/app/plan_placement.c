/* A placement in a few lines: which layers, or which parts of them, each device has. */
#include <stdio.h>
#include <string.h>

#include "app/plan.h"

/* What of a layer is on a device. */
enum part { NOTHING, ATTENTION, FFN, SOME, ATTENTION_SOME, LAYER };

struct share {
    enum part part;
    int64_t experts; /* of the layer's, where not all */
};

static struct share share_of(const struct qm_plan_answer *a, int64_t l, int device) {
    const struct qm_placement *p = &a->placement;
    bool attention = p->layer[l].attention == device;
    if (!a->model->config.layer[l].moe) {
        bool ffn = p->layer[l].ffn == device;
        return (struct share){attention && ffn ? LAYER : attention ? ATTENTION : ffn ? FFN : NOTHING, 0};
    }
    int64_t n = qm_placement_experts_on(p, l, device);
    if (n == p->experts)
        return (struct share){attention ? LAYER : FFN, 0};
    if (n == 0)
        return (struct share){attention ? ATTENTION : NOTHING, 0};
    return (struct share){attention ? ATTENTION_SOME : SOME, n};
}

static int range(struct qm_buf *out, const struct qm_plan_answer *a, struct share s, int64_t first, int64_t last,
                 bool begin, struct qm_error *err) {
    const char *ffn = a->model->config.layer[first].moe ? "experts" : "FFN";
    char layers[48];
    if (first == last)
        snprintf(layers, sizeof layers, "%lld", (long long)first);
    else
        snprintf(layers, sizeof layers, "%lld-%lld", (long long)first, (long long)last);
    int rc = qm_buf_str(out, begin ? "" : "; ", err);
    if (rc)
        return rc;
    switch (s.part) {
    case LAYER: return qm_buf_printf(out, err, "layers %s", layers);
    case ATTENTION: return qm_buf_printf(out, err, "attention of %s", layers);
    case FFN: return qm_buf_printf(out, err, "%s of %s", ffn, layers);
    default:
        return qm_buf_printf(out, err, "%s%lld of %lld experts of %s", s.part == SOME ? "" : "attention and ",
                             (long long)s.experts, (long long)a->placement.experts, layers);
    }
}

static int device_lines(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, int device, struct qm_buf *out,
                        struct qm_error *err) {
    enum { WIDE = 64 };
    const struct qm_placement *p = &a->placement;
    size_t begin = out->len;
    int rc = qm_buf_printf(out, err, "%s: ", qm_plan_device_name(ask->speed, device));
    size_t head = out->len;
    if (!rc && device == QM_DEVICE_CPU)
        rc = qm_buf_str(out, "embedding", err);
    if (!rc && p->head == device)
        rc = qm_buf_str(out, out->len > head ? "; head" : "head", err);
    size_t line = begin;
    for (int64_t l = 0, end; l < p->layers && !rc; l = end) {
        struct share s = share_of(a, l, device);
        for (end = l + 1; end < p->layers; end++) {
            struct share next = share_of(a, end, device);
            if (next.part != s.part || next.experts != s.experts)
                break;
        }
        if (s.part == NOTHING)
            continue;
        bool wrap = out->len - line > WIDE;
        if (wrap) {
            rc = qm_buf_str(out, ";\n  ", err);
            line = out->len;
        }
        if (!rc)
            rc = range(out, a, s, l, end - 1, wrap || out->len == head, err);
    }
    if (!rc && out->len == head)
        rc = qm_buf_str(out, "nothing", err);
    return rc ? rc : qm_buf_str(out, "\n", err);
}

int qm_plan_placement_text(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_buf *out,
                           struct qm_error *err) {
    const struct qm_placement *p = &a->placement;
    int64_t attention = 0, ffn = 0;
    int device = 0, rc = QM_OK;
    for (int d = 0; d < p->devices && !rc; d++)
        rc = device_lines(ask, a, d, out, err);
    for (int64_t l = 0; l < p->layers; l++) {
        attention += p->layer[l].stream_attention != 0;
        ffn += p->layer[l].stream_ffn != 0;
        device = p->layer[l].stream_ffn ? p->layer[l].stream_ffn : device;
    }
    if (rc || p->stream_rows == 0 || attention + ffn == 0)
        return rc;
    return qm_buf_printf(out, err, "steps of %lld tokens or more: %s of %lld layers %sstreamed to %s\n",
                         (long long)p->stream_rows, p->experts ? "experts" : "FFN", (long long)ffn,
                         attention ? "and attention " : "", qm_plan_device_name(ask->speed, device));
}
