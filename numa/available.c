/* How much memory this process may still take: the lesser of what the machine has and what the memory
 * cgroups leave, at every level up to the root (the limit is often set on an ancestor: a service, a pod,
 * a container). Used to refuse what does not fit before the kernel ends the process for it.
 * It does not know of swap, nor of memory that was allocated and not touched yet. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numa/internal.h"
#include "numa/memory.h"

/* The memory controller's files of the two versions of cgroups. */
struct version {
    const char *limit, *high /* above which a process is slowed down until it hardly runs; NULL: there is none */;
    const char *usage, *inactive, *active;
};

static const struct version versions[] = {
    {"memory.limit_in_bytes", NULL, "memory.usage_in_bytes", "total_inactive_file ", "total_active_file "},
    {"memory.max", "memory.high", "memory.current", "inactive_file ", "active_file "}};

/* The least over the levels. */
struct least {
    uint64_t available, limit;
};

/* A file of one number; "max" is UINT64_MAX where it may be. */
static int read_number(const char *root, const char *dir, const char *name, bool *there, uint64_t *out,
                       struct qm_error *err) {
    struct qm_lines l;
    int rc = qm_lines_open(&l, there, err, root, dir, name);
    if (rc != QM_OK || !*there)
        return rc;
    const char *s = qm_lines_next(&l);
    if (s && strcmp(s, "max") == 0)
        *out = UINT64_MAX;
    else if (!s || !qm_number_parse(s, "", out))
        rc = qm_unexpected(l.path, "a number or 'max'", s ? s : "", err);
    return qm_lines_close(&l, rc, err);
}

/* Adds to *sum the numbers on the lines that start with one of two names (each with its space). */
static int read_stat(const char *root, const char *dir, const struct version *v, uint64_t *sum, struct qm_error *err) {
    struct qm_lines l;
    bool there;
    int rc = qm_lines_open(&l, &there, err, root, dir, "memory.stat");
    if (rc != QM_OK || !there)
        return rc;
    const char *names[] = {v->inactive, v->active}, *s;
    while (rc == QM_OK && (s = qm_lines_next(&l)) != NULL) {
        for (int i = 0; i < 2; i++) {
            size_t n = strlen(names[i]);
            uint64_t value;
            if (strncmp(s, names[i], n) != 0)
                continue;
            if (!qm_number_parse(s + n, "", &value) || __builtin_add_overflow(*sum, value, sum))
                rc = qm_unexpected(l.path, "a number of bytes", s, err);
        }
    }
    return qm_lines_close(&l, rc, err);
}

/* Lowers what is available to what one cgroup leaves: its limit, less what is used and cannot be reclaimed. */
static int apply_level(void *self, const char *root, const char *dir, int version, struct qm_error *err) {
    const struct version *v = &versions[version - 1];
    struct least *least = self;
    uint64_t limit = UINT64_MAX, high = UINT64_MAX, used = 0, cache = 0;
    bool there;
    int rc = read_number(root, dir, v->limit, &there, &limit, err);
    if (rc == QM_OK && v->high)
        rc = read_number(root, dir, v->high, &there, &high, err);
    limit = high < limit ? high : limit;
    if (rc != QM_OK || limit == UINT64_MAX)
        return rc;
    rc = read_number(root, dir, v->usage, &there, &used, err);
    if (rc != QM_OK || !there)
        return rc;
    rc = read_stat(root, dir, v, &cache, err);
    if (rc != QM_OK)
        return rc;
    used = cache < used ? used - cache : 0;
    uint64_t left = used < limit ? limit - used : 0;
    least->available = left < least->available ? left : least->available;
    least->limit = limit < least->limit ? limit : least->limit;
    return QM_OK;
}

static int read_meminfo(const char *root, uint64_t *available, struct qm_error *err) {
    static const char name[] = "MemAvailable:";
    struct qm_lines l;
    bool there, found = false;
    const char *s;
    int rc = qm_lines_open(&l, &there, err, root, "/proc", "meminfo");
    if (rc != QM_OK)
        return rc;
    if (!there)
        return qm_fail(err, QM_SYSTEM, "%s: not there; check that /proc is mounted", l.path);
    while (!found && (s = qm_lines_next(&l)) != NULL) {
        if (strncmp(s, name, sizeof name - 1) != 0)
            continue;
        s += sizeof name - 1;
        found = qm_number_parse(s + strspn(s, " "), " kB", available) &&
                !__builtin_mul_overflow(*available, 1024, available);
        if (!found)
            return qm_lines_close(&l, qm_unexpected(l.path, "MemAvailable in kB", s, err), err);
    }
    if (!found)
        rc = qm_fail(err, QM_SYSTEM, "%s: no MemAvailable; Linux 3.14 or later is needed", l.path);
    return qm_lines_close(&l, rc, err);
}

int qm_memory_available_at(const char *root, uint64_t *bytes, struct qm_error *err) {
    struct least least = {.limit = UINT64_MAX};
    int rc = read_meminfo(root, &least.available, err);
    if (rc == QM_OK)
        rc = qm_cgroup_levels(root, "memory", apply_level, &least, err);
    if (rc == QM_OK)
        *bytes = least.available;
    return rc;
}

uint64_t qm_memory_limit(void) {
    return qm_memory_limit_at("");
}

uint64_t qm_memory_limit_at(const char *root) {
    struct least least = {UINT64_MAX, UINT64_MAX};
    struct qm_error ignored;
    return qm_cgroup_levels(root, "memory", apply_level, &least, &ignored) ? UINT64_MAX : least.limit;
}

/* Lines are "Node 0 MemFree:   123 kB". */
int qm_memory_node_available_at(const char *root, int node, uint64_t *bytes, struct qm_error *err) {
    static const char *const names[] = {" MemFree:", " Active(file):", " Inactive(file):", " SReclaimable:"};
    char dir[64];
    struct qm_lines l;
    bool there;
    snprintf(dir, sizeof dir, "/sys/devices/system/node/node%d", node);
    int rc = qm_lines_open(&l, &there, err, root, dir, "meminfo");
    if (rc != QM_OK)
        return rc;
    if (!there)
        return qm_fail(err, QM_SYSTEM, "%s: not there; check that /sys is mounted", l.path);
    *bytes = 0;
    int found = 0;
    for (const char *s; rc == QM_OK && (s = qm_lines_next(&l)) != NULL;)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const char *value = strstr(s, names[i]);
            uint64_t kb = 0;
            if (!value)
                continue;
            value += strlen(names[i]);
            if (!qm_number_parse(value + strspn(value, " "), " kB", &kb) || __builtin_mul_overflow(kb, 1024, &kb) ||
                __builtin_add_overflow(*bytes, kb, bytes))
                rc = qm_unexpected(l.path, "a number in kB", s, err);
            found += i == 0;
        }
    if (rc == QM_OK && !found)
        rc = qm_fail(err, QM_SYSTEM, "%s: no MemFree", l.path);
    return qm_lines_close(&l, rc, err);
}
