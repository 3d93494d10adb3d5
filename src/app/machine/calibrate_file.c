/* The kept shares: kernels-HASH.json beside the machine's profile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/compare/stats.h"
#include "app/machine/calibrate.h"
#include "app/machine/calibrate_model.h"
#include "base/file.h"
#include "base/json.h"

enum { VERSION = 3, FIELDS = 6, FILE_LIMIT = 1 << 20 };
/* Seconds after which no part is begun, no turn more than needed, and nothing is finished. */
static const double BEGIN = 45, MORE = 70, END = 110;
static const double ALIKE = 1.04;

static const struct {
    const char *name;
    enum qm_kernel_class kernel;
    enum qm_dtype type;
} parts[QM_PARTS] = {
    [QM_PART_DENSE_BF16] = {"products of BF16", QM_KERNEL_DENSE, QM_BF16},
    [QM_PART_ATTENTION_128] = {"attention with heads of 128", QM_KERNEL_ATTENTION_128, QM_BF16},
    [QM_PART_EXPERTS_BF16] = {"experts of BF16", QM_KERNEL_EXPERTS, QM_BF16},
    [QM_PART_ATTENTION_64] = {"attention with heads of 64", QM_KERNEL_ATTENTION_64, QM_BF16},
    [QM_PART_EXPERTS_MXFP4] = {"experts of MXFP4", QM_KERNEL_EXPERTS, QM_MXFP4},
    [QM_PART_DENSE_F16] = {"products of F16", QM_KERNEL_DENSE, QM_F16},
    [QM_PART_DENSE_F32] = {"products of F32", QM_KERNEL_DENSE, QM_F32},
};

int qm_calibration_parse(const char *text, size_t len, const char *name, const char *identity, const char *isa,
                         const char *build, struct qm_efficiency *out, struct qm_error *err) {
    json_t *root = NULL;
    int64_t version = 0;
    const char *of = NULL, *with = NULL, *by = NULL, *measured = NULL;
    int rc = qm_json_parse(text, len, name, &root, err);
    if (!rc && !qm_json_is_object(root))
        rc = qm_fail(err, QM_INPUT, "%s: expected an object, found %s", name, qm_json_type_name(root));
    if (!rc)
        rc = qm_json_int(root, "version", name, VERSION, VERSION, &version, err);
    if (!rc)
        rc = qm_json_string(root, "identity", name, &of, err);
    if (!rc)
        rc = qm_json_string(root, "isa", name, &with, err);
    if (!rc)
        rc = qm_json_string(root, "build", name, &by, err);
    if (!rc)
        rc = qm_json_string(root, "measured", name, &measured, err);
    if (!rc && (!version || !of || !with || !by || !measured || json_object_size(root) != FIELDS))
        rc = qm_fail(err, QM_INPUT, "%s: expected version, identity, isa, build, measured and efficiency", name);
    if (!rc && (strcmp(of, identity) != 0 || strcmp(with, isa) != 0))
        rc = qm_fail(err, QM_INPUT, "%s is of another machine or instruction set: \"%s\", %s", name, of, with);
    if (!rc && strcmp(by, build) != 0)
        rc = qm_fail(err, QM_INPUT, "%s is of another build of the kernels", name);
    if (!rc)
        rc = qm_efficiency_parse(json_object_get(root, "efficiency"), name, out, err);
    json_decref(root);
    return rc;
}

static int load(const char *path, const char *identity, const char *isa, struct qm_efficiency *out, bool *found,
                struct qm_error *err) {
    struct qm_buf text = {0};
    *found = false;
    if (!qm_file_there(path))
        return QM_OK;
    int rc = qm_read_file(path, FILE_LIMIT, &text, err);
    if (!rc)
        rc = qm_calibration_parse(text.data ? text.data : "", text.len, path, identity, isa, qm_kernels_build(), out,
                                  err);
    qm_buf_free(&text);
    *found = rc == QM_OK;
    return rc;
}

static int save(const char *path, const char *identity, const char *isa, const struct qm_efficiency *e,
                struct qm_error *err) {
    char measured[32];
    time_t now = time(NULL);
    struct tm utc;
    strftime(measured, sizeof measured, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:s, s:o}", "version", VERSION, "identity", identity, "isa", isa,
                             "build", qm_kernels_build(), "measured", measured, "efficiency", qm_efficiency_json(e));
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    struct qm_out out = {0};
    json_decref(root);
    int rc = text ? qm_out_open(&out, path, err) : qm_fail_memory(err, 4096, "the kernels' shares");
    if (!rc && fprintf(out.file, "%s\n", text) < 0) {
        rc = qm_fail_errno(err, "%s", path);
        qm_out_abort(&out);
    } else if (!rc) {
        rc = qm_out_commit(&out, err);
    }
    free(text);
    return rc;
}

