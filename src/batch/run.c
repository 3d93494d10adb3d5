/* The main loop. */
#include "batch/run.h"

#include <stdio.h>

#include "base/buf.h"
#include "batch/power.h"

/* Reading ahead between two steps, and while nothing else is to do. */
static const double FEED_SECONDS = 0.01, IDLE_FEED_SECONDS = 0.5;
/* Committing may take one part in this many of the time, but nothing waits longer than a second. */
static const double COMMIT_SHARE = 20, COMMIT_SECONDS = 1, LOOK_SECONDS = 1, STATUS_SECONDS = 30;
static const double PACE_SECONDS = 0.05, PACE_SHARE = 500;

static double working(const struct qm_batch_run *r) {
    return qm_batch_steady(r->clock) - r->began - r->paused;
}

static double joules(const struct qm_batch_run *r) {
    double j = -1;
    return r->energy && !qm_energy_joules(r->energy, &j, NULL) ? j : -1;
}

static void take_facts(const struct qm_batch_run *r, struct qm_batch_facts *f) {
    time_t now = (time_t)qm_batch_real(r->clock);
    qm_batch_facts_take(f, r->work, r->scheduler, r->rows_known, working(r), joules(r));
    if (f->left < 0 && r->predicted.seconds > 0) {
        f->left = r->predicted.seconds > f->working ? r->predicted.seconds - f->working : 0;
        f->predicted = true;
    }
    f->now = now;
    if (f->left >= 0)
        f->done_by = qm_batch_done_by(&r->times, now, f->left);
}

/* The text that --status shows. state: what the job is doing, for people. */
static int keep_status(struct qm_batch_run *r, const char *state, struct qm_error *err) {
    struct qm_batch_facts f;
    struct qm_buf text = {0};
    take_facts(r, &f);
    r->status_kept = qm_batch_steady(r->clock);
    int rc = qm_batch_facts_text(&f, &text, err);
    if (!rc)
        rc = qm_journal_set(r->journal, "status", text.data, err);
    if (!rc)
        rc = qm_journal_set(r->journal, "state", state, err);
    if (!rc)
        rc = qm_batch_left_keep(r->journal, &f, err);
    if (!rc)
        rc = qm_journal_set_int(r->journal, "status_time", (int64_t)qm_batch_real(r->clock), err);
    qm_buf_free(&text);
    return rc;
}

static int update_run(struct qm_batch_run *r, struct qm_error *err) {
    struct qm_scheduler_stats s;
    qm_scheduler_stats(r->scheduler, &s);
    r->totals.seconds = working(r);
    r->totals.joules = joules(r);
    r->totals.prefill_seconds = s.prefill_seconds + s.mixed_seconds;
    r->totals.decode_seconds = s.decode_seconds;
    r->totals.prefill_tokens = s.prompt_tokens;
    r->totals.decode_tokens = s.generated_tokens;
    return qm_journal_update_run(r->journal, &r->totals, err);
}

static int keep_pace(struct qm_batch_run *r, struct qm_error *err) {
    struct qm_scheduler_stats s;
    qm_scheduler_stats(r->scheduler, &s);
    r->pace_kept = working(r);
    const struct qm_journal_pace pace = {.time = qm_batch_time(r->clock, r->time),
                                         .worked = r->earlier.seconds + r->pace_kept,
                                         .prompt = r->earlier.prefill_tokens + s.prompt_tokens,
                                         .generated = r->earlier.decode_tokens + s.generated_tokens};
    return qm_journal_add_pace(r->journal, &pace, err);
}

/* So that a picture is fine enough of a short job, and a week's is a few thousand. */
static bool pace_due(const struct qm_batch_run *r) {
    double share = (r->earlier.seconds + r->pace_kept) / PACE_SHARE;
    return working(r) - r->pace_kept >= (share > PACE_SECONDS ? share : PACE_SECONDS);
}

static int commit(struct qm_batch_run *r, struct qm_error *err) {
    double start = qm_batch_steady(r->clock);
    int rc = update_run(r, err);
    if (!rc)
        rc = qm_journal_commit(r->journal, err);
    r->committed = qm_batch_steady(r->clock);
    r->commit_cost = r->committed - start;
    return rc;
}

static int commit_if_due(struct qm_batch_run *r, struct qm_error *err) {
    double since = qm_batch_steady(r->clock) - r->committed;
    if (qm_batch_steady(r->clock) - r->status_kept >= STATUS_SECONDS) {
        int rc = keep_status(r, "working", err);
        if (rc)
            return rc;
    }
    if (pace_due(r)) {
        int rc = keep_pace(r, err);
        if (rc)
            return rc;
    }
    bool due = since >= COMMIT_SECONDS || since >= COMMIT_SHARE * r->commit_cost;
    return qm_journal_pending(r->journal) && due ? commit(r, err) : QM_OK;
}

/* What is worth it of what is at work, then everything that is finished. */
static int save(struct qm_batch_run *r, const char *state, struct qm_error *err) {
    int rc = qm_batch_checkpoint_save(r->checkpoint, r->work, err);
    if (!rc)
        rc = keep_pace(r, err);
    if (!rc)
        rc = keep_status(r, state, err);
    return rc ? rc : commit(r, err);
}

static enum qm_batch_gate gate(const struct qm_batch_run *r) {
    bool battery = r->times.pause_on_battery && qm_on_battery("");
    double saving = r->times.has_until ? qm_batch_checkpoint_seconds(r->checkpoint, r->work) : 0;
    return qm_batch_gate(&r->times, (time_t)qm_batch_real(r->clock), saving, battery);
}

