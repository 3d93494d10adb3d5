/* The machine by hwloc, and what hwloc does not know by /proc and /sys. */
#include "numa/machine.h"

#include <hwloc.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "numa/internal.h"
#include "numa/memory.h"

/* The first line of a file without its newline; "" where there is none. */
static void first_line(const char *path, char *out, size_t size) {
    out[0] = 0;
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    if (!fgets(out, (int)size, f))
        out[0] = 0;
    fclose(f);
    out[strcspn(out, "\n")] = 0;
}

/* "KEY   123 kB" anywhere in a line of a file, in bytes; 0 where there is none. */
static uint64_t kilobytes(const char *path, const char *key) {
    char line[256];
    uint64_t n = 0;
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        const char *at = strstr(line, key);
        if (at && sscanf(at + strlen(key), "%" SCNu64, &n) == 1)
            break;
    }
    if (f)
        fclose(f);
    return n * 1024;
}

static uint64_t number_in(const char *directory, const char *pool, const char *name) {
    char path[256], line[64];
    snprintf(path, sizeof path, "%s/%s/%s", directory, pool, name);
    first_line(path, line, sizeof line);
    return strtoull(line, NULL, 10);
}

static struct qm_huge_pages huge_pages(int node, const char *pool) {
    char directory[128], test[256];
    snprintf(directory, sizeof directory, "/sys/devices/system/node/node%d/hugepages", node);
    snprintf(test, sizeof test, "%s/%s/nr_hugepages", directory, pool);
    FILE *f = fopen(test, "re");
    if (f)
        fclose(f);
    else
        snprintf(directory, sizeof directory, "/sys/kernel/mm/hugepages"); /* no NUMA: one node */
    return (struct qm_huge_pages){number_in(directory, pool, "nr_hugepages"),
                                  number_in(directory, pool, "free_hugepages")};
}

/* A virtual machine's nodes may hold less than it was promised: the host plugs the rest in as it is used (virtio-mem),
 * and what the nodes hold differs from one start to the next. The only node gets all that was promised. */
static void count_promised_memory(struct qm_machine *m) {
    uint64_t promised = kilobytes("/proc/meminfo", "MemTotal:");
    if (promised <= m->memory)
        return;
    if (m->n_nodes == 1) {
        m->nodes[0].memory = promised;
        m->nodes[0].free = kilobytes("/proc/meminfo", "MemFree:");
    }
    m->memory = promised;
}

static void list_nodes(hwloc_topology_t hw, struct qm_machine *m) {
    int with_cores = 0;
    for (hwloc_obj_t o = NULL; (o = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_NUMANODE, o)) != NULL;) {
        if (m->n_nodes == QM_MAX_NODES)
            break;
        struct qm_machine_node *n = &m->nodes[m->n_nodes++];
        char path[128];
        n->number = (int)o->os_index;
        n->memory = o->attr->numanode.local_memory;
        snprintf(path, sizeof path, "/sys/devices/system/node/node%d/meminfo", n->number);
        n->free = kilobytes(path, "MemFree:");
        if (n->free == 0)
            n->free = kilobytes("/proc/meminfo", "MemFree:");
        n->huge_2m = huge_pages(n->number, "hugepages-2048kB");
        n->huge_1g = huge_pages(n->number, "hugepages-1048576kB");
        m->memory += n->memory;
        bool has_cores = false;
        for (int c = 0; c < m->topology.cores; c++)
            if (hwloc_bitmap_isset(o->cpuset, (unsigned)m->topology.core_cpu[c]) &&
                m->topology.core_node[c] == with_cores) {
                n->cores++;
                has_cores = true;
            }
        with_cores += has_cores;
    }
    if (m->n_nodes == 0)
        m->nodes[m->n_nodes++] = (struct qm_machine_node){.cores = m->topology.cores};
    count_promised_memory(m);
}

