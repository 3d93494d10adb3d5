/* quietmind inspect: what a model directory holds and what it takes to run it. Reads headers only. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/command_list.h"
#include "app/decode.h"
#include "app/open_model.h"
#include "app/out.h"
#include "app/remedy.h"
#include "engine/memory.h"
#include "numa/memory.h"
#include "numa/topology.h"
#include "report/numbers.h"
#include "text/template/chat.h"

enum { MAX_NOTES = 16 };

struct tensor_sum {
    int64_t count;
    uint64_t bytes;
};

struct inspection {
    struct qm_app_model model;
    struct qm_workload workload;
    struct qm_memory_table memory;
    uint64_t available; /* 0: not known */
    struct tensor_sum tensors[QM_DTYPE_COUNT];
    bool has_template;
    char notes[MAX_NOTES][1100];
    int n_notes;
};

static void add_note(struct inspection *in, const char *text, size_t n) {
    if (n && in->n_notes < MAX_NOTES)
        snprintf(in->notes[in->n_notes++], sizeof in->notes[0], "%.*s", (int)n, text);
}

static void add_notes(struct inspection *in, const char *lines) {
    while (*lines) {
        size_t n = strcspn(lines, "\n");
        add_note(in, lines, n);
        lines += n + (lines[n] == '\n');
    }
}

struct inspect_options {
    struct qm_model_options model;
    int threads; /* 0: one a core */
    int kv_type; /* enum qm_dtype or -1 */
    bool json;
};

static int decode(const struct qm_args *args, struct inspect_options *o, struct qm_error *err) {
    *o = (struct inspect_options){.model = qm_decode_model(args),
                                  .threads = (int)qm_args_int(args, QM_OPT_THREADS, 0),
                                  .json = args->option[QM_OPT_JSON].set};
    return qm_decode_kv_type(args, &o->kv_type, err);
}

static int plan(const struct inspect_options *o, struct inspection *in, struct qm_error *err) {
    const struct qm_config *c = &in->model.model->config;
    int rc, threads = o->threads;
    int64_t context = o->model.context;
    if (threads == 0) {
        struct qm_topology topology;
        if ((rc = qm_topology_load(NULL, &topology, err)))
            return rc;
        threads = topology.cores;
        qm_topology_free(&topology);
    }
    in->workload = (struct qm_workload){
        .context = context ? context : c->default_positions,
        .sequences = 1,
        .chunk = QM_DEFAULT_CHUNK,
        .kv_type = o->kv_type < 0 ? qm_kv_default_type(c) : (enum qm_dtype)o->kv_type,
        .threads = threads,
    };
    qm_memory_estimate(in->model.model, &in->workload, &in->memory);
    if (qm_memory_available(&in->available, NULL))
        in->available = 0;
    in->available += qm_memory_reserved();
    return QM_OK;
}

/* What the directory has beside weights, and what it lacks. */
static void look_around(struct inspection *in) {
    struct qm_error err = {0};
    const struct qm_chat *chat;
    const struct qm_shards *shards = in->model.model->shards;
    for (int64_t i = 0; shards && i < shards->n_tensors; i++) {
        in->tensors[shards->tensors[i].dtype].count++;
        in->tensors[shards->tensors[i].dtype].bytes += shards->tensors[i].bytes;
    }
    char notes[1024];
    qm_app_vocabulary_notes(&in->model, notes, sizeof notes);
    add_notes(in, in->model.model->notes);
    add_notes(in, notes);
    qm_app_context_note(in->model.model, in->workload.context, notes, sizeof notes);
    add_notes(in, notes);
    if (!in->model.tokenizer && shards)
        add_notes(in, "no tokenizer: only token ids can be used (run --ids, logits --ids)");
    in->has_template = qm_app_chat(&in->model, &chat, &err) == QM_OK;
    time_t seconds = time(NULL);
    struct tm now;
    if (shards && (!in->has_template || qm_chat_check(chat, NULL, NULL, localtime_r(&seconds, &now), &err))) {
        qm_remedy_add(&err);
        add_notes(in, err.message);
    }
    if (in->model.model->config.n_end_tokens == 0 && shards)
        add_notes(in, "no end token: an answer ends only by -n, --stop or a full context");
    if (in->available && in->memory.total > in->available)
        add_notes(in, "does not fit in the memory available with that context; see --context");
}

