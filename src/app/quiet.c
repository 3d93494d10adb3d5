/* The options of quiet work. */
#include "app/quiet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cache.h"
#include "base/words.h"
#include "engine/report.h"
#include "numa/power_cap.h"
#include "numa/priority.h"
#include "planner/find.h"

/* Until the fewest are found: what the machine's profile says of reading, else half of the threads. */
static int first_threads(const struct qm_engine *engine, double share) {
    struct qm_machine *machine = calloc(1, sizeof *machine);
    struct qm_machine_profile *profile = calloc(1, sizeof *profile);
    int all = qm_engine_threads(engine), threads = (all + 1) / 2;
    char cache[4096];
    if (machine && profile && !qm_machine_describe(machine, NULL)) {
        if (!qm_app_cache_directory(cache, sizeof cache, NULL) &&
            qm_machine_kept(machine, qm_engine_isa(engine), cache, profile))
            threads = qm_machine_profile_threads(profile, share);
        qm_machine_free(machine);
    }
    free(machine);
    free(profile);
    return threads < all ? threads : all;
}

int qm_quiet_apply(const struct qm_quiet_options *o, struct qm_progress *progress, struct qm_engine *engine,
                   struct qm_error *err) {
    struct qm_error why = {0};
    if (o->priority && qm_team_priority(qm_engine_team(engine), o->nice, o->idle, &why))
        qm_note(progress, "warning: %s; going on without", why.message);
    struct qm_power_cap *cap;
    if (o->watts > 0 && qm_power_cap_open("", o->watts, NULL, &cap, &why))
        qm_note(progress, "warning: --power-cap is not possible: %s; going on without", why.message);
    else if (o->watts > 0)
        qm_engine_set_power_cap(engine, cap);
    int first = o->prefill ? first_threads(engine, o->share) : 0;
    return o->share > 0 ? qm_engine_set_quiet(engine, o->share, o->prefill, first, err) : QM_OK;
}

static void cap_text(const struct qm_engine *engine, char *out, size_t size) {
    struct qm_power_cap_state s;
    qm_power_cap_look(qm_engine_power_cap(engine), &s);
    if (isnan(s.watts))
        snprintf(out, size, ", capped at %g W: too short to tell", s.limit);
    else
        snprintf(out, size, ", capped at %g W: %.1f W, %.0f %% paused", s.limit, s.watts, 100 * s.paused);
}

json_t *qm_power_cap_json(const struct qm_engine *engine) {
    struct qm_power_cap_state s;
    if (!qm_engine_power_cap(engine))
        return json_null();
    qm_power_cap_look(qm_engine_power_cap(engine), &s);
    return json_pack("{s:f, s:o, s:f}", "limit", s.limit, "watts", isnan(s.watts) ? json_null() : json_real(s.watts),
                     "paused", s.paused);
}

void qm_quiet_text(const struct qm_engine *engine, char *out, size_t size) {
    struct qm_quiet_state s;
    out[0] = 0;
    if (qm_engine_power_cap(engine))
        cap_text(engine, out, size);
    if (!qm_engine_quiet(engine, &s))
        return;
    size_t used = strlen(out);
    out += used;
    size -= used;
    int all = qm_engine_threads(engine);
    if (!s.found)
        snprintf(out, size, ", %d thread%s (too few tokens yet to find the fewest that keep %.4g %%)", all, qm_s(all),
                 100 * s.wanted);
    else if (s.use.threads == all)
        snprintf(out, size, ", all %d thread%s: fewer do not keep %.4g %%", all, qm_s(all), 100 * s.wanted);
    else
        snprintf(out, size, ", %d of %d thread%s keep %.0f %%", s.use.threads, all, qm_s(all), 100 * s.kept);
}

json_t *qm_quiet_json(const struct qm_engine *engine) {
    struct qm_quiet_state s;
    if (!qm_engine_quiet(engine, &s))
        return json_null();
    return json_pack("{s:f, s:b, s:i, s:i, s:o, s:b, s:I}", "wanted", s.wanted, "found", s.found, "threads",
                     s.use.threads, "threads_all", qm_engine_threads(engine), "kept",
                     s.found ? json_real(s.kept) : json_null(), "spin", s.use.spin, "steps", (json_int_t)s.steps);
}
