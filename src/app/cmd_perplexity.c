/* quietmind perplexity: how well the model predicts a text, per token, with the spread. The text is cut into
 * windows that do not overlap; the first token of each window is given, the others are predicted. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "app/command_list.h"
#include "app/decode.h"
#include "app/load_model.h"
#include "app/offload.h"
#include "app/out.h"
#include "app/signals.h"
#include "engine/sequence.h"
#include "session/feed.h"

static const int64_t PIECE_BYTES = 128 << 20; /* of logits in memory at once */

struct perplexity_options {
    struct qm_model_options model;
    struct qm_load_options load;
    struct qm_texts files;
    int64_t window; /* 0: the context, or the text */
    bool json, silent;
};

struct job {
    struct qm_app_model model;
    struct qm_progress progress;
    struct qm_ids ids;
    struct qm_sequence *sequence;
    int64_t window, piece;
    float *logits;
    double *nll; /* [n] of the predicted tokens, in nats */
    size_t n;
};

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* -log softmax(logits)[id] */
static double negative_log_likelihood(const float *logits, int64_t vocab, int32_t id) {
    double max = logits[0], sum = 0;
    for (int64_t i = 1; i < vocab; i++)
        max = logits[i] > max ? logits[i] : max;
    for (int64_t i = 0; i < vocab; i++)
        sum += exp(logits[i] - max);
    return log(sum) + max - logits[id];
}

static int decode(const struct qm_args *args, struct perplexity_options *o, struct qm_error *err) {
    *o = (struct perplexity_options){.model = qm_decode_model(args),
                                     .files = qm_decode_texts(args, QM_OPT_FILE),
                                     .window = qm_args_int(args, QM_OPT_WINDOW, 0),
                                     .json = args->option[QM_OPT_JSON].set,
                                     .silent = args->option[QM_OPT_SILENT].set};
    int rc = qm_decode_load(args, &o->load, err);
    return !rc && !o->files.n ? qm_fail(err, QM_USAGE, "perplexity: -f FILE is missing") : rc;
}

static int open_job(const struct perplexity_options *o, struct job *j, struct qm_error *err) {
    struct qm_buf text = {0};
    const char *path = o->files.text[o->files.n - 1];
    qm_signals_kept("no perplexity was computed");
    int rc = qm_app_open(&o->model, QM_TOKENIZER_YES, &j->progress, &j->model, err);
    if (!rc)
        rc = qm_app_read_texts(&o->files, &text, err);
    qm_progress_update(&j->progress, "tokenizing", 0, 0, QM_PROGRESS_BYTES);
    if (!rc)
        rc = qm_tokenizer_encode(j->model.tokenizer, text.data, text.len, true, true, &j->ids, err);
    qm_progress_end(&j->progress);
    qm_buf_free(&text);
    if (!rc)
        rc = qm_tokenizer_check_ids(j->model.tokenizer, &j->ids, j->model.model->config.vocab, path, err);
    if (!rc && j->ids.len < 2)
        rc = qm_fail(err, QM_INPUT, "%s: %zu tokens; at least 2 are needed, one to predict another", path, j->ids.len);
    if (!rc)
        rc = qm_app_load(&o->load, 0, &j->progress, &j->model, err);
    if (rc)
        return rc;
    int64_t context = qm_engine_context(j->model.engine);
    j->window = o->window ? o->window : least(context, (int64_t)j->ids.len);
    if (j->window > context)
        return qm_fail(err, QM_USAGE, "--window: %lld tokens are more than the context of %lld", (long long)j->window,
                       (long long)context);
    int64_t row_bytes = j->model.model->config.vocab * (int64_t)sizeof(float);
    j->piece = least(qm_engine_chunk(j->model.engine), PIECE_BYTES / row_bytes + 1);
    j->logits = malloc((size_t)(j->piece * row_bytes));
    j->nll = malloc(j->ids.len * sizeof *j->nll);
    if (!j->logits || !j->nll)
        return qm_fail_memory(err, (unsigned long long)(j->piece * row_bytes), "logits");
    return qm_sequence_open(j->model.engine, &j->sequence, err);
}

static void say_progress(struct job *j, int64_t done) {
    qm_progress_update(&j->progress, "perplexity", (uint64_t)done, (uint64_t)j->ids.len, QM_PROGRESS_TOKENS);
}

struct window {
    struct job *job;
    int64_t begin; /* its first token */
};

static int score_piece(void *arg, const struct qm_fed *f, struct qm_error *err) {
    (void)err;
    const struct window *w = arg;
    struct job *j = w->job;
    int64_t vocab = j->model.model->config.vocab, end = w->begin + f->done;
    for (int64_t i = 0; i < f->n; i++)
        j->nll[j->n++] = negative_log_likelihood(j->logits + i * vocab, vocab, j->ids.data[end - f->n + i + 1]);
    say_progress(j, end + 1);
    return QM_OK;
}

