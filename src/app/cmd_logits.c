/* quietmind logits: the logits of given tokens as a .npy file, and one layer's attention, for comparing with
 * other implementations. Written piece by piece; no more than a piece is in memory. */
#include <stdlib.h>

#include "app/command_list.h"
#include "app/decode.h"
#include "app/load_model.h"
#include "app/signals.h"
#include "base/npy.h"
#include "engine/sequence.h"
#include "session/feed.h"
#include "text/ids_file.h"

struct logits_options {
    struct qm_model_options model;
    struct qm_load_options load;
    const char *ids, *output, *attention;
    int64_t chunk; /* 0: the engine's own */
    int64_t layer; /* of attention; -1: none */
    int64_t last;  /* so many rows only; 0: all */
    bool silent;
};

struct job {
    struct qm_app_model model;
    struct qm_progress progress;
    struct qm_ids ids;
    struct qm_npy logits_file, attention_file;
    struct qm_sequence *sequence;
    int64_t first; /* position of the first token whose logits are written */
    int64_t piece; /* tokens computed at once */
    float *logits, *attention;
};

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int decode(const struct qm_args *args, struct logits_options *o, struct qm_error *err) {
    *o = (struct logits_options){.model = qm_decode_model(args),
                                 .ids = qm_args_text(args, QM_OPT_IDS, NULL),
                                 .output = qm_args_text(args, QM_OPT_OUTPUT, NULL),
                                 .attention = qm_args_text(args, QM_OPT_ATTENTION, NULL),
                                 .chunk = qm_args_int(args, QM_OPT_CHUNK, 0),
                                 .layer = qm_args_int(args, QM_OPT_LAYER, -1),
                                 .last = qm_args_int(args, QM_OPT_LAST, 0),
                                 .silent = args->option[QM_OPT_SILENT].set};
    int rc = qm_decode_load(args, &o->load, err);
    if (!rc && !o->ids)
        rc = qm_fail(err, QM_USAGE, "logits: --ids FILE is missing");
    if (!rc && !o->output)
        rc = qm_fail(err, QM_USAGE, "logits: -o OUT.npy is missing");
    return rc;
}

/* Everything that can be refused before weights are loaded, then the weights. */
static int open_job(const struct logits_options *o, struct job *j, struct qm_error *err) {
    int rc = qm_ids_read(o->ids, &j->ids, err);
    if (!rc)
        rc = qm_app_open(&o->model, QM_TOKENIZER_NO, &j->progress, &j->model, err);
    if (!rc)
        rc = qm_app_check_ids(&j->model, &j->ids, o->ids, err);
    if (rc)
        return rc;
    const struct qm_config *c = &j->model.model->config;
    if (o->layer >= c->layers)
        return qm_fail(err, QM_USAGE, "--layer: expected one from 0 to %lld, found %lld", (long long)c->layers - 1,
                       (long long)o->layer);
    if ((rc = qm_app_load(&o->load, o->chunk, &j->progress, &j->model, err)))
        return rc;
    int64_t n = (int64_t)j->ids.len, context = qm_engine_context(j->model.engine);
    if (n > context)
        return qm_fail(err, QM_INPUT, "%s: %lld tokens are more than the context of %lld", o->ids, (long long)n,
                       (long long)context);
    return qm_sequence_open(j->model.engine, &j->sequence, err);
}

static int open_outputs(const struct logits_options *o, struct job *j, struct qm_error *err) {
    const struct qm_config *c = &j->model.model->config;
    int64_t n = (int64_t)j->ids.len, rows = o->last ? least(n, o->last) : n;
    j->first = n - rows;
    int64_t chunk = qm_engine_chunk(j->model.engine), mapped = o->layer >= 0 ? n : 0;
    j->piece = qm_attention_map_piece(c, chunk, mapped);
    uint64_t row_bytes = (uint64_t)(j->piece * c->vocab) * sizeof(float),
             map_bytes = qm_attention_map_bytes(c, chunk, mapped);
    j->logits = malloc(row_bytes);
    j->attention = mapped ? malloc(map_bytes) : NULL;
    if (!j->logits || (mapped && !j->attention))
        return qm_fail_memory(err, row_bytes + map_bytes, "logits and attention");
    int rc = qm_npy_open(&j->logits_file, o->output, (int64_t[]){rows, c->vocab}, 2, err);
    if (!rc && o->layer >= 0)
        rc = qm_npy_open(&j->attention_file, o->attention, (int64_t[]){c->heads, n, n}, 3, err);
    return rc;
}

static void say_progress(struct job *j, int64_t done) {
    qm_progress_update(&j->progress, "logits", (uint64_t)done, (uint64_t)j->ids.len, QM_PROGRESS_TOKENS);
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

static int compute(struct job *j, int64_t layer, struct qm_error *err) {
    int64_t n = (int64_t)j->ids.len;
    const struct qm_feed f = {.engine = j->model.engine,
                              .step = {.sequence = j->sequence,
                                       .tokens = j->ids.data,
                                       .n = n,
                                       .n_logits = n - j->first,
                                       .logits = j->logits,
                                       .attention = j->attention,
                                       .attention_layer = layer,
                                       .attention_ld = n},
                              .piece = j->piece,
                              .on_piece = write_piece,
                              .arg = j};
    say_progress(j, 0);
    return qm_feed(&f, err);
}

static int run_logits(const struct qm_args *args, struct qm_error *err) {
    struct logits_options o;
    struct job j = {0};
    int rc = decode(args, &o, err);
    if (rc)
        return rc;
    qm_progress_init(&j.progress, o.silent);
    qm_signals_kept("no file was written");
    rc = open_job(&o, &j, err);
    if (!rc)
        rc = open_outputs(&o, &j, err);
    if (!rc)
        rc = compute(&j, o.layer, err);
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
    .takes_model = true,
    .run = run_logits,
};
