/* A chat as its files share it: cmd_chat.c opens it and asks, commands.c does what begins with a slash. */
#ifndef QM_APP_CHAT_CHAT_H
#define QM_APP_CHAT_CHAT_H

#include "app/chat/answer.h"
#include "app/chat/line_editor.h"
#include "app/drafts.h"
#include "app/load_model.h"
#include "app/meter.h"
#include "app/progress.h"
#include "app/texts.h"
#include "session/conversation.h"
#include "text/template/chat.h"

struct qm_app_chat {
    struct qm_texts stop; /* stop strings */
    struct qm_progress progress;
    struct qm_app_model model;
    struct qm_drafts drafts;
    const struct qm_chat *template;
    struct qm_conversation *conversation;
    struct qm_sampling sampling;
    int64_t max_tokens;
    bool hide_thinking;
    struct qm_line_editor *editor;
    bool interactive; /* signals are held all the time */
    struct qm_answer_printer printer;
    struct qm_buf document;             /* goes before the first question */
    struct qm_buf attached;             /* goes before the next question: /file */
    struct qm_buf system;               /* the system message, empty: none */
    struct qm_generate_result result;   /* of the last answer */
    struct qm_meter meter;              /* of the last answer */
    int64_t prompts, cached, generated; /* tokens of all answers: computed of prompts, reused, generated */
    bool answering, leave;
    int failed; /* code of a write that failed, its message in *err */
    struct qm_error *err;
};

/* An empty conversation, with the system message. */
int qm_chat_start_over(struct qm_app_chat *c);
/* A question and its answer. QM_INTERRUPTED where Ctrl-C stopped the answer: it stays as far as it came; where there is
 * none yet, the question is taken back. */
int qm_chat_ask(struct qm_app_chat *c, const char *question, size_t len);
/* The answer to the messages as they are. `before`: how many stay where there is no answer. */
int qm_chat_answer(struct qm_app_chat *c, size_t before);

/* A line that begins with a slash. */
int qm_chat_command(struct qm_app_chat *c, const char *line);

/* "--NAME=VALUE" of /set, read as the command line reads it: tokens of an answer and what changes of sampling. */
int qm_chat_decode_setting(const char *option, int64_t *max_tokens, struct qm_sampling *s, struct qm_error *err);

#endif