static const char *rope_name(enum qm_rope_kind kind) {
    static const char *const names[] = {"default", "linear", "dynamic", "yarn", "llama3"};
    _Static_assert(sizeof names / sizeof *names == QM_ROPE_KINDS, "a kind without a name");
    return names[kind];
}

static int print_shape(const struct qm_config *c, const struct qm_model *m, struct qm_error *err) {
    int rc = qm_out_printf(err,
                           "architecture   %s: %lld layers, hidden %lld, vocabulary %lld\n"
                           "attention      %lld heads, %lld KV heads of %lld\n",
                           c->model_type, (long long)c->layers, (long long)c->hidden, (long long)c->vocab,
                           (long long)c->heads, (long long)c->kv_heads, (long long)c->head_dim);
    int64_t windowed = 0, window = 0;
    for (int64_t l = 0; l < c->layers; l++)
        if (c->layer[l].window) {
            windowed++;
            window = c->layer[l].window;
        }
    if (!rc && windowed)
        rc = qm_out_printf(err, "               %lld layers see a window of %lld tokens\n", (long long)windowed,
                           (long long)window);
    if (!rc && c->experts)
        rc = qm_out_printf(err, "experts        %lld, %lld a token, width %lld (%s)\n", (long long)c->experts,
                           (long long)c->experts_per_token, (long long)c->moe_ffn, qm_dtype_name(c->expert_dtype));
    if (!rc && c->shared_ffn)
        rc = qm_out_printf(err, "               shared ones of width %lld that every token takes\n",
                           (long long)c->shared_ffn);
    if (!rc)
        rc = qm_out_printf(err, "rope           %s, theta %.10g%s", rope_name(c->rope.kind), c->rope.theta,
                           c->rope.kind == QM_ROPE_DEFAULT ? "\n" : "");
    if (!rc && c->rope.kind != QM_ROPE_DEFAULT)
        rc = qm_out_printf(err, ", factor %.10g of %lld\n", c->rope.factor, (long long)c->rope.original_max_positions);
    if (!rc)
        rc = qm_out_printf(err,
                           "context        %lld tokens\n"
                           "parameters     %lld (%.2f million), %lld (%.2f million) active for a token\n",
                           (long long)c->max_positions, (long long)m->parameters, (double)m->parameters / 1e6,
                           (long long)m->active_parameters, (double)m->active_parameters / 1e6);
    return rc;
}

static int print_memory(const struct inspection *in, struct qm_error *err) {
    char a[32], b[32], c[32], d[32], e[32];
    const struct qm_memory_table *m = &in->memory;
    int rc =
        qm_out_printf(err,
                      "memory         weights %s; working %s\n"
                      "               KV %s a token (%s), %s at %lld tokens\n"
                      "               total %s",
                      qm_bytes_text((double)m->weights, a, sizeof a), qm_bytes_text((double)m->scratch, d, sizeof d),
                      qm_bytes_text((double)m->kv_per_token, b, sizeof b), qm_dtype_name(in->workload.kv_type),
                      qm_bytes_text((double)m->kv, c, sizeof c), (long long)in->workload.context,
                      qm_bytes_text((double)m->total, e, sizeof e));
    if (!rc && in->available)
        rc = qm_out_printf(err, " (available: %s)", qm_bytes_text((double)in->available, a, sizeof a));
    return rc ? rc : qm_out_text("\n", err);
}

/* A token's text as JSON has it, or NULL without a tokenizer. */
static json_t *token_text(const struct qm_app_model *m, int32_t id) {
    size_t len = 0;
    const char *p = m->tokenizer ? qm_tokenizer_piece(m->tokenizer, id, &len) : NULL;
    return p ? json_stringn(p, len) : NULL;
}

