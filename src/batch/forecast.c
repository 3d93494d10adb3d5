/* The rows of a job, as far as they can be looked at before it begins, and the others by those. */
#include "batch/forecast.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "batch/fit.h"
#include "batch/outlook.h"
#include "planner/job_model.h"
#include "planner/noise.h"
#include "report/numbers.h"

/* Rows that are kept to stand for others; so many others are added one by one, more by proportion; a longer row is not
 * taken apart, since that takes its time; bytes of a token and the known share of a prompt that begins as another,
 * where no row says it. */
enum { KEPT = 4096, ADDED = 100000, LONG_ROW = 2 << 20 };
static const double TOKEN_BYTES = 4, KNOWN_SHARE = 0.9;
/* A job's beginning and end, which the model of time knows nothing of: a disk that syncs, the first rows read. */
static const double AROUND = 0.5;
/* What is seen of other programs in less time means nothing, since the system counts hundredths of a second; and how
 * noisy it must be then. */
static const double WATCHED = 0.06, NOISY = 3;

/* A row that was looked at; computed false: it asks for nothing that takes time. */
struct kept {
    struct qm_estimate_row row;
    bool computed;
};

struct qm_batch_forecast {
    struct qm_job_model *machine;
    struct qm_estimate *estimate;
    struct qm_batch_expect expect;
    int64_t context;
    struct qm_noise_watch watch;
    double opened;

    struct qm_batch_outlook outlook; /* which rows begin as others */
    struct kept kept[KEPT];
    int64_t n;                       /* rows looked at */
    double bytes;                    /* of them; */
    struct qm_estimate_row known[2]; /* sums of the sequences that were taken apart, by whether they follow another */
    double known_bytes, known_rows;  /* of both */
    double unread, times;            /* rows like them; what the estimate is to be multiplied by */
};

int qm_batch_forecast_open(const struct qm_batch_options *o, const struct qm_machine_model *machine,
                           const struct qm_model *m, int64_t context, struct qm_batch_forecast **out,
                           struct qm_error *err) {
    struct qm_batch_forecast *f = calloc(1, sizeof *f);
    *out = f;
    if (!f)
        return qm_fail_memory(err, sizeof *f, "the estimate");
    const struct qm_workload w = {.context = context,
                                  .sequences = o->sequences,
                                  .chunk = o->chunk ? o->chunk : QM_DEFAULT_CHUNK,
                                  .kv_type = qm_batch_kv_type(o, &m->config),
                                  .threads = o->threads};
    f->context = context;
    f->times = 1;
    f->opened = qm_now();
    qm_noise_begin(&f->watch);
    int rc = qm_job_model_open(machine, m, &w, &f->machine, err);
    return rc ? rc : qm_estimate_open(&f->machine->setup, o->sequences, 0, &f->estimate, err);
}

void qm_batch_forecast_close(struct qm_batch_forecast *f) {
    if (!f)
        return;
    qm_batch_expect_free(&f->expect);
    qm_estimate_close(f->estimate);
    qm_job_model_close(f->machine);
    free(f);
}

int qm_batch_forecast_add(struct qm_batch_forecast *f, const struct qm_request *r, struct qm_estimate_row *row,
                          struct qm_error *err) {
    int rc = qm_batch_expect(&f->expect, r, f->context, row, err);
    if (!rc)
        qm_estimate_add(f->estimate, row);
    return rc;
}

const struct qm_batch_expect *qm_batch_forecast_expect(const struct qm_batch_forecast *f) {
    return &f->expect;
}

/* --- looking ahead --- */

static void add_up(struct qm_estimate_row *sum, const struct qm_estimate_row *row) {
    sum->prompt += row->prompt;
    sum->shared += row->shared;
    sum->answer += row->answer;
    sum->least += row->least;
    sum->most += row->most;
}

/* Its sequences, tokenized. A row that is no request is answered at once. */
static int take_apart(struct qm_batch_forecast *f, const struct qm_batch_forecast_of *of,
                      const struct qm_batch_row *row, bool follows, struct kept *out, struct qm_error *err) {
    struct qm_openai_request *request = NULL;
    struct qm_error why = {0};
    int rc = QM_OK;
    if (qm_batch_row_request(row, of->openai, 0, &request, &why) == QM_SYSTEM) {
        *err = why;
        rc = why.code;
    }
    for (int i = 0; !rc && request && i < qm_openai_request_parts(request); i++) {
        struct qm_request r;
        struct qm_estimate_row one;
        qm_openai_request_part(request, i, &r);
        rc = qm_batch_forecast_add(f, &r, &one, err);
        add_up(&out->row, &one);
        out->computed = true;
    }
    add_up(&f->known[follows], &out->row);
    qm_openai_request_free(request);
    return rc;
}

