/* Rounds over the kernels that are due, and what is kept of them. */
#include "planner/calibrate.h"

#include <stdlib.h>

#include "base/clock.h"
#include "planner/calibrate_private.h"

/* Seconds after which no part is begun, no round more than needed, and nothing is finished. */
static const double BEGIN = 45, MORE = 70, END = 110;

static bool kernels_settled(const struct qm_calibration_samples *s) {
    for (int i = 0; i < s->points; i++)
        if (!qm_calibration_settled(&s->point[i]))
            return false;
    return s->points > 0;
}

/* Rounds over the kernels that are missing, until all their points are settled. rounds: of each kind. */
static int run_rounds(const struct qm_calibration_means *by, const struct qm_calibration_setup *setup, unsigned missing,
                      const struct qm_measuring *with, struct qm_calibration_samples *samples,
                      int rounds[QM_CALIBRATION_KERNELS], struct qm_error *err) {
    static const char what[] = "measuring the kernels";
    double begin = setup->until - END;
    int rc = QM_OK, steps = 0;
    for (int i = 0; i < QM_CALIBRATION_KERNELS; i++)
        steps += QM_CALIBRATION_ROUNDS * (missing >> i & 1);
    for (int round = 0, step = 0; round < QM_CALIBRATION_ROUNDS && !rc; round++)
        for (int i = 0; i < QM_CALIBRATION_KERNELS && !rc; i++) {
            if (!(missing >> i & 1))
                continue;
            double until = round == 0 ? BEGIN : round < QM_CALIBRATION_LEAST ? END : MORE;
            rc = qm_measuring_progress(with, what, step++, steps, err);
            if (rc || rounds[i] < round || kernels_settled(&samples[i]) || by->now() - begin > until)
                continue;
            rc = by->one_round((enum qm_calibration_kernels)i, setup, &samples[i], err);
            rounds[i] += rc == QM_OK;
        }
    int last = rc == QM_INTERRUPTED ? rc : qm_measuring_progress(with, what, steps, steps, err);
    return last ? last : rc;
}

/* What was measured twice at least is taken. */
static int measure_kernels(const struct qm_calibration_means *by, const struct qm_calibration_wish *w, unsigned due,
                           const struct qm_measuring *with, struct qm_calibration *out, struct qm_error *err) {
    struct qm_calibration_samples *samples = calloc(QM_CALIBRATION_KERNELS, sizeof *samples);
    int rounds[QM_CALIBRATION_KERNELS] = {0};
    struct qm_noise_watch watch;
    if (!samples)
        return qm_fail_memory(err, QM_CALIBRATION_KERNELS * sizeof *samples, "calibration");
    qm_measuring_note(with, "measuring the kernels that are needed: one or two minutes, once for this build of them");
    qm_noise_begin(&watch);
    struct qm_calibration_setup setup = {
        .machine = w->machine, .profile = w->profile, .isa = w->isa, .until = by->now() + END};
    int rc = run_rounds(by, &setup, due, with, samples, rounds, err);
    for (int i = 0; i < QM_CALIBRATION_KERNELS; i++)
        if (rounds[i] > 1)
            qm_calibration_conclude((enum qm_calibration_kernels)i, &samples[i], &out->efficiency);
    out->tried |= due;
    out->noise = by->noise(&watch);
    free(samples);
    return rc;
}

int qm_calibration_measure_by(const struct qm_calibration_means *by, const struct qm_calibration_wish *w,
                              const struct qm_measuring *with, struct qm_calibration *kept, struct qm_error *err) {
    const char *identity = w->machine->identity;
    char path[4200], missing[256];
    struct qm_efficiency efficiency;
    struct qm_calibration there, fresh = {.noise = {-1, -1, 0, NULL}};
    struct qm_error why, stopped = {0};
    bool found = qm_calibration_load(identity, w->isa, with->cache, &there, path, &why);
    if (why.code)
        qm_measuring_note(with, "measuring the kernels again: %s", why.message);
    unsigned due = qm_calibration_due(found ? &there : NULL, w->needed, w->quiet);
    *kept = there;
    if (due) {
        int rc = measure_kernels(by, w, due, with, &fresh, &stopped);
        if (rc && rc != QM_FIT && rc != QM_STOPPED) {
            *err = stopped;
            return rc;
        }
        unsigned missed = qm_calibration_missing(&there, w->needed);
        bool more = (missed & ~there.tried) || (missed & ~qm_calibration_missing(&fresh, w->needed));
        qm_calibration_merge(&fresh, &there);
        /* what was there is only given up for something quieter, or more */
        if (more || qm_noise_level(&fresh.noise) < qm_noise_level(&there.noise))
            *kept = fresh;
        if (path[0] && qm_calibration_save(path, identity, w->isa, kept, &why))
            qm_measuring_note(with, "the measured efficiencies are not kept: %s", why.message);
    }
    qm_calibration_efficiency(kept, w->needed, &efficiency, missing);
    if (missing[0])
        qm_measuring_note(with, "default efficiencies for %s: not measured yet (%s)", missing,
                          stopped.code == QM_FIT ? stopped.message : "interrupted; resumes next time");
    return QM_OK;
}

int qm_calibration_measure(const struct qm_calibration_wish *w, const struct qm_measuring *with,
                           struct qm_calibration *kept, struct qm_error *err) {
    static const struct qm_calibration_means own = {qm_calibrate_round, qm_now, qm_noise_end};
    return qm_calibration_measure_by(&own, w, with, kept, err);
}
