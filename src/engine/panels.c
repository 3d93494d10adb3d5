/* A weight's part as panels, from its description in the model. */
#include "engine/panels.h"

#include "engine/placement.h"

int64_t qm_panels_of(const struct qm_weight *w) {
    return w->vector ? 0 : (w->n + QM_PANEL_ROWS - 1) / QM_PANEL_ROWS;
}

void qm_panels_describe(const struct qm_weight *w, const struct qm_weight_part *part, const int32_t *slot,
                        struct qm_packed_range *ranges, struct qm_packed_weight *to) {
    *to = (struct qm_packed_weight){.type = qm_packed_type(w),
                                    .vector = w->vector,
                                    .experts = w->experts,
                                    .n = w->n,
                                    .k = w->k,
                                    .panels = qm_panels_of(w),
                                    .first = part->panel,
                                    .held = w->vector ? part->weight.n : qm_panels_of(&part->weight),
                                    .first_k = part->k,
                                    .held_k = part->weight.k,
                                    .slot = slot,
                                    .unit = qm_role_is_gate_up(w->role) ? 2 : 1,
                                    .ranges = ranges};
    to->held = part->experts ? to->held : 0;
    to->panel_stride = w->vector ? 0 : qm_plan_panel_bytes(to->type, to->held_k);
}
