/* From tokens to events: text is separated into reasoning and answer, and calls of tools are taken out of the answer.
 */
#include "protocol/events.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "text/tool_calls.h"

struct qm_events {
    struct qm_answer_form form;
    struct qm_reasoning *reasoning;
    size_t seen;        /* bytes of the text */
    struct qm_buf held; /* of the answer: a call, or what may be the blanks before one */
    bool calling;       /* from here on it is held to its end */
    bool one_call;
    bool thinking; /* what came last is reasoning */
    int64_t reasoning_tokens;
    /* while events are given out */
    qm_answer_fn *fn;
    void *arg;
    struct qm_error *err;
    int rc;
};

static const char begins[] = "<tool_call>", blanks[] = " \t\r\n";

int qm_events_new(const struct qm_answer_form *form, bool one_call, struct qm_events **out, struct qm_error *err) {
    struct qm_events *a = calloc(1, sizeof *a);
    *out = a;
    if (!a)
        return qm_fail_memory(err, sizeof *a, "an answer");
    a->form = *form;
    a->one_call = one_call;
    a->thinking = form->opened;
    int rc = qm_reasoning_new(form->format, form->opened, &a->reasoning, err);
    if (rc) {
        free(a);
        *out = NULL;
    }
    return rc;
}

void qm_events_free(struct qm_events *a) {
    if (!a)
        return;
    qm_reasoning_free(a->reasoning);
    qm_buf_free(&a->held);
    free(a);
}

static void give(struct qm_events *a, struct qm_answer_event e) {
    if (!a->rc)
        a->rc = a->fn(a->arg, &e, a->err);
}

static void give_text(struct qm_events *a, enum qm_answer_kind kind, const char *text, size_t len) {
    if (len)
        give(a, (struct qm_answer_event){.kind = kind, .text = text, .len = len});
}

/* Where the text's end begins that may belong to a call: blanks, and a beginning of the mark. *whole: all of the mark
 * is there. */
static size_t find_call(const char *text, size_t len, bool *whole) {
    const char *at = memmem(text, len, begins, sizeof begins - 1);
    size_t n = at ? (size_t)(at - text) : len;
    *whole = at != NULL;
    for (size_t k = sizeof begins - 2; !at && k > 0; k--)
        if (k <= len && !memcmp(text + len - k, begins, k)) {
            n = len - k;
            break;
        }
    while (n && memchr(blanks, text[n - 1], sizeof blanks - 1))
        n--;
    return n;
}

/* More of what is no reasoning. */
static void take_answer(struct qm_events *a, const char *text, size_t len) {
    if (!a->form.tools) {
        give_text(a, QM_ANSWER_TEXT, text, len);
        return;
    }
    if (!a->rc)
        a->rc = qm_buf_add(&a->held, text, len, a->err);
    if (a->rc || a->calling)
        return;
    size_t sure = find_call(a->held.data, a->held.len, &a->calling);
    give_text(a, QM_ANSWER_TEXT, a->held.data, sure);
    memmove(a->held.data, a->held.data + sure, a->held.len - sure);
    a->held.len -= sure;
}

static void on_content(void *arg, enum qm_content part, const char *text, size_t len) {
    struct qm_events *a = arg;
    a->thinking = part == QM_CONTENT_REASONING;
    if (a->thinking)
        give_text(a, QM_ANSWER_REASONING, text, len);
    else
        take_answer(a, text, len);
}

static void push(struct qm_events *a, const char *text, size_t len) {
    int rc = a->rc;
    if (rc || !len)
        return;
    rc = qm_reasoning_push(a->reasoning, text, len, on_content, a, a->err);
    a->seen += len;
    a->rc = a->rc ? a->rc : rc;
}

static void listen(struct qm_events *a, qm_answer_fn *fn, void *arg, struct qm_error *err) {
    a->fn = fn;
    a->arg = arg;
    a->err = err;
}

int qm_events_token(struct qm_events *a, const struct qm_generate_token *t, qm_answer_fn *fn, void *arg,
                    struct qm_error *err) {
    listen(a, fn, arg, err);
    give(a, (struct qm_answer_event){.kind = QM_ANSWER_TOKEN, .token = t});
    push(a, t->text, t->text_len);
    a->reasoning_tokens += a->thinking;
    return a->rc;
}

static void give_call(struct qm_events *a, const json_t *call, int number) {
    const json_t *function = json_object_get(call, "function"), *name = json_object_get(function, "name");
    const json_t *arguments = json_object_get(function, "arguments");
    give(a,
         (struct qm_answer_event){
             .kind = QM_ANSWER_CALL, .call = number, .text = json_string_value(name), .len = json_string_length(name)});
    give(a, (struct qm_answer_event){.kind = QM_ANSWER_ARGUMENTS,
                                     .call = number,
                                     .text = json_string_value(arguments),
                                     .len = json_string_length(arguments)});
    give(a, (struct qm_answer_event){.kind = QM_ANSWER_CALL_END, .call = number});
}

/* What was held: calls, and what stands around them; or text, all of it. */
static void end_calls(struct qm_events *a) {
    json_t *calls = NULL;
    struct qm_buf rest = {0};
    if (!a->rc && a->calling)
        a->rc = qm_tool_calls(a->held.data, a->held.len, "", &calls, &rest, a->err);
    if (!calls)
        give_text(a, QM_ANSWER_TEXT, a->held.data, a->held.len);
    for (size_t i = 0; i < json_array_size(calls) && (i == 0 || !a->one_call); i++) /* as vLLM: the first */
        give_call(a, json_array_get(calls, i), (int)i);
    give_text(a, QM_ANSWER_TEXT, rest.data, rest.len);
    qm_buf_free(&rest);
    json_decref(calls);
}

int qm_events_end(struct qm_events *a, const struct qm_outcome *o, qm_answer_fn *fn, void *arg, struct qm_error *err) {
    listen(a, fn, arg, err);
    push(a, o->text + a->seen, o->text_len - a->seen);
    int rc = a->rc ? a->rc : qm_reasoning_flush(a->reasoning, on_content, a, err);
    a->rc = a->rc ? a->rc : rc;
    end_calls(a);
    give(a, (struct qm_answer_event){.kind = QM_ANSWER_END, .finish = o->finish});
    return a->rc;
}

int64_t qm_events_reasoning_tokens(const struct qm_events *a) {
    return a->reasoning_tokens;
}
