/* The kept efficiencies' file, and efficiencies from samples. */
#include "planner/calibration.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cache.h"
#include "base/file.h"
#include "base/json.h"
#include "base/stats.h"
#include "planner/profile.h"

enum { VERSION = 3, FIELDS = 6, MORE_FIELDS = 9, FILE_LIMIT = 1 << 20 };
static const double ALIKE = 1.04;

static const struct {
    const char *name;
    enum qm_kernel_class kernel;
    enum qm_dtype type;
} parts[QM_CALIBRATION_KERNELS] = {
    [QM_KERNELS_DENSE_BF16] = {"products of BF16", QM_KERNEL_DENSE, QM_BF16},
    [QM_KERNELS_ATTENTION_128] = {"attention with heads of 128", QM_KERNEL_ATTENTION_128, QM_BF16},
    [QM_KERNELS_EXPERTS_BF16] = {"experts of BF16", QM_KERNEL_EXPERTS, QM_BF16},
    [QM_KERNELS_ATTENTION_64] = {"attention with heads of 64", QM_KERNEL_ATTENTION_64, QM_BF16},
    [QM_KERNELS_EXPERTS_MXFP4] = {"experts of MXFP4", QM_KERNEL_EXPERTS, QM_MXFP4},
    [QM_KERNELS_DENSE_F16] = {"products of F16", QM_KERNEL_DENSE, QM_F16},
    [QM_KERNELS_DENSE_F32] = {"products of F32", QM_KERNEL_DENSE, QM_F32},
};

int qm_calibration_from_json(const json_t *root, const char *name, const char *identity, const char *isa,
                             const char *build, struct qm_calibration *out, struct qm_error *err) {
    *out = (struct qm_calibration){.noise = {-1, -1, 0, NULL}};
    int64_t version = 0, tried = 0;
    const char *of = NULL, *with = NULL, *by = NULL, *measured = NULL;
    size_t fields = json_object_size(root);
    if (!json_is_object(root))
        return qm_fail(err, QM_INPUT, "%s: expected an object, found %s", name, qm_json_type_name(root));
    int rc = qm_json_int(root, "version", name, VERSION, VERSION, &version, err);
    if (!rc)
        rc = qm_json_string(root, "identity", name, &of, err);
    if (!rc)
        rc = qm_json_string(root, "isa", name, &with, err);
    if (!rc)
        rc = qm_json_string(root, "build", name, &by, err);
    if (!rc)
        rc = qm_json_string(root, "measured", name, &measured, err);
    if (!rc && (!version || !of || !with || !by || !measured || (fields != FIELDS && fields != MORE_FIELDS)))
        rc = qm_fail(err, QM_INPUT, "%s: expected version, identity, isa, build, measured and efficiency", name);
    if (!rc && (strcmp(of, identity) != 0 || strcmp(with, isa) != 0))
        rc = qm_fail(err, QM_INPUT, "%s is of another machine or instruction set: \"%s\", %s", name, of, with);
    if (!rc && strcmp(by, build) != 0)
        rc = qm_fail(err, QM_INPUT, "%s is of another build of the kernels", name);
    if (!rc)
        rc = qm_efficiency_parse(json_object_get(root, "efficiency"), name, &out->efficiency, err);
    if (rc || fields != MORE_FIELDS)
        return rc;
    rc = qm_json_int(root, "tried", name, 0, (1 << QM_CALIBRATION_KERNELS) - 1, &tried, err);
    out->tried = (unsigned)tried;
    if (!rc)
        rc = qm_noise_share(root, "others", name, &out->noise.others, err);
    return rc ? rc : qm_noise_share(root, "stolen", name, &out->noise.stolen, err);
}

