/* Tokens a second by the number of drafts. */
#include "planner/drafted.h"

enum { MOST = 64, HALVINGS = 20 };
static const double win = 1.02;

struct steps {
    double seconds[MOST + 1]; /* that check so many drafts */
    int most;
};

/* The best number of drafts, and its tokens in the time of a step without. */
static int best_of(const struct steps *s, double acceptance, double *gain) {
    double tokens = 0, chance = 1;
    int best = 0;
    *gain = 1;
    for (int k = 0; k <= s->most; k++) {
        tokens += chance;
        chance *= acceptance;
        double now = tokens * s->seconds[0] / s->seconds[k];
        if (now > *gain) {
            *gain = now;
            best = k;
        }
    }
    return best;
}

static double pays_from(const struct steps *s) {
    double low = 0, high = 1, gain;
    best_of(s, high, &gain);
    if (gain < win)
        return 2;
    for (int i = 0; i < HALVINGS; i++) {
        double middle = (low + high) / 2;
        best_of(s, middle, &gain);
        *(gain < win ? &low : &high) = middle;
    }
    return high;
}

void qm_time_drafted(const struct qm_time_setup *t, int64_t sequences, int64_t position, double acceptance, int most,
                     struct qm_drafted *out) {
    struct steps s = {.most = most < MOST ? most : MOST};
    struct qm_step_time step;
    for (int k = 0; k <= s.most; k++) {
        qm_time_step(t, sequences, position, 1 + k, 1 + k, &step);
        s.seconds[k] = step.seconds;
    }
    *out = (struct qm_drafted){.pays = pays_from(&s)};
    out->drafts = best_of(&s, acceptance, &out->gain);
    out->tps = out->gain * (double)sequences / s.seconds[0];
}
