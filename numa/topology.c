/* The machine's shape by hwloc: which physical cores this process may run on and the NUMA node of each.
 * The thread team places its threads by it, and memory is bound by it. It does not pin anything and keeps no
 * hwloc object. */
#include "numa/topology.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numa/internal.h"

static hwloc_obj_t next_node(hwloc_topology_t hw, hwloc_obj_t node) {
    return hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_NUMANODE, node);
}

/* Whether the node has memory; where the system does not say how much any has, each has some. */
static bool has_memory(hwloc_topology_t hw, hwloc_obj_t node) {
    return node->attr->numanode.local_memory > 0 || hwloc_get_root_obj(hw)->total_memory == 0;
}

/* Whether it has memory that this process may use. */
static bool gives_memory(hwloc_topology_t hw, hwloc_obj_t node) {
    return has_memory(hw, node) && hwloc_bitmap_isset(hwloc_topology_get_allowed_nodeset(hw), node->os_index);
}

/* The nearest node of a CPU that gives memory: of the nodes local to it, the one local to the fewest CPUs (a
 * package-wide CXL or HBM node must not hide the core's own DRAM); where none of them does, the one that follows
 * or else the first. -1 where the machine has no NUMA information. */
static int nearest_node(hwloc_topology_t hw, unsigned cpu) {
    int best = -1, best_weight = 0, own = -1, other = -1;
    for (hwloc_obj_t node = NULL; (node = next_node(hw, node)) != NULL;) {
        bool local = hwloc_bitmap_isset(node->cpuset, cpu), gives = gives_memory(hw, node);
        int weight = hwloc_bitmap_weight(node->cpuset), index = (int)node->logical_index;
        if (local && gives && (best < 0 || weight < best_weight)) {
            best = index;
            best_weight = weight;
        }
        own = local ? index : own;
        if (gives && (other < 0 || (own >= 0 && other < own)))
            other = index;
    }
    return best >= 0 ? best : other;
}

static int count_within(hwloc_topology_t hw, hwloc_obj_type_t type, hwloc_const_cpuset_t allowed) {
    int count = 0;
    hwloc_obj_t obj = NULL;
    while ((obj = hwloc_get_next_obj_by_type(hw, type, obj)) != NULL)
        count += hwloc_bitmap_intersects(obj->cpuset, allowed);
    return count;
}

/* The first allowed hardware thread of an object, -1 for none. */
static int first_cpu(hwloc_obj_t obj, hwloc_const_cpuset_t allowed) {
    int cpu = -1;
    while ((cpu = hwloc_bitmap_next(obj->cpuset, cpu)) >= 0) {
        if (hwloc_bitmap_isset(allowed, (unsigned)cpu))
            return cpu;
    }
    return -1;
}

/* Orders the cores by node, keeping hwloc's order (nearest neighbours together) inside a node, and
 * renumbers the nodes that have a core to 0..nodes-1. node_span is one past the greatest node number. */
static void group_by_node(struct qm_topology *t, const int *cpu, const int *node, int node_span) {
    int placed = 0;
    t->nodes = 0;
    for (int n = 0; n < node_span; n++) {
        int before = placed;
        for (int i = 0; i < t->cores; i++) {
            if (node[i] != n)
                continue;
            t->core_cpu[placed] = cpu[i];
            t->core_node[placed++] = t->nodes;
        }
        if (placed > before)
            t->node_number[t->nodes++] = n;
    }
}

/* From hwloc's numbers to the system's, or to -1 for each where there is but one node with memory to tell. */
static void number_nodes(hwloc_topology_t hw, struct qm_topology *t) {
    int with_memory = 0;
    for (hwloc_obj_t node = NULL; (node = next_node(hw, node)) != NULL;)
        with_memory += gives_memory(hw, node);
    for (int i = 0; i < t->nodes; i++) {
        hwloc_obj_t node = hwloc_get_obj_by_type(hw, HWLOC_OBJ_NUMANODE, (unsigned)t->node_number[i]);
        t->node_number[i] = with_memory > 1 && node ? (int)node->os_index : -1;
    }
}

