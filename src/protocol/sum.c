/* Events added up. */
#include "protocol/sum.h"

#include <stdlib.h>
#include <string.h>

#include "text/tool_calls.h"

static int add_call(struct qm_answer_sum *s, const struct qm_answer_event *e, struct qm_error *err) {
    if (!s->calls && !(s->calls = calloc(QM_TOOL_CALLS, sizeof *s->calls)))
        return qm_fail_memory(err, QM_TOOL_CALLS * sizeof *s->calls, "calls of tools");
    if (s->n_calls == QM_TOOL_CALLS)
        return qm_fail(err, QM_INPUT, "the answer has more than %d calls of tools", QM_TOOL_CALLS);
    struct qm_answer_call *c = &s->calls[s->n_calls++];
    c->name = strndup(e->text, e->len);
    c->id = e->id ? strdup(e->id) : NULL;
    return c->name && (c->id || !e->id) ? QM_OK : qm_fail_memory(err, e->len, "a call of a tool");
}

int qm_answer_sum_add(struct qm_answer_sum *s, const struct qm_answer_event *e, struct qm_error *err) {
    switch (e->kind) {
    case QM_ANSWER_REASONING: return qm_buf_add(&s->reasoning, e->text, e->len, err);
    case QM_ANSWER_TEXT: return qm_buf_add(&s->text, e->text, e->len, err);
    case QM_ANSWER_CALL: return add_call(s, e, err);
    case QM_ANSWER_ARGUMENTS: return qm_buf_add(&s->calls[e->call].arguments, e->text, e->len, err);
    case QM_ANSWER_END:
        s->done = true;
        s->finish = e->finish;
        return QM_OK;
    case QM_ANSWER_TOKEN:
    case QM_ANSWER_CALL_END: break;
    }
    return QM_OK;
}

void qm_answer_sum_free(struct qm_answer_sum *s) {
    qm_buf_free(&s->reasoning);
    qm_buf_free(&s->text);
    for (int i = 0; i < s->n_calls; i++) {
        free(s->calls[i].name);
        free(s->calls[i].id);
        qm_buf_free(&s->calls[i].arguments);
    }
    free(s->calls);
    *s = (struct qm_answer_sum){0};
}
