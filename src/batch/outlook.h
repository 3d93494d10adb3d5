/* What of a job is still ahead, as far as its rows can be seen: how many tokens of prompts will be computed, of rows
 * that were read and of those that were not. A row that begins as one before it computes little of its prompt, since
 * the prefix cache has the rest; so the two kinds are counted apart. How long all that takes is batch/left.h's.
 * Not thread-safe. */
#ifndef QM_BATCH_OUTLOOK_H
#define QM_BATCH_OUTLOOK_H

#include "batch/left.h"
#include "batch/row.h"

enum { QM_BATCH_RECENT = 16 };

struct qm_batch_outlook {
    struct qm_batch_left left;
    struct qm_batch_kind {
        double read, waiting,
            done;              /* bytes of rows that were read; of which none is given to the scheduler yet; done */
        double prompt, cached; /* tokens of those done; of them from the cache */
    } kind[2];                 /* 0: rows with a prefix of their own, 1: those that follow another */
    int64_t rows, waiting;     /* rows read; of which wait */
    double begun, parts;       /* rows given to the scheduler, and their answers */
    struct qm_batch_prefix recent[QM_BATCH_RECENT];
};

/* A row was read: whether its prompt begins as a recent one's, as far as both can tell. */
bool qm_batch_outlook_read(struct qm_batch_outlook *o, uint64_t bytes, const struct qm_batch_prefix *prefix);
/* It waits no longer; answers: how many it asks for. */
void qm_batch_outlook_begun(struct qm_batch_outlook *o, bool follows, uint64_t bytes, int answers);
/* It has ended, after so many tokens. */
void qm_batch_outlook_done(struct qm_batch_outlook *o, bool follows, uint64_t bytes, int64_t prompt, int64_t cached);

/* The share of its prompt that a row of the kind computes, as far as it is known. */
double qm_batch_outlook_computed(const struct qm_batch_outlook *o, bool follows);
/* Adds what waits and what was not read: so many bytes, or where these are not known (0) so many rows. */
void qm_batch_outlook_ahead(const struct qm_batch_outlook *o, double unread_bytes, double unread_rows,
                            struct qm_batch_ahead *a);

#endif
