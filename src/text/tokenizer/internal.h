/* What a loaded tokenizer is, for the files of this folder. The flow of an encoding:
 *   tokenizer.c  special template -> added.c  added tokens -> normal.c  normalizers
 *   -> pretok.c  words -> word.c  cache -> bpe.c | unigram.c  ids
 * and for tokenizer.model: tokenizer.c -> added.c -> spm.c. Loaders: load*.c, proto.c, and settings*.c for the small
 * files beside them; finish.c ends both. What all of them use calls none of them: ids.c, bytes.c, fields.c, call.c,
 * tokens.c. Everything is const after loading; the state of one call is struct qm_call (call.c). */
#ifndef QM_TEXT_TOKENIZER_INTERNAL_H
#define QM_TEXT_TOKENIZER_INTERNAL_H

#include <jansson.h>

#include "text/tokenizer/bytes.h"
#include "text/tokenizer/chars.h"
#include "text/tokenizer/charsmap.h"
#include "text/tokenizer/fields.h"
#include "text/tokenizer/regex.h"
#include "text/tokenizer/settings.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/trie.h"
#include "text/tokenizer/vocab.h"

enum { QM_MAX_STEPS = 32, QM_MAX_ADDED = 1 << 20, QM_MAX_ADDED_BYTES = 4096 };
#define QM_MAX_TEXT ((size_t)1 << 30)

enum qm_normal_type {
    QM_NORMAL_FORM,
    QM_NORMAL_LOWER,
    QM_NORMAL_STRIP,
    QM_NORMAL_STRIP_ACCENTS,
    QM_NORMAL_REPLACE,
    QM_NORMAL_PREPEND,
    QM_NORMAL_NMT,
    QM_NORMAL_CHARSMAP,
    QM_NORMAL_BERT,
    QM_NORMAL_BYTES
};
struct qm_normal {
    enum qm_normal_type type;
    bool compose, compat;                      /* FORM */
    bool left, right;                          /* STRIP */
    bool clean, chinese, strip_accents, lower; /* BERT */
    struct qm_regex *pattern;                  /* REPLACE */
    struct qm_str text;                        /* REPLACE, PREPEND */
    struct qm_charsmap map;                    /* CHARSMAP */
};

enum qm_behavior { QM_REMOVED, QM_ISOLATED, QM_MERGED_PREVIOUS, QM_MERGED_NEXT, QM_CONTIGUOUS };
enum qm_scheme { QM_SCHEME_ALWAYS, QM_SCHEME_FIRST, QM_SCHEME_NEVER };
enum qm_pretok_type {
    QM_PRETOK_BYTES, /* ByteLevel but for its mapping of bytes, which is a step of its own: */
    QM_PRETOK_MAP,
    QM_PRETOK_METASPACE,
    QM_PRETOK_REGEX, /* Split, Whitespace */
    QM_PRETOK_CLASS, /* Digits, WhitespaceSplit, Punctuation, the parts of BertPreTokenizer */
    QM_PRETOK_CHAR,  /* CharDelimiterSplit */
    QM_PRETOK_LENGTH /* FixedLength */
};
struct qm_pretok {
    enum qm_pretok_type type;
    enum qm_behavior behavior;
    bool invert, prefix_space, split;
    enum qm_scheme scheme;
    struct qm_regex *pattern; /* REGEX, BYTES (NULL: no expression) */
    qm_char_class in_class;
    char mark[4]; /* METASPACE's replacement, CHAR's delimiter */
    size_t mark_len, length;
};

enum qm_decode_type {
    QM_DECODE_BYTES,
    QM_DECODE_METASPACE,
    QM_DECODE_BYTE_FALLBACK,
    QM_DECODE_FUSE,
    QM_DECODE_STRIP,
    QM_DECODE_REPLACE
};
struct qm_decode {
    enum qm_decode_type type;
    struct qm_str text;       /* REPLACE's content; METASPACE's and STRIP's character */
    struct qm_regex *pattern; /* REPLACE */
    size_t start, stop;       /* STRIP */
    bool drop_first;          /* METASPACE: the first token loses its marks */
};

struct qm_added {
    int32_t id;
    bool lstrip, rstrip, single_word, normalized, special;
};
struct qm_added_set {    /* one automaton: the tokens sought in raw text, or those in normalized text */
    struct qm_trie trie; /* values index the tokens */
    bool first[256];     /* bytes a token can begin with */
    bool any;
};