int qm_calibration_save(const char *path, const char *identity, enum qm_isa isa, const struct qm_calibration *c,
                        struct qm_error *err) {
    char measured[32];
    time_t now = time(NULL);
    struct tm utc;
    int rc = qm_cache_place(path, err);
    if (rc)
        return rc;
    strftime(measured, sizeof measured, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:s, s:o, s:i, s:o, s:o}", "version", VERSION, "identity", identity,
                             "isa", qm_isa_name(isa), "build", qm_kernels_build(), "measured", measured, "efficiency",
                             qm_efficiency_json(&c->efficiency), "tried", (int)c->tried, "others",
                             qm_noise_share_json(c->noise.others), "stolen", qm_noise_share_json(c->noise.stolen));
    return qm_json_save(path, root, 1, err);
}

/* machine-HASH.json becomes kernels-HASH.json. */
static bool path_of(const char *identity, const char *isa, const char *cache, char *out, size_t size) {
    static const char was[] = "machine-", is[] = "kernels-"; /* equally long */
    if (!cache || qm_machine_profile_path(identity, isa, cache, out, size, NULL))
        return false;
    memcpy(strrchr(out, '/') + 1, is, sizeof was - 1);
    return true;
}

static bool has(const struct qm_efficiency *e, int part) {
    return e->kernel[parts[part].kernel][parts[part].type].n > 0;
}

/* Default efficiencies where none are measured. */
static void fill_up(struct qm_efficiency *e) {
    struct qm_efficiency by_default;
    qm_efficiency_default(&by_default);
    if (!has(e, QM_KERNELS_ATTENTION_128) && !has(e, QM_KERNELS_ATTENTION_64))
        e->value_ns = by_default.value_ns;
    if (!has(e, QM_KERNELS_EXPERTS_BF16))
        e->route_ns = by_default.route_ns;
    qm_efficiency_fill(e);
}

bool qm_calibration_load(const char *identity, enum qm_isa isa, const char *cache, struct qm_calibration *out,
                         char path[4200], struct qm_error *why) {
    json_t *root = NULL;
    *out = (struct qm_calibration){.noise = {-1, -1, 0, NULL}};
    *why = (struct qm_error){0};
    if (!path_of(identity, qm_isa_name(isa), cache, path, 4200)) {
        path[0] = 0;
        return false;
    }
    if (!qm_file_there(path))
        return false;
    int rc = qm_json_load(path, FILE_LIMIT, &root, why);
    if (!rc)
        rc = qm_calibration_from_json(root, path, identity, qm_isa_name(isa), qm_kernels_build(), out, why);
    json_decref(root);
    if (rc)
        *out = (struct qm_calibration){.noise = {-1, -1, 0, NULL}};
    return rc == QM_OK;
}

unsigned qm_calibration_needs(const struct qm_model *m) {
    unsigned needed = 0;
    if (!m)
        return (1U << QM_CALIBRATION_KERNELS) - 1;
    for (int64_t i = 0; i < m->n_weights; i++) {
        const struct qm_weight *w = &m->weights[i];
        bool matrix = w->role == QM_W_QKV || w->role == QM_W_O || w->role == QM_W_GATE_UP || w->role == QM_W_DOWN ||
                      w->role == QM_W_SHARED_GATE_UP || w->role == QM_W_SHARED_DOWN || w->role == QM_W_HEAD ||
                      w->role == QM_W_EMBED;
        if (matrix && w->experts > 1) /* routing is measured with experts of BF16 */
            needed |= 1U << QM_KERNELS_EXPERTS_BF16 | (w->dtype == QM_MXFP4 ? 1U << QM_KERNELS_EXPERTS_MXFP4 : 0);
        for (int p = 0; p < QM_CALIBRATION_KERNELS && matrix && w->experts == 1; p++)
            if (parts[p].kernel == QM_KERNEL_DENSE && parts[p].type == w->dtype)
                needed |= 1U << p;
    }
    return needed | 1U << (m->config.head_dim < 96 ? QM_KERNELS_ATTENTION_64 : QM_KERNELS_ATTENTION_128);
}