static int list_cores(hwloc_topology_t hw, hwloc_const_cpuset_t allowed, bool one_node, struct qm_topology *out,
                      struct qm_error *err) {
    /* Some virtual machines and emulated systems describe no cores: then each hardware thread is one. */
    hwloc_obj_type_t type = hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    int most = count_within(hw, type, allowed);
    if (most == 0)
        return qm_fail(err, QM_SYSTEM,
                       "CPU topology: no core that this process may run on, expected at least 1; "
                       "check the CPU affinity and the cpuset of the process");
    size_t bytes = (size_t)most * sizeof(int);
    int *cpu = malloc(bytes), *node = malloc(bytes);
    out->core_cpu = malloc(bytes);
    out->core_node = malloc(bytes);
    out->node_number = malloc(bytes);
    int rc = QM_OK;
    if (!cpu || !node || !out->core_cpu || !out->core_node || !out->node_number) {
        rc = qm_fail_memory(err, 5ull * bytes, "the CPU topology");
    } else {
        int node_span = 1;
        hwloc_obj_t obj = NULL;
        while ((obj = hwloc_get_next_obj_by_type(hw, type, obj)) != NULL) {
            int first = first_cpu(obj, allowed);
            if (first < 0)
                continue;
            int near = one_node ? -1 : nearest_node(hw, (unsigned)first);
            cpu[out->cores] = first;
            node[out->cores++] = near < 0 ? 0 : near;
            if (near >= node_span)
                node_span = near + 1;
        }
        group_by_node(out, cpu, node, node_span);
        number_nodes(hw, out);
        if (one_node)
            out->node_number[0] = -1;
    }
    free(cpu);
    free(node);
    return rc;
}

/* CPUID pads the model with spaces. */
static void copy_trimmed(char *to, size_t size, const char *from) {
    from += strspn(from, " ");
    snprintf(to, size, "%s", from);
    size_t n = strlen(to);
    while (n > 0 && to[n - 1] == ' ')
        to[--n] = '\0';
}

static void find_model(hwloc_topology_t hw, struct qm_topology *out) {
    const char *model = NULL;
    hwloc_obj_t package = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_PACKAGE, NULL);
    if (package)
        model = hwloc_obj_get_info_by_name(package, "CPUModel");
    if (!model)
        model = hwloc_obj_get_info_by_name(hwloc_get_root_obj(hw), "CPUModel");
    copy_trimmed(out->cpu_model, sizeof out->cpu_model, model ? model : "");
    if (out->cpu_model[0] == '\0')
        copy_trimmed(out->cpu_model, sizeof out->cpu_model, "unknown CPU");
}

static int refuse_node(hwloc_topology_t hw, hwloc_const_cpuset_t allowed, int n, struct qm_error *err) {
    char list[128], may[128];
    hwloc_obj_t node = NULL;
    while ((node = next_node(hw, node)) != NULL && (int)node->os_index != n)
        ;
    if (!node) {
        hwloc_bitmap_list_snprintf(list, sizeof list, hwloc_get_root_obj(hw)->nodeset);
        return qm_fail(err, QM_USAGE, "NUMA node %d is not there: this machine has %s", n, list[0] ? list : "0");
    }
    if (hwloc_bitmap_iszero(node->cpuset))
        return qm_fail(err, QM_USAGE, "NUMA node %d has no CPUs to compute on; its memory alone is of no use here", n);
    if (!hwloc_bitmap_intersects(node->cpuset, allowed)) {
        hwloc_bitmap_list_snprintf(list, sizeof list, node->cpuset);
        hwloc_bitmap_list_snprintf(may, sizeof may, allowed);
        return qm_fail(err, QM_USAGE,
                       "NUMA node %d: its CPUs (%s) are outside of what this process may use (%s): see its cpuset and "
                       "affinity",
                       n, list, may);
    }
    if (!has_memory(hw, node))
        return qm_fail(err, QM_USAGE, "NUMA node %d has no memory", n);
    if (!gives_memory(hw, node)) {
        hwloc_bitmap_list_snprintf(may, sizeof may, hwloc_topology_get_allowed_nodeset(hw));
        return qm_fail(err, QM_USAGE,
                       "NUMA node %d: its memory is outside of what this process may use (of nodes %s): see its "
                       "cpuset",
                       n, may);
    }
    return QM_OK;
}

/* Keeps those allowed CPUs that belong to the nodes asked for. */
static int keep_nodes(hwloc_topology_t hw, uint64_t nodes, hwloc_bitmap_t allowed, struct qm_error *err) {
    hwloc_bitmap_t wanted = hwloc_bitmap_alloc();
    int rc = wanted ? QM_OK : qm_fail_memory(err, sizeof nodes, "the CPU topology");
    bool distinct = next_node(hw, NULL) != NULL;
    if (!rc && !distinct && nodes != 1)
        rc = qm_fail(err, QM_USAGE, "NUMA node %d is not there: this machine has 0",
                     __builtin_ctzll(nodes & ~UINT64_C(1)));
    for (int n = 0; !rc && distinct && n < 64; n++)
        if (nodes >> n & 1)
            rc = refuse_node(hw, allowed, n, err);
    for (hwloc_obj_t node = NULL; !rc && (node = next_node(hw, node)) != NULL;)
        if (node->os_index < 64 && nodes >> node->os_index & 1)
            hwloc_bitmap_or(wanted, wanted, node->cpuset);
    if (!rc && distinct)
        hwloc_bitmap_and(allowed, allowed, wanted);
    hwloc_bitmap_free(wanted);
    return rc;
}

