/* A plan as a file: a placement with the model it is of and the names of devices, to be saved, edited, compared and
 * read again. JSON, one layer a line:
 *
 *   {"version": 1,
 *    "model": {"model_type": "qwen3_moe", "layers": 48, "hidden": 2048, "experts": 128, "parameters": 30532122624},
 *    "head": "card", "stream_rows": 512,
 *    "layer": [
 *     {"attention": "card", "experts": {"card": "0-95,100"}},
 *     {"attention": "card", "stream": {"experts": "card"}},
 *     {"attention": "card", "ffn": {"cpu": 4096, "card": 24576}},
 *     {"attention": "cpu", "ffn": "cpu", "stream": {"attention": "card", "ffn": "card"}}]}
 *
 * Experts that are not listed, and what a layer does not name, are on the CPU ("cpu"). For an FFN on the CPU and a
 * device the numbers are intermediate columns: together all of them, the CPU's a multiple of 32. */
#ifndef QM_ENGINE_PLAN_FILE_H
#define QM_ENGINE_PLAN_FILE_H

#include <stddef.h>

#include "base/error.h"
#include "engine/placement.h"
#include "model/model.h"

/* names: [devices], the first is "cpu". Allocated text with a newline at its end. */
int qm_plan_write(const struct qm_placement *p, const struct qm_model *m, const char *const *names, char **out,
                  struct qm_error *err);

/* Untrusted: a plan of another model, layers, experts or devices that are not there, fields left over, anything placed
 * twice are QM_INPUT, with the place. Whether it fits is the caller's question. */
int qm_plan_parse(const char *text, size_t len, const char *name, const struct qm_model *m, const char *const *names,
                  int devices, struct qm_placement *out, struct qm_error *err);

#endif