static int score_window(struct job *j, int64_t begin, int64_t end, struct qm_error *err) {
    struct window w = {j, begin};
    int64_t n = end - 1 - begin; /* the last token predicts nothing */
    const struct qm_feed f = {
        .engine = j->model.engine,
        .step = {.sequence = j->sequence, .tokens = j->ids.data + begin, .n = n, .n_logits = n, .logits = j->logits},
        .piece = j->piece,
        .on_piece = score_piece,
        .arg = &w};
    qm_sequence_truncate(j->sequence, 0);
    return qm_feed(&f, err);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t n, double q) {
    double at = q * (double)(n - 1), below = floor(at);
    size_t i = (size_t)below, next = i + 1 < n ? i + 1 : i;
    return sorted[i] + (at - below) * (sorted[next] - sorted[i]);
}

static int report(struct job *j, bool json, struct qm_error *err) {
    static const double levels[] = {0.05, 0.25, 0.5, 0.75, 0.95};
    double sum = 0, squares = 0, q[5], n = (double)j->n;
    for (size_t i = 0; i < j->n; i++)
        sum += j->nll[i];
    double mean = sum / n;
    for (size_t i = 0; i < j->n; i++)
        squares += (j->nll[i] - mean) * (j->nll[i] - mean);
    double deviation = j->n > 1 ? sqrt(squares / (n - 1)) : 0, standard_error = deviation / sqrt(n);
    qsort(j->nll, j->n, sizeof *j->nll, compare);
    for (int i = 0; i < 5; i++)
        q[i] = quantile(j->nll, j->n, levels[i]);
    if (!json)
        return qm_out_printf(err,
                             "perplexity      %.4f\n"
                             "nats per token  %.4f +- %.4f (standard error), %.4f (standard deviation)\n"
                             "quantiles       5 %%: %.4f, 25 %%: %.4f, 50 %%: %.4f, 75 %%: %.4f, 95 %%: %.4f\n"
                             "tokens          %zu (%zu predicted), in windows of %lld\n",
                             exp(mean), mean, standard_error, deviation, q[0], q[1], q[2], q[3], q[4], j->ids.len, j->n,
                             (long long)j->window);
    json_t *root = json_pack("{s:f, s:f, s:f, s:f, s:{s:f, s:f, s:f, s:f, s:f}, s:I, s:I, s:I, s:o}", "perplexity",
                             exp(mean), "mean_nll", mean, "standard_error", standard_error, "standard_deviation",
                             deviation, "quantiles", "0.05", q[0], "0.25", q[1], "0.5", q[2], "0.75", q[3], "0.95",
                             q[4], "tokens", (json_int_t)j->ids.len, "predicted", (json_int_t)j->n, "window",
                             (json_int_t)j->window, "devices", qm_offload_json(j->model.engine));
    char *line = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    int rc = line ? qm_out_printf(err, "%s\n", line) : qm_fail(err, QM_SYSTEM, "the result is not finite");
    free(line);
    return rc;
}

static int run_perplexity(const struct qm_args *args, struct qm_error *err) {
    struct perplexity_options o;
    struct job j = {0};
    int rc = decode(args, &o, err);
    if (rc)
        return rc;
    qm_progress_init(&j.progress, o.silent);
    rc = open_job(&o, &j, err);
    int64_t n = (int64_t)j.ids.len;
    if (!rc)
        say_progress(&j, 0);
    for (int64_t at = 0; at < n && !rc; at += j.window)
        rc = score_window(&j, at, least(at + j.window, n), err);
    qm_progress_end(&j.progress);
    if (!rc)
        rc = report(&j, o.json, err);
    if (!rc || rc == QM_INTERRUPTED) {
        int saved = qm_app_save_routing(&j.model, &j.progress, err);
        rc = saved ? saved : rc;
    }
    free(j.logits);
    free(j.nll);
    qm_sequence_close(j.sequence);
    qm_ids_free(&j.ids);
    qm_app_close(&j.model);
    return rc;
}

static const unsigned char perplexity_options[] = {QM_OPT_FILE, QM_OPT_WINDOW, QM_OPT_PROFILE_EXPERTS, QM_OPT_JSON,
                                                   QM_OPT_END};

const struct qm_command qm_cmd_perplexity = {
    .name = "perplexity",
    .usage = "MODEL -f FILE",
    .summary = "Measure how well the model predicts a text",
    .details = "The text is cut into windows that do not overlap; the first token of each is\n"
               "given, the others are predicted. Printed are the perplexity, the mean negative\n"
               "log-likelihood of a token in nats with its standard error and deviation, and\n"
               "its quantiles.\n",
    .example = "quietmind perplexity Qwen/Qwen3-4B -f wiki.txt --window 2048\n",
    .options = perplexity_options,
    .common = true,
    .takes_model = true,
    .run = run_perplexity,
};