/* machine-HASH.json becomes kernels-HASH.json. */
static bool path_of(const char *identity, const char *isa, char *out, size_t size) {
    static const char was[] = "machine-", is[] = "kernels-"; /* equally long */
    if (qm_machine_profile_path(identity, isa, getenv("XDG_CACHE_HOME"), getenv("HOME"), out, size, NULL))
        return false;
    memcpy(strrchr(out, '/') + 1, is, sizeof was - 1);
    return true;
}

static bool has(const struct qm_efficiency *e, int part) {
    return e->kernel[parts[part].kernel][parts[part].type].n > 0;
}

/* Usual shares where none are measured. */
static void fill_up(struct qm_efficiency *e) {
    struct qm_efficiency usual;
    qm_efficiency_usual(&usual);
    if (!has(e, QM_PART_ATTENTION_128) && !has(e, QM_PART_ATTENTION_64))
        e->value_ns = usual.value_ns;
    if (!has(e, QM_PART_EXPERTS_BF16))
        e->route_ns = usual.route_ns;
    qm_efficiency_fill(e);
}

bool qm_calibration_kept(const char *identity, enum qm_isa isa, struct qm_efficiency *out) {
    char path[4200];
    bool found = false;
    if (!path_of(identity, qm_isa_name(isa), path, sizeof path) ||
        load(path, identity, qm_isa_name(isa), out, &found, NULL) || !found)
        return false;
    fill_up(out);
    return true;
}

unsigned qm_calibration_needs(const struct qm_model *m) {
    unsigned needed = 0;
    if (!m)
        return (1U << QM_PARTS) - 1;
    for (int64_t i = 0; i < m->n_weights; i++) {
        const struct qm_weight *w = &m->weights[i];
        bool matrix = w->role == QM_W_QKV || w->role == QM_W_O || w->role == QM_W_GATE_UP || w->role == QM_W_DOWN ||
                      w->role == QM_W_HEAD || w->role == QM_W_EMBED;
        if (matrix && w->experts > 1) /* routing is measured with experts of BF16 */
            needed |= 1U << QM_PART_EXPERTS_BF16 | (w->dtype == QM_MXFP4 ? 1U << QM_PART_EXPERTS_MXFP4 : 0);
        for (int p = 0; p < QM_PARTS && matrix && w->experts == 1; p++)
            if (parts[p].kernel == QM_KERNEL_DENSE && parts[p].type == w->dtype)
                needed |= 1U << p;
    }
    return needed | 1U << (m->config.head_dim < 96 ? QM_PART_ATTENTION_64 : QM_PART_ATTENTION_128);
}

static void say_missing(const struct qm_efficiency *e, unsigned needed, struct qm_progress *progress, const char *why) {
    char list[256] = "";
    size_t at = 0;
    for (int i = 0; i < QM_PARTS; i++)
        if (needed >> i & 1 && !has(e, i))
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", at ? ", " : "", parts[i].name);
    if (at)
        qm_note(progress, "not measured yet, usual shares are taken: %s (%s; the next time goes on)", list, why);
}

/* The two highest, of two at least. */
static void highest(const struct qm_calibration_point *p, double two[2]) {
    two[0] = two[1] = 0;
    for (int i = 0; i < p->n; i++) {
        double x = p->share[i], below = x < two[0] ? x : two[0];
        two[0] = x > two[0] ? x : two[0];
        two[1] = below > two[1] ? below : two[1];
    }
}

bool qm_calibration_settled(const struct qm_calibration_point *p) {
    double two[2];
    highest(p, two);
    return p->n == QM_CALIBRATION_TURNS || (p->n >= QM_CALIBRATION_LEAST && two[0] < two[1] * ALIKE);
}

/* What disturbs a machine takes from a share. More than a kernel's own is read only where the limits beside it were
 * disturbed, so that the highest of all counts only where another agrees. */
static double share_of(const struct qm_calibration_point *p) {
    double two[2];
    highest(p, two);
    return two[0] < two[1] * ALIKE ? (two[0] + two[1]) / 2 : two[1];
}

