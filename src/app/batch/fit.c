/* Today's memory against the job's. */
#include "app/batch/fit.h"

#include <stdio.h>
#include <unistd.h>

#include "app/decode.h"
#include "app/progress.h"
#include "engine/sequence.h"
#include "numa/memory.h"
#include "report/numbers.h"
#include "session/scheduler.h"

/* What is free differs by some percent from one start to the next: that alone stops no job. */
static const double MUCH_LESS = 7.0 / 8;

static double token_bytes(const struct qm_engine *e) {
    return (double)qm_engine_block_bytes(e) / (double)qm_engine_block_tokens(e);
}

/* How much of `memory` free bytes is left for keys and values beside the weights; 0: as much as every sequence could
 * need. */
static int kv_room(const struct qm_args *args, const struct qm_batch_settings *s, const struct qm_model *m,
                   uint64_t memory, uint64_t *out, struct qm_error *err) {
    static const uint64_t least_reserve = QM_MEMORY_RESERVE;
    int kv_type, rc = qm_decode_kv_type(args, &kv_type, err);
    int64_t context = qm_args_int(args, QM_OPT_CONTEXT, 0);
    struct qm_workload w = {.context = context ? context : m->config.usual_positions,
                            .sequences = s->sequences,
                            .chunk = s->chunk ? s->chunk : QM_DEFAULT_CHUNK,
                            .kv_type = kv_type < 0 ? qm_kv_default_type(&m->config) : (enum qm_dtype)kv_type,
                            .threads = 64};
    struct qm_memory_table table;
    *out = 0;
    if (rc)
        return rc;
    qm_memory_estimate(m, &w, &table);
    uint64_t reserve = memory / 20 > least_reserve ? memory / 20 : least_reserve;
    uint64_t running = qm_scheduler_bytes(m->config.vocab, w.sequences, w.threads);
    uint64_t others = table.weights + table.scratch + running + reserve;
    if (others + table.kv > memory && others < memory)
        *out = memory - others;
    return QM_OK;
}

int qm_batch_kv_memory(const struct qm_args *args, const struct qm_batch_settings *s, const struct qm_model *m,
                       uint64_t *out, struct qm_error *err) {
    uint64_t available;
    *out = s->kv_memory;
    if (*out)
        return QM_OK;
    int rc = qm_memory_available(&available, err);
    return rc ? rc : kv_room(args, s, m, available, out, err);
}

/* Tokens of a sequence if all memory that this process may ever have were free; INT64_MAX: any. */
static int possible_tokens(const struct qm_args *args, const struct qm_batch_settings *s, const struct qm_engine *e,
                           int64_t *out, struct qm_error *err) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t all = (uint64_t)pages * (uint64_t)page, limit = qm_memory_limit(), room;
    /* an eighth is the system's and others' that are always there */
    int rc = kv_room(args, s, qm_engine_model(e), (all < limit ? all : limit) / 8 * 7, &room, err);
    *out = room ? (int64_t)((double)room / token_bytes(e)) : INT64_MAX;
    return rc;
}

/* "a row of 4096 tokens takes 8.4 MB of keys and values (F32), and --kv-memory leaves 3.1 MB, for 1500 tokens" */
static void describe(const struct qm_batch_settings *s, const struct qm_engine *e, int64_t tokens, int64_t today,
                     char out[320]) {
    char wanted[32], there[32];
    snprintf(out, 320, "a row of %lld tokens takes %s of keys and values (%s), and %s %s, for %lld tokens",
             (long long)tokens, qm_bytes_text((double)tokens * token_bytes(e), wanted, sizeof wanted),
             qm_dtype_name(qm_engine_kv_type(e)),
             s->kv_memory ? "--kv-memory leaves" : "today's free memory has room for",
             qm_bytes_text((double)today * token_bytes(e), there, sizeof there), (long long)today);
}

int qm_batch_fit_settle(struct qm_journal *j, const struct qm_args *args, const struct qm_batch_settings *s,
                        const struct qm_engine *e, struct qm_batch_fit *f, struct qm_error *err) {
    int64_t context = qm_engine_context(e), kept, waiting, possible;
    char why[320];
    *f = (struct qm_batch_fit){.today = qm_engine_longest(e)};
    int rc = qm_journal_get_int(j, "longest_row", 0, &kept, err);
    rc = rc ? rc : qm_journal_get_int(j, "waiting_rows", 0, &waiting, err);
    rc = rc ? rc : qm_journal_get_int(j, "possible_row", 0, &possible, err);
    if (rc)
        return rc;
    f->longest = kept > 0 ? kept : f->today;
    if (waiting > 0 && f->today > f->longest)
        f->longest = f->today; /* what waited may be as long as it comes to be */
    if ((double)f->today < MUCH_LESS * (double)f->longest) {
        describe(s, e, f->longest, f->today, why);
        return qm_fail(err, QM_FIT,
                       "memory holds less than when this job began: %s. Nothing was changed; run the same command when "
                       "there is as much again",
                       why);
    }
    f->possible = possible;
    if (possible <= 0)
        rc = possible_tokens(args, s, e, &f->possible, err);
    f->possible = f->possible < context ? f->possible : context;
    f->possible = f->possible > f->longest ? f->possible : f->longest;
    rc = rc ? rc : qm_journal_set_int(j, "longest_row", f->longest, err);
    return rc ? rc : qm_journal_set_int(j, "possible_row", f->possible, err);
}

int qm_batch_fit_waiting(struct qm_journal *j, const struct qm_batch_settings *s, const struct qm_engine *e,
                         const struct qm_batch_fit *f, int64_t rows, int64_t number, struct qm_error *err) {
    char why[320];
    int rc = qm_journal_set_int(j, "waiting_rows", rows, err);
    if (!rc && rows)
        rc = qm_journal_set(j, "state", "stopped: rows wait for more memory", err);
    rc = rc ? rc : qm_journal_commit(j, err);
    if (rc || !rows)
        return rc;
    describe(s, e, f->possible, f->today, why);
    return qm_fail(err, QM_FIT,
                   "%lld row%s not answered yet, the first of them row %lld: %s. The others are finished; run the same "
                   "command when there is more",
                   (long long)rows, rows == 1 ? " is" : "s are", (long long)number, why);
}