static void list_caches(hwloc_topology_t hw, struct qm_machine *m) {
    int depth = hwloc_topology_get_depth(hw);
    for (int d = depth - 1; d >= 0; d--) {
        hwloc_obj_t o = hwloc_get_obj_by_depth(hw, d, 0);
        if (!o || !hwloc_obj_type_is_cache(o->type) || m->n_caches == QM_MAX_CACHES)
            continue;
        enum hwloc_obj_cache_type_e kind = o->attr->cache.type;
        m->caches[m->n_caches++] = (struct qm_cache){.level = (int)o->attr->cache.depth,
                                                     .kind = kind == HWLOC_OBJ_CACHE_DATA          ? 'd'
                                                             : kind == HWLOC_OBJ_CACHE_INSTRUCTION ? 'i'
                                                                                                   : 'u',
                                                     .bytes = o->attr->cache.size,
                                                     .count = (int)hwloc_get_nbobjs_by_depth(hw, d),
                                                     .cpus = hwloc_bitmap_weight(o->cpuset)};
    }
}

static void find_microcode(struct qm_machine *m) {
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "microcode : %31s", m->microcode) == 1)
            break;
    if (f)
        fclose(f);
}

static void find_thp(struct qm_machine *m) {
    char line[128];
    first_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof line);
    const char *begin = strchr(line, '['), *end = begin ? strchr(begin, ']') : NULL;
    if (end)
        snprintf(m->thp, sizeof m->thp, "%.*s", (int)(end - begin - 1), begin + 1);
}

/* The model's name, what there is of it for this process, and what changes its speed: no memory sizes in use,
 * nothing that differs from one start to the next. */
static void name_machine(struct qm_machine *m) {
    const struct qm_topology *t = &m->topology;
    snprintf(m->identity, sizeof m->identity,
             "%s; packages %d, nodes %d, cores %d, threads %d of %d; memory %.0f GiB; cache %.0f MiB; microcode %s",
             t->cpu_model, t->packages, t->nodes, t->cores, t->cpus, m->cpus_online, qm_gib(m->memory),
             (double)qm_machine_cache_bytes(m) / (1 << 20), m->microcode[0] ? m->microcode : "unknown");
    for (char *p = m->identity; *p; p++) /* it is written into JSON */
        if (*p < 32 || *p > 126)
            *p = '?';
}

static int read_sensors(struct qm_machine *out, struct qm_error *err) {
    struct qm_sensors *sensors;
    int rc = qm_sensors_open("", &sensors, err);
    if (rc)
        return rc;
    qm_sensors_read(sensors, &out->reading);
    for (int k = 0; k < QM_SENSOR_COUNT; k++)
        snprintf(out->not_readable[k], sizeof out->not_readable[k], "%s", qm_sensors_why(sensors, (enum qm_sensor)k));
    qm_sensors_close(sensors);
    return QM_OK;
}

int qm_machine_describe(struct qm_machine *out, struct qm_error *err) {
    *out = (struct qm_machine){0};
    int rc = qm_topology_load(NULL, &out->topology, err);
    if (rc)
        return rc;
    hwloc_topology_t hw;
    if (hwloc_topology_init(&hw) != 0 || hwloc_topology_load(hw) != 0) {
        qm_machine_free(out);
        return qm_fail(err, QM_SYSTEM, "CPU topology: hwloc could not read it; check that /sys is mounted");
    }
    out->cpus_online = hwloc_bitmap_weight(hwloc_topology_get_complete_cpuset(hw));
    list_nodes(hw, out);
    list_caches(hw, out);
    hwloc_topology_destroy(hw);
    if (qm_memory_available(&out->available, NULL))
        out->available = 0;
    find_microcode(out);
    first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", out->governor, sizeof out->governor);
    find_thp(out);
    out->memory_limit = qm_memory_limit_at("");
    rc = read_sensors(out, err);
    if (rc)
        qm_machine_free(out);
    else
        name_machine(out);
    return rc;
}

void qm_machine_free(struct qm_machine *m) {
    qm_topology_free(&m->topology);
}

uint64_t qm_machine_cache_bytes(const struct qm_machine *m) {
    uint64_t most = 0;
    for (int i = 0; i < m->n_caches; i++) {
        uint64_t all = m->caches[i].bytes * (uint64_t)m->caches[i].count;
        most = all > most && m->caches[i].kind != 'i' ? all : most;
    }
    return most ? most : 32u << 20;
}
