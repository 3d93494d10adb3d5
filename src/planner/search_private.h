/* What the search's files share: the units that can move, and a placement being filled. */
#ifndef QM_PLANNER_SEARCH_PRIVATE_H
#define QM_PLANNER_SEARCH_PRIVATE_H

#include "engine/units.h"
#include "planner/search.h"

/* One unit that can be on any device. */
struct qm_item {
    enum qm_unit_kind kind;
    int64_t layer, expert;
    uint64_t bytes;                          /* on a device, with keys and values */
    double saved;                            /* seconds of the scenario, on the best device, less those on the CPU */
    double decode_saved, prefill_saved, cpu; /* for the bound: the seconds of each phase, and on the CPU */
    double decode_bytes;                     /* of it that save decode_saved */
    bool pinned;
};

/* What is streamed, to the device of the fastest link or to each device some layers. */
enum qm_streaming {
    QM_STREAM_NONE,
    QM_STREAM_FFN,
    QM_STREAM_ALL,
    QM_STREAM_FFN_TO_EACH,
    QM_STREAM_ALL_TO_EACH,
    QM_STREAM_WAYS
};

struct qm_search {
    const struct qm_search_ask *ask;
    struct qm_item *items;
    int64_t n_items;
    struct qm_placement pinned;    /* the pins, everything else on the CPU */
    uint64_t free[QM_MAX_DEVICES]; /* beside the pins and activations */
    uint64_t largest_slots;        /* two of the largest unit */
    struct qm_search_result *best;
    const char *least_part; /* what had no room in the placement that was least short */
    uint64_t least_short;   /* of the CPU's bytes, of all that did not fit */
    bool needed;            /* the CPU alone does not hold it: units go to devices even where they are slower there */
    int64_t tried;
};

/* Lists the units, with their savings. */
int qm_search_items(struct qm_search *s, struct qm_error *err);
/* Puts the unit on the device in p. */
void qm_item_place(struct qm_placement *p, const struct qm_item *item, int device);
/* An FFN moves a fraction `share` of its columns to a device: the number of columns that stay on the CPU. */
int32_t qm_columns_left(const struct qm_model *m, double share);
/* Tries p: takes it as the best where it fits and is faster. p is unchanged. */
int qm_search_try(struct qm_search *s, const struct qm_placement *p, struct qm_error *err);
/* Streams what is on the CPU in this way, from the length on at which that is faster; false where it never is. */
bool qm_search_stream(const struct qm_search *s, struct qm_placement *p, enum qm_streaming way);
double qm_search_bound(const struct qm_search *s, double on_the_cpu);
/* Every placement, where there are at most EVERY of them: *few. */
int qm_search_every(struct qm_search *s, bool *few, struct qm_error *err);

#endif
