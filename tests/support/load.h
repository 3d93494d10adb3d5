/* A load of random requests for the scheduler, each with what qm_generate makes of it alone, and a run of them with
 * random arrivals and cancellations that holds every token, text, log-probability and outcome to it. Failures end
 * the test. */
#ifndef QM_TESTS_SUPPORT_LOAD_H
#define QM_TESTS_SUPPORT_LOAD_H

#include "session/draft/draft.h"
#include "session/generate.h"
#include "session/scheduler.h"

struct load_shape {
    int requests;
    int64_t prompt_max, tokens_max;
    int64_t head; /* tokens that about half of the prompts have in common; 0: none */
    bool endless; /* no stop strings, and end tokens do not end it */
    uint64_t seed;
};

struct load;

/* Runs each job alone on `alone`, which has one sequence free. tokenizer may be NULL. */
struct load *load_new(struct qm_engine *alone, const struct qm_tokenizer *tokenizer, const struct load_shape *shape);
void load_free(struct load *l);
/* How many of the jobs have the common head. */
int load_sharing(const struct load *l);

struct load_course {
    uint64_t seed;
    bool at_once;    /* all jobs before the first step */
    int cancels;     /* of 100 jobs */
    bool priorities; /* random ones */
    int resumed;     /* of 100 jobs: some of their tokens were generated before */
};
/* Everything is reported once, and is the same; *stats may be NULL. */
void load_run(struct load *l, const struct qm_scheduler_options *o, const struct load_course *c,
              struct qm_scheduler_stats *stats);

/* Each job alone again, with drafts: everything is the same. */
void load_run_alone(struct load *l, struct qm_speculation *speculation);

/* A drafter that knows what will be generated, and says of so many in a hundred tokens what they are, of the others
 * something else. */
struct qm_drafter load_drafter(struct load *l, int right);

#endif
