/* The time of a step: a walk over the units in the order in which they are computed. */
#include "planner/time.h"

#include <math.h>

#include "engine/work.h"
#include "simd/kernels.h"

enum { SAMPLES = 16 };

/* One step being timed. */
struct step {
    const struct qm_time_setup *t;
    int64_t sequences, position, n, n_logits;
    double rows;
    bool streaming;
    double read_share; /* of the CPU's read rate that is left */
    struct qm_step_time *out;
    double first_copy[QM_MAX_DEVICES];
};

static double max2(double a, double b) {
    return a > b ? a : b;
}

static double min2(double a, double b) {
    return a < b ? a : b;
}

static const struct qm_device_model *device_of(const struct step *s, int device) {
    return &s->t->speed->device[device - 1];
}

static const struct qm_weight *weight(const struct step *s, int64_t l, enum qm_role role) {
    return qm_model_weight(s->t->model, l, role);
}

/* A product on the CPU: `bytes` of weights, `flops` for each row, divided in `units`. *reading: what bounds it. */
static double cpu_product(const struct step *s, enum qm_kernel_class k, enum qm_dtype type, double bytes, double flops,
                          double rows, double units, bool *reading) {
    const struct qm_machine_model *speed = s->t->speed;
    int threads = s->t->workload.threads;
    double active = min2(units, threads);
    double read = qm_machine_model_read(speed, (int)active) * s->read_share;
    double rate = qm_machine_model_flops(speed, type, (int)active);
    const struct qm_efficiency_curve *e = qm_efficiency_at(&speed->efficiency, k, type);
    rate /= ceil(units / active) * active / units; /* whoever has one panel more */
    *reading = bytes / read >= flops * rows / rate;
    double before = 0, at = 1;
    for (int i = 0; i < e->n; i++) {
        double m = e->rows[i], time = max2(bytes / read, flops * m / rate) / e->efficiency[i];
        if (rows <= m)
            return i ? before + (time - before) * (rows - at) / (m - at)
                     : max2(bytes / read, flops * rows / rate) / e->efficiency[0];
        before = time;
        at = m;
    }
    return max2(bytes / read, flops * rows / rate) / e->efficiency[e->n - 1];
}

/* The same for `count` matrices of a weight, of which each has `rows` rows, on any device. */
static double product(const struct step *s, int device, enum qm_kernel_class k, const struct qm_weight *w, double count,
                      double rows) {
    if (!w || rows <= 0)
        return 0;
    enum qm_dtype type = qm_packed_type(w);
    double bytes = (double)qm_weight_part_bytes(w, 1), flops = 2 * (double)w->n * (double)w->k;
    if (device != QM_DEVICE_CPU) {
        const struct qm_device_model *d = device_of(s, device);
        double rate = (type == QM_F32 || type == QM_F16 ? d->f32 : d->bf16) * d->flops_efficiency;
        return count * max2(bytes / (d->read * d->read_efficiency), flops * rows / rate) + d->launch_us * 1e-6;
    }
    bool reading;
    double unit = qm_role_is_gate_up(w->role) ? 2 * QM_PANEL_ROWS : QM_PANEL_ROWS;
    double time = count * cpu_product(s, k, type, bytes, flops, rows, ceil((double)w->n / unit), &reading);
    *(reading ? &s->out->reading : &s->out->computing) += time;
    return time;
}

static double cpu_regions(const struct step *s, int n) {
    double time = n * (s->t->speed->region_us + (s->rows > QM_PRIVATE_ROWS ? s->t->speed->barrier_us : 0)) * 1e-6;
    s->out->regions += time;
    return time;
}