static int print_ends(const struct qm_app_model *m, struct qm_error *err) {
    int rc = m->ends.n ? QM_OK : qm_out_text("end tokens     none\n", err);
    for (int i = 0; i < m->ends.n && !rc; i++) {
        const struct qm_end_token *e = &m->ends.token[i];
        char from[120];
        json_t *piece = token_text(m, e->id);
        char *text = piece ? json_dumps(piece, JSON_ENCODE_ANY) : NULL;
        rc = qm_out_printf(err, "%-14s %d%s%s (%s)\n", i ? "" : "end tokens", (int)e->id, text ? " " : "",
                           text ? text : "", qm_end_token_sources(e->from, from, sizeof from));
        free(text);
        json_decref(piece);
    }
    return rc;
}

static json_t *json_ends(const struct qm_app_model *m) {
    json_t *list = json_array();
    for (int i = 0; i < m->ends.n; i++) {
        char from[120];
        json_array_append_new(list, json_pack("{s:i, s:o?, s:s}", "id", (int)m->ends.token[i].id, "token",
                                              token_text(m, m->ends.token[i].id), "from",
                                              qm_end_token_sources(m->ends.token[i].from, from, sizeof from)));
    }
    return list;
}

static int print_text(const struct inspection *in, struct qm_error *err) {
    const struct qm_model *m = in->model.model;
    char size[32];
    int rc = qm_out_printf(err, "model          %s\n", in->model.dir);
    if (!rc)
        rc = print_shape(&m->config, m, err);
    bool first = true;
    for (int t = 0; t < QM_DTYPE_COUNT && !rc; t++) {
        if (!in->tensors[t].count)
            continue;
        rc = qm_out_printf(err, "%-14s %s: %lld, %s\n", first ? "tensors" : "", qm_dtype_name(t),
                           (long long)in->tensors[t].count,
                           qm_bytes_text((double)in->tensors[t].bytes, size, sizeof size));
        first = false;
    }
    if (!rc)
        rc = print_memory(in, err);
    if (!rc && in->model.tokenizer)
        rc = qm_out_printf(err, "tokenizer      %lld tokens\n", (long long)qm_tokenizer_size(in->model.tokenizer));
    else if (!rc)
        rc = qm_out_text("tokenizer      none\n", err);
    if (!rc)
        rc = qm_out_printf(err, "chat template  %s\n", in->has_template ? "yes" : "none");
    if (!rc)
        rc = print_ends(&in->model, err);
    for (int i = 0; i < in->n_notes && !rc; i++)
        rc = qm_out_printf(err, "note           %s\n", in->notes[i]);
    return rc;
}

static json_t *json_tensors(const struct inspection *in) {
    json_t *tensors = json_object();
    for (int t = 0; t < QM_DTYPE_COUNT; t++)
        if (in->tensors[t].count)
            json_object_set_new(tensors, qm_dtype_name(t),
                                json_pack("{s:I, s:I}", "count", (json_int_t)in->tensors[t].count, "bytes",
                                          (json_int_t)in->tensors[t].bytes));
    return tensors;
}

/* Parts of the files that are not run. */
static json_t *json_left_out(const struct qm_model *m) {
    json_t *parts = json_object();
    for (int p = 0; p < QM_LEFT_COUNT; p++)
        if (m->left_out[p].tensors)
            json_object_set_new(parts, qm_left_out_name((enum qm_left_out)p),
                                json_pack("{s:I, s:I}", "count", (json_int_t)m->left_out[p].tensors, "bytes",
                                          (json_int_t)m->left_out[p].bytes));
    return parts;
}