static void describe_pause(const struct qm_batch_run *r, enum qm_batch_gate g, char *out, size_t size) {
    if (g == QM_GATE_PAUSE_BATTERY) {
        snprintf(out, size, "paused: the machine runs on battery");
        return;
    }
    int from = r->times.hours.from;
    snprintf(out, size, "paused until %02d:%02d", from / 3600, from / 60 % 60);
}

/* Nothing runs: the engine's threads sleep, its memory is kept. Looked at again and again instead of slept through,
 * since clocks are put forward and back and machines are suspended. */
static int pause_job(struct qm_batch_run *r, enum qm_batch_gate g, struct qm_error *err) {
    char state[96];
    describe_pause(r, g, state, sizeof state);
    int rc = save(r, state, err);
    qm_batch_note(r->ui, "%s; everything is saved", state);
    double start = qm_batch_steady(r->clock);
    while (!rc && !*r->interrupt && (g = gate(r)) != QM_GATE_WORK && g != QM_GATE_STOP)
        r->clock->rest(r->clock->arg);
    r->paused += qm_batch_steady(r->clock) - start;
    if (!rc && g == QM_GATE_WORK) {
        qm_batch_note(r->ui, "working again");
        rc = keep_pace(r, err);
        if (!rc)
            rc = keep_status(r, "working", err);
    }
    return rc;
}

/* QM_STOPPED, QM_INTERRUPTED, or QM_OK: go on. */
static int look_around(struct qm_batch_run *r, struct qm_error *err) {
    if (*r->interrupt)
        return QM_INTERRUPTED;
    if (qm_batch_steady(r->clock) - r->looked < LOOK_SECONDS)
        return QM_OK;
    enum qm_batch_gate g = gate(r);
    int rc = QM_OK;
    if (g == QM_GATE_PAUSE_HOURS || g == QM_GATE_PAUSE_BATTERY) {
        rc = pause_job(r, g, err);
        g = rc ? g : gate(r);
    }
    r->looked = qm_batch_steady(r->clock);
    return rc ? rc : *r->interrupt ? QM_INTERRUPTED : g == QM_GATE_STOP ? QM_STOPPED : QM_OK;
}

void qm_batch_run_device_failed(void *run, const char *what) {
    enum { MOST = 4096 };
    struct qm_batch_run *r = run;
    struct qm_buf all = {0};
    char time[64];
    bool found;
    qm_batch_note(r->ui, "%s; the CPU goes on, nothing is lost", what);
    qm_batch_time_text((int64_t)qm_batch_real(r->clock), time, sizeof time);
    int rc = qm_journal_get(r->journal, "device_failures", &all, &found, NULL);
    if (!rc)
        rc = qm_buf_printf(&all, NULL, "%s%s: %s", all.len ? "\n" : "", time, what);
    if (!rc && all.len < MOST) /* a journal that can't be written ends the job at its next commit */
        qm_journal_set(r->journal, "device_failures", all.data, NULL);
    qm_buf_free(&all);
}

static int one_round(struct qm_batch_run *r, struct qm_error *err) {
    bool idle = qm_scheduler_idle(r->scheduler), worked = false;
    int rc = qm_batch_work_feed(r->work, idle ? IDLE_FEED_SECONDS : FEED_SECONDS, err);
    if (!rc)
        rc = qm_scheduler_step(r->scheduler, &worked, err);
    if (!rc)
        rc = qm_batch_work_collect(r->work, err);
    if (!rc)
        rc = commit_if_due(r, err);
    if (!rc && qm_batch_checkpoint_due(r->checkpoint, r->work)) {
        rc = qm_batch_checkpoint_save(r->checkpoint, r->work, err);
        if (!rc)
            rc = commit(r, err);
    }
    if (!rc && r->ui->facts && r->ui->facts_due(r->ui->arg)) {
        struct qm_batch_facts f;
        take_facts(r, &f);
        r->ui->facts(r->ui->arg, &f);
    }
    return rc;
}

static int begin(struct qm_batch_run *r, struct qm_error *err) {
    r->began = qm_batch_steady(r->clock);
    int runs, rc = qm_batch_time_begin(r->clock, r->journal, &r->time, err);
    r->totals = (struct qm_journal_run){.started = qm_batch_time(r->clock, r->time), .joules = joules(r)};
    if (!rc)
        rc = qm_journal_get_int(r->journal, "rows", r->rows_known, &r->rows_known, err);
    if (!rc)
        rc = qm_journal_runs(r->journal, &r->earlier, &runs, err);
    if (!rc)
        rc = qm_journal_begin_run(r->journal, &r->totals, err);
    if (!rc)
        rc = keep_pace(r, err);
    if (!rc)
        rc = keep_status(r, "working", err);
    return rc ? rc : commit(r, err);
}

int qm_batch_run(struct qm_batch_run *r, struct qm_error *err) {
    char stopped_by[64];
    int rc = begin(r, err);
    while (!rc && !qm_batch_work_done(r->work)) {
        rc = look_around(r, err);
        if (!rc)
            rc = one_round(r, err);
    }
    bool stopped = rc == QM_STOPPED || rc == QM_INTERRUPTED;
    if (!rc || stopped) {
        snprintf(stopped_by, sizeof stopped_by, "stopped by %s", r->ui->words->until);
        int saved = rc ? save(r, rc == QM_STOPPED ? stopped_by : "interrupted", err) : keep_status(r, "finishing", err);
        if (!rc && !saved)
            saved = keep_pace(r, err);
        if (!rc && !saved)
            saved = commit(r, err);
        rc = saved ? saved : rc;
    } else {
        qm_journal_commit(r->journal,
                          NULL); /* what was finished before the error; its message is the one that counts */
    }
    return rc;
}