/* Scores, softmax and values of one layer. */
static double attention_op(const struct step *s, int device, int64_t l) {
    const struct qm_config *c = &s->t->model->config;
    const struct qm_machine_model *speed = s->t->speed;
    enum qm_dtype type = s->t->workload.kv_type;
    double group = (double)(c->heads / c->kv_heads), n = (double)s->n, hd = (double)c->head_dim;
    double block = min2(max2(1, floor(QM_QUERY_ROWS / group)), n), passes = ceil(n / block);
    double keys = qm_work_keys(s->position, s->n, c->layer[l].window) / n + (block - 1) / 2;
    keys += QM_KV_PAGE_TOKENS / 2.0; /* pages are computed whole */
    double key_bytes =
        (double)(qm_kv_key_bytes(type, c->head_dim) + qm_kv_value_bytes(type, c->head_dim)) / QM_KV_PAGE_TOKENS;
    double units = (double)(s->sequences * c->kv_heads) * passes, keys_flops = 4 * hd * keys;
    if (device != QM_DEVICE_CPU) {
        const struct qm_device_model *d = device_of(s, device);
        double rate = (type == QM_BF16 ? d->bf16 : d->f32) * d->attention_efficiency;
        return max2((double)(s->sequences * c->kv_heads) * keys * key_bytes / (d->read * d->read_efficiency),
                    units * keys_flops * block * group / rate) +
               d->launch_us * 1e-6;
    }
    bool reading;
    double tasks = s->rows <= QM_PARTIAL_TOKENS ? units * ceil(keys / QM_ATTENTION_SPLIT) : units;
    enum qm_kernel_class k = c->head_dim < 96 ? QM_KERNEL_ATTENTION_64 : QM_KERNEL_ATTENTION_128;
    double time = cpu_product(s, k, type, units * keys * key_bytes, units * keys_flops, block * group, tasks, &reading);
    double values = (double)((c->heads + 2 * c->kv_heads) * c->head_dim);
    time += ceil(s->rows / s->t->workload.threads) * values * speed->efficiency.value_ns * 1e-9;
    s->out->attention += time;
    return time;
}

/* The router: of many rows every thread multiplies its own with the whole matrix, and chooses. */
static double route(const struct step *s, int device, int64_t l) {
    const struct qm_config *c = &s->t->model->config;
    const struct qm_weight *w = weight(s, l, QM_W_ROUTER);
    if (!w)
        return 0;
    if (device != QM_DEVICE_CPU)
        return product(s, device, QM_KERNEL_DENSE, w, 1, s->rows);
    bool few = s->rows <= QM_PRIVATE_ROWS; /* columns are divided, and one thread chooses */
    double rows = few ? s->rows : ceil(s->rows / s->t->workload.threads);
    int threads = few ? s->t->workload.threads : 1;
    double read = qm_machine_model_read(s->t->speed, threads) * s->read_share;
    double rate = qm_machine_model_flops(s->t->speed, QM_F32, threads);
    double time = max2((double)qm_weight_bytes(w) / read, 2 * (double)(w->n * w->k) * rows / rate) / 0.8;
    time += rows * (double)(c->experts * c->experts_per_token * (c->experts_per_token + 1)) / 2 *
            s->t->speed->efficiency.route_ns * 1e-9;
    s->out->routing += time;
    return time;
}

/* What of a unit is computed: `columns` of the intermediate values of a dense FFN; `experts` experts, of which each has
 * `rows` rows. */
struct part {
    int64_t columns;
    double experts, rows;
};

static double layer_op(const struct step *s, int device, int64_t l, const struct qm_layer_op *op,
                       const struct part *part) {
    if (op->kind == QM_OP_ATTENTION)
        return attention_op(s, device, l);
    if (op->kind == QM_OP_ROUTE)
        return route(s, device, l);
    if (op->kind == QM_OP_ATTENTION_NORM || op->kind == QM_OP_FFN_NORM)
        return 0; /* beside its region */
    const struct qm_weight *w = weight(s, l, op->matrix);
    if (op->kind == QM_OP_MOE_UP || op->kind == QM_OP_MOE_DOWN)
        return product(s, device, QM_KERNEL_EXPERTS, w, part->experts, part->rows);
    struct qm_weight cut;
    if (part->columns < s->t->model->config.ffn && (op->kind == QM_OP_FFN_UP || op->kind == QM_OP_FFN_DOWN)) {
        cut = *w;
        *(op->kind == QM_OP_FFN_UP ? &cut.n : &cut.k) = op->kind == QM_OP_FFN_UP ? 2 * part->columns : part->columns;
        w = &cut;
    }
    return product(s, device, QM_KERNEL_DENSE, w, 1, s->rows);
}

/* The ops of a layer that are this unit's, one after the other; *ops: how many. */
static double unit_ops(const struct step *s, int device, enum qm_unit_kind unit, int64_t l, const struct part *part,
                       int *ops) {
    int n;
    const struct qm_layer_op *op = qm_layer_ops(&s->t->model->config.layer[l], &n);
    double time = 0;
    *ops = 0;
    for (int i = 0; i < n; i++)
        if (qm_unit_of_op(op[i].kind) == unit) {
            time += layer_op(s, device, l, &op[i], part);
            ++*ops;
        }
    return time;
}

