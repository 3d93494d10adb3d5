/* What the small files beside a vocabulary say of a tokenizer: tokens that the vocabulary's file lacks, which of them
 * stand around a text, and how a text begins. Between the folder and load.c or proto.c, which apply it; it knows no
 * vocabulary. The rules are those of transformers 4.57's fast classes, by which published folders were made, with
 * 5.x's extra_special_tokens; where 5.x reads less (it passes over add_bos_token beside a tokenizer.json) the folder's
 * own word holds. */
#ifndef QM_TEXT_TOKENIZER_SETTINGS_H
#define QM_TEXT_TOKENIZER_SETTINGS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

/* The files, parsed; NULL where there is none. "tokenizer" is tokenizer.json itself. */
struct qm_token_files {
    json_t *tokenizer;
    json_t *config;   /* tokenizer_config.json */
    json_t *map;      /* special_tokens_map.json */
    json_t *added;    /* added_tokens.json */
    json_t *of_model; /* config.json, for the class where the others do not name it */
};
/* All but tokenizer.json. */
int qm_token_files_read(const char *dir, struct qm_token_files *out, struct qm_error *err);
void qm_token_files_free(struct qm_token_files *f);

/* Classes whose constructors do more than the general one. */
enum qm_token_class {
    QM_CLASS_OTHER,
    QM_CLASS_LLAMA, /* those with a BOS of their own from here ... */
    QM_CLASS_CODE_LLAMA,
    QM_CLASS_GEMMA,
    QM_CLASS_COHERE,
    QM_CLASS_GPT_NEOX, /* ... to here */
    QM_CLASS_GPT2,
    QM_CLASS_QWEN2
};

enum qm_named_token { QM_NAMED_BOS, QM_NAMED_EOS, QM_NAMED_UNK, QM_NAMED_OTHERS, QM_NAMED_COUNT = 7 };

/* Where a token is known already as an added one: */
enum qm_new_how {
    QM_NEW_REPLACE, /* the new properties hold */
    QM_NEW_KEEP,    /* the first ones hold */
    QM_NEW_MARK,    /* the first ones hold, and it is special */
    QM_NEW_WEAK     /* they hold if tokenizer.json or an id gave them */
};

/* "bos_token", "eos_token", ... */
extern const char *const qm_named_keys[QM_NAMED_COUNT];

/* A token to be known; its text belongs to the files. */
struct qm_new_token {
    const char *text;
    size_t len;
    int64_t id; /* what the folder calls it by; -1: not said */
    bool lstrip, rstrip, single_word, normalized, special;
    enum qm_new_how how;
};

struct qm_settings {
    enum qm_token_class token_class;
    struct qm_new_token *tokens;       /* in the order in which they are added */
    size_t n, with_ids;                /* the first ones have ids */
    const char *named[QM_NAMED_COUNT]; /* bos_token, eos_token, unk_token, ...; NULL: none */
    bool given[QM_NAMED_COUNT];        /* by the folder, null included; else it is the class's and need not be there */
    bool resaved;                      /* by transformers 5, which keeps everything in tokenizer.json */
    bool add_bos, add_eos, legacy;
    bool has_prefix_space, prefix_space;
};
/* Lends from the files, which must outlive it. A field of the wrong type is QM_INPUT, named. */
int qm_settings_read(const struct qm_token_files *f, struct qm_settings *out, struct qm_error *err);
void qm_settings_free(struct qm_settings *s);

/* Changes tokenizer.json's parts as the settings say, before it is loaded: how a text begins. */
int qm_settings_rewrite(const struct qm_settings *s, json_t *tokenizer, struct qm_error *err);

#endif
