/* Today's memory against the job's. */
#include "batch/fit.h"

#include <stdio.h>
#include <unistd.h>

#include "engine/sequence.h"
#include "numa/memory.h"
#include "report/numbers.h"
#include "session/scheduler_fit.h"

/* What is free differs by some percent from one start to the next: that alone stops no job. */
static const double MUCH_LESS = 7.0 / 8;

enum qm_dtype qm_batch_kv_type(const struct qm_batch_options *o, const struct qm_config *config) {
    return o->kv_type < 0 ? qm_kv_default_type(config) : (enum qm_dtype)o->kv_type;
}

static double token_bytes(const struct qm_engine *e) {
    return (double)qm_engine_block_bytes(e) / (double)qm_engine_block_tokens(e);
}

/* How much of `memory` free bytes is left for keys and values beside the weights and drafts; 0: as much as every
 * sequence could need. */
static uint64_t kv_room(const struct qm_batch_options *o, const struct qm_model *m,
                        const struct qm_draft_memory *drafts, uint64_t memory) {
    struct qm_workload w = {.context = o->context ? o->context : m->config.default_positions,
                            .sequences = o->sequences,
                            .chunk = o->chunk ? o->chunk : QM_DEFAULT_CHUNK,
                            .kv_type = qm_batch_kv_type(o, &m->config),
                            .threads = 64,
                            .drafts = *drafts};
    return qm_scheduler_kv_memory(m, &w, memory);
}

int qm_batch_kv_memory(const struct qm_batch_options *o, const struct qm_model *m, const struct qm_draft_memory *drafts,
                       uint64_t *out, struct qm_error *err) {
    uint64_t available;
    *out = o->kv_memory;
    if (*out)
        return QM_OK;
    int rc = qm_memory_available(&available, err);
    *out = rc ? 0 : kv_room(o, m, drafts, available);
    return rc;
}

/* Tokens of a sequence if all memory that this process may ever have were free; INT64_MAX: any. Drafts count for
 * nothing here, since they are no part of what a job answers. */
static int64_t possible_tokens(const struct qm_batch_options *o, const struct qm_engine *e) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t all = (uint64_t)pages * (uint64_t)page, limit = qm_memory_limit();
    /* an eighth is the system's and others' that are always there */
    uint64_t room = kv_room(o, qm_engine_model(e), &(struct qm_draft_memory){0}, (all < limit ? all : limit) / 8 * 7);
    return room ? (int64_t)((double)room / token_bytes(e)) : INT64_MAX;
}

/* "a row of 4096 tokens takes 8.4 MB of keys and values (F32), and the memory that is free has room for 3.1 MB, for
 * 1500 tokens" */
static void describe(const struct qm_batch_options *o, const struct qm_batch_words *words, const struct qm_engine *e,
                     int64_t tokens, int64_t today, char out[320]) {
    char wanted[32], there[32], set[64];
    snprintf(set, sizeof set, "%s leaves", words->kv_memory);
    snprintf(out, 320, "a row of %lld tokens takes %s of keys and values (%s), and %s %s, for %lld tokens",
             (long long)tokens, qm_bytes_text((double)tokens * token_bytes(e), wanted, sizeof wanted),
             qm_dtype_name(qm_engine_kv_type(e)), o->kv_memory ? set : "today's free memory has room for",
             qm_bytes_text((double)today * token_bytes(e), there, sizeof there), (long long)today);
}

int qm_batch_fit_settle(struct qm_journal *j, const struct qm_batch_options *o, const struct qm_batch_words *words,
                        const struct qm_engine *e, struct qm_batch_fit *f, struct qm_error *err) {
    int64_t context = qm_engine_context(e), kept, waiting, possible;
    char why[320];
    *f = (struct qm_batch_fit){.today = qm_engine_longest(e)};
    int rc = qm_journal_get_int(j, "longest_row", 0, &kept, err);
    if (!rc)
        rc = qm_journal_get_int(j, "waiting_rows", 0, &waiting, err);
    if (!rc)
        rc = qm_journal_get_int(j, "possible_row", 0, &possible, err);
    if (rc)
        return rc;
    f->longest = kept > 0 ? kept : f->today;
    if (waiting > 0 && f->today > f->longest)
        f->longest = f->today; /* what waited may be as long as it comes to be */
    if ((double)f->today < MUCH_LESS * (double)f->longest) {
        describe(o, words, e, f->longest, f->today, why);
        return qm_fail(err, QM_FIT,
                       "memory holds less than when this job began: %s. Nothing was changed; run the same command when "
                       "there is as much again",
                       why);
    }
    f->possible = possible;
    if (possible <= 0)
        f->possible = possible_tokens(o, e);
    f->possible = f->possible < context ? f->possible : context;
    f->possible = f->possible > f->longest ? f->possible : f->longest;
    rc = qm_journal_set_int(j, "longest_row", f->longest, err);
    return rc ? rc : qm_journal_set_int(j, "possible_row", f->possible, err);
}

int qm_batch_fit_waiting(struct qm_journal *j, const struct qm_batch_options *o, const struct qm_batch_words *words,
                         const struct qm_engine *e, const struct qm_batch_fit *f, int64_t rows, int64_t number,
                         struct qm_error *err) {
    char why[320];
    int rc = qm_journal_set_int(j, "waiting_rows", rows, err);
    if (!rc && rows)
        rc = qm_journal_set(j, "state", "stopped: rows wait for more memory", err);
    if (!rc)
        rc = qm_journal_commit(j, err);
    if (rc || !rows)
        return rc;
    describe(o, words, e, f->possible, f->today, why);
    return qm_fail(err, QM_FIT,
                   "%lld row%s not answered yet, the first of them row %lld: %s. The others are finished; run the same "
                   "command when there is more",
                   (long long)rows, rows == 1 ? " is" : "s are", (long long)number, why);
}