/* The same with what entering and leaving costs on the CPU: each op is one region. */
static double unit_time(const struct step *s, int device, enum qm_unit_kind unit, int64_t l, const struct part *part) {
    int ops;
    double time = unit_ops(s, device, unit, l, part, &ops);
    return device == QM_DEVICE_CPU ? time + cpu_regions(s, ops) : time;
}

static double attention_unit(const struct step *s, int device, int64_t l) {
    return unit_time(s, device, QM_UNIT_ATTENTION, l, &(struct part){0});
}

/* `columns` of the intermediate values. */
static double ffn_unit(const struct step *s, int device, int64_t l, int64_t columns) {
    return unit_time(s, device, QM_UNIT_FFN, l, &(struct part){.columns = columns});
}

/* `touched` experts of a layer with so many rows in all. */
static double experts_time(const struct step *s, int device, int64_t l, double touched, double rows) {
    if (touched <= 0)
        return 0;
    return unit_time(s, device, QM_UNIT_EXPERT, l, &(struct part){.experts = touched, .rows = rows / touched});
}

static double head_unit(const struct step *s, int device) {
    if (s->n_logits == 0)
        return 0;
    const struct qm_weight *w = weight(s, -1, QM_W_HEAD);
    double time =
        product(s, device, QM_KERNEL_DENSE, w ? w : weight(s, -1, QM_W_EMBED), 1, (double)(s->sequences * s->n_logits));
    return device == QM_DEVICE_CPU ? time + cpu_regions(s, 1) : time;
}

/* A token's row lies in every line of its panel. */
static double embedding(const struct step *s) {
    const struct qm_weight *w = weight(s, -1, QM_W_EMBED);
    double bytes = w ? s->rows * (double)qm_panel_bytes(qm_packed_type(w), w->k) : 0;
    double time = bytes / (qm_machine_model_read(s->t->speed, s->t->workload.threads) * s->read_share);
    s->out->reading += time;
    return time + cpu_regions(s, 1);
}

/* Expected experts touched and rows of those on a device. */
static void expected(const struct step *s, int64_t l, int device, double *touched, double *rows) {
    const struct qm_time_setup *t = s->t;
    const struct qm_config *c = &t->model->config;
    *touched = *rows = 0;
    if (!t->routing) {
        double n = (double)qm_placement_experts_on(t->placement, l, device);
        double p = (double)c->experts_per_token / (double)c->experts;
        *touched = n * (1 - pow(1 - p, s->rows));
        *rows = n * p * s->rows;
        return;
    }
    for (int64_t e = 0; e < c->experts; e++)
        if (qm_placement_expert(t->placement, l, e) == device) {
            double p = qm_routing_share(t->routing, c, l, e);
            *touched += 1 - pow(1 - p, s->rows);
            *rows += p * s->rows;
        }
}

/* The residual of the step's rows from one device to another; through the CPU's memory between two devices. */
static double transfer_seconds(const struct step *s, int from, int to, double rows, bool busy) {
    double bytes = rows * (double)s->t->model->config.hidden * 4, time = 0;
    if (from == to)
        return 0;
    if (from != QM_DEVICE_CPU) {
        const struct qm_device_model *d = device_of(s, from);
        time += bytes / (busy ? d->down_busy : d->down) + d->transfer_us * 1e-6;
    }
    if (to != QM_DEVICE_CPU) {
        const struct qm_device_model *d = device_of(s, to);
        time += bytes / (busy ? d->up_busy : d->up) + d->transfer_us * 1e-6;
    }
    return time;
}

static void move(struct step *s, int *where, int to) {
    double time = transfer_seconds(s, *where, to, s->rows, false);
    s->out->transfer += time;
    s->out->seconds += time;
    *where = to;
}

static void spend(struct step *s, int device, double time) {
    s->out->seconds += time;
    if (device == QM_DEVICE_CPU)
        s->out->cpu_busy += time;
    else {
        s->out->device += time;
        s->out->device_busy[device] += time;
    }
}

