/* Finds the published tensors of each weight and cuts them into runs of rows. Where in the flow: last step of
 * qm_model_open. Reads no tensor data: only names, shapes and types. */
#include "model/weights.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 256, SHAPE_SIZE = 200 };

/* What a tensor must be. */
struct expected {
    enum qm_dtype dtype;
    int dims;
    int64_t shape[QM_TENSOR_MAX_DIMS];
};

struct finder {
    struct qm_model *m;
    const struct qm_naming *naming;
    bool *used;
    struct qm_problems *problems;
};

void qm_problem(struct qm_problems *p, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (p->count++ == 0)
        vsnprintf(p->first, sizeof p->first, format, args);
    va_end(args);
}

void qm_source_name(const char *pattern, int64_t layer, int64_t expert, char *out, size_t size) {
    size_t used = 0;
    for (const char *p = pattern; *p && used + 1 < size;) {
        bool l = strncmp(p, "{l}", 3) == 0, e = strncmp(p, "{e}", 3) == 0;
        if (l || e) {
            int n = snprintf(out + used, size - used, "%" PRId64, l ? layer : expert);
            used += (size_t)n < size - used ? (size_t)n : size - used - 1;
            p += 3;
        } else {
            out[used++] = *p++;
        }
    }
    out[used] = 0;
}

static const char prefix[] = "model.";
static const struct qm_naming namings[] = {{prefix, ""},
                                           {"", ""}, /* bare */
                                           {"model.language_model.", ""},
                                           {"language_model.model.", "language_model."}};
enum { NAMINGS = sizeof namings / sizeof *namings, BARE = 1 };

void qm_source_published(const char *name, const struct qm_naming *naming, char *out, size_t size) {
    bool inside = strncmp(name, prefix, sizeof prefix - 1) == 0;
    snprintf(out, size, "%s%s", inside ? naming->model : naming->rest, inside ? name + sizeof prefix - 1 : name);
}

const struct qm_naming *qm_naming_find(const struct qm_shards *s, const char *name, bool *bare) {
    int found = 0;
    for (int i = 0; i < NAMINGS && !found; i++) {
        char published[NAME_SIZE];
        qm_source_published(name, &namings[i], published, sizeof published);
        if (qm_shards_find(s, published))
            found = i + 1;
    }
    *bare = found == BARE + 1;
    return &namings[found ? found - 1 : 0];
}

