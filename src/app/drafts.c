/* Drafts as the commands that generate ask for them. */
#include "app/drafts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/words.h"

/* Texts of about four million tokens, of all requests together. */
static const uint64_t most_bytes = 64u << 20;

int qm_drafts_open(const struct qm_draft_options *o, int64_t tokens, struct qm_drafts *out, struct qm_error *err) {
    *out = (struct qm_drafts){0};
    if (o->off)
        return QM_OK;
    uint64_t bytes = tokens > 0 ? (uint64_t)tokens * QM_LOOKUP_TOKEN_BYTES : most_bytes;
    int rc = qm_lookup_new(bytes < most_bytes ? bytes : most_bytes, &out->lookup, err);
    if (rc)
        return rc;
    const struct qm_speculation_options options = {.drafter = qm_lookup_drafter(out->lookup), .most = o->most};
    rc = qm_speculation_new(&options, &out->speculation, err);
    if (rc)
        qm_drafts_close(out);
    return rc;
}

void qm_drafts_close(struct qm_drafts *d) {
    qm_speculation_free(d->speculation);
    qm_lookup_free(d->lookup);
    *d = (struct qm_drafts){0};
}

void qm_drafts_text(const struct qm_drafts *d, char *out, size_t size) {
    struct qm_speculation_stats s = {0};
    if (d->speculation)
        qm_speculation_stats(d->speculation, &s);
    *out = 0;
    if (!s.drafted)
        return;
    snprintf(out, size, "drafts: %lld of %lld drafted token%s %s right (%.0f %%), which %s about %.2f s",
             (long long)s.accepted, (long long)s.drafted, qm_s(s.drafted), s.drafted == 1 ? "was" : "were",
             100.0 * (double)s.accepted / (double)s.drafted, s.saved < 0 ? "cost" : "saved", fabs(s.saved));
}

void qm_drafts_report(const struct qm_drafts *d, struct qm_progress *progress) {
    char text[160];
    qm_drafts_text(d, text, sizeof text);
    if (*text)
        qm_note(progress, "%s", text);
}

json_t *qm_drafts_json(const struct qm_drafts *d) {
    struct qm_speculation_stats s;
    if (!d->speculation)
        return json_null();
    qm_speculation_stats(d->speculation, &s);
    return json_pack("{s:I, s:I, s:I, s:f}", "steps", (json_int_t)s.steps, "drafted", (json_int_t)s.drafted, "accepted",
                     (json_int_t)s.accepted, "saved_seconds", s.saved);
}