/* Bytes that go up to a device beside the path. */
static void stream(struct step *s, int device, double bytes) {
    double time = bytes / device_of(s, device)->up_busy;
    if (s->out->link_busy[device] <= 0)
        s->first_copy[device] = time;
    s->out->link_busy[device] += time;
}

static void walk_attention(struct step *s, int64_t l, int *where) {
    const struct qm_layer_placement *at = &s->t->placement->layer[l];
    const struct qm_model *m = s->t->model;
    int device = at->attention;
    if (s->streaming && at->stream_attention) {
        const struct qm_config *c = &m->config;
        device = at->stream_attention;
        double held = (double)s->position, window = (double)c->layer[l].window;
        double token = (double)(qm_kv_key_bytes(s->t->workload.kv_type, c->head_dim) +
                                qm_kv_value_bytes(s->t->workload.kv_type, c->head_dim)) *
                       (double)c->kv_heads / QM_KV_PAGE_TOKENS;
        stream(s, device,
               (double)qm_unit_weight_bytes(m, QM_UNIT_ATTENTION, l, 0) +
                   (double)s->sequences * token * (window > 0 ? min2(window, held) : held));
    }
    move(s, where, device);
    spend(s, device, attention_unit(s, device, l));
}

/* Devices that work on a layer at once, `busy` seconds each, on the residual that stays where it is; `reach`: the share
 * of the steps in which it crosses. before: the step without them; what the CPU's part is made of counts where it is
 * the longest. */
static void at_once(struct step *s, int where, const double busy[QM_MAX_DEVICES], double reach,
                    const struct qm_step_time *before) {
    double longest = 0, transferred = 0;
    int last = where;
    for (int d = 0; d < s->t->placement->devices; d++) {
        if (busy[d] <= 0)
            continue;
        double there = transfer_seconds(s, where, d, s->rows, true),
               back = transfer_seconds(s, d, where, s->rows, true);
        double time = busy[d] + reach * (there + back);
        if (d == QM_DEVICE_CPU)
            s->out->cpu_busy += busy[d];
        else
            s->out->device_busy[d] += busy[d];
        if (time > longest) {
            longest = time;
            transferred = time - busy[d];
            last = d;
        }
    }
    s->out->seconds += longest;
    s->out->transfer += transferred;
    if (last == QM_DEVICE_CPU)
        return;
    s->out->device += longest - transferred;
    s->out->reading = before->reading;
    s->out->computing = before->computing;
    s->out->regions = before->regions;
}

static void walk_ffn(struct step *s, int64_t l, int *where) {
    const struct qm_placement *p = s->t->placement;
    const struct qm_layer_placement *at = &p->layer[l];
    int64_t here = qm_placement_columns_on(p, s->t->model, l, QM_DEVICE_CPU), there = s->t->model->config.ffn - here;
    int runs_here = QM_DEVICE_CPU;
    if (here && s->streaming && at->stream_ffn) {
        runs_here = at->stream_ffn;
        stream(s, runs_here, (double)qm_unit_ffn_bytes(s->t->model, l, here, true));
    }
    if (here && there) {
        double busy[QM_MAX_DEVICES] = {0};
        const struct qm_step_time before = *s->out;
        busy[runs_here] = ffn_unit(s, runs_here, l, here);
        busy[at->ffn] += ffn_unit(s, at->ffn, l, there);
        at_once(s, *where, busy, 1, &before);
        return;
    }
    int device = here ? runs_here : at->ffn;
    move(s, where, device);
    spend(s, device, ffn_unit(s, device, l, here + there));
}

/* Every device its experts at once. */
static void walk_experts(struct step *s, int64_t l, int where) {
    const struct qm_time_setup *t = s->t;
    const struct qm_config *c = &t->model->config;
    const struct qm_layer_placement *at = &t->placement->layer[l];
    double busy[QM_MAX_DEVICES] = {0};
    const struct qm_step_time before = *s->out;
    for (int d = 0; d < t->placement->devices; d++) {
        double touched, rows;
        int runs_on = d == QM_DEVICE_CPU && s->streaming && at->stream_ffn ? at->stream_ffn : d;
        expected(s, l, d, &touched, &rows);
        if (touched <= 0)
            continue;
        if (runs_on != d) {
            double all =
                (double)qm_unit_weight_bytes(t->model, QM_UNIT_EXPERT, l, qm_placement_experts_on(t->placement, l, d));
            stream(s, runs_on, all);
        }
        busy[runs_on] += experts_time(s, runs_on, l, touched, rows);
    }
    at_once(s, where, busy, min2(1, s->rows * (double)c->experts_per_token), &before);
}