void qm_calibration_conclude(enum qm_calibration_part part, const struct qm_calibration_samples *s,
                             struct qm_efficiency *out) {
    struct qm_shares *to = &out->kernel[parts[part].kernel][parts[part].type];
    to->n = 0;
    for (int i = 0; i < s->points; i++) {
        if (s->point[i].n < 2)
            continue;
        to->rows[to->n] = s->point[i].rows;
        to->share[to->n++] = share_of(&s->point[i]);
    }
    bool values = part == QM_PART_ATTENTION_128 || !(out->value_ns > 0);
    if (s->values && values)
        out->value_ns = qm_figure_of(s->value_ns, s->values).median;
    if (s->routes && part == QM_PART_EXPERTS_BF16)
        out->route_ns = qm_figure_of(s->route_ns, s->routes).median;
}

static bool part_settled(const struct qm_calibration_samples *s) {
    for (int i = 0; i < s->points; i++)
        if (!qm_calibration_settled(&s->point[i]))
            return false;
    return s->points > 0;
}

/* Turns over the parts that are missing, until all their points are settled. turns: of each part. */
static int take_turns(const struct qm_machine *m, const struct qm_machine_profile *profile, enum qm_isa isa,
                      unsigned missing, struct qm_progress *progress, struct qm_calibration_samples *samples,
                      int turns[QM_PARTS], struct qm_error *err) {
    double begin = qm_now();
    struct qm_calibration_setup setup = {.isa = isa, .progress = progress, .until = begin + END};
    int rc = QM_OK, steps = 0;
    for (int i = 0; i < QM_PARTS; i++)
        steps += QM_CALIBRATION_TURNS * (missing >> i & 1);
    for (int turn = 0, step = 0; turn < QM_CALIBRATION_TURNS && !rc; turn++)
        for (int i = 0; i < QM_PARTS && !rc; i++) {
            if (!(missing >> i & 1))
                continue;
            double until = turn == 0 ? BEGIN : turn < QM_CALIBRATION_LEAST ? END : MORE;
            qm_progress_update(progress, "measuring the kernels", (uint64_t)step++, (uint64_t)steps, QM_UNIT_STEPS);
            if (turns[i] < turn || part_settled(&samples[i]) || qm_now() - begin > until)
                continue;
            rc = qm_calibrate_turn((enum qm_calibration_part)i, m, profile, &setup, &samples[i], err);
            turns[i] += rc == QM_OK;
        }
    qm_progress_end(progress);
    return rc;
}

/* What was measured twice at least is kept. */
static int measure_missing(const struct qm_machine *m, const struct qm_machine_profile *profile, enum qm_isa isa,
                           unsigned missing, struct qm_progress *progress, struct qm_efficiency *out,
                           struct qm_error *err) {
    struct qm_calibration_samples *samples = calloc(QM_PARTS, sizeof *samples);
    int turns[QM_PARTS] = {0};
    if (!samples)
        return qm_fail_memory(err, QM_PARTS * sizeof *samples, "calibration");
    qm_note(progress, "measuring the kernels that are needed: one or two minutes, once for this build of them");
    int rc = take_turns(m, profile, isa, missing, progress, samples, turns, err);
    for (int i = 0; i < QM_PARTS; i++)
        if (turns[i] > 1)
            qm_calibration_conclude((enum qm_calibration_part)i, &samples[i], out);
    free(samples);
    return rc;
}

int qm_calibration_find(const struct qm_machine *m, const struct qm_machine_profile *profile, enum qm_isa isa,
                        unsigned needed, struct qm_progress *progress, struct qm_efficiency *out,
                        struct qm_error *err) {
    char path[4200];
    const char *name = qm_isa_name(isa);
    struct qm_error why = {0};
    bool found = false, keep = path_of(m->identity, name, path, sizeof path);
    unsigned missing = 0;
    *out = (struct qm_efficiency){0};
    if (keep && load(path, m->identity, name, out, &found, &why)) {
        qm_note(progress, "measuring the kernels again: %s", why.message);
        *out = (struct qm_efficiency){0};
    }
    for (int i = 0; i < QM_PARTS; i++)
        missing |= has(out, i) ? 0 : needed & 1U << i;
    why = (struct qm_error){.message = "it takes long"};
    int rc = missing ? measure_missing(m, profile, isa, missing, progress, out, &why) : QM_OK;
    if (missing && keep && save(path, m->identity, name, out, err))
        qm_note(progress, "the kernels' shares are not kept: %s", err->message);
    if (rc && rc != QM_FIT && rc != QM_STOPPED) {
        *err = why;
        return rc;
    }
    say_missing(out, needed, progress, why.message);
    fill_up(out);
    return QM_OK;
}