/* By its bytes, as those that were taken apart are. */
static void guess(struct qm_batch_forecast *f, double bytes, bool follows, struct kept *out) {
    const struct qm_estimate_row *k = f->known;
    double prompt = (double)(k[0].prompt + k[1].prompt), rows = fmax(f->known_rows, 1);
    double tokens = bytes * (prompt > 0 && f->known_bytes > 0 ? prompt / f->known_bytes : 1 / TOKEN_BYTES);
    double share = k[1].prompt > 0 ? (double)k[1].shared / (double)k[1].prompt : KNOWN_SHARE;
    struct qm_estimate_row *row = &out->row;
    if (tokens > 2 * (double)f->context)
        return; /* refused */
    row->prompt = (int64_t)fmin(tokens, (double)f->context);
    row->shared = follows ? (int64_t)(share * (double)row->prompt) : 0;
    bool known = f->known_rows > 0;
    row->answer = known ? (int64_t)((double)(k[0].answer + k[1].answer) / rows) : QM_EXPECT_OPEN;
    row->least = known ? (int64_t)((double)(k[0].least + k[1].least) / rows) : QM_EXPECT_OPEN_LEAST;
    row->most = known ? (int64_t)((double)(k[0].most + k[1].most) / rows) : QM_EXPECT_OPEN_MAX;
    out->computed = true;
    qm_estimate_add(f->estimate, row);
}

static int look_at(struct qm_batch_forecast *f, const struct qm_batch_forecast_of *of, const struct qm_batch_line *line,
                   bool quickly, struct qm_error *err) {
    struct qm_batch_row row = {0};
    struct qm_batch_prefix prefix;
    struct kept *kept = &f->kept[f->n % KEPT];
    int rc = QM_OK;
    *kept = (struct kept){0};
    f->n++;
    if (line->text && line->length <= LONG_ROW && !qm_batch_row_parse(line->text, line->length, "row", &row, NULL)) {
        rc = qm_batch_row_prefix(&row, &prefix, err);
        bool follows = !rc && qm_batch_outlook_read(&f->outlook, line->length, &prefix);
        if (!rc && !quickly) {
            rc = take_apart(f, of, &row, follows, kept, err);
            f->known_bytes += (double)line->length;
            f->known_rows++;
        } else if (!rc) {
            guess(f, (double)line->length, follows, kept);
        }
    } else if (line->text && line->length > LONG_ROW) {
        guess(f, (double)line->length, of->source->rows > 0 && f->n > 1, kept);
    }
    qm_batch_row_free(&row);
    return rc;
}

/* Whether it is to be looked at: not where the journal has its answer, nor where it may end the program. */
static int is_wanted(const struct qm_batch_forecast_of *of, const struct qm_batch_line *line, bool *wanted,
                     struct qm_error *err) {
    enum qm_batch_suspicion suspicion = QM_ROW_TRUSTED;
    bool finished;
    uint64_t hash;
    int rc = qm_journal_has(of->journal, line->number, &finished, &hash, err);
    if (!rc && !finished)
        rc = qm_batch_crash_of(of->journal, line->number, &suspicion, err);
    *wanted = !rc && !finished && suspicion == QM_ROW_TRUSTED;
    return rc;
}

/* As many rows as those bytes hold, like those looked at, round-robin. */
static void add_unread(struct qm_batch_forecast *f, double bytes, double rows) {
    int64_t n = f->n < KEPT ? f->n : KEPT;
    if (n == 0 || f->bytes <= 0 || bytes <= 0)
        return;
    double each = f->bytes / (double)f->n;
    f->unread = rows >= 0 ? rows : bytes / each;
    double longer = f->unread > 0 ? bytes / f->unread / each : 1;
    int64_t add = (int64_t)fmin(f->unread + 0.5, ADDED);
    for (int64_t i = 0; i < add; i++) {
        struct qm_estimate_row row = f->kept[i % n].row;
        if (!f->kept[i % n].computed)
            continue;
        row.prompt = (int64_t)((double)row.prompt * longer);
        row.shared = (int64_t)((double)row.shared * longer);
        qm_estimate_add(f->estimate, &row);
    }
    f->times = ((double)f->n + f->unread) / (double)(f->n + (add > 0 ? add : 0));
}

static int read_position(const struct qm_batch_forecast_of *of, struct qm_batch_line *at, struct qm_error *err) {
    int64_t offset = 0;
    *at = (struct qm_batch_line){0};
    int rc = qm_journal_get_int(of->journal, "position_row", 1, &at->number, err);
    if (!rc)
        rc = qm_journal_get_int(of->journal, "position_line", 1, &at->file_line, err);
    if (!rc)
        rc = qm_journal_get_int(of->journal, "position_offset", 0, &offset, err);
    at->offset = (uint64_t)offset;
    return rc ? rc : of->source->seek(of->source->self, at, err);
}

