/* From a config and an architecture's table of sources to the list of weights, and, where files are open, to the
 * runs of published rows that make each of them. Called by model.c only. */
#ifndef QM_MODEL_WEIGHTS_H
#define QM_MODEL_WEIGHTS_H

#include "model/arch/arch.h"

/* The tensors that a weight lacks, or that do not match; the message is about the first. */
struct qm_problems {
    int64_t count;
    char first[512];
};

/* Fills m->weights, layer_weight, global_weight and the counts of parameters, by m->config alone. */
int qm_weights_shape(struct qm_model *m, struct qm_error *err);

/* How files name what an architecture's table calls "model.X", and what is outside of it ("lm_head.X"). */
struct qm_naming {
    const char *model, *rest;
};
/* The naming by which the files have the tensor that a table calls `name`, the first where they have it by none. Some
 * files leave "model." out (*bare), others have the text's model beside those of images. */
const struct qm_naming *qm_naming_find(const struct qm_shards *s, const char *name, bool *bare);
/* The name of a source as the files have it. */
void qm_source_published(const char *name, const struct qm_naming *naming, char *out, size_t size);

/* The part that a tensor belongs to by its name where it is one that is not run, else -1. */
int qm_left_out_of(const struct qm_config *c, const struct qm_naming *naming, const char *name);
/* Says in m->notes what m->left_out counts. */
void qm_left_out_note(struct qm_model *m);

/* Fills the runs from m->shards, and the weights' types from their tensors. used[i] is set where
 * tensor i belongs to a weight. Tensors that are missing or odd are counted in *problems, not errors here. */
int qm_weights_find(struct qm_model *m, const struct qm_arch *arch, const struct qm_naming *naming, bool *used,
                    struct qm_problems *problems, struct qm_error *err);

/* "model.layers.{l}..." with numbers in. */
void qm_source_name(const char *pattern, int64_t layer, int64_t expert, char *out, size_t size);

/* A line of m->notes. */
void qm_model_note(struct qm_model *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* All weights from m->shards, and what in the files differs from m->config settled (published.c). */
int qm_model_find_weights(struct qm_model *m, struct qm_error *err);

/* Counts a problem, and keeps its message where it is the first. */
void qm_problem(struct qm_problems *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
