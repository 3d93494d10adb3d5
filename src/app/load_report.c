/* The load in words and in JSON. */
#include "app/load_report.h"

#include <stdio.h>
#include <string.h>

#include "engine/report.h"
#include "report/numbers.h"

static double share(const struct qm_page_count *c) {
    return c->pages ? (double)c->in_place / (double)c->pages : 1;
}

static void note_pages(struct qm_progress *progress, const char *what, const struct qm_engine_node *n,
                       const struct qm_memory *m, const struct qm_page_count *c) {
    if (!m->data)
        return;
    if (m->bind_error)
        qm_note(progress,
                "NUMA node %d: %s could not be bound to it: %s (a container may forbid mbind); pages are on the nodes "
                "of the threads that wrote them",
                n->number, what, strerror(m->bind_error));
    else if (c->in_place < c->pages)
        qm_note(progress,
                "NUMA node %d: %.1f %% of the pages of %s are on it: it had no free ones, or the system has moved them",
                n->number, 100 * share(c), what);
    if (c->error)
        qm_note(progress, "NUMA node %d: where the pages of %s are can't be read: %s", n->number, what,
                strerror(c->error));
    if (m->short_of_reserved)
        qm_note(progress, "%s: the reserved huge pages%s are too few: %s instead", what,
                n->number < 0 ? "" : " of a node", qm_page_kind_name(m->pages));
}

/* "transparent huge pages", or several kinds. */
static void name_pages(const struct qm_engine *e, char *out, size_t size) {
    bool seen[QM_PAGES_1G + 1] = {0};
    size_t n = 0;
    out[0] = 0;
    for (int node = 0; node < qm_engine_nodes(e); node++) {
        struct qm_engine_node at = qm_engine_node(e, node);
        if (!at.weights.data || seen[at.weights.pages])
            continue;
        seen[at.weights.pages] = true;
        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? " and " : "", qm_page_kind_name(at.weights.pages));
    }
}

void qm_report_load(struct qm_progress *progress, const struct qm_engine *e) {
    if (progress->quiet)
        return;
    for (const char *line = qm_engine_notes(e); *line; line += strcspn(line, "\n") + 1)
        qm_note(progress, "%.*s", (int)strcspn(line, "\n"), line);
    struct qm_engine_load load = qm_engine_load(e);
    struct qm_page_count all = {0};
    char bytes[32], rate[32], pages[128], placed[96] = "";
    for (int node = 0; node < qm_engine_nodes(e); node++) {
        struct qm_engine_node n = qm_engine_node(e, node);
        note_pages(progress, "weights", &n, &n.weights, &n.in_weights);
        note_pages(progress, "the KV cache", &n, &n.kv, &n.in_kv);
        all.pages += n.in_weights.pages;
        all.in_place += n.in_weights.in_place;
    }
    if (all.pages)
        snprintf(placed, sizeof placed, ", %.1f %% on their NUMA nodes (%d)", 100 * share(&all), qm_engine_nodes(e));
    name_pages(e, pages, sizeof pages);
    qm_note(progress, "loaded %s of weights in %.1f s, %s; %s%s%s",
            qm_bytes_text((double)load.bytes, bytes, sizeof bytes), load.seconds,
            qm_bytes_rate_text((double)load.bytes / load.seconds, rate, sizeof rate), pages, placed,
            load.dropped_cache ? "; the files are not kept in the page cache, which would not fit beside" : "");
}

static json_t *pages_json(const struct qm_memory *m, const struct qm_page_count *c) {
    json_t *o =
        json_pack("{s:I, s:s, s:I, s:I}", "bytes", (json_int_t)(m->data ? m->bytes : 0), "page_kind",
                  qm_page_kind_name(m->pages), "pages", (json_int_t)c->pages, "in_place", (json_int_t)c->in_place);
    if (o && m->bind_error)
        json_object_set_new(o, "bind_error", json_string(strerror(m->bind_error)));
    if (o && c->error)
        json_object_set_new(o, "count_error", json_string(strerror(c->error)));
    if (o && m->short_of_reserved)
        json_object_set_new(o, "short_of_reserved_pages", json_true());
    return o;
}

json_t *qm_load_json(const struct qm_engine *e) {
    struct qm_engine_load load = qm_engine_load(e);
    struct qm_page_count all = {0};
    json_t *nodes = json_array();
    for (int node = 0; node < qm_engine_nodes(e); node++) {
        struct qm_engine_node n = qm_engine_node(e, node);
        const struct qm_page_count *counts[] = {&n.in_weights, &n.in_kv};
        for (int i = 0; i < 2; i++) {
            all.pages += counts[i]->pages;
            all.in_place += counts[i]->in_place;
        }
        json_array_append_new(nodes, json_pack("{s:o, s:i, s:o, s:o}", "node",
                                               n.number < 0 ? json_null() : json_integer(n.number), "threads",
                                               n.threads, "weights", pages_json(&n.weights, &n.in_weights), "kv",
                                               pages_json(&n.kv, &n.in_kv)));
    }
    return json_pack("{s:I, s:f, s:b, s:o, s:o}", "bytes", (json_int_t)load.bytes, "seconds", load.seconds,
                     "cache_dropped", (int)load.dropped_cache, "placed_share",
                     all.pages ? json_real(share(&all)) : json_null(), "nodes", nodes);
}
