/* The logits of every configuration along one prefix that all are given: each prompt, and after it the reference's
 * answer, whatever the configuration would have answered itself. */
#include <stdlib.h>

#include "app/compare/compare_private.h"

enum { BYTES = 256 << 20, POSITIONS = 256 };

static void choose_covered(struct qm_compare_runner *r) {
    int64_t row = r->task->model->config.vocab * (int64_t)sizeof(float), most = BYTES / row / r->task->prompts;
    r->covered = r->task->generate < POSITIONS ? r->task->generate : POSITIONS;
    r->covered = r->covered < most ? r->covered : most > 1 ? most : 1;
}

/* The logits that chose token k of the answer, for k below covered, in pieces. */
static int along(struct qm_compare_runner *r, int config, int p, float *piece, struct qm_error *err) {
    const struct qm_compare_task *t = r->task;
    struct qm_compare_config *c = &r->report->config[config];
    struct qm_compare_lane *l = &r->lane[config];
    const struct qm_ids *prompt = &t->prompt[p];
    const int32_t *answer = r->report->config[r->report->reference].answer[p];
    int64_t vocab = t->model->config.vocab, n = (int64_t)prompt->len;
    bool reference = config == r->report->reference;
    int rc = qm_compare_settle(r, l, prompt, n - 1, err);
    for (int64_t k = 0; k < r->covered && !rc; k++) {
        float *row = reference ? r->reference[p] + k * vocab : piece;
        rc = qm_compare_step(r, l, k ? &answer[k - 1] : &prompt->data[n - 1], 1, row, err);
        if (!rc && !reference)
            qm_agreement_position(&c->agreement, qm_kl_divergence(r->reference[p] + k * vocab, row, vocab));
    }
    return rc;
}

int qm_compare_logits(struct qm_compare_runner *r, int config, struct qm_error *err) {
    const struct qm_compare_task *t = r->task;
    struct qm_compare_report *report = r->report;
    struct qm_compare_config *c = &report->config[config];
    bool reference = config == report->reference;
    int rc = QM_OK;
    if (reference)
        choose_covered(r);
    else
        qm_agreement_begin(&c->agreement);
    for (int p = 0; p < t->prompts && !rc; p++) {
        uint64_t bytes = (uint64_t)r->covered * (uint64_t)t->model->config.vocab * sizeof(float);
        if (reference && !(r->reference[p] = malloc(bytes)))
            return qm_fail_memory(err, bytes, "the logits of the reference");
        const struct qm_compare_config *other = &report->config[report->reference];
        if (!reference)
            qm_agreement_answer(&c->agreement, p, other->answer[p], other->n_answer[p], c->answer[p], c->n_answer[p],
                                r->covered);
        rc = along(r, config, p, r->logits, err);
    }
    return rc;
}

void qm_compare_logits_free(struct qm_compare_runner *r) {
    for (int p = 0; p < r->task->prompts; p++) {
        free(r->reference[p]);
        r->reference[p] = NULL;
    }
}
