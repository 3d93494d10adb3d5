/* The machine's shape by hwloc: which physical cores this process may run on and the NUMA node of each.
 * The thread team places its threads by it. It does not pin anything and keeps no hwloc object. */
#include "numa/topology.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numa/internal.h"

/* The nearest node of a CPU: of the nodes local to it, the one local to the fewest CPUs (a package-wide
 * CXL or HBM node must not hide the core's own DRAM). -1 where the machine has no NUMA information. */
static int nearest_node(hwloc_topology_t hw, unsigned cpu) {
    int best = -1, best_weight = 0;
    hwloc_obj_t node = NULL;
    while ((node = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_NUMANODE, node)) != NULL) {
        if (!hwloc_bitmap_isset(node->cpuset, cpu))
            continue;
        int weight = hwloc_bitmap_weight(node->cpuset);
        if (best < 0 || weight < best_weight) {
            best = (int)node->logical_index;
            best_weight = weight;
        }
    }
    return best;
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
        t->nodes += placed > before;
    }
}

static int list_cores(hwloc_topology_t hw, hwloc_const_cpuset_t allowed, struct qm_topology *out,
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
    int rc = QM_OK;
    if (!cpu || !node || !out->core_cpu || !out->core_node) {
        rc = qm_fail_memory(err, 4ull * bytes, "the CPU topology");
    } else {
        int node_span = 1;
        hwloc_obj_t obj = NULL;
        while ((obj = hwloc_get_next_obj_by_type(hw, type, obj)) != NULL) {
            int first = first_cpu(obj, allowed);
            if (first < 0)
                continue;
            int near = nearest_node(hw, (unsigned)first);
            cpu[out->cores] = first;
            node[out->cores++] = near < 0 ? 0 : near;
            if (near >= node_span)
                node_span = near + 1;
        }
        group_by_node(out, cpu, node, node_span);
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

int qm_topology_describe(hwloc_topology_t hw, hwloc_const_cpuset_t allowed, struct qm_topology *out,
                         struct qm_error *err) {
    memset(out, 0, sizeof *out);
    int rc = list_cores(hw, allowed, out, err);
    if (rc != QM_OK) {
        qm_topology_free(out);
        return rc;
    }
    out->cpus = count_within(hw, HWLOC_OBJ_PU, allowed);
    out->packages = count_within(hw, HWLOC_OBJ_PACKAGE, allowed);
    if (out->packages == 0)
        out->packages = 1;
    find_model(hw, out);
    return QM_OK;
}

int qm_topology_load(struct qm_topology *out, struct qm_error *err) {
    memset(out, 0, sizeof *out);
    hwloc_topology_t hw = NULL;
    hwloc_cpuset_t allowed = NULL, bound = NULL;
    int rc = QM_OK;
    if (hwloc_topology_init(&hw) != 0)
        return qm_fail_memory(err, sizeof *out, "the CPU topology");
    if (hwloc_topology_load(hw) != 0) {
        rc = qm_fail(err, QM_SYSTEM, "CPU topology: hwloc could not read it; check that /sys is mounted");
        goto done;
    }
    allowed = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(hw));
    bound = hwloc_bitmap_alloc();
    if (!allowed || !bound) {
        rc = qm_fail_memory(err, sizeof *out, "the CPU topology");
        goto done;
    }
    /* Where the system cannot tell the binding, there is none to respect. */
    if (hwloc_get_cpubind(hw, bound, HWLOC_CPUBIND_THREAD) == 0 && hwloc_bitmap_and(allowed, allowed, bound) != 0) {
        rc = qm_fail_memory(err, sizeof *out, "the CPU topology");
        goto done;
    }
    rc = qm_topology_describe(hw, allowed, out, err);
done:
    hwloc_bitmap_free(allowed);
    hwloc_bitmap_free(bound);
    hwloc_topology_destroy(hw);
    return rc;
}

void qm_topology_free(struct qm_topology *t) {
    free(t->core_cpu);
    free(t->core_node);
    memset(t, 0, sizeof *t);
}
