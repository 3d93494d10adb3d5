/* quietmind logits: the logits of given tokens as a .npy file, and one layer's attention, for comparing with
 * other implementations. Written piece by piece; no more than a piece is in memory. */
#include <stdlib.h>

#include "app/app.h"
#include "app/ids_file.h"
#include "app/npy.h"
#include "app/open_model.h"
#include "app/signals.h"
#include "session/feed.h"

struct job {
    struct qm_app_model model;
    struct qm_progress progress;
    struct qm_ids ids;
    struct qm_npy logits_file, attention_file;
    struct qm_sequence *sequence;
    int64_t first; /* position of the first token whose logits are written */
    int64_t layer; /* of attention, or -1 */
    int64_t piece; /* tokens computed at once */
    float *logits, *attention;
};

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int check_usage(const struct qm_args *args, struct qm_error *err) {
    if (!args->option[QM_OPT_IDS].set)
        return qm_fail(err, QM_USAGE, "logits: --ids FILE is missing");
    if (!args->option[QM_OPT_OUTPUT].set)
        return qm_fail(err, QM_USAGE, "logits: -o OUT.npy is missing");
    return QM_OK;
}

/* Everything that can be refused before weights are loaded, then the weights. */
static int open_job(const struct qm_args *args, struct job *j, struct qm_error *err) {
    const char *path = args->option[QM_OPT_IDS].text;
    int rc = qm_ids_read(path, &j->ids, err);
    if (!rc)
        rc = qm_app_open(args, QM_TOKENIZER_NO, &j->progress, &j->model, err);
    if (!rc)
        rc = qm_app_check_ids(&j->model, &j->ids, path, err);
    if (rc)
        return rc;
    const struct qm_config *c = &j->model.model->config;
    j->layer = qm_args_int(args, QM_OPT_LAYER, -1);
    if (j->layer >= c->layers)
        return qm_fail(err, QM_USAGE, "--layer: expected one from 0 to %lld, found %lld", (long long)c->layers - 1,
                       (long long)j->layer);
    if ((rc = qm_app_load(args, qm_args_int(args, QM_OPT_CHUNK, 0), &j->progress, &j->model, err)))
        return rc;
    int64_t n = (int64_t)j->ids.len, context = qm_engine_context(j->model.engine);
    if (n > context)
        return qm_fail(err, QM_INPUT, "%s: %lld tokens are more than the context of %lld", path, (long long)n,
                       (long long)context);
    return qm_sequence_open(j->model.engine, &j->sequence, err);
}

static int open_outputs(const struct qm_args *args, struct job *j, struct qm_error *err) {
    const struct qm_config *c = &j->model.model->config;
    int64_t n = (int64_t)j->ids.len, rows = least(n, qm_args_int(args, QM_OPT_LAST, n));
    j->first = n - rows;
    int64_t chunk = qm_engine_chunk(j->model.engine), mapped = j->layer >= 0 ? n : 0;
    j->piece = qm_attention_map_piece(c, chunk, mapped);
    uint64_t row_bytes = (uint64_t)(j->piece * c->vocab) * sizeof(float),
             map_bytes = qm_attention_map_bytes(c, chunk, mapped);
    j->logits = malloc(row_bytes);
    j->attention = mapped ? malloc(map_bytes) : NULL;
    if (!j->logits || (mapped && !j->attention))
        return qm_fail_memory(err, row_bytes + map_bytes, "logits and attention");
    int rc = qm_npy_open(&j->logits_file, args->option[QM_OPT_OUTPUT].text, (int64_t[]){rows, c->vocab}, 2, err);
    if (!rc && j->layer >= 0)
        rc = qm_npy_open(&j->attention_file, args->option[QM_OPT_ATTENTION].text, (int64_t[]){c->heads, n, n}, 3, err);
    return rc;
}

static void say_progress(struct job *j, int64_t done) {
    qm_progress_update(&j->progress, "logits", (uint64_t)done, (uint64_t)j->ids.len, QM_UNIT_TOKENS);
}

static int write_piece(void *arg, const struct qm_fed *f, struct qm_error *err) {
    struct job *j = arg;
    const struct qm_config *c = &j->model.model->config;
    int64_t total = (int64_t)j->ids.len, at = f->done - f->n;
    int rc = QM_OK;
    if (f->n_logits)
        rc = qm_npy_write(&j->logits_file, (uint64_t)((f->done - f->n_logits - j->first) * c->vocab), j->logits,
                          (size_t)(f->n_logits * c->vocab), err);
    for (int64_t h = 0; j->attention && h < c->heads && !rc; h++)
        rc = qm_npy_write(&j->attention_file, (uint64_t)((h * total + at) * total), j->attention + h * f->n * total,
                          (size_t)(f->n * total), err);
    if (!rc && f->done < total)
        say_progress(j, f->done);
    return rc;
}

static int compute(struct job *j, struct qm_error *err) {
    int64_t n = (int64_t)j->ids.len;
    const struct qm_feed f = {.engine = j->model.engine,
                              .step = {.sequence = j->sequence,
                                       .tokens = j->ids.data,
                                       .n = n,
                                       .n_logits = n - j->first,
                                       .logits = j->logits,
                                       .attention = j->attention,
                                       .attention_layer = j->layer,
                                       .attention_ld = n},
                              .piece = j->piece,
                              .on_piece = write_piece,
                              .arg = j};
    say_progress(j, 0);
    return qm_feed(&f, err);
}

static int run_logits(const struct qm_args *args, struct qm_error *err) {
    struct job j = {.layer = -1};
    qm_progress_init(&j.progress, args);
    qm_signals_kept("no file was written");
    int rc = check_usage(args, err);
    if (!rc)
        rc = open_job(args, &j, err);
    if (!rc)
        rc = open_outputs(args, &j, err);
    if (!rc)
        rc = compute(&j, err);
    qm_progress_end(&j.progress);
    if (!rc && j.attention)
        rc = qm_npy_commit(&j.attention_file, err);
    if (!rc)
        rc = qm_npy_commit(&j.logits_file, err);
    qm_npy_abort(&j.attention_file);
    qm_npy_abort(&j.logits_file);
    free(j.logits);
    free(j.attention);
    qm_sequence_close(j.sequence);
    qm_ids_free(&j.ids);
    qm_app_close(&j.model);
    return rc;
}

static const unsigned char logits_options[] = {QM_OPT_IDS,       QM_OPT_OUTPUT, QM_OPT_LAST, QM_OPT_CHUNK,
                                               QM_OPT_ATTENTION, QM_OPT_LAYER,  QM_OPT_END};

static const struct qm_need logits_needs[] = {
    {QM_OPT_ATTENTION, QM_OPT_LAYER, 0}, {QM_OPT_LAYER, QM_OPT_ATTENTION, 0}, {QM_OPT_END, 0, 0}};

const struct qm_command qm_cmd_logits = {
    .name = "logits",
    .usage = "MODEL --ids FILE -o OUT.npy",
    .summary = "Write the logits of given tokens as a NumPy array",
    .details = "OUT.npy is a NumPy array, float32 [tokens, vocabulary]: row i holds the logits\n"
               "after token i. With --attention OUT2.npy --layer L also the attention\n"
               "probabilities of one layer, [heads, tokens, tokens]. Needs no tokenizer.\n",
    .example = "quietmind logits Qwen/Qwen3-4B --ids prompt.ids -o logits.npy --last 1\n",
    .options = logits_options,
    .needs = logits_needs,
    .common = true,
    .computes = true,
    .takes_model = true,
    .run = run_logits,
};