static void shape_text(enum qm_dtype dtype, const int64_t *shape, int dims, char *out, size_t size) {
    size_t used = (size_t)snprintf(out, size, "%s [", qm_dtype_name(dtype));
    for (int i = 0; i < dims && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%" PRId64, i ? ", " : "", shape[i]);
    if (used < size)
        snprintf(out + used, size - used, "]");
}

/* The tensor of that name, checked, or NULL with a problem counted. */
static const struct qm_tensor *find(struct finder *f, const char *name, const struct expected *x) {
    const struct qm_shards *s = f->m->shards;
    const struct qm_tensor *t = qm_shards_find(s, name);
    char wanted[SHAPE_SIZE], found[SHAPE_SIZE];
    /* whatever config.json says of most */
    bool plain = t && qm_is_float(x->dtype) && qm_is_float(t->dtype);
    shape_text(plain ? t->dtype : x->dtype, x->shape, x->dims, wanted, sizeof wanted);
    if (!t) {
        qm_problem(f->problems, "tensor \"%s\": expected %s by config.json, found in no file", name, wanted);
        return NULL;
    }
    f->used[t - s->tensors] = true;
    if ((plain || t->dtype == x->dtype) && t->dims == x->dims &&
        memcmp(t->shape, x->shape, (size_t)x->dims * sizeof *x->shape) == 0)
        return t;
    shape_text(t->dtype, t->shape, t->dims, found, sizeof found);
    const char *slash = strrchr(s->files[t->file].path, '/');
    qm_problem(f->problems, "%s: tensor \"%s\": expected %s by config.json, found %s",
               slash ? slash + 1 : s->files[t->file].path, name, wanted, found);
    return NULL;
}

/* The rows that a tensor of this part holds (of one expert). */
static int64_t part_rows(const struct qm_config *c, const struct qm_weight *w, enum qm_source_rows part) {
    int64_t ffn = w->layer >= 0 && c->layer[w->layer].moe ? c->moe_ffn : c->ffn;
    ffn = w->role == QM_W_SHARED_GATE_UP ? c->shared_ffn : ffn;
    switch (part) {
    case QM_SOURCE_Q: return c->heads * c->head_dim;
    case QM_SOURCE_K:
    case QM_SOURCE_V: return c->kv_heads * c->head_dim;
    case QM_SOURCE_GATE:
    case QM_SOURCE_UP: return ffn;
    case QM_SOURCE_GATE_UP_ALTERNATING: return 2 * ffn;
    case QM_SOURCE_WHOLE:
    case QM_SOURCE_QKV_BY_KV_HEAD:
    case QM_SOURCE_ALL_EXPERTS: break;
    }
    return w->n;
}

/* Shape of the tensor: [experts where all are in one] [rows] [columns of a matrix]. */
static struct expected expect(const struct qm_config *c, const struct qm_weight *w, enum qm_source_rows part) {
    struct expected x = {.dtype = w->dtype};
    if (part == QM_SOURCE_GATE_UP_ALTERNATING || part == QM_SOURCE_ALL_EXPERTS)
        x.shape[x.dims++] = w->experts;
    x.shape[x.dims++] = part_rows(c, w, part);
    if (!w->vector)
        x.shape[x.dims++] = w->k;
    return x;
}

static int add_run(struct qm_weight *w, struct qm_run run, struct qm_error *err) {
    if ((w->n_runs & (w->n_runs - 1)) == 0) { /* room doubles at powers of two */
        size_t room = w->n_runs ? (size_t)w->n_runs * 2 : 1;
        struct qm_run *runs = realloc(w->runs, room * sizeof *runs);
        if (!runs)
            return qm_fail_memory(err, room * sizeof *runs, "the runs of a weight");
        w->runs = runs;
    }
    w->runs[w->n_runs++] = run;
    return QM_OK;
}

/* InternLM2: for each KV head the rows of its q heads, of its k and of its v. */
static int add_by_kv_head(const struct qm_config *c, struct qm_weight *w, struct qm_run run, struct qm_error *err) {
    int64_t d = c->head_dim, group = c->heads / c->kv_heads;
    for (int64_t h = 0; h < c->kv_heads; h++) {
        const int64_t src = h * (group + 2) * d;
        const struct {
            int64_t src, dst, count;
        } parts[] = {{src, h * group * d, group * d},
                     {src + group * d, (c->heads + h) * d, d},
                     {src + (group + 1) * d, (c->heads + c->kv_heads + h) * d, d}};
        for (int i = 0; i < 3; i++) {
            run.src = parts[i].src;
            run.dst = parts[i].dst;
            run.count = parts[i].count;
            int rc = add_run(w, run, err);
            if (rc)
                return rc;
        }
    }
    return QM_OK;
}

/* The runs of one tensor. `run` has the tensor, its scales and its expert. */
static int add_part(const struct qm_config *c, struct qm_weight *w, enum qm_source_rows part, struct qm_run run,
                    struct qm_error *err) {
    int64_t rows = part_rows(c, w, part), all = 1;
    run.step = 1;
    run.count = rows;
    switch (part) {
    case QM_SOURCE_WHOLE:
    case QM_SOURCE_Q: break;
    case QM_SOURCE_K: run.dst = c->heads * c->head_dim; break;
    case QM_SOURCE_V: run.dst = (c->heads + c->kv_heads) * c->head_dim; break;
    case QM_SOURCE_GATE: run.interleave = 32; break;
    case QM_SOURCE_UP:
        run.interleave = 32;
        run.shift = 16;
        break;
    case QM_SOURCE_QKV_BY_KV_HEAD: return add_by_kv_head(c, w, run, err);
    case QM_SOURCE_GATE_UP_ALTERNATING:
        run.interleave = 32;
        run.step = 2;
        run.count = rows / 2;
        all = w->experts;
        break;
    case QM_SOURCE_ALL_EXPERTS: all = w->experts; break;
    }
    int rc = QM_OK;
    for (int64_t e = 0; !rc && e < all; e++) {
        if (all > 1)
            run.expert = e;
        run.src = e * rows;
        rc = add_run(w, run, err);
        if (!rc && part == QM_SOURCE_GATE_UP_ALTERNATING) {
            struct qm_run up = run;
            up.src++;
            up.shift = 16;
            rc = add_run(w, up, err);
        }
    }
    return rc;
}

/* One tensor of a source, or the blocks and scales of one. */
static int find_tensor(struct finder *f, struct qm_weight *w, const struct qm_source *s, int64_t expert,
                       struct qm_error *err) {
    const struct qm_config *c = &f->m->config;
    char pattern[NAME_SIZE], name[NAME_SIZE];
    qm_source_published(s->name, f->naming, pattern, sizeof pattern);
    qm_source_name(pattern, w->layer, expert, name, sizeof name - sizeof "_blocks");
    struct expected x = expect(c, w, s->part);
    struct qm_run run = {.expert = expert};
    if (w->dtype == QM_MXFP4) {
        size_t end = strlen(name);
        x.dtype = QM_U8;
        x.shape[x.dims - 1] /= QM_MXFP4_VALUES;
        strcpy(name + end, "_scales");
        run.scales = find(f, name, &x);
        x.shape[x.dims++] = QM_MXFP4_BYTES;
        strcpy(name + end, "_blocks");
        run.tensor = find(f, name, &x);
        if (!run.scales)
            return QM_OK;
    } else {
        run.tensor = find(f, name, &x);
    }
    return run.tensor ? add_part(c, w, s->part, run, err) : QM_OK;
}

static int by_expert(const void *a, const void *b) {
    const struct qm_run *x = a, *y = b;
    if (x->expert != y->expert)
        return x->expert < y->expert ? -1 : 1;
    int64_t dx = x->dst + x->shift, dy = y->dst + y->shift;
    return (dx > dy) - (dx < dy);
}

/* Takes the type of its tensors, or F32, which holds the values of all, where they differ. */
static void take_type(struct qm_weight *w) {
    for (int64_t i = 0; i < w->n_runs && w->dtype != QM_MXFP4; i++) {
        enum qm_dtype t = w->runs[i].tensor->dtype;
        w->dtype = i == 0 || w->dtype == t ? t : QM_F32;
    }
}

/* The tensors of a weight that one table names. */
static int find_sources(struct finder *f, struct qm_weight *w, const struct qm_source *s, struct qm_error *err) {
    bool moe = w->layer >= 0 && f->m->config.layer[w->layer].moe;
    for (; s && s->name; s++) {
        if (s->role != w->role || (s->when == QM_DENSE_LAYER && moe) || (s->when == QM_MOE_LAYER && !moe))
            continue;
        int64_t tensors = strstr(s->name, "{e}") ? w->experts : 1;
        for (int64_t e = 0; e < tensors; e++) {
            int rc = find_tensor(f, w, s, e, err);
            if (rc)
                return rc;
        }
    }
    return QM_OK;
}

int qm_weights_find(struct qm_model *m, const struct qm_arch *arch, const struct qm_naming *naming, bool *used,
                    struct qm_problems *problems, struct qm_error *err) {
    struct finder f = {m, naming, used, problems};
    for (int64_t i = 0; i < m->n_weights; i++) {
        struct qm_weight *w = &m->weights[i];
        for (int t = 0; t < QM_ARCH_TABLES; t++) {
            int rc = find_sources(&f, w, arch->sources[t], err);
            if (rc)
                return rc;
        }
        take_type(w);
        if (w->n_runs)
            qsort(w->runs, (size_t)w->n_runs, sizeof *w->runs, by_expert);
    }
    return QM_OK;
}
