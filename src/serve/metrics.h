/* What a server counts, and how it is shown to Prometheus (text format 0.0.4): names of our own, and those of vLLM that
 * dashboards ask for. Thread-safe. */
#ifndef QM_SERVE_METRICS_H
#define QM_SERVE_METRICS_H

#include "base/buf.h"
#include "base/error.h"
#include "serve/options.h"

struct qm_serve_metrics;

int qm_serve_metrics_new(int n_models, struct qm_serve_metrics **out, struct qm_error *err);
void qm_serve_metrics_free(struct qm_serve_metrics *m);
/* A part of a request for a model ended so. */
void qm_serve_metrics_outcome(struct qm_serve_metrics *m, const struct qm_served_model *of, const struct qm_outcome *o);
/* A request was answered with this status of HTTP. */
void qm_serve_metrics_status(struct qm_serve_metrics *m, int status);
/* Everything, appended; the models' services are asked for what they are at. */
int qm_serve_metrics_text(struct qm_serve_metrics *m, const struct qm_served_model *const *models, int n_models,
                          struct qm_buf *out, struct qm_error *err);

#endif
