/* plan --table: what fits, models by contexts, on one machine or for sizes of memory and of a card. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/out.h"
#include "app/plan/plan.h"
#include "app/remedy.h"
#include "base/path.h"
#include "base/size.h"

enum { CONTEXTS = 4 };
static const int64_t contexts[CONTEXTS] = {4096, 16384, 65536, 131072};

/* One cell: tokens/s written at half of the context, and what is left on the CPU; or what is short. */
static json_t *make_cell(const struct qm_plan_ask *base, const struct qm_model *m, const char *name, int64_t context) {
    struct qm_plan_ask ask = *base;
    struct qm_plan_answer a;
    struct qm_error err = {0};
    ask.context = context;
    ask.scenario = (struct qm_scenario){
        .sequences = base->scenario.sequences, .depth = context / 2, .prompt = 512, .generate = 32};
    if (context > m->config.max_positions)
        return json_pack("{s:I, s:b, s:s}", "context", (json_int_t)context, "fits", 0, "why",
                         "more than the model's maximum");
    int rc = qm_plan_answer(&ask, m, name, &a, &err);
    qm_remedy_add(&err);
    json_t *cell = rc ? json_pack("{s:I, s:b, s:s}", "context", (json_int_t)context, "fits", 0, "why", err.message)
                      : json_pack("{s:I, s:b, s:f, s:f, s:I}", "context", (json_int_t)context, "fits", 1, "prefill_tps",
                                  a.prompt.prefill_tps, "decode_tps", a.generate.decode_tps, "left",
                                  (json_int_t)(a.available[QM_DEVICE_CPU] - a.memory[QM_DEVICE_CPU].total));
    qm_plan_answer_free(&a);
    return cell;
}

json_t *qm_plan_table_row(const struct qm_plan_ask *ask, const struct qm_model *m, const char *name) {
    json_t *cells = json_array();
    for (int i = 0; i < CONTEXTS; i++)
        json_array_append_new(cells, make_cell(ask, m, name, contexts[i]));
    return json_pack("{s:s, s:o, s:o}", "model", qm_path_last(name), "memory",
                     json_integer((json_int_t)(ask->ram ? ask->ram : ask->speed->memory)), "contexts", cells);
}

static int print_cell(const json_t *cell, struct qm_error *err) {
    char text[32];
    if (!json_is_true(json_object_get(cell, "fits")))
        return qm_out_printf(err, " %13s",
                             strncmp(json_string_value(json_object_get(cell, "why")), "more than", 9) ? "no" : "-");
    double tps = json_number_value(json_object_get(cell, "decode_tps"));
    snprintf(text, sizeof text, tps < 100 ? "%.1f/s" : "%.0f/s", tps);
    uint64_t left = (uint64_t)json_integer_value(json_object_get(cell, "left"));
    return qm_out_printf(err, " %7s %4.0fG", text, qm_gib(left));
}

int qm_plan_table_print(const json_t *rows, const struct qm_machine_model *speed, struct qm_error *err) {
    size_t i, c;
    const json_t *row, *cell;
    int rc = qm_out_printf(err, "%-22s %8s", "tokens/s, RAM left", "RAM");
    for (int k = 0; k < CONTEXTS && !rc; k++) {
        char head[32];
        snprintf(head, sizeof head, "%lldk", (long long)contexts[k] / 1024);
        rc = qm_out_printf(err, " %13s", head);
    }
    if (!rc)
        rc = qm_out_text("\n", err);
    json_array_foreach(rows, i, row) {
        if (!rc)
            rc = qm_out_printf(err, "%-22.22s %7.0fG", json_string_value(json_object_get(row, "model")),
                               qm_gib((uint64_t)json_integer_value(json_object_get(row, "memory"))));
        json_array_foreach(json_object_get(row, "contexts"), c, cell) {
            if (!rc)
                rc = print_cell(cell, err);
        }
        if (!rc)
            rc = qm_out_text("\n", err);
    }
    char basis[1000], text[1200];
    qm_plan_basis(speed, basis, sizeof basis);
    snprintf(text, sizeof text,
             "decode of all sequences at half the context, by %s rates and %s. no: does not fit; -: beyond the model's "
             "maximum (--rope-scaling raises it)",
             qm_mark_name(speed->read_mark), basis);
    if (!rc)
        rc = qm_out_text("\n", err);
    return rc ? rc : qm_out_wrapped("", text, 0, err);
}
