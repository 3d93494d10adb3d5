/* What an emulated device holds: its budget, weights that are placed or streamed (the CPU's panels, borrowed), pages of
 * keys and values. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/units.h"
#include "offload/emulated/emulated_private.h"

enum { WEIGHTS_AN_OP = 6 };

static void weights_of(const struct qm_op *op, int32_t index[WEIGHTS_AN_OP]) {
    const int32_t all[WEIGHTS_AN_OP] = {op->norm, op->matrix, op->bias, op->q_norm, op->k_norm, op->sinks};
    memcpy(index, all, sizeof all);
}

static bool of_experts(const struct qm_op *op) {
    return op->kind == QM_OP_MOE_UP || op->kind == QM_OP_MOE_DOWN;
}

/* A part without column 0 does without the bias of the down product. */
static bool is_needed(const struct qm_op *op, const struct qm_op_part *part, int32_t index) {
    return index >= 0 && !(index == op->bias && op->kind == QM_OP_FFN_DOWN && part->column > 0);
}

/* What of a weight the op's part takes. */
static struct qm_weight_part part_of(const struct qm_emulated *e, const struct qm_op *op, const struct qm_op_part *part,
                                     int32_t index) {
    struct qm_weight_part p = {.experts = e->model->weights[index].experts, .weight = e->model->weights[index]};
    for (int64_t x = 0; part->expert_on && x < e->model->weights[index].experts; x++)
        p.experts -= part->expert_on[x] != part->number;
    if (part->columns && (index == op->matrix || index == op->bias)) {
        p.panel = op->kind == QM_OP_FFN_UP ? 2 * part->column / QM_PANEL_ROWS : 0;
        p.k = op->kind == QM_OP_FFN_DOWN && index == op->matrix ? part->column : 0;
        qm_unit_ffn_part(&p.weight, part->columns, true);
    }
    return p;
}

/* Pages of a state, from its memory. */
static int keep(struct qm_emulated *e, const struct qm_op *op, struct qm_error *err) {
    uint64_t bytes = qm_kv_state_bytes(e->kv, op->state);
    if (e->kept[op->state])
        return QM_OK;
    if (bytes > e->memory.kv - e->kv_used)
        return qm_fail(err, QM_FIT, "%s: the keys and values of layer %d are more than the memory taken for them",
                       e->config.name, op->layer);
    qm_kv_mirror_put(&e->mirror, op->state, (uint8_t *)e->pages.data + e->kv_used);
    e->kv_used += bytes;
    e->kept[op->state] = true;
    return QM_OK;
}

/* Where the experts of a layer lie among those that are there; NULL: all are. */
static const int32_t *slots_of(struct qm_emulated *e, const struct qm_op *op, const struct qm_op_part *part) {
    int64_t experts = e->model->config.experts;
    if (!of_experts(op) || !part->expert_on)
        return NULL;
    int32_t *slot = e->slots + op->layer * experts;
    for (int64_t x = 0, n = 0; x < experts; x++)
        slot[x] = part->expert_on[x] == part->number ? (int32_t)n++ : -1;
    return slot;
}

int qm_emulated_place(struct qm_device *d, const struct qm_op *op, const struct qm_op_part *part,
                      struct qm_error *err) {
    struct qm_emulated *e = (struct qm_emulated *)d;
    int32_t index[WEIGHTS_AN_OP];
    weights_of(op, index);
    for (int i = 0; i < WEIGHTS_AN_OP; i++) {
        if (!is_needed(op, part, index[i]) || e->placed[index[i]])
            continue;
        struct qm_weight_part p = part_of(e, op, part, index[i]);
        struct qm_packed_weight *to = &e->own[index[i]];
        uint64_t bytes = qm_weight_part_bytes(&p.weight, p.experts);
        if (bytes > e->memory.weights - e->weights_used)
            return qm_fail(err, QM_FIT, "%s: %s of layer %d is more than the memory taken for weights", e->config.name,
                           qm_op_name(op->kind), op->layer);
        uint8_t *at = (uint8_t *)e->panels.data + e->weights_used;
        e->weights_used += bytes;
        qm_panels_describe(&e->model->weights[index[i]], &p, slots_of(e, op, part), &e->ranges[index[i]], to);
        to->ranges[0] = (struct qm_packed_range){.first = to->first,
                                                 .end = to->first + to->held,
                                                 .expert_stride = (uint64_t)to->held * to->panel_stride,
                                                 .data = at};
        if (to->vector)
            to->values = (float *)(void *)at;
        e->placed[index[i]] = true;
    }
    return op->kind == QM_OP_ATTENTION ? keep(e, op, err) : QM_OK;
}