int qm_batch_forecast_look(struct qm_batch_forecast *f, const struct qm_batch_forecast_of *of, struct qm_error *err) {
    const struct qm_batch_source *source = of->source;
    struct qm_batch_line next;
    double began = qm_now(), spent = 0;
    bool end = false, wanted;
    int rc = read_position(of, &next, err);
    double ahead = rc ? 0 : source->ahead(source->self, &next);
    for (bool first = true; !rc && (first || spent < of->seconds); first = false) {
        struct qm_batch_line line;
        rc = source->next(source->self, &line, &end, err);
        if (rc || end)
            break;
        next = line;
        next.number++;
        next.offset += line.length;
        double before = ahead;
        ahead = source->ahead(source->self, &next);
        rc = is_wanted(of, &line, &wanted, err);
        if (!rc && wanted) {
            of->flight->current = line.number;
            /* half of the time for what rows are made of, half to see more of them */
            rc = look_at(f, of, &line, spent > of->seconds / 2, err);
            of->flight->current = 0;
            f->bytes += before - ahead;
        }
        spent = qm_now() - began;
    }
    if (!rc && !end)
        add_unread(f, ahead, source->rows >= 0 ? (double)(source->rows - next.number + 1) : -1);
    return rc;
}

/* --- what comes of it --- */

/* Others that want the CPUs get their part of them while they do: where they use all of the CPUs' time it takes from
 * twice to five times as long, by how many of them there are (held against runs on such a machine: three times). */
static void beside_others(struct qm_batch_forecast *f, struct qm_batch_prediction *p) {
    double watched = qm_now() - f->opened;
    if (watched < WATCHED)
        nanosleep(&(struct timespec){.tv_nsec = (long)((WATCHED - watched) * 1e9)}, NULL);
    struct qm_noise now = qm_noise_end(&f->watch);
    if (qm_noise_level(&now) < NOISY)
        return;
    double others = fmin(1, fmax(0, now.others) + fmax(0, now.stolen));
    p->seconds *= 1 + 2 * others;
    p->prefill *= 1 + 2 * others;
    p->decode *= 1 + 2 * others;
    p->high *= 1 + 4 * others;
    size_t n = strlen(p->basis);
    snprintf(p->basis + n, sizeof p->basis - n, "%sthe machine is busy: %.0f %% of the CPUs' time are others'",
             n ? "; " : "", 100 * others);
}

void qm_batch_forecast_get(struct qm_batch_forecast *f, struct qm_batch_prediction *out) {
    const struct qm_job_model *m = f->machine;
    struct qm_estimate_time t;
    qm_estimate_get(f->estimate, m->off, f->times, f->times, &t);
    *out = (struct qm_batch_prediction){.rows = (double)f->n + f->unread,
                                        .all = f->unread <= 0,
                                        .seconds = t.seconds,
                                        .low = t.low,
                                        .high = t.high + AROUND,
                                        .prefill = t.prefill,
                                        .decode = t.decode};
    if (!m->measured || m->speed.noise[0])
        snprintf(out->basis, sizeof out->basis, "%s", m->basis);
    beside_others(f, out);
}

int qm_batch_prediction_text(const struct qm_batch_prediction *p, const struct qm_batch_times *times, time_t now,
                             struct qm_buf *out, struct qm_error *err) {
    char all[64], low[64], high[64], done[64];
    time_t then = qm_batch_done_by(times, now, p->seconds);
    return qm_buf_printf(out, err, "about %s (%s to %s), done by %s", qm_duration_text(p->seconds, all, sizeof all),
                         qm_duration_text(p->low, low, sizeof low), qm_duration_text(p->high, high, sizeof high),
                         qm_batch_soon_text(then, now, done, sizeof done));
}

int qm_batch_prediction_keep(struct qm_journal *j, const struct qm_batch_prediction *p, struct qm_error *err) {
    char text[128];
    snprintf(text, sizeof text, "%.6g %.6g %.6g", p->seconds, p->low, p->high);
    return qm_journal_set(j, "predicted", text, err);
}

int qm_batch_prediction_load(struct qm_journal *j, struct qm_batch_prediction *p, bool *found, struct qm_error *err) {
    struct qm_buf text = {0};
    *p = (struct qm_batch_prediction){0};
    int rc = qm_journal_get(j, "predicted", &text, found, err);
    *found = !rc && *found && text.data && sscanf(text.data, "%lf %lf %lf", &p->seconds, &p->low, &p->high) == 3 &&
             isfinite(p->seconds) && isfinite(p->low) && isfinite(p->high) && p->low >= 0;
    qm_buf_free(&text);
    return rc;
}
