/* Measurements, reported and kept. */
#include "app/machine/measuring.h"

#include "app/cache.h"
#include "app/signals.h"

static int show(void *arg, const char *what, uint64_t done, uint64_t total) {
    struct qm_app_measuring *m = arg;
    qm_progress_update(m->progress, what, done, total, QM_PROGRESS_STEPS);
    m->open = done < total;
    qm_signals_kept(m->open ? m->kept : NULL);
    if (!m->open)
        qm_progress_end(m->progress);
    return *qm_signals_flag() != 0;
}

static void note(void *arg, const char *line) {
    struct qm_app_measuring *m = arg;
    qm_note(m->progress, "%s", line);
}

void qm_app_measuring_begin(struct qm_app_measuring *m, struct qm_progress *progress) {
    struct qm_error why;
    *m = (struct qm_app_measuring){.with = {.progress = show, .note = note, .arg = m},
                                   .progress = progress,
                                   .kept = "the machine's profile stays as it was"};
    if (qm_app_cache_directory(m->cache, sizeof m->cache, &why))
        qm_note(progress, "the profile is not kept: %s", why.message);
    else
        m->with.cache = m->cache;
}

void qm_app_measuring_end(struct qm_app_measuring *m) {
    if (m->open)
        qm_signals_kept(NULL);
    qm_progress_end(m->progress);
    m->open = false;
}