static void walk_unit(struct step *s, enum qm_unit_kind unit, int64_t l, int *where) {
    if (unit == QM_UNIT_ATTENTION)
        walk_attention(s, l, where);
    else if (unit == QM_UNIT_EXPERT)
        walk_experts(s, l, *where);
    else
        walk_ffn(s, l, where);
}

/* Unit by unit, in the order of the layer's ops. */
static void walk_layer(struct step *s, int64_t l, int *where) {
    int n;
    const struct qm_layer_op *op = qm_layer_ops(&s->t->model->config.layer[l], &n);
    for (int i = 0; i < n; i++)
        if (i == 0 || qm_unit_of_op(op[i].kind) != qm_unit_of_op(op[i - 1].kind))
            walk_unit(s, qm_unit_of_op(op[i].kind), l, where);
}

static void walk(struct step *s) {
    const struct qm_time_setup *t = s->t;
    const struct qm_config *c = &t->model->config;
    int where = QM_DEVICE_CPU;
    spend(s, QM_DEVICE_CPU, embedding(s));
    for (int64_t l = 0; l < c->layers; l++)
        walk_layer(s, l, &where);
    if (s->n_logits) {
        move(s, &where, t->placement->head);
        spend(s, where, head_unit(s, where));
        if (where != QM_DEVICE_CPU) {
            double bytes = (double)(s->sequences * s->n_logits * c->vocab) * 4;
            double time = bytes / device_of(s, where)->down + device_of(s, where)->transfer_us * 1e-6;
            s->out->seconds += time;
            s->out->transfer += time;
        }
    } else {
        move(s, &where, QM_DEVICE_CPU);
    }
}

static struct step begin(const struct qm_time_setup *t, int64_t sequences, int64_t position, int64_t n,
                         int64_t n_logits, struct qm_step_time *out) {
    return (struct step){.t = t,
                         .sequences = sequences,
                         .position = position,
                         .n = n,
                         .n_logits = n_logits,
                         .rows = (double)(sequences * n),
                         .read_share = 1,
                         .out = out};
}

static bool streams(const struct qm_placement *p, double rows) {
    return p->stream_rows > 0 && rows >= (double)p->stream_rows;
}

/* What is left of the CPU's read rate while links carry weights. */
static double left_while_streaming(const struct qm_time_setup *t) {
    double left = 1;
    bool busy[QM_MAX_DEVICES] = {0};
    for (int64_t l = 0; l < t->placement->layers; l++) {
        busy[t->placement->layer[l].stream_attention] = true;
        busy[t->placement->layer[l].stream_ffn] = true;
    }
    for (int d = 1; d < t->placement->devices; d++)
        left *= busy[d] ? t->speed->device[d - 1].cpu_read_busy : 1;
    return left;
}

void qm_time_step(const struct qm_time_setup *t, int64_t sequences, int64_t position, int64_t n, int64_t n_logits,
                  struct qm_step_time *out) {
    *out = (struct qm_step_time){0};
    struct step s = begin(t, sequences, position, n, n_logits, out);
    s.streaming = streams(t->placement, s.rows);
    if (s.streaming)
        s.read_share = left_while_streaming(t);
    walk(&s);
    double path = out->seconds, link = 0, first = 0;
    for (int d = 1; d < t->placement->devices; d++) {
        link = max2(link, out->link_busy[d]);
        first = max2(first, s.first_copy[d]);
    }
    if (link > 0)
        out->seconds = max2(path, link) + min2(first, link);
    out->link = out->seconds - path;
}

void qm_time_add(struct qm_step_time *sum, const struct qm_step_time *one, double times) {
    double *to[] = {&sum->seconds, &sum->reading,  &sum->computing, &sum->attention, &sum->regions,
                    &sum->routing, &sum->transfer, &sum->device,    &sum->link,      &sum->cpu_busy};
    const double from[] = {one->seconds, one->reading,  one->computing, one->attention, one->regions,
                           one->routing, one->transfer, one->device,    one->link,      one->cpu_busy};
    for (size_t i = 0; i < sizeof from / sizeof *from; i++)
        *to[i] += times * from[i];
    for (int d = 0; d < QM_MAX_DEVICES; d++) {
        sum->device_busy[d] += times * one->device_busy[d];
        sum->link_busy[d] += times * one->link_busy[d];
    }
}

