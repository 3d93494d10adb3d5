/* The work of a job (batch/work.h) in three files: work_read.c reads rows ahead, work_give.c gives them to the
 * scheduler and takes what it answers, work.c writes them and does the rest. */
#ifndef QM_BATCH_WORK_PRIVATE_H
#define QM_BATCH_WORK_PRIVATE_H

#include "batch/outlook.h"
#include "batch/row.h"
#include "batch/waiting.h"
#include "batch/window.h"
#include "batch/work.h"

/* A row that the scheduler has, or some of whose parts it has. */
struct qm_batch_active {
    struct qm_batch_work *work;
    struct qm_batch_active *next;
    struct qm_batch_line line;
    struct qm_batch_row row;
    struct qm_openai_request *request;
    int parts, submitted, ended;
    struct qm_batch_part {
        struct qm_batch_active *row;
        uint64_t id;  /* the scheduler's; 0: not submitted, or ended */
        int64_t most; /* tokens that it may generate */
    } * part;
    struct qm_error failed; /* code QM_OK: nothing has */
    bool waits;             /* for more memory than there is today */
    int64_t prompt, cached, generated;
    bool follows; /* its prompt begins as that of a row before it */
    double started, first, finished;
    bool cut; /* an answer ended because it was as long as it may be */
};

struct qm_batch_work {
    struct qm_batch_work_options o;
    struct qm_batch_window *window;
    struct qm_batch_active *active; /* a list */
    int64_t n_active, in_flight;
    double time; /* the base of the job's own */
    bool closing;
    struct qm_batch_waiting *waiting;   /* rows of another run, that has more memory */
    bool suspects;                      /* some rows were at work when the program crashed */
    struct qm_batch_pending *suspect;   /* taken, and waits until it can run alone */
    bool alone;                         /* what is active is to be alone */
    struct qm_batch_flight flight_none; /* where nobody looks */
    struct qm_batch_line next;          /* where reading goes on */
    int64_t noted;                      /* rows done when the position was noted last */
    struct qm_batch_counts counts;
    struct qm_batch_outlook outlook;
    struct qm_buf line;     /* the output line being made */
    struct qm_error system; /* what concerns the job, met inside a callback */
};

/* Whose text is being worked on, should that end the program; 0: nobody's. */
static inline void qm_batch_work_on(struct qm_batch_work *w, int64_t number) {
    w->o.flight->current = number;
}

/* What is the row's fault becomes its error line; anything else is the job's. */
static inline bool qm_batch_is_rows(int rc) {
    return rc == QM_INPUT || rc == QM_USAGE || rc == QM_FIT;
}

/* One more row; *more false: none, or no room. */
int qm_batch_read_ahead(struct qm_batch_work *w, bool *more, struct qm_error *err);
/* One more sequence; *more false: nothing is left to give, or no room to give it to. */
int qm_batch_give(struct qm_batch_work *w, bool *more, struct qm_error *err);
void qm_batch_active_free(struct qm_batch_active *a);
/* A row that never reached the scheduler, or failed there. unread: it is no row at all, and found by its line. */
int qm_batch_write_error(struct qm_batch_work *w, const struct qm_batch_line *line, bool unread, const char *custom_id,
                         const struct qm_error *why, struct qm_error *err);

#endif