void qm_calibration_efficiency(const struct qm_calibration *kept, unsigned needed, struct qm_efficiency *out,
                               char missing[256]) {
    size_t at = 0;
    *out = kept->efficiency;
    if (missing)
        missing[0] = 0;
    for (int i = 0; i < QM_CALIBRATION_KERNELS && missing; i++)
        if (needed >> i & 1 && !has(out, i) && at < 255)
            at += (size_t)snprintf(missing + at, 256 - at, "%s%s", at ? ", " : "", parts[i].name);
    fill_up(out);
}

unsigned qm_calibration_missing(const struct qm_calibration *kept, unsigned needed) {
    for (int i = 0; i < QM_CALIBRATION_KERNELS; i++)
        needed &= has(&kept->efficiency, i) ? ~(1U << i) : ~0U;
    return needed;
}

unsigned qm_calibration_due(const struct qm_calibration *kept, unsigned needed, bool quiet) {
    if (!kept)
        return needed;
    unsigned missing = qm_calibration_missing(kept, needed);
    if (!quiet)
        return missing & ~kept->tried;
    return qm_noise_level(&kept->noise) > 1 ? needed : missing;
}

/* The two highest, of two at least. */
static void highest(const struct qm_calibration_point *p, double two[2]) {
    two[0] = two[1] = 0;
    for (int i = 0; i < p->n; i++) {
        double x = p->efficiency[i], below = x < two[0] ? x : two[0];
        two[0] = x > two[0] ? x : two[0];
        two[1] = below > two[1] ? below : two[1];
    }
}

bool qm_calibration_settled(const struct qm_calibration_point *p) {
    double two[2];
    highest(p, two);
    return p->n == QM_CALIBRATION_ROUNDS || (p->n >= QM_CALIBRATION_LEAST && two[0] < two[1] * ALIKE);
}

/* What disturbs a machine takes from an efficiency. More than a kernel's own is read only where the limits beside it
 * were disturbed, so that the highest of all counts only where another agrees. */
static double efficiency_of(const struct qm_calibration_point *p) {
    double two[2];
    highest(p, two);
    return two[0] < two[1] * ALIKE ? (two[0] + two[1]) / 2 : two[1];
}

void qm_calibration_conclude(enum qm_calibration_kernels part, const struct qm_calibration_samples *s,
                             struct qm_efficiency *out) {
    struct qm_efficiency_curve *to = &out->kernel[parts[part].kernel][parts[part].type];
    to->n = 0;
    for (int i = 0; i < s->points; i++) {
        if (s->point[i].n < 2)
            continue;
        to->rows[to->n] = s->point[i].rows;
        to->efficiency[to->n++] = efficiency_of(&s->point[i]);
    }
    bool values = part == QM_KERNELS_ATTENTION_128 || !(out->value_ns > 0);
    if (s->values && values)
        out->value_ns = qm_figure_of(s->value_ns, s->values).median;
    if (s->routes && part == QM_KERNELS_EXPERTS_BF16)
        out->route_ns = qm_figure_of(s->route_ns, s->routes).median;
}

void qm_calibration_merge(struct qm_calibration *fresh, const struct qm_calibration *kept) {
    bool any = false;
    for (int i = 0; i < QM_CALIBRATION_KERNELS; i++) {
        if (has(&fresh->efficiency, i) || !has(&kept->efficiency, i))
            continue;
        fresh->efficiency.kernel[parts[i].kernel][parts[i].type] =
            kept->efficiency.kernel[parts[i].kernel][parts[i].type];
        any = true;
    }
    fresh->efficiency.value_ns =
        fresh->efficiency.value_ns > 0 ? fresh->efficiency.value_ns : kept->efficiency.value_ns;
    fresh->efficiency.route_ns =
        fresh->efficiency.route_ns > 0 ? fresh->efficiency.route_ns : kept->efficiency.route_ns;
    fresh->tried |= kept->tried;
    if (any)
        fresh->noise = qm_noise_worse(&fresh->noise, &kept->noise);
}
