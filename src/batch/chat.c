/* The chat template of a job, and the first row that needs it. */
#include "batch/chat.h"

#include "batch/row.h"
#include "batch/rows.h"

/* Whether the row is a chat request that can't be answered. */
static bool is_hopeless(const struct qm_batch_line *line, const struct qm_chat *chat, const struct tm *now,
                        bool *answered) {
    struct qm_batch_row row = {0};
    struct qm_buf prompt = {0};
    bool asks = line->text && !qm_batch_row_parse(line->text, line->length, "row", &row, NULL) &&
                row.endpoint == QM_ENDPOINT_CHAT;
    /* its own variables, tools or system message may be what the template wants */
    *answered = asks && chat && !qm_chat_prompt(chat, row.body, now, &prompt, NULL);
    qm_buf_free(&prompt);
    qm_batch_row_free(&row);
    return asks && !*answered;
}

/* Looks for the first chat row. why: what is wrong with the template. */
static int find_chat(const struct qm_batch_options *o, const struct qm_chat *chat, const struct tm *now,
                     const struct qm_error *why, struct qm_error *err) {
    struct qm_batch_rows rows = {0};
    struct qm_batch_line line;
    bool end = false, answered = false;
    int rc = qm_batch_rows_open(o, &qm_batch_silent, &rows, err);
    while (!rc && !end && !answered) {
        rc = rows.source.next(rows.source.self, &line, &end, err);
        if (!rc && !end && is_hopeless(&line, chat, now, &answered))
            rc = qm_fail(err, QM_INPUT, "row %lld asks for a chat, which this model can't answer: %s",
                         (long long)line.number, why->message);
    }
    qm_batch_rows_close(&rows);
    return rc;
}

int qm_batch_chat(const struct qm_batch_options *o, const struct qm_batch_words *words, const struct qm_chat *chat,
                  const struct qm_error *unread, const struct tm *now, struct qm_error *err) {
    struct qm_error why = {0};
    if (!chat)
        why = *unread;
    if (!chat && (o->chat_template || why.code != QM_INPUT)) {
        *err = why;
        return why.code;
    }
    if (chat && !qm_chat_check(chat, NULL, NULL, now, &why))
        return QM_OK;
    words->remedy(&why);
    return find_chat(o, chat, now, &why, err);
}
