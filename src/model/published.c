/* The weights of the files, where those are not what config.json says: names of other forms, parts that are not run, a
 * head beside a tied embedding or none at all, other types; and the check that nothing is missing or left over. Where
 * in the flow: last step of qm_model_open. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/model.h"
#include "model/weights.h"

void qm_model_note(struct qm_model *m, const char *format, ...) {
    size_t used = strlen(m->notes);
    va_list args;
    va_start(args, format);
    vsnprintf(m->notes + used, sizeof m->notes - used, format, args);
    va_end(args);
}

static const char *name_of(const struct qm_arch *arch, enum qm_role role) {
    for (int t = 0; t < QM_ARCH_TABLES; t++)
        for (const struct qm_source *s = arch->sources[t]; s && s->name; s++)
            if (s->role == role)
                return s->name;
    return NULL;
}

/* How the files have what they have beside the weights. */
struct published {
    const struct qm_arch *arch;
    const struct qm_naming *naming;
    bool bare;
    char embed[256], head[256];
};

static struct published look(const struct qm_model *m) {
    struct published p = {.arch = qm_arch_find(m->config.model_type)};
    const char *embed = name_of(p.arch, QM_W_EMBED);
    p.naming = qm_naming_find(m->shards, embed, &p.bare);
    qm_source_published(embed, p.naming, p.embed, sizeof p.embed);
    qm_source_published(name_of(p.arch, QM_W_HEAD), p.naming, p.head, sizeof p.head);
    return p;
}

enum { PIECE = 1 << 18 }; /* elements */

static int read_floats(const struct qm_shards *s, const struct qm_tensor *t, uint64_t at, size_t n, void *raw,
                       float *out, struct qm_error *err) {
    const struct qm_shard_file *file = &s->files[t->file];
    size_t size = qm_dtype_size(t->dtype);
    int rc = qm_pread_full(file->fd, file->path, raw, n * size, t->offset + at * size, err);
    const uint16_t *half = raw;
    if (!rc && t->dtype == QM_F32)
        memcpy(out, raw, n * sizeof *out);
    for (size_t i = 0; !rc && i < n && t->dtype != QM_F32; i++)
        out[i] = t->dtype == QM_BF16 ? qm_f32_from_bf16(half[i]) : qm_f32_from_f16(half[i]);
    return rc;
}

/* Whether two tensors have the same shape and values, whatever their types. */
static int same_values(const struct qm_shards *s, const struct qm_tensor *a, const struct qm_tensor *b, bool *same,
                       struct qm_error *err) {
    uint64_t n = 1;
    *same = a->dims == b->dims && qm_is_float(a->dtype) && qm_is_float(b->dtype) &&
            memcmp(a->shape, b->shape, (size_t)a->dims * sizeof *a->shape) == 0;
    for (int i = 0; i < a->dims && *same; i++)
        n *= (uint64_t)a->shape[i];
    float *x = malloc(PIECE * sizeof *x), *y = malloc(PIECE * sizeof *y), *raw = malloc(PIECE * sizeof *raw);
    int rc = x && y && raw ? QM_OK : qm_fail_memory(err, 3 * PIECE * sizeof *x, "comparing two tensors");
    for (uint64_t at = 0; !rc && *same && at < n; at += PIECE) {
        size_t piece = n - at < PIECE ? (size_t)(n - at) : PIECE;
        rc = read_floats(s, a, at, piece, raw, x, err);
        if (!rc)
            rc = read_floats(s, b, at, piece, raw, y, err);
        *same = !rc && memcmp(x, y, piece * sizeof *x) == 0;
    }
    free(x);
    free(y);
    free(raw);
    return rc;
}

/* Which matrix is the head, before the weights are listed. */
static int settle_head(struct qm_model *m, const struct published *p, struct qm_error *err) {
    struct qm_config *c = &m->config;
    const struct qm_tensor *head = qm_shards_find(m->shards, p->head), *embed = qm_shards_find(m->shards, p->embed);
    if (c->tie_embeddings && head && embed) {
        bool same;
        int rc = same_values(m->shards, embed, head, &same, err);
        if (rc)
            return rc;
        c->tie_embeddings = same;
        if (same)
            qm_model_note(m, "ignored: %s, which equals the embedding that config.json ties it to\n", p->head);
        else
            qm_model_note(m,
                          "config.json ties the head to the embedding (tie_word_embeddings), but %s in the files "
                          "differs from it: it is used as the head\n",
                          p->head);
    } else if (!c->tie_embeddings && !head && (p->bare || c->base_class)) {
        c->tie_embeddings = c->no_head = true;
        qm_model_note(m, "the files have no %s: the model gives embeddings, and no text\n", p->head);
    }
    return QM_OK;
}

static bool ends_with(const char *s, const char *suffix) {
    size_t n = strlen(s), k = strlen(suffix);
    return n >= k && strcmp(s + n - k, suffix) == 0;
}