int qm_emulated_put(struct qm_device *d, int32_t weight, int64_t expert, int64_t first, int64_t panels,
                    const void *bytes, struct qm_error *err) {
    struct qm_emulated *e = (struct qm_emulated *)d;
    const struct qm_packed_weight *to = &e->own[weight];
    (void)err;
    assert(e->placed[weight] && first + panels <= to->first + to->held);
    if (to->vector)
        memcpy((float *)qm_packed_vector(to, expert), bytes, (size_t)to->held * sizeof(float));
    else
        memcpy((uint8_t *)qm_packed_panel(to, expert, first), bytes, (size_t)panels * to->panel_stride);
    return QM_OK;
}

/* --- streamed weights and pages ----------------------------------------------------------------------------- */

static bool same_part(const struct qm_op_part *a, const struct qm_op_part *b) {
    return a->expert_on == b->expert_on && a->number == b->number && a->column == b->column && a->columns == b->columns;
}

int qm_emulated_find_place(const struct qm_emulated *e, const struct qm_op *op, const struct qm_op_part *part) {
    for (int place = 0; place < 2; place++)
        if (e->place[place].op == op && same_part(&e->place[place].part, part))
            return place;
    return -1;
}

bool qm_emulated_has(const struct qm_emulated *e, const struct qm_op *op, const struct qm_op_part *part, int place) {
    int32_t index[WEIGHTS_AN_OP];
    weights_of(op, index);
    for (int i = 0; i < WEIGHTS_AN_OP && place < 0; i++)
        if (is_needed(op, part, index[i]) && !e->placed[index[i]])
            return false;
    return op->kind != QM_OP_ATTENTION || place >= 0 || e->kept[op->state];
}

void qm_emulated_aim(struct qm_emulated *e, const struct qm_op *op, int place) {
    int32_t index[WEIGHTS_AN_OP];
    weights_of(op, index);
    for (int i = 0; i < WEIGHTS_AN_OP; i++)
        if (index[i] >= 0)
            e->weights[index[i]] = place < 0 ? e->own[index[i]] : e->borrowed[index[i]];
}

/* Copies the pages of positions [from(part), position + n) of each part, to the device or back. */
static void copy_pages(const struct qm_emulated *e, const struct qm_op *op, bool back) {
    for (int i = 0; i < e->batch.n_sequences; i++) {
        const struct qm_batch_sequence *part = &e->batch.sequences[i];
        int64_t seen = op->window && part->position + 1 > op->window ? part->position + 1 - op->window : 0;
        int64_t first = (back ? part->position : seen) / QM_KV_PAGE_TOKENS * QM_KV_PAGE_TOKENS;
        for (int64_t at = first; at < part->position + part->n; at += QM_KV_PAGE_TOKENS)
            for (int64_t h = 0; h < e->kv->kv_heads; h++) {
                uint8_t *here = qm_kv_page(&e->mirror, part->tables, op->state, h, at);
                uint8_t *there = qm_kv_page(e->kv, part->tables, op->state, h, at);
                memcpy(back ? there : here, back ? here : there, e->kv->page_bytes);
            }
    }
}

void qm_emulated_fill_place(struct qm_emulated *e, int place, const struct qm_op *op, const struct qm_op_part *part) {
    e->place[place].op = op;
    e->place[place].part = *part;
    if (op->kind != QM_OP_ATTENTION)
        return;
    qm_kv_mirror_put(&e->mirror, op->state,
                     (uint8_t *)e->pages.data + e->memory.kv + (uint64_t)place * (e->memory.workspace / 2));
    copy_pages(e, op, false);
}

void qm_emulated_empty_place(struct qm_emulated *e, int place) {
    if (place < 0)
        return;
    const struct qm_op *op = e->place[place].op;
    if (op->kind == QM_OP_ATTENTION)
        copy_pages(e, op, true);
    e->place[place].op = NULL;
}

/* --- pages between steps ------------------------------------------------------------------------------------ */

/* What was begun then took so many seconds instead. */
static void took(struct qm_emulated *e, double begin, double seconds) {
    e->clock->ahead += seconds - (qm_now() - begin);
}

/* The next page of a state that is kept here: *state goes on from -1; NULL: no more. */
static uint8_t *next_page(const struct qm_emulated *e, int *state, int64_t *head, const int32_t *pages) {
    if (*state >= 0 && ++*head < e->kv->kv_heads)
        return qm_kv_at(&e->mirror, *state, *head, pages[e->kv->group_of[*state]]);
    *head = 0;
    while (++*state < e->kv->n_states)
        if (e->kept[*state] && pages[e->kv->group_of[*state]] >= 0)
            return qm_kv_at(&e->mirror, *state, 0, pages[e->kv->group_of[*state]]);
    return NULL;
}

static size_t page_offset(const struct qm_emulated *e, int state, int64_t head) {
    return (size_t)(state * e->kv->kv_heads + head) * e->kv->page_bytes;
}

