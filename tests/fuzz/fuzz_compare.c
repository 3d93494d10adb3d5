/* Fuzz target: reports of quietmind compare. What is accepted is written and read back the same. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/compare/compare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(double a, double b) {
    return (isnan(a) && isnan(b)) || fabs(a - b) <= 1e-9 * fabs(a);
}

static bool same_config(const struct qm_compare_report *r, const struct qm_compare_report *s, int i) {
    const struct qm_compare_config *a = &r->config[i], *b = &s->config[i];
    struct qm_agreement answers;
    if (a->answer[0] && (!qm_compare_answers(r, a, s, b, &answers) || answers.first_difference >= 0))
        return false;
    return !strcmp(a->name, b->name) && same(a->decode.measured.median, b->decode.measured.median) &&
           same(a->prefill.predicted, b->prefill.predicted) && a->threads_used == b->threads_used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct qm_compare_report report, back;
    struct qm_error err;
    if (qm_compare_parse((const char *)data, size, "fuzz", &report, &err))
        return 0;
    json_t *root = qm_compare_json(&report);
    char *text = root ? json_dumps(root, 0) : NULL;
    if (!text || qm_compare_parse(text, strlen(text), "fuzz", &back, &err))
        abort();
    for (int i = 0; i < report.configs; i++)
        if (!same_config(&report, &back, i))
            abort();
    free(text);
    json_decref(root);
    qm_compare_report_free(&report);
    qm_compare_report_free(&back);
    return 0;
}
