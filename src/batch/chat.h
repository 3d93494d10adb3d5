/* Whether a job's model can answer the job's chat rows: asked once, at the start, so that a night is not spent on
 * failing each of them for the same reason. */
#ifndef QM_BATCH_CHAT_H
#define QM_BATCH_CHAT_H

#include <time.h>

#include "batch/options.h"
#include "batch/ui.h"
#include "text/template/chat.h"

/* chat: the template that the options or the model's directory give; NULL where none can be read, and unread says why.
 * QM_INPUT naming what is wrong where a row is a chat request and the template is not there, can't be read, or fails
 * for one user's message and for that row too; the error of a template that the options name and that can't be read. */
int qm_batch_chat(const struct qm_batch_options *o, const struct qm_batch_words *words, const struct qm_chat *chat,
                  const struct qm_error *unread, const struct tm *now, struct qm_error *err);

#endif
