/* Tokenizers as published: tokenizer.json (Hugging Face `tokenizers`: BPE, Unigram), else
 * tokenizer.model (SentencePiece BPE, Unigram), exact against those libraries.
 * A loaded tokenizer is const and may be used by many threads; a decoder stream belongs to one.
 * Limits: file 256 MB, 4 M tokens, text per call 1 GB. Encoding time is linear in the text. */
#ifndef QM_TEXT_TOKENIZER_TOKENIZER_H
#define QM_TEXT_TOKENIZER_TOKENIZER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "text/tokenizer/ids.h"

struct qm_tokenizer;

/* Loads from a model directory: tokenizer.json, or tokenizer.model where there is none;
 * with what tokenizer_config.json, special_tokens_map.json and added_tokens.json add (settings.h). An unknown
 * component, a damaged file or a directory with neither is QM_INPUT, named. */
int qm_tokenizer_load(const char *dir, struct qm_tokenizer **out, struct qm_error *err);
void qm_tokenizer_free(struct qm_tokenizer *t);

/* Greatest id + 1 over vocabulary and added tokens. */
int64_t qm_tokenizer_size(const struct qm_tokenizer *t);

/* Appends the ids of text (UTF-8; invalid bytes are QM_INPUT with their offset). add_special: the
 * post-processor's template (BOS, EOS) is applied. Added tokens in text are recognised, unless
 * parse_special is false: then special ones are plain text (for untrusted text inside a template). */
int qm_tokenizer_encode(const struct qm_tokenizer *t, const char *text, size_t len, bool add_special,
                        bool parse_special, struct qm_ids *out, struct qm_error *err);
/* The same, looking at *interrupt between words (NULL: not at all): QM_INTERRUPTED where it is not 0. */
int qm_tokenizer_encode_until(const struct qm_tokenizer *t, const char *text, size_t len, bool add_special,
                              bool parse_special, const volatile sig_atomic_t *interrupt, struct qm_ids *out,
                              struct qm_error *err);

/* QM_INPUT naming the first id that is not below rows, those of a model's embedding: tokenizers may have more tokens.
 * what: whose ids they are, for the message. */
int qm_tokenizer_check_ids(const struct qm_tokenizer *t, const struct qm_ids *ids, int64_t rows, const char *what,
                           struct qm_error *err);

/* Appends the text of ids; skip_special drops special tokens. Invalid UTF-8 becomes U+FFFD as the
 * published decoder does. An id that no token has (models pad their vocabulary; files leave gaps) has no text, here
 * as in the functions below, as in the published library; a negative one is QM_INPUT. */
int qm_tokenizer_decode(const struct qm_tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                        struct qm_buf *out, struct qm_error *err);

/* Streamed decoding: feed ids one at a time, get whole UTF-8 characters as soon as they are sure. The
 * concatenation of all that is given out, flush included, is what qm_tokenizer_decode gives for byte-level
 * vocabularies. SentencePiece-like decoders look at the whole text in two ways a stream can't: they drop
 * the space before the first word (a stream gives it out, unless qm_stream_drop_space was called before
 * the first push), and write one U+FFFD for each byte of an invalid run (a stream: one for each part). */
struct qm_stream;
int qm_stream_new(const struct qm_tokenizer *t, bool skip_special, struct qm_stream **out, struct qm_error *err);
void qm_stream_drop_space(struct qm_stream *s);
int qm_stream_push(struct qm_stream *s, int32_t id, struct qm_buf *out, struct qm_error *err);
int qm_stream_flush(struct qm_stream *s, struct qm_buf *out, struct qm_error *err);
void qm_stream_free(struct qm_stream *s);

/* The id of a token given by its exact content (added tokens first), or -1. */
int32_t qm_tokenizer_id(const struct qm_tokenizer *t, const char *content, size_t len);
/* The content of a token as the vocabulary spells it ("\u0120the"), or NULL for an id with none; it belongs to the
 * tokenizer. */
const char *qm_tokenizer_piece(const struct qm_tokenizer *t, int32_t id, size_t *len);
/* Whether a token is one that is sought in a text as a whole: special, or added, or a user's symbol. */
bool qm_tokenizer_is_added(const struct qm_tokenizer *t, int32_t id);
/* The token that the folder names as the end of a text (eos_token), or -1. */
int32_t qm_tokenizer_eos(const struct qm_tokenizer *t);
bool qm_tokenizer_is_special(const struct qm_tokenizer *t, int32_t id);
/* The raw bytes an id stands for (for logprobs and stop strings), appended to out: none where no token has it. */
int qm_tokenizer_token_bytes(const struct qm_tokenizer *t, int32_t id, struct qm_buf *out, struct qm_error *err);

#endif