static int print_json(const struct inspection *in, struct qm_error *err) {
    const struct qm_model *m = in->model.model;
    const struct qm_config *c = &m->config;
    const struct qm_memory_table *t = &in->memory;
    json_t *notes = json_array(), *end = json_array();
    for (int i = 0; i < in->n_notes; i++)
        json_array_append_new(notes, json_string(in->notes[i]));
    for (int i = 0; i < c->n_end_tokens; i++)
        json_array_append_new(end, json_integer(c->end_tokens[i]));
    json_t *shape =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "layers", (json_int_t)c->layers, "hidden",
                  (json_int_t)c->hidden, "vocabulary", (json_int_t)c->vocab, "heads", (json_int_t)c->heads, "kv_heads",
                  (json_int_t)c->kv_heads, "head_dim", (json_int_t)c->head_dim, "experts", (json_int_t)c->experts,
                  "experts_per_token", (json_int_t)c->experts_per_token, "context", (json_int_t)c->max_positions);
    json_t *memory =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "weights", (json_int_t)t->weights, "kv_per_token",
                  (json_int_t)t->kv_per_token, "kv", (json_int_t)t->kv, "kv_tokens", (json_int_t)in->workload.context,
                  "working", (json_int_t)t->scratch, "total", (json_int_t)t->total, "available",
                  (json_int_t)in->available, "kv_type", qm_dtype_name(in->workload.kv_type));
    json_t *root = json_pack(
        "{s:s, s:s, s:o, s:{s:I, s:I}, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}", "model", in->model.dir, "architecture",
        c->model_type, "shape", shape, "parameters", "total", (json_int_t)m->parameters, "active",
        (json_int_t)m->active_parameters, "tensors", json_tensors(in), "left_out", json_left_out(m), "memory", memory,
        "tokenizer", in->model.tokenizer ? json_integer(qm_tokenizer_size(in->model.tokenizer)) : json_null(),
        "chat_template", in->has_template, "end_tokens", end, "ends", json_ends(&in->model), "notes", notes);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    int rc = text ? qm_out_printf(err, "%s\n", text) : qm_fail(err, QM_INPUT, "%s: a name is not UTF-8", in->model.dir);
    free(text);
    return rc;
}

static int run_inspect(const struct qm_args *args, struct qm_error *err) {
    struct inspect_options o;
    struct qm_progress progress;
    struct inspection *in;
    int rc = decode(args, &o, err);
    if (rc)
        return rc;
    if (!(in = calloc(1, sizeof *in)))
        return qm_fail_memory(err, sizeof *in, "the inspection");
    qm_progress_init(&progress, true); /* what would be noted is part of the result here */
    rc = qm_app_describe(&o.model, QM_TOKENIZER_IF_THERE, &progress, &in->model, err);
    if (!rc)
        rc = plan(&o, in, err);
    if (!rc) {
        look_around(in);
        rc = o.json ? print_json(in, err) : print_text(in, err);
    }
    qm_app_close(&in->model);
    free(in);
    return rc;
}

static const unsigned char inspect_options[] = {
    QM_OPT_JSON,       QM_OPT_CONTEXT,      QM_OPT_THREADS, QM_OPT_KV_TYPE, QM_OPT_EXPERTS_PER_TOKEN,
    QM_OPT_ROPE_THETA, QM_OPT_ROPE_SCALING, QM_OPT_SILENT,  QM_OPT_END};

const struct qm_command qm_cmd_inspect = {
    .name = "inspect",
    .usage = "MODEL",
    .summary = "Show what a model is and what it takes to run it",
    .details = "Architecture, parameters (total, and active for a token), tensors by type,\n"
               "memory for weights and for keys and values, which tokens end an answer and\n"
               "which file says so, what is missing or odd. Loads no weights, and\n"
               "needs none: config.json alone will do (hf download NAME config.json), or the\n"
               "name of a shape, as plan takes them.\n",
    .example = "quietmind inspect Qwen/Qwen3-30B-A3B\n"
               "quietmind inspect ~/models/gpt-oss-20b --context 32768 --json\n",
    .options = inspect_options,
    .takes_model = true,
    .run = run_inspect,
};