static void count_left_out(struct qm_model *m, int part, const struct qm_tensor *t) {
    m->left_out[part].tensors++;
    m->left_out[part].bytes += t->bytes;
}

/* Tensors that no weight uses: harmless ones, and those of parts that are not run, are noted, others are problems. */
static void check_left_over(struct qm_model *m, const struct published *p, const bool *used,
                            struct qm_problems *problems) {
    int64_t frequencies = 0;
    for (int64_t i = 0; i < m->shards->n_tensors; i++) {
        const struct qm_tensor *t = &m->shards->tensors[i];
        if (used[i] || (m->config.tie_embeddings && strcmp(t->name, p->head) == 0))
            continue;
        int part = qm_left_out_of(&m->config, p->naming, t->name);
        if (ends_with(t->name, "rotary_emb.inv_freq"))
            frequencies++;
        else if (part >= 0)
            count_left_out(m, part, t);
        else
            qm_problem(problems,
                       "tensor \"%.200s\": expected only the tensors of a %s model of %" PRId64
                       " layers by config.json, found this one left over",
                       t->name, m->config.model_type, m->config.layers);
    }
    if (frequencies)
        qm_model_note(m, "ignored: %" PRId64 " rotary_emb.inv_freq tensors, which are computed from config.json\n",
                      frequencies);
    qm_left_out_note(m);
}

/* Tensors of types that most weights are not of. */
static void note_other_types(struct qm_model *m, const bool *used) {
    enum qm_dtype most = m->config.dtype;
    for (int type = 0; type < QM_DTYPE_COUNT; type++) {
        const char *first = NULL;
        int64_t n = 0;
        for (int64_t i = 0; i < m->shards->n_tensors; i++)
            if (used[i] && m->shards->tensors[i].dtype == (enum qm_dtype)type && n++ == 0)
                first = m->shards->tensors[i].name;
        if (!n || type == (int)most || !qm_is_float((enum qm_dtype)type))
            continue;
        if (n == 1)
            qm_model_note(m, "%.200s is %s, unlike most weights, and is used as it is\n", first,
                          qm_dtype_name((enum qm_dtype)type));
        else
            qm_model_note(m,
                          "%" PRId64 " tensors (%.200s, ...) are %s, unlike most weights, and are used as they are\n",
                          n, first, qm_dtype_name((enum qm_dtype)type));
    }
}

/* The type of most elements of the matrices; `otherwise` where there are none. */
static enum qm_dtype most_common(const struct qm_model *m, bool experts, enum qm_dtype otherwise) {
    int64_t count[QM_DTYPE_COUNT] = {0};
    enum qm_dtype most = otherwise;
    for (int64_t i = 0; i < m->n_weights; i++) {
        const struct qm_weight *w = &m->weights[i];
        if (!w->vector && w->role != QM_W_ROUTER && w->dtype != QM_MXFP4 && (!experts || w->experts > 1))
            count[w->dtype] += w->experts * w->n * w->k;
    }
    for (int t = 0; t < QM_DTYPE_COUNT; t++)
        most = count[t] > count[most] ? (enum qm_dtype)t : most;
    return most;
}

static void settle_types(struct qm_model *m, const bool *used) {
    struct qm_config *c = &m->config;
    enum qm_dtype config_says = c->dtype;
    c->dtype = most_common(m, false, config_says);
    if (c->expert_dtype != QM_MXFP4)
        c->expert_dtype = most_common(m, true, c->dtype);
    if (c->dtype_given && c->dtype != config_says)
        qm_model_note(m, "config.json says %s, but the files are %s: the files count\n", qm_dtype_name(config_says),
                      qm_dtype_name(c->dtype));
    note_other_types(m, used);
}

int qm_model_find_weights(struct qm_model *m, struct qm_error *err) {
    const struct published p = look(m);
    int rc = settle_head(m, &p, err);
    if (!rc)
        rc = qm_weights_shape(m, err);
    if (rc)
        return rc;
    bool *used = calloc((size_t)m->shards->n_tensors + 1, sizeof *used);
    if (!used)
        return qm_fail_memory(err, (size_t)m->shards->n_tensors, "a model's tensors");
    struct qm_problems problems = {0};
    rc = qm_weights_find(m, p.arch, p.naming, used, &problems, err);
    if (!rc)
        check_left_over(m, &p, used, &problems);
    if (!rc && !problems.count)
        settle_types(m, used);
    free(used);
    if (rc || problems.count == 0)
        return rc;
    if (problems.count == 1)
        return qm_fail(err, QM_INPUT, "%s: %s", m->dir, problems.first);
    return qm_fail(err, QM_INPUT,
                   "%s: %s; and %" PRId64 " more tensors are missing, odd or left over: config.json and the "
                   "files do not belong together",
                   m->dir, problems.first, problems.count - 1);
}