double qm_emulated_copy_page(struct qm_emulated *e, int group, int64_t from, int64_t to) {
    double bytes = 0;
    for (int s = 0; s < e->kv->n_states; s++)
        for (int64_t h = 0; e->kept[s] && e->kv->group_of[s] == group && h < e->kv->kv_heads; h++) {
            if (from < 0)
                memset(qm_kv_at(&e->mirror, s, h, to), 0, e->kv->page_bytes);
            else
                memcpy(qm_kv_at(&e->mirror, s, h, to), qm_kv_at(&e->mirror, s, h, from), e->kv->page_bytes);
            bytes += 2 * (double)e->kv->page_bytes;
        }
    return bytes / e->config.read;
}

void qm_emulated_write_block(struct qm_emulated *e, const int32_t *pages, const void *bytes) {
    double begin = qm_now(), crossed = 0;
    int64_t head = 0;
    uint8_t *page;
    for (int s = -1; (page = next_page(e, &s, &head, pages)); crossed += (double)e->kv->page_bytes)
        memcpy(page, (const uint8_t *)bytes + page_offset(e, s, head), e->kv->page_bytes);
    took(e, begin, crossed / e->config.up);
}

void qm_emulated_read_block(struct qm_emulated *e, const int32_t *pages, void *bytes) {
    double begin = qm_now(), crossed = 0;
    int64_t head = 0;
    const uint8_t *page;
    for (int s = -1; (page = next_page(e, &s, &head, pages)); crossed += (double)e->kv->page_bytes) {
        uint8_t *to = (uint8_t *)bytes + page_offset(e, s, head);
        if (e->report.failed)
            memset(to, 0xFF, e->kv->page_bytes);
        else
            memcpy(to, page, e->kv->page_bytes);
    }
    took(e, begin, crossed / e->config.down);
}

/* --- opening ------------------------------------------------------------------------------------------------ */

/* Reserved huge pages are taken at once: a limit on them shows here, not when they are written. */
static int take(uint64_t bytes, const char *what, struct qm_memory *out, struct qm_error *err) {
    const struct qm_binding anywhere = {.node = -1};
    int rc = bytes ? qm_memory_alloc_on(bytes, anywhere, what, out, err) : QM_OK;
    return !rc && bytes && !qm_memory_take(out, 0, bytes) ? qm_memory_use_small(out, anywhere, err) : rc;
}

int qm_emulated_take_memory(struct qm_emulated *e, const struct qm_device_load *load, struct qm_error *err) {
    struct qm_scratch_layout scratch;
    size_t n_weights = (size_t)load->model->n_weights, n_states = (size_t)load->kv->n_states;
    qm_scratch_plan(load->model, &load->workload, &scratch);
    e->ld_hidden = scratch.ld_hidden;
    e->borrowed = load->weights;
    e->step_sequences = calloc((size_t)load->workload.chunk, sizeof *e->step_sequences);
    e->logit_out = calloc((size_t)load->workload.chunk, sizeof *e->logit_out);
    e->weights = calloc(n_weights, sizeof *e->weights);
    e->own = calloc(n_weights, sizeof *e->own);
    e->ranges = calloc(n_weights, sizeof *e->ranges);
    e->slots = calloc((size_t)(load->model->config.layers * load->model->config.experts) + 1, sizeof *e->slots);
    e->placed = calloc(n_weights, sizeof *e->placed);
    e->kept = calloc(n_states, sizeof *e->kept);
    if (!e->weights || !e->own || !e->ranges || !e->slots || !e->placed || !e->kept || !e->step_sequences ||
        !e->logit_out)
        return qm_fail_memory(err, n_weights * sizeof *e->weights, "an emulated device's weights");
    int rc = take(e->memory.weights, "an emulated device's weights", &e->panels, err);
    if (!rc)
        rc = qm_kv_mirror_open(load->kv, &e->mirror, err);
    if (!rc)
        rc = take(e->memory.kv + e->memory.workspace, "an emulated device's pages", &e->pages, err);
    uint64_t sum = (uint64_t)(load->workload.chunk * e->ld_hidden) * sizeof *e->sum;
    if (!rc)
        rc = take(sum + load->logits, "an emulated device's sum and logits", &e->sums, err);
    if (!rc)
        rc = qm_cpu_open_beside(load->cpu, e->weights, &e->mirror, &e->cpu, err);
    e->sum = e->sums.data;
    e->logits = e->sums.data ? e->sum + load->workload.chunk * e->ld_hidden : NULL;
    return rc;
}

void qm_emulated_free_memory(struct qm_emulated *e) {
    qm_cpu_close(e->cpu);
    qm_memory_free(&e->sums);
    qm_memory_free(&e->pages);
    qm_kv_mirror_close(&e->mirror);
    free(e->step_sequences);
    free(e->logit_out);
    qm_memory_free(&e->panels);
    free(e->weights);
    free(e->own);
    free(e->ranges);
    free(e->slots);
    free(e->placed);
    free(e->kept);
}
