/* The input of a batch job: a file of JSON lines of any size, streamed in constant memory. It is recognised by size,
 * time and a fingerprint of sampled blocks, without reading it; while it is read each block's fingerprint is reported,
 * so that who keeps them notices a change anywhere. A file that is written to while it is read is refused at the next
 * piece. Empty lines are no rows; a line may end with CR LF.
 * Not thread-safe. */
#ifndef QM_BATCH_INPUT_H
#define QM_BATCH_INPUT_H

#include "base/hash.h"
#include "batch/source.h"

enum { QM_BATCH_LINE_LIMIT = 64 << 20, QM_BATCH_BLOCK = 16 << 20 };

struct qm_batch_identity {
    uint64_t size;
    int64_t modified, changed; /* its content, or anything of it: nanoseconds since 1970 */
    uint64_t device, inode;
    char sample[QM_HASH_TEXT];
};

struct qm_batch_input;

/* A block of QM_BATCH_BLOCK bytes (the last may be shorter) has been read. Anything but QM_OK ends the reading. */
typedef int qm_batch_block_fn(void *arg, int64_t block, const char *hash, struct qm_error *err);

/* QM_INPUT for what is not a regular file. line_limit: bytes, QM_BATCH_LINE_LIMIT but in tests. */
int qm_batch_input_open(const char *path, uint64_t line_limit, struct qm_batch_input **out, struct qm_error *err);
void qm_batch_input_close(struct qm_batch_input *in);
const struct qm_batch_identity *qm_batch_input_identity(const struct qm_batch_input *in);
void qm_batch_input_on_block(struct qm_batch_input *in, qm_batch_block_fn *on_block, void *arg);
/* Belongs to the input. */
struct qm_batch_source qm_batch_input_source(struct qm_batch_input *in);

#endif
