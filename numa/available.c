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

enum { PATH_BYTES = 4096 };

/* A file read line by line; text is the line, grown by getline. */
struct lines {
    FILE *file;
    char *text;
    size_t size;
    char path[PATH_BYTES];
};

/* The memory controller's files of the two versions of cgroups. */
struct version {
    const char *limit, *usage, *inactive, *active;
};

static const struct version V1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ",
                                  "total_active_file "};
static const struct version V2 = {"memory.max", "memory.current", "inactive_file ", "active_file "};

/* A hierarchy as mounted here: the directory at mount is the cgroup named root. */
struct hierarchy {
    bool found;
    char mount[PATH_BYTES], root[PATH_BYTES];
};

static int too_long(const char *path, struct qm_error *err) {
    return qm_fail(err, QM_SYSTEM, "%.200s...: path longer than %d bytes", path, PATH_BYTES - 1);
}

static int unexpected(const char *path, const char *expected, const char *found, struct qm_error *err) {
    return qm_fail(err, QM_SYSTEM, "%s: expected %s, found '%.80s'", path, expected, found);
}

/* *there is false, without an error, for a file that does not exist. */
static int open_lines(struct lines *l, bool *there, struct qm_error *err, const char *root, const char *dir,
                      const char *name) {
    l->text = NULL;
    l->size = 0;
    *there = false;
    int n = snprintf(l->path, sizeof l->path, "%s%s/%s", root, dir, name);
    if (n < 0 || (size_t)n >= sizeof l->path)
        return too_long(l->path, err);
    l->file = fopen(l->path, "re");
    if (!l->file && (errno == ENOENT || errno == ENOTDIR))
        return QM_OK;
    if (!l->file)
        return qm_fail_errno(err, "%s", l->path);
    *there = true;
    return QM_OK;
}

/* The next line without its end, NULL after the last. */
static char *next_line(struct lines *l) {
    ssize_t n = getline(&l->text, &l->size, l->file);
    if (n < 0)
        return NULL;
    if (n > 0 && l->text[n - 1] == '\n')
        l->text[n - 1] = '\0';
    return l->text;
}

/* Ends the reading; rc passes through, unless the file could not be read to its end. */
static int close_lines(struct lines *l, int rc, struct qm_error *err) {
    if (rc == QM_OK && ferror(l->file))
        rc = qm_fail(err, QM_SYSTEM, "%s: read error", l->path);
    fclose(l->file);
    free(l->text);
    return rc;
}

/* Digits only, up to `end`, no sign and no overflow. */
static bool parse_number(const char *s, const char *end, uint64_t *out) {
    if (*s < '0' || *s > '9')
        return false;
    char *stop;
    errno = 0;
    *out = strtoull(s, &stop, 10);
    return errno == 0 && strcmp(stop, end) == 0;
}

/* A file of one number; "max" is UINT64_MAX where it may be. */
static int read_number(const char *root, const char *dir, const char *name, bool *there, uint64_t *out,
                       struct qm_error *err) {
    struct lines l;
    int rc = open_lines(&l, there, err, root, dir, name);
    if (rc != QM_OK || !*there)
        return rc;
    const char *s = next_line(&l);
    if (s && strcmp(s, "max") == 0)
        *out = UINT64_MAX;
    else if (!s || !parse_number(s, "", out))
        rc = unexpected(l.path, "a number or 'max'", s ? s : "", err);
    return close_lines(&l, rc, err);
}

/* Adds to *sum the numbers on the lines that start with one of two names (each with its space). */
static int read_stat(const char *root, const char *dir, const struct version *v, uint64_t *sum, struct qm_error *err) {
    struct lines l;
    bool there;
    int rc = open_lines(&l, &there, err, root, dir, "memory.stat");
    if (rc != QM_OK || !there)
        return rc;
    const char *names[] = {v->inactive, v->active}, *s;
    while (rc == QM_OK && (s = next_line(&l)) != NULL) {
        for (int i = 0; i < 2; i++) {
            size_t n = strlen(names[i]);
            uint64_t value;
            if (strncmp(s, names[i], n) != 0)
                continue;
            if (!parse_number(s + n, "", &value) || __builtin_add_overflow(*sum, value, sum))
                rc = unexpected(l.path, "a number of bytes", s, err);
        }
    }
    return close_lines(&l, rc, err);
}

