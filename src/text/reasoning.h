/* Generated text separated into reasoning and answer as it comes, wherever it is cut into pieces. What is given out
 * piece by piece is also kept: the whole of a part is the sum of its pieces, so an answer that is not streamed is the
 * streamed one put together.
 *
 * QM_REASONING_NONE: all of it is the answer.
 * QM_REASONING_THINK: "<think>...</think>answer", where the prompt may have opened the block already. Text
 * that does not begin with <think> is an answer. Newlines around the reasoning are not part of it, nor those
 * before the answer that follows it.
 * QM_REASONING_HARMONY (gpt-oss): messages "<|channel|>analysis<|message|>...<|end|><|start|>assistant
 * <|channel|>final<|message|>..."; the analysis channel is reasoning, every other an answer. Needs text with
 * special tokens in it.
 *
 * A splitter belongs to one text and one thread. It knows nothing of tokens or messages. */
#ifndef QM_TEXT_REASONING_H
#define QM_TEXT_REASONING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"
#include "text/tokenizer/tokenizer.h"

enum qm_reasoning_format { QM_REASONING_NONE, QM_REASONING_THINK, QM_REASONING_HARMONY };
enum qm_content { QM_CONTENT_REASONING, QM_CONTENT_ANSWER };

/* Called with at least one byte; whole UTF-8 characters where the input is. */
typedef void qm_content_fn(void *arg, enum qm_content part, const char *text, size_t len);

/* HARMONY where the vocabulary has its tokens, else THINK. *keep_special: generate with skip_special off, as
 * the marks are special tokens. */
enum qm_reasoning_format qm_reasoning_detect(const struct qm_tokenizer *t, bool *keep_special);
/* Whether a rendered prompt ends with an open <think>. */
bool qm_reasoning_opened(const char *prompt, size_t len);

struct qm_reasoning;
/* opened: see qm_reasoning_opened. */
int qm_reasoning_new(enum qm_reasoning_format format, bool opened, struct qm_reasoning **out, struct qm_error *err);
void qm_reasoning_free(struct qm_reasoning *r);
/* The next piece of the text, of any length; gives out what is sure then. fn: NULL where nobody listens. After an error
 * it can only be freed. */
int qm_reasoning_push(struct qm_reasoning *r, const char *text, size_t len, qm_content_fn *fn, void *arg,
                      struct qm_error *err);
/* The text has ended: gives out what was held back. */
int qm_reasoning_flush(struct qm_reasoning *r, qm_content_fn *fn, void *arg, struct qm_error *err);
/* What was given out of a part so far; borrowed. Its data is NULL where that is nothing. */
const struct qm_buf *qm_reasoning_sum(const struct qm_reasoning *r, enum qm_content part);

#endif
