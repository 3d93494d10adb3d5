/* Files of /proc and cgroups, line by line, and the levels of this process's cgroup: from its own up to the mount, in
 * both versions. Limits are often set on an ancestor (a service, a pod, a container), so every level is visited.
 * Untrusted only in so far as a fake /proc of a test is: what is not as expected is QM_SYSTEM, naming the file. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numa/internal.h"

/* A hierarchy as mounted here: the directory at mount is the cgroup named root. */
struct hierarchy {
    bool found;
    char mount[QM_CGROUP_PATH], root[QM_CGROUP_PATH];
};

static int qm_path_too_long(const char *path, struct qm_error *err) {
    return qm_fail(err, QM_SYSTEM, "%.200s...: path longer than %d bytes", path, QM_CGROUP_PATH - 1);
}

int qm_unexpected(const char *path, const char *expected, const char *found, struct qm_error *err) {
    return qm_fail(err, QM_SYSTEM, "%s: expected %s, found '%.80s'", path, expected, found);
}

int qm_lines_open(struct qm_lines *l, bool *there, struct qm_error *err, const char *root, const char *dir,
                  const char *name) {
    l->text = NULL;
    l->size = 0;
    *there = false;
    int n = snprintf(l->path, sizeof l->path, "%s%s/%s", root, dir, name);
    if (n < 0 || (size_t)n >= sizeof l->path)
        return qm_path_too_long(l->path, err);
    l->file = fopen(l->path, "re");
    if (!l->file && (errno == ENOENT || errno == ENOTDIR))
        return QM_OK;
    if (!l->file)
        return qm_fail_errno(err, "%s", l->path);
    *there = true;
    return QM_OK;
}

char *qm_lines_next(struct qm_lines *l) {
    ssize_t n = getline(&l->text, &l->size, l->file);
    if (n < 0)
        return NULL;
    if (n > 0 && l->text[n - 1] == '\n')
        l->text[n - 1] = '\0';
    return l->text;
}

int qm_lines_close(struct qm_lines *l, int rc, struct qm_error *err) {
    if (rc == QM_OK && ferror(l->file))
        rc = qm_fail(err, QM_SYSTEM, "%s: read error", l->path);
    fclose(l->file);
    free(l->text);
    return rc;
}

bool qm_number_parse(const char *s, const char *end, uint64_t *out) {
    if (*s < '0' || *s > '9')
        return false;
    char *stop;
    errno = 0;
    *out = strtoull(s, &stop, 10);
    return errno == 0 && strcmp(stop, end) == 0;
}

/* What is visited: one controller's levels. */
struct visit {
    const char *root, *controller;
    qm_cgroup_level_fn *level;
    void *self;
};

/* Every level from the process's cgroup up to the mount. */
static int visit_hierarchy(const struct visit *v, const struct hierarchy *h, int version, const char *cgroup,
                           struct qm_error *err) {
    /* Inside a container the mount may show a part of the tree, and the name may be given from the top of
     * it all; a name outside the part that is shown has only the mount's own level to go by. */
    size_t n = strcmp(h->root, "/") == 0 ? 0 : strlen(h->root);
    bool below = strncmp(cgroup, h->root, n) == 0 && (cgroup[n] == '/' || cgroup[n] == '\0');
    const char *relative = below && !strstr(cgroup, "/..") ? cgroup + n : "";
    char dir[QM_CGROUP_PATH];
    int len = snprintf(dir, sizeof dir, "%s%s", h->mount, relative);
    if (len < 0 || (size_t)len >= sizeof dir)
        return qm_path_too_long(dir, err);
    size_t mount = strlen(h->mount);
    for (;;) {
        int rc = v->level(v->self, v->root, dir, version, err);
        if (rc != QM_OK || strlen(dir) <= mount)
            return rc;
        *strrchr(dir, '/') = '\0';
    }
}