/* A merge of two neighbouring tokens: the one with the smallest rank goes first. */
struct qm_merge {
    uint64_t pair; /* left << 32 | right; UINT64_MAX: empty slot */
    uint32_t rank;
    int32_t id;
};
struct qm_bpe {
    struct qm_merge *slots;
    size_t nslots;
    int32_t byte_token[256]; /* "<0xNN>", -1: none */
    int32_t mapped[256];     /* the token of the byte's character in ByteLevel's alphabet */
    int32_t ascii[128];      /* the token of one ASCII character */
    int32_t unk;             /* -1: none */
    bool has_unk, fuse_unk, byte_fallback, ignore_merges;
    struct qm_str unk_text, prefix, suffix;
};

struct qm_unigram {
    double *score; /* by id */
    struct qm_trie trie;
    double min_score;
    int32_t unk; /* -1: none */
    int32_t byte_token[256];
    bool byte_fallback;
};

enum qm_piece_type {
    QM_PIECE_NORMAL = 1,
    QM_PIECE_UNKNOWN,
    QM_PIECE_CONTROL,
    QM_PIECE_USER,
    QM_PIECE_UNUSED,
    QM_PIECE_BYTE
};
struct qm_spm {
    struct qm_vocab pieces; /* normal, user-defined and unused ones; the others are only in t->vocab */
    struct qm_vocab reserved;
    float *score;   /* by id */
    uint32_t *rank; /* by id: order of the score, 0 the greatest */
    uint8_t *type;  /* by id */
    struct qm_trie user, trie;
    struct qm_charsmap map;
    bool has_map, bpe, dummy_prefix, remove_extra, escape, suffix_space, byte_fallback, has_unused, add_bos, add_eos;
    float min_score;
    size_t n; /* pieces */
    int32_t unk, bos, eos;
    int32_t byte_token[256];
};

enum qm_kind { QM_KIND_BPE, QM_KIND_UNIGRAM, QM_KIND_SPM };

struct qm_tokenizer {
    enum qm_kind kind;
    struct qm_vocab vocab;
    struct qm_vocab added_vocab;
    struct qm_vocab added_text; /* of those that are normalized: their normalized text, which decoding gives */
    struct qm_added *added;     /* by index */
    size_t nadded;
    uint8_t *special, *dropped; /* by id: special; left out of decoded text on request */
    size_t size;
    struct qm_added_set raw, normal;
    struct qm_normal normals[QM_MAX_STEPS];
    size_t nnormals;
    struct qm_pretok pretoks[QM_MAX_STEPS];
    size_t npretoks;
    bool map_bytes; /* the last pre-tokenizer is ByteLevel: words reach the model as raw bytes */
    /* A text that nothing splits may still be cut before U+2581 without changing BPE's result, unless the
     * byte before it comes before U+2581 in some token: then a merge might cross the cut. */
    bool cuttable, joins[256];
    struct qm_decode decodes[QM_MAX_STEPS];
    size_t ndecodes;
    bool has_decoder;
    int32_t eos;          /* the token that ends a text, -1: none is named */
    bool legacy;          /* SPM: each part of a text between added tokens begins like a text, not only the first */
    struct qm_ids around; /* the template: ids of special tokens, -1 for the text; empty: the text alone */
    struct qm_bpe bpe;
    struct qm_unigram unigram;
    struct qm_spm spm;
};

/* ---- the state of one encoding ---- */

struct qm_heap_item {
    uint64_t key; /* rank << 32 | position */
    uint32_t size;
};
struct qm_symbol {
    int32_t id;
    uint32_t start, len, prev, next;
    bool frozen;
};
struct qm_word_cache;

struct qm_call {
    const struct qm_tokenizer *t;
    struct qm_ids *out;
    struct qm_error *err;
    struct qm_matcher *matcher;
    struct qm_buf normal[2], step[QM_MAX_STEPS], mapped;
    struct qm_symbol *symbols;
    size_t symbols_cap;
    struct qm_heap_item *heap;
    size_t heap_len, heap_cap;
    struct qm_ids word;
    void *path; /* Viterbi's nodes */
    size_t path_bytes;
    struct qm_word_cache *cache;
    bool parse_special;
    const volatile sig_atomic_t *interrupt; /* may be NULL */
};
/* QM_INTERRUPTED where the call shall end: asked for between words. */
int qm_call_look(const struct qm_call *c);
/* expected: bytes of text to come, by which the cache is sized. */
int qm_call_begin(struct qm_call *c, const struct qm_tokenizer *t, size_t expected, struct qm_ids *out,
                  struct qm_error *err);
