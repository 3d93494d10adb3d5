/* What the files about chat requests share: what a template wants of messages, and messages made so. */
#ifndef QM_TEXT_TEMPLATE_CHAT_PRIVATE_H
#define QM_TEXT_TEMPLATE_CHAT_PRIVATE_H

#include "text/template/chat.h"
#include "text/template/template.h"

enum qm_chat_role { QM_CHAT_SYSTEM, QM_CHAT_USER, QM_CHAT_ASSISTANT, QM_CHAT_TOOL, QM_CHAT_ROLES };

/* What stands for the content that a message with calls does not have. */
enum qm_chat_nothing { QM_CHAT_EMPTY, QM_CHAT_NULL, QM_CHAT_ABSENT };

/* The same message can be written in several ways, and templates differ in which of them they render. */
struct qm_chat_wants {
    bool developer;      /* has a role of that name */
    bool function_call;  /* reads that member of older requests */
    bool object;         /* arguments of a call may be an object */
    bool text_arguments; /* they should be text of JSON */
    bool any_text;       /* they are printed as they are where they are text */
    bool short_ids;      /* of calls: nine letters and digits, as Mistral's templates insist */
    enum qm_chat_nothing nothing;
    bool parts[QM_CHAT_ROLES], only_parts[QM_CHAT_ROLES]; /* content as a list of parts is taken; must be one */
};

/* By rendering small conversations. tokens: the special tokens as the template's variables. */
void qm_chat_find_wants(const struct qm_template *t, const char *source, size_t len, const json_t *tokens,
                        struct qm_chat_wants *out);

/* The index of a role, QM_CHAT_ROLES for others. */
enum qm_chat_role qm_chat_role_of(const char *name);
/* Messages as clients send them, as the template wants them; a new reference. */
int qm_chat_plain_messages(const json_t *messages, const struct qm_chat_wants *w, json_t **out, struct qm_error *err);
/* *out: tools without the members that are null; a new reference, or NULL where the request has none or wants none of
 * them called ("tool_choice"). */
int qm_chat_plain_tools(const json_t *body, json_t **out, struct qm_error *err);

#endif
