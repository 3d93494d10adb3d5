/* Stepping, and computing again what a device took with it. */
#include "session/feed.h"

static int recompute(struct qm_engine *e, struct qm_sequence *s, const struct qm_known_tokens *known, int parts,
                     int64_t n, struct qm_error *err) {
    int64_t chunk = qm_engine_chunk(e), at = 0;
    if (qm_sequence_truncate(s, 0))
        return qm_fail(err, QM_SYSTEM, "a sequence could not be emptied");
    for (int i = 0; i < parts; i++)
        for (int64_t done = 0, more; done < known[i].n && at < n; done += more, at += more) {
            if (!known[i].ids)
                return qm_fail(err, QM_SYSTEM, "%s; the tokens before are not known, to go on without the device",
                               qm_engine_failures(e));
            more = known[i].n - done < chunk ? known[i].n - done : chunk;
            more = more < n - at ? more : n - at;
            struct qm_step step = {.sequence = s, .tokens = known[i].ids + done, .n = more};
            int rc = qm_engine_step(e, &step, 1, err);
            if (rc)
                return rc;
        }
    return QM_OK;
}

int qm_step_surely(struct qm_engine *e, const struct qm_step *step, const struct qm_known_tokens *known, int parts,
                   struct qm_error *err) {
    int64_t held = qm_sequence_length(step->sequence);
    int rc = qm_engine_step(e, step, 1, err);
    while (rc && qm_engine_device_failed(e)) { /* another may fail meanwhile */
        rc = qm_engine_fall_back(e, err);
        if (rc)
            return rc;
        rc = recompute(e, step->sequence, known, parts, held, err);
        if (!rc)
            rc = qm_engine_step(e, step, 1, err);
    }
    return rc;
}