void qm_call_end(struct qm_call *c);
/* Merges to come, the smallest key first; and room for n symbols. */
int qm_heap_push(struct qm_call *c, uint64_t key, uint32_t size);
struct qm_heap_item qm_heap_pop(struct qm_call *c);
int qm_symbols_reserve(struct qm_call *c, size_t n);
/* The tokens of a short word seen before in this call: ids and their count, NULL if there are none. */
const int32_t *qm_word_cached(const struct qm_call *c, const char *word, size_t len, size_t *n);
void qm_word_remember(struct qm_call *c, const char *word, size_t len, const int32_t *ids, size_t n);

/* A piece of text on its way, and how many of its first bytes stem from the very first character of the
 * original text: Metaspace's "first" asks. */
struct qm_text {
    const char *p;
    size_t len, lead;
};

int qm_added_build(struct qm_tokenizer *t, struct qm_error *err);
int qm_added_encode(struct qm_call *c, const char *text, size_t len);
/* Normalizes in->p to *out, which stays valid until the next call. */
int qm_normalize(struct qm_call *c, struct qm_text in, struct qm_text *out);
int qm_pretokenize(struct qm_call *c, size_t step, struct qm_text text);
/* The length of the first part of a text that may be encoded by itself. */
size_t qm_word_cut(const struct qm_tokenizer *t, const char *p, size_t len);
int qm_word_encode(struct qm_call *c, const char *word, size_t len);
int qm_bpe_encode(struct qm_call *c, const char *word, size_t len, struct qm_ids *out);
int qm_unigram_encode(struct qm_call *c, const char *word, size_t len, struct qm_ids *out);
/* A part of a text; prefix: it begins as a text does. */
int qm_spm_encode(struct qm_call *c, const char *text, size_t len, bool prefix);
int qm_spm_decode(const struct qm_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, struct qm_buf *out,
                  struct qm_error *err);
int qm_decode_tokens(const struct qm_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, struct qm_buf *out,
                     struct qm_error *err);

int qm_bpe_add_merge(struct qm_bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t id, struct qm_error *err);
const struct qm_merge *qm_bpe_find(const struct qm_bpe *b, int32_t left, int32_t right);

/* Appends bytes as text, with U+FFFD for each maximal part that is not UTF-8. *rest: where whole is
 * false, how many bytes at the end may be the beginning of a character and were not written. */
int qm_lossy(const char *p, size_t n, bool whole, struct qm_buf *out, size_t *rest, struct qm_error *err);
/* qm_tokenizer_token_bytes with memory that is kept from one call to the next. Zero-initialise. */
struct qm_token_scratch {
    struct qm_buf a, b;
    struct qm_matcher *matcher;
};
int qm_token_bytes(const struct qm_tokenizer *t, int32_t id, struct qm_token_scratch *scratch, struct qm_buf *out,
                   struct qm_error *err);
void qm_token_scratch_free(struct qm_token_scratch *s);

/* What an id is to the decoder: CONTROL where it stands for its own text. */
int qm_spm_type(const struct qm_tokenizer *t, int32_t id);
/* The id that the `tokenizers` library gives a token that is added. */
int32_t qm_added_id(const struct qm_tokenizer *t, const char *text, size_t len);

/* Loading from memory. name is the file's, for messages; beside: the files beside it, NULL for none (where they are
 * given, load_json puts the parsed file among them). */
int qm_tokenizer_load_json(const char *text, size_t len, const char *name, struct qm_token_files *beside,
                           struct qm_tokenizer **out, struct qm_error *err);
int qm_tokenizer_load_model(const char *bytes, size_t len, const char *name, const struct qm_token_files *beside,
                            struct qm_tokenizer **out, struct qm_error *err);
/* With the vocabulary and the file's own added tokens loaded. */
int qm_settings_apply(struct qm_tokenizer *t, const struct qm_settings *s, struct qm_error *err);
int qm_load_normalizer(struct qm_tokenizer *t, const json_t *v, struct qm_error *err);
int qm_load_pretokenizer(struct qm_tokenizer *t, const json_t *v, struct qm_error *err);
int qm_load_post(struct qm_tokenizer *t, const json_t *v, struct qm_error *err);
int qm_load_decoder(struct qm_tokenizer *t, const json_t *v, struct qm_error *err);
int qm_load_vocab_model(struct qm_tokenizer *t, const json_t *v, const char *name, struct qm_error *err);
/* Fills joins[] from the vocabulary and says that the text may be cut. */
void qm_allow_cuts(struct qm_tokenizer *t);
/* Tables by id after all tokens are known. */
int qm_tokenizer_finish(struct qm_tokenizer *t, struct qm_error *err);

#endif
