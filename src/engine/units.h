/* The units of a model that can be on one device or another, and their bytes as packed. Where in the flow: beside
 * memory.h, whose counts these add up to; below placement.h, which says where each unit is.
 *
 * Units are: the embedding; of each layer its attention (norm, q, k, v and output products, keys and values; in a
 * layer of experts also the second norm, the router and the shared experts, which run where the residual is), and its
 * dense FFN (second norm, up and down) or each routed expert; and the head (final norm and matrix). Pure functions. */
#ifndef QM_ENGINE_UNITS_H
#define QM_ENGINE_UNITS_H

#include <stdint.h>

#include "engine/forward.h"
#include "engine/memory.h"

enum qm_unit_kind { QM_UNIT_EMBED, QM_UNIT_ATTENTION, QM_UNIT_FFN, QM_UNIT_EXPERT, QM_UNIT_HEAD, QM_UNIT_KINDS };

/* The unit that an op is computed with: it is where the unit is. */
enum qm_unit_kind qm_unit_of_op(enum qm_op_kind k);
/* The unit that a weight belongs to. A tied head's matrix is the embedding's. */
enum qm_unit_kind qm_unit_of(const struct qm_model *m, const struct qm_weight *w);

/* Bytes of weights of one unit of layer l (-1 for EMBED and HEAD); of EXPERT, of `experts` of the layer's experts
 * together (0 bytes of none). A unit that the layer does not have has none. HEAD of a tied model is its norm alone:
 * a device other than the embedding's needs qm_unit_tied_bytes more. */
uint64_t qm_unit_weight_bytes(const struct qm_model *m, enum qm_unit_kind k, int64_t l, int64_t experts);
uint64_t qm_unit_tied_bytes(const struct qm_model *m);
/* Bytes of so many columns of a dense layer's FFN, packed by themselves: the norm, their rows of gate and up, their
 * part of the down product, and, with_bias, its bias. All columns: those of the unit. 0 columns: 0. */
uint64_t qm_unit_ffn_bytes(const struct qm_model *m, int64_t l, int64_t columns, bool with_bias);
/* Makes *w, a weight of a dense FFN, what of it such columns take; false where that is nothing. */
bool qm_unit_ffn_part(struct qm_weight *w, int64_t columns, bool with_bias);
/* Whether the columns of layer l's dense FFN can be on several devices: not where the sum of all is normed. */
bool qm_unit_ffn_divides(const struct qm_model *m, int64_t l);
/* Bytes of layer l's keys and values, of all sequences, as the engine keeps them. */
uint64_t qm_unit_kv_bytes(const struct qm_model *m, const struct qm_workload *w, int64_t l);

#endif