/* A number from 0 to 63 at *s, which goes on behind it; -1 where there is none. */
static int node_at(const char **s) {
    int n = -1;
    for (; **s >= '0' && **s <= '9' && n < 64; (*s)++)
        n = (n < 0 ? 0 : n) * 10 + (**s - '0');
    return n < 64 ? n : -1;
}

int qm_numa_parse(const char *text, struct qm_numa *out, struct qm_error *err) {
    *out = (struct qm_numa){0};
    if (!strcmp(text, "auto"))
        return QM_OK;
    out->mode = !strcmp(text, "off") ? QM_NUMA_OFF : QM_NUMA_NODES;
    for (const char *s = text; out->mode == QM_NUMA_NODES; s++) {
        int first = node_at(&s), last = first;
        if (*s == '-') {
            s++;
            last = node_at(&s);
        }
        if (first < 0 || last < first || (*s != ',' && *s != 0))
            return qm_fail(err, QM_USAGE,
                           "expected auto, off, or NUMA nodes (0 to 63) such as 0,1 or 0-3, found \"%s\"", text);
        for (int n = first; n <= last; n++)
            out->nodes |= UINT64_C(1) << n;
        if (!*s)
            break;
    }
    return QM_OK;
}

int qm_topology_describe(hwloc_topology_t hw, hwloc_const_cpuset_t allowed, const struct qm_numa *numa,
                         struct qm_topology *out, struct qm_error *err) {
    memset(out, 0, sizeof *out);
    hwloc_bitmap_t used = hwloc_bitmap_dup(allowed);
    int rc = used ? QM_OK : qm_fail_memory(err, sizeof *out, "the CPU topology");
    if (!rc && numa->mode == QM_NUMA_NODES)
        rc = keep_nodes(hw, numa->nodes, used, err);
    if (!rc)
        rc = list_cores(hw, used, numa->mode == QM_NUMA_OFF, out, err);
    if (rc != QM_OK) {
        hwloc_bitmap_free(used);
        qm_topology_free(out);
        return rc;
    }
    out->allowed_cores = out->cores;
    out->cpus = count_within(hw, HWLOC_OBJ_PU, used);
    out->packages = count_within(hw, HWLOC_OBJ_PACKAGE, used);
    hwloc_bitmap_free(used);
    if (out->packages == 0)
        out->packages = 1;
    find_model(hw, out);
    return QM_OK;
}

void qm_topology_limit(struct qm_topology *t, double quota) {
    int most = quota < 1 ? 1 : quota > INT_MAX ? INT_MAX : (int)quota, nodes = 0;
    t->cpu_quota = quota;
    if (!(quota > 0) || most >= t->cores)
        return;
    for (int i = 0, last = -1; i < most; i++) {
        int from = (int)((int64_t)i * t->cores / most), node = t->core_node[from];
        if (node != last) /* nodes without a core are gone, those behind them move up */
            t->node_number[nodes++] = t->node_number[node];
        last = node;
        t->core_cpu[i] = t->core_cpu[from];
        t->core_node[i] = nodes - 1;
    }
    t->nodes = nodes;
    t->cores = most;
}

int qm_topology_load(const struct qm_numa *numa, struct qm_topology *out, struct qm_error *err) {
    static const struct qm_numa automatic = {.mode = QM_NUMA_AUTO};
    memset(out, 0, sizeof *out);
    hwloc_topology_t hw = NULL;
    hwloc_cpuset_t allowed = NULL, bound = NULL;
    int rc = QM_OK;
    if (hwloc_topology_init(&hw) != 0)
        return qm_fail_memory(err, sizeof *out, "the CPU topology");
    /* With what is not allowed, so that a refusal can say so. */
    if (hwloc_topology_set_flags(hw, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) != 0 || hwloc_topology_load(hw) != 0)
        rc = qm_fail(err, QM_SYSTEM, "CPU topology: hwloc could not read it; check that /sys is mounted");
    if (!rc) {
        allowed = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(hw));
        bound = hwloc_bitmap_alloc();
    }
    /* Where the system cannot report the binding, there is none to respect. */
    if (!rc &&
        (!allowed || !bound ||
         (hwloc_get_cpubind(hw, bound, HWLOC_CPUBIND_THREAD) == 0 && hwloc_bitmap_and(allowed, allowed, bound) != 0)))
        rc = qm_fail_memory(err, sizeof *out, "the CPU topology");
    if (!rc)
        rc = qm_topology_describe(hw, allowed, numa ? numa : &automatic, out, err);
    if (!rc)
        qm_topology_limit(out, qm_cpu_quota_at(""));
    hwloc_bitmap_free(allowed);
    hwloc_bitmap_free(bound);
    hwloc_topology_destroy(hw);
    return rc;
}

void qm_topology_free(struct qm_topology *t) {
    free(t->core_cpu);
    free(t->core_node);
    free(t->node_number);
    memset(t, 0, sizeof *t);
}