double qm_time_unit(const struct qm_time_setup *t, enum qm_unit_kind k, int64_t l, int device, double p,
                    int64_t sequences, int64_t position, int64_t n, int64_t n_logits) {
    struct qm_step_time parts = {0};
    struct step s = begin(t, sequences, position, n, n_logits, &parts);
    switch (k) {
    case QM_UNIT_ATTENTION: return attention_unit(&s, device, l);
    case QM_UNIT_FFN: return ffn_unit(&s, device, l, t->model->config.ffn);
    case QM_UNIT_EXPERT: {
        double touched = 1 - pow(1 - p, s.rows), rows = p * s.rows;
        if (touched <= 0)
            return 0;
        int ops;
        return unit_ops(&s, device, k, l, &(struct part){.experts = touched, .rows = rows / touched}, &ops);
    }
    case QM_UNIT_HEAD: return head_unit(&s, device);
    default: return 0;
    }
}

/* Where steps are many, some in between stand for all: their time grows evenly with the position. */
static void prefill(const struct qm_time_setup *t, const struct qm_scenario *j, struct qm_step_time *sum) {
    int64_t chunk = t->workload.chunk, together = chunk / (j->prompt > 0 ? j->prompt : 1);
    together = together < 1 ? 1 : together > j->sequences ? j->sequences : together;
    double times = (double)j->sequences / (double)together;
    int64_t whole = j->prompt > chunk ? (j->prompt - 1) / chunk : 0; /* chunks before the last */
    int64_t samples = whole < SAMPLES ? whole : SAMPLES;
    struct qm_step_time one;
    for (int64_t i = 0; i < samples; i++) {
        double at = ((double)i + 0.5) * (double)whole / (double)samples - 0.5;
        qm_time_step(t, together, j->depth + (int64_t)(at * (double)chunk), chunk, 0, &one);
        qm_time_add(sum, &one, times * (double)whole / (double)samples);
    }
    if (j->prompt) {
        qm_time_step(t, together, j->depth + whole * chunk, j->prompt - whole * chunk, 1, &one);
        qm_time_add(sum, &one, times);
    }
}

/* Steps of one token each. */
static void decode(const struct qm_time_setup *t, const struct qm_scenario *j, struct qm_step_time *sum) {
    int64_t samples = j->generate < SAMPLES ? j->generate : SAMPLES;
    for (int64_t i = 0; i < samples; i++) {
        double at = ((double)i + 0.5) * (double)j->generate / (double)samples - 0.5;
        struct qm_step_time one;
        qm_time_step(t, j->sequences, j->depth + j->prompt + (int64_t)at, 1, 1, &one);
        qm_time_add(sum, &one, (double)j->generate / (double)samples);
    }
}

static double joules(const struct qm_machine_model *s, const struct qm_step_time *a, const struct qm_step_time *b) {
    double seconds = a->seconds + b->seconds, sum = s->watts > 0 ? 0 : NAN;
    double busy = a->cpu_busy + b->cpu_busy;
    sum += s->watts * busy + s->idle_watts * (seconds - busy);
    for (int d = 0; d < s->devices; d++) {
        busy = a->device_busy[d + 1] + b->device_busy[d + 1];
        sum += s->device[d].watts > 0 ? s->device[d].watts * busy + s->device[d].idle_watts * (seconds - busy) : NAN;
    }
    return sum;
}

void qm_time_scenario(const struct qm_time_setup *t, const struct qm_scenario *scenario, struct qm_scenario_time *out) {
    *out = (struct qm_scenario_time){0};
    prefill(t, scenario, &out->prefill);
    decode(t, scenario, &out->decode);
    double sequences = (double)scenario->sequences;
    if (out->prefill.seconds > 0)
        out->prefill_tps = sequences * (double)scenario->prompt / out->prefill.seconds;
    if (out->decode.seconds > 0)
        out->decode_tps = sequences * (double)scenario->generate / out->decode.seconds;
    out->joules = joules(t->speed, &out->prefill, &out->decode);
}