/* Undoes mountinfo's \ooo escapes, in place. */
static void unescape(char *s) {
    char *to = s;
    for (; *s; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
            *to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

static bool listed(const char *list, const char *item) {
    size_t n = strlen(item);
    while (strncmp(list, item, n) != 0 || (list[n] != ',' && list[n] != '\0')) {
        list = strchr(list, ',');
        if (!list)
            return false;
        list++;
    }
    return true;
}

/* One line of mountinfo: "id parent dev root mount options [tags...] - type source super-options". */
static int note_mount(char *line, const char *controller, struct hierarchy *v1, struct hierarchy *v2, const char *path,
                      struct qm_error *err) {
    char *dash = strstr(line, " - "), *field[5], *rest = NULL;
    if (!dash)
        return qm_unexpected(path, "' - ' before the type of the file system", line, err);
    *dash = '\0';
    const char *type = strtok_r(dash + 3, " ", &rest), *source = strtok_r(NULL, " ", &rest);
    const char *options = strtok_r(NULL, " ", &rest);
    struct hierarchy *h = NULL;
    if (type && source && strcmp(type, "cgroup2") == 0)
        h = v2;
    else if (type && source && strcmp(type, "cgroup") == 0 && options && listed(options, controller))
        h = v1;
    if (!h || h->found)
        return QM_OK;
    for (int i = 0; i < 5; i++) {
        field[i] = strtok_r(i ? NULL : line, " ", &rest);
        if (!field[i])
            return qm_unexpected(path, "at least 5 fields", line, err);
    }
    unescape(field[3]);
    unescape(field[4]);
    if (strlen(field[3]) >= QM_CGROUP_PATH || strlen(field[4]) >= QM_CGROUP_PATH)
        return qm_path_too_long(field[4], err);
    strcpy(h->root, field[3]);
    strcpy(h->mount, field[4]);
    h->found = true;
    return QM_OK;
}

static int find_mounts(const struct visit *v, struct hierarchy *v1, struct hierarchy *v2, struct qm_error *err) {
    struct qm_lines l;
    bool there;
    char *s;
    int rc = qm_lines_open(&l, &there, err, v->root, "/proc/self", "mountinfo");
    if (rc != QM_OK || !there)
        return rc;
    while (rc == QM_OK && (s = qm_lines_next(&l)) != NULL)
        rc = note_mount(s, v->controller, v1, v2, l.path, err);
    return qm_lines_close(&l, rc, err);
}

/* Each line of /proc/self/cgroup is "id:controllers:name"; version 2 has id 0 and no controllers. */
static int visit_cgroups(const struct visit *v, const struct hierarchy *v1, const struct hierarchy *v2,
                         struct qm_error *err) {
    struct qm_lines l;
    bool there;
    char *s;
    int rc = qm_lines_open(&l, &there, err, v->root, "/proc/self", "cgroup");
    if (rc != QM_OK || !there)
        return rc;
    while (rc == QM_OK && (s = qm_lines_next(&l)) != NULL) {
        char *controllers = strchr(s, ':'), *name = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!name || name[1] != '/') {
            rc = qm_unexpected(l.path, "id:controllers:/name", s, err);
            break;
        }
        *controllers++ = *name++ = '\0';
        if (strcmp(s, "0") == 0 && *controllers == '\0' && v2->found)
            rc = visit_hierarchy(v, v2, 2, name, err);
        else if (listed(controllers, v->controller) && v1->found)
            rc = visit_hierarchy(v, v1, 1, name, err);
    }
    return qm_lines_close(&l, rc, err);
}

int qm_cgroup_levels(const char *root, const char *controller, qm_cgroup_level_fn *level, void *self,
                     struct qm_error *err) {
    /* Too large for the stack of a small thread. */
    struct hierarchy *h = calloc(2, sizeof *h);
    struct visit v = {.root = root, .controller = controller, .level = level, .self = self};
    int rc = h ? find_mounts(&v, &h[0], &h[1], err) : qm_fail_memory(err, 2 * sizeof *h, "the list of cgroups");
    if (rc == QM_OK)
        rc = visit_cgroups(&v, &h[0], &h[1], err);
    free(h);
    return rc;
}

/* "max 100000" or "50000 100000" (v2); a quota of -1 or one beside its period (v1). */
static int quota_level(void *self, const char *root, const char *dir, int version, struct qm_error *err) {
    double *least = self;
    const char *const files[2][2] = {{"cpu.cfs_quota_us", "cpu.cfs_period_us"}, {"cpu.max", NULL}};
    long long value[2] = {0, 0};
    for (int i = 0, n = 0; i < 2 && files[version - 1][i]; i++) {
        struct qm_lines l;
        bool there;
        int rc = qm_lines_open(&l, &there, err, root, dir, files[version - 1][i]);
        if (rc != QM_OK || !there)
            return rc;
        const char *s = qm_lines_next(&l);
        n += s ? sscanf(s, version == 2 ? "%lld %lld" : "%lld", &value[n], &value[1]) : 0;
        rc = qm_lines_close(&l, QM_OK, err);
        if (rc != QM_OK || n == 0)
            return rc;
    }
    double cpus = value[0] > 0 && value[1] > 0 ? (double)value[0] / (double)value[1] : 0;
    if (cpus > 0 && (*least == 0 || cpus < *least))
        *least = cpus;
    return QM_OK;
}

double qm_cpu_quota_at(const char *root) {
    double least = 0;
    struct qm_error ignored;
    return qm_cgroup_levels(root, "cpu", quota_level, &least, &ignored) ? 0 : least;
}
