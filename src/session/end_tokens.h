/* Which tokens end an answer, and who says so. A model's files name them in four places that often disagree (a base
 * model's config.json kept beside a fine-tuned template); as servers do, all of them count. One list for every command
 * that generates: it becomes the config's. */
#ifndef QM_SESSION_END_TOKENS_H
#define QM_SESSION_END_TOKENS_H

#include "model/config.h"
#include "session/generation_config.h"
#include "text/template/chat.h"
#include "text/tokenizer/tokenizer.h"

/* Who names a token; several may. */
enum {
    QM_END_CONFIG = 1,     /* config.json's eos_token_id */
    QM_END_GENERATION = 2, /* generation_config.json's */
    QM_END_TOKENIZER = 4,  /* the tokenizer's eos_token */
    QM_END_TEMPLATE = 8    /* the first added token that the chat template writes after an assistant's words */
};

struct qm_end_token {
    int32_t id;
    unsigned from;
};

struct qm_end_tokens {
    struct qm_end_token token[QM_MAX_ENDS];
    int n;
    struct qm_end_token foreign[QM_MAX_ENDS]; /* named, but not in the model's vocabulary: they end nothing */
    int n_foreign;
};

/* tokenizer and chat: NULL for none. A template that can't be rendered names none. */
int qm_end_tokens_find(const struct qm_config *c, const struct qm_generation_config *g,
                       const struct qm_tokenizer *tokenizer, const struct qm_chat *chat, struct qm_end_tokens *out,
                       struct qm_error *err);
/* Makes them the config's. */
void qm_end_tokens_set(const struct qm_end_tokens *e, struct qm_config *c);
/* "config.json, chat template" */
const char *qm_end_token_sources(unsigned from, char *out, size_t size);

#endif
