/* Where the rows of a batch job come from, one after another: a file of JSON lines (batch/input.h), or documents and
 * questions (batch/document.h). A row is a line of an OpenAI batch file, known by its number; the runner asks for rows
 * in order, and later once more for the text of one. What is read twice is compared: each row has its hash. */
#ifndef QM_BATCH_SOURCE_H
#define QM_BATCH_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct qm_batch_line {
    int64_t number;          /* from 1; empty lines of a file do not count */
    int64_t file_line;       /* from 1, empty ones counted; 0: not from a file */
    uint64_t offset, length; /* where it is: of a file bytes */
    uint64_t hash;           /* of what it says */
    const char *text;        /* until the next call; NULL: longer than the limit */
    const char *head;        /* where it is longer: how it begins, */
    size_t head_length;
};

struct qm_batch_source {
    void *self;
    /* *end: there was none. */
    int (*next)(void *self, struct qm_batch_line *out, bool *end, struct qm_error *err);
    /* The next row is the one with this number, line of the file and offset. */
    int (*seek)(void *self, const struct qm_batch_line *at, struct qm_error *err);
    /* The text of a row that next() gave before; QM_INPUT where it is not what it was. */
    int (*read)(void *self, const struct qm_batch_line *line, struct qm_buf *out, struct qm_error *err);
    /* *same false: what next() has read may have changed since it was opened, and is to be compared. QM_INPUT where it
     * has. */
    int (*unchanged)(void *self, bool *same, struct qm_error *err);
    /* Bytes from this row on, by its number and offset, which may be the end's: of what prompts are made of. */
    double (*ahead)(void *self, const struct qm_batch_line *at);
    uint64_t size; /* what offsets end at */
    int64_t rows;  /* how many there are, -1: not known */
};

#endif
