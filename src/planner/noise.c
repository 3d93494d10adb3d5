/* Noise by /proc/stat, and in words. */
#include "planner/noise.h"

#include <stdio.h>
#include <time.h>

static const double OTHERS = 0.05, STOLEN = 0.02, SPREAD = 0.25;

static double greater(double a, double b) {
    return a > b ? a : b;
}

double qm_noise_level(const struct qm_noise *n) {
    return greater(0, greater(greater(n->others / OTHERS, n->stolen / STOLEN), (n->spread - 1) / SPREAD));
}

bool qm_noise_text(const struct qm_noise *n, char *out, size_t size) {
    size_t at = 0;
    out[0] = 0;
    if (n->others > OTHERS)
        at += (size_t)snprintf(out, size, "other programs used %.0f %% of the CPUs' time", 100 * n->others);
    if (n->stolen > STOLEN && at < size)
        at += (size_t)snprintf(out + at, size - at, "%sthe hypervisor took %.0f %% of the CPUs' time", at ? "; " : "",
                               100 * n->stolen);
    if (n->spread > 1 + SPREAD && at < size)
        at += (size_t)snprintf(out + at, size - at, "%s%s%sthe best pass is %.2f times the median one", at ? "; " : "",
                               n->spread_of ? n->spread_of : "", n->spread_of ? ": " : "", n->spread);
    return at > 0;
}

struct qm_noise qm_noise_worse(const struct qm_noise *a, const struct qm_noise *b) {
    return (struct qm_noise){greater(a->others, b->others), greater(a->stolen, b->stolen),
                             greater(a->spread, b->spread), a->spread > b->spread ? a->spread_of : b->spread_of};
}

void qm_noise_begin(struct qm_noise_watch *w) {
    w->known = qm_cpu_time_read("", &w->before, NULL) == 0;
}

struct qm_noise qm_noise_end(const struct qm_noise_watch *w) {
    struct qm_noise n = {-1, -1, 0, NULL};
    struct qm_cpu_time after;
    if (w->known && !qm_cpu_time_read("", &after, NULL))
        qm_cpu_time_shares(&w->before, &after, &n.others, &n.stolen);
    return n;
}

struct qm_noise qm_noise_now(void) {
    struct qm_noise_watch w;
    qm_noise_begin(&w);
    if (w.known)
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    return qm_noise_end(&w);
}

json_t *qm_noise_share_json(double share) {
    return share < 0 ? json_null() : json_real(share);
}

int qm_noise_share(const json_t *root, const char *key, const char *name, double *out, struct qm_error *err) {
    const json_t *v = json_object_get(root, key);
    *out = json_is_null(v) ? -1 : json_number_value(v);
    if (json_is_null(v) || (json_is_number(v) && *out >= 0 && *out <= 1))
        return QM_OK;
    return qm_fail(err, QM_INPUT, "%s: \"%s\": expected a share from 0 to 1, or null", name, key);
}