/* Lowers *available to what one cgroup leaves: its limit, less what is used and cannot be reclaimed. */
static int apply_level(const char *root, const char *dir, const struct version *v, uint64_t *available,
                       struct qm_error *err) {
    uint64_t limit = 0, used = 0, cache = 0;
    bool there;
    int rc = read_number(root, dir, v->limit, &there, &limit, err);
    if (rc != QM_OK || !there || limit == UINT64_MAX)
        return rc;
    rc = read_number(root, dir, v->usage, &there, &used, err);
    if (rc != QM_OK || !there)
        return rc;
    rc = read_stat(root, dir, v, &cache, err);
    if (rc != QM_OK)
        return rc;
    used = cache < used ? used - cache : 0;
    uint64_t left = used < limit ? limit - used : 0;
    if (left < *available)
        *available = left;
    return QM_OK;
}

/* Every level from the process's cgroup up to the mount. */
static int apply_hierarchy(const char *root, const struct hierarchy *h, const struct version *v, const char *cgroup,
                           uint64_t *available, struct qm_error *err) {
    /* Inside a container the mount may show a part of the tree, and the name may be given from the top of
     * it all; a name outside the part that is shown has only the mount's own level to go by. */
    size_t n = strcmp(h->root, "/") == 0 ? 0 : strlen(h->root);
    bool below = strncmp(cgroup, h->root, n) == 0 && (cgroup[n] == '/' || cgroup[n] == '\0');
    const char *relative = below && !strstr(cgroup, "/..") ? cgroup + n : "";
    char dir[PATH_BYTES];
    int len = snprintf(dir, sizeof dir, "%s%s", h->mount, relative);
    if (len < 0 || (size_t)len >= sizeof dir)
        return too_long(dir, err);
    size_t mount = strlen(h->mount);
    for (;;) {
        int rc = apply_level(root, dir, v, available, err);
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
static int note_mount(char *line, struct hierarchy *v1, struct hierarchy *v2, const char *path, struct qm_error *err) {
    char *dash = strstr(line, " - "), *field[5], *rest = NULL;
    if (!dash)
        return unexpected(path, "' - ' before the type of the file system", line, err);
    *dash = '\0';
    const char *type = strtok_r(dash + 3, " ", &rest), *source = strtok_r(NULL, " ", &rest);
    const char *options = strtok_r(NULL, " ", &rest);
    struct hierarchy *h = NULL;
    if (type && source && strcmp(type, "cgroup2") == 0)
        h = v2;
    else if (type && source && strcmp(type, "cgroup") == 0 && options && listed(options, "memory"))
        h = v1;
    if (!h || h->found)
        return QM_OK;
    for (int i = 0; i < 5; i++) {
        field[i] = strtok_r(i ? NULL : line, " ", &rest);
        if (!field[i])
            return unexpected(path, "at least 5 fields", line, err);
    }
    unescape(field[3]);
    unescape(field[4]);
    if (strlen(field[3]) >= PATH_BYTES || strlen(field[4]) >= PATH_BYTES)
        return too_long(field[4], err);
    strcpy(h->root, field[3]);
    strcpy(h->mount, field[4]);
    h->found = true;
    return QM_OK;
}

static int find_mounts(const char *root, struct hierarchy *v1, struct hierarchy *v2, struct qm_error *err) {
    struct lines l;
    bool there;
    char *s;
    int rc = open_lines(&l, &there, err, root, "/proc/self", "mountinfo");
    if (rc != QM_OK || !there)
        return rc;
    while (rc == QM_OK && (s = next_line(&l)) != NULL)
        rc = note_mount(s, v1, v2, l.path, err);
    return close_lines(&l, rc, err);
}

/* Each line of /proc/self/cgroup is "id:controllers:name"; version 2 has id 0 and no controllers. */
static int apply_cgroups(const char *root, const struct hierarchy *v1, const struct hierarchy *v2, uint64_t *available,
                         struct qm_error *err) {
    struct lines l;
    bool there;
    char *s;
    int rc = open_lines(&l, &there, err, root, "/proc/self", "cgroup");
    if (rc != QM_OK || !there)
        return rc;
    while (rc == QM_OK && (s = next_line(&l)) != NULL) {
        char *controllers = strchr(s, ':'), *name = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!name || name[1] != '/') {
            rc = unexpected(l.path, "id:controllers:/name", s, err);
            break;
        }
        *controllers++ = *name++ = '\0';
        if (strcmp(s, "0") == 0 && *controllers == '\0' && v2->found)
            rc = apply_hierarchy(root, v2, &V2, name, available, err);
        else if (listed(controllers, "memory") && v1->found)
            rc = apply_hierarchy(root, v1, &V1, name, available, err);
    }
    return close_lines(&l, rc, err);
}

static int read_meminfo(const char *root, uint64_t *available, struct qm_error *err) {
    static const char name[] = "MemAvailable:";
    struct lines l;
    bool there, found = false;
    const char *s;
    int rc = open_lines(&l, &there, err, root, "/proc", "meminfo");
    if (rc != QM_OK)
        return rc;
    if (!there)
        return qm_fail(err, QM_SYSTEM, "%s: not there; check that /proc is mounted", l.path);
    while (!found && (s = next_line(&l)) != NULL) {
        if (strncmp(s, name, sizeof name - 1) != 0)
            continue;
        s += sizeof name - 1;
        found =
            parse_number(s + strspn(s, " "), " kB", available) && !__builtin_mul_overflow(*available, 1024, available);
        if (!found)
            return close_lines(&l, unexpected(l.path, "MemAvailable in kB", s, err), err);
    }
    if (!found)
        rc = qm_fail(err, QM_SYSTEM, "%s: no MemAvailable; Linux 3.14 or later is needed", l.path);
    return close_lines(&l, rc, err);
}

int qm_memory_available_at(const char *root, uint64_t *bytes, struct qm_error *err) {
    /* Too large for the stack of a small thread. */
    struct hierarchy *h = calloc(2, sizeof *h);
    if (!h)
        return qm_fail_memory(err, 2 * sizeof *h, "the list of cgroups");
    uint64_t available = 0;
    int rc = read_meminfo(root, &available, err);
    if (rc == QM_OK)
        rc = find_mounts(root, &h[0], &h[1], err);
    if (rc == QM_OK)
        rc = apply_cgroups(root, &h[0], &h[1], &available, err);
    free(h);
    if (rc == QM_OK)
        *bytes = available;
    return rc;
}

/* Lines are "Node 0 MemFree:   123 kB". */
int qm_memory_node_available_at(const char *root, int node, uint64_t *bytes, struct qm_error *err) {
    static const char *const names[] = {" MemFree:", " Active(file):", " Inactive(file):", " SReclaimable:"};
    char dir[64];
    struct lines l;
    bool there;
    snprintf(dir, sizeof dir, "/sys/devices/system/node/node%d", node);
    int rc = open_lines(&l, &there, err, root, dir, "meminfo");
    if (rc != QM_OK)
        return rc;
    if (!there)
        return qm_fail(err, QM_SYSTEM, "%s: not there; check that /sys is mounted", l.path);
    *bytes = 0;
    int found = 0;
    for (const char *s; rc == QM_OK && (s = next_line(&l)) != NULL;)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const char *value = strstr(s, names[i]);
            uint64_t kb = 0;
            if (!value)
                continue;
            value += strlen(names[i]);
            if (!parse_number(value + strspn(value, " "), " kB", &kb) || __builtin_mul_overflow(kb, 1024, &kb) ||
                __builtin_add_overflow(*bytes, kb, bytes))
                rc = unexpected(l.path, "a number in kB", s, err);
            found += i == 0;
        }
    if (rc == QM_OK && !found)
        rc = qm_fail(err, QM_SYSTEM, "%s: no MemFree", l.path);
    return close_lines(&l, rc, err);
}
