/* Reading rows ahead: into the window, or, where they are none, as error lines. */
#include <string.h>

#include "batch/line.h"
#include "batch/work_private.h"

static int check_name(struct qm_batch_work *w, int64_t number, const char *title, const char *custom_id,
                      struct qm_error *why, struct qm_error *err) {
    const struct qm_batch_pending *same = qm_batch_window_named(w->window, custom_id);
    bool before = same || qm_batch_waiting_named(w->waiting, custom_id);
    int rc = before ? QM_OK : qm_journal_named_before(w->o.journal, custom_id, number, &before, err);
    if (!rc && before)
        qm_fail(why, QM_INPUT, "%s: a row before it has the same custom_id", title);
    return rc;
}

static int read_one(struct qm_batch_work *w, const struct qm_batch_line *line, struct qm_error *err) {
    struct qm_batch_row row = {0};
    struct qm_batch_prefix prefix;
    struct qm_error why = {0};
    char title[64], id[QM_BATCH_ID_LIMIT + 1] = "";
    const char *name = NULL;
    int rc = QM_OK;
    qm_batch_row_title(line->number, line->file_line, title);
    if (!line->text) {
        qm_fail(&why, QM_INPUT, "%s: longer than the limit for a row: %llu bytes", title,
                (unsigned long long)line->length);
        qm_batch_row_name(line->head, line->head_length, id);
        name = *id ? id : NULL;
    } else {
        qm_batch_row_parse(line->text, line->length, title, &row, &why);
        name = row.custom_id;
    }
    bool unread = why.code != QM_OK;
    if (!why.code)
        rc = check_name(w, line->number, title, name, &why, err);
    if (!rc && !why.code)
        rc = qm_batch_row_prefix(&row, &prefix, err);
    if (!rc && !why.code)
        rc = qm_batch_window_add(w->window, line, name, &prefix,
                                 qm_batch_outlook_read(&w->outlook, line->length, &prefix), err);
    else if (!rc && qm_batch_is_rows(why.code))
        rc = qm_batch_write_error(w, line, unread, name, &why, err);
    else if (!rc) {
        *err = why;
        rc = why.code;
    }
    qm_batch_row_free(&row);
    return rc;
}

/* Its text is not looked at more closely: that may be what ends the program. */
static int set_aside(struct qm_batch_work *w, const struct qm_batch_line *line, struct qm_error *err) {
    char id[QM_BATCH_ID_LIMIT + 1], title[64];
    struct qm_error why;
    qm_batch_row_title(line->number, line->file_line, title);
    qm_batch_row_name(line->text ? line->text : line->head, line->text ? line->length : line->head_length, id);
    qm_fail(&why, QM_SYSTEM, "%s: the program crashed twice while this row was computed: it is set aside", title);
    return qm_batch_write_error(w, line, false, *id ? id : NULL, &why, err);
}

int qm_batch_other_row(int64_t number, struct qm_error *err) {
    return qm_remedy(
        err, QM_REMEDY_START_OVER,
        qm_fail(err, QM_INPUT,
                "row %lld of the input is not the one that was answered: put the file back as it was and run the "
                "same command again",
                (long long)number));
}

int qm_batch_read_ahead(struct qm_batch_work *w, bool *more, struct qm_error *err) {
    struct qm_batch_line line;
    bool end, known;
    uint64_t answered;
    *more = !w->counts.all_read && qm_batch_window_room(w->window);
    if (!*more)
        return QM_OK;
    int rc = w->o.source->next(w->o.source->self, &line, &end, err);
    if (rc)
        return rc;
    if (end) {
        w->counts.all_read = true;
        w->counts.read_bytes = w->counts.input_bytes;
        *more = false;
        return qm_journal_set_int(w->o.journal, "rows", w->counts.read, err);
    }
    rc = qm_journal_has(w->o.journal, line.number, &known, &answered, err);
    if (!rc && known && answered != line.hash)
        rc = qm_batch_other_row(line.number, err);
    if (rc)
        return rc;
    /* what is left of its line, an end, is no row */
    w->next = line;
    w->next.number++;
    w->next.offset += line.length;
    w->counts.read = line.number;
    w->counts.read_bytes = w->next.offset;
    if (known)
        return QM_OK;
    enum qm_batch_suspicion suspicion = QM_ROW_TRUSTED;
    if (w->suspects && (rc = qm_batch_crash_of(w->o.journal, line.number, &suspicion, err)))
        return rc;
    if (suspicion == QM_ROW_SET_ASIDE)
        return set_aside(w, &line, err);
    qm_batch_work_on(w, line.number);
    rc = read_one(w, &line, err);
    qm_batch_work_on(w, 0);
    return rc;
}
