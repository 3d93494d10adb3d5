/* Loading: the engine's options and devices from what is wanted, progress, and what is said when it is there. */
#include "app/load_model.h"

#include <stdlib.h>
#include <string.h>

#include "app/load_report.h"
#include "app/signals.h"
#include "base/file.h"
#include "engine/report.h"
#include "engine/routing_file.h"

static int load_progress(void *arg, const char *what, uint64_t done, uint64_t total) {
    qm_progress_update(arg, what, done, total, QM_PROGRESS_BYTES);
    return *qm_signals_flag() != 0;
}

int qm_app_load(const struct qm_load_options *o, int64_t chunk, struct qm_progress *progress, struct qm_app_model *m,
                struct qm_error *err) {
    return qm_app_load_engine(o, &(struct qm_app_engine){.chunk = chunk}, progress, m, err);
}

static int open_engine(const struct qm_offload_options *away, const struct qm_app_engine *wanted,
                       struct qm_engine_options *o, struct qm_progress *progress, struct qm_app_model *m,
                       struct qm_error *err) {
    const struct qm_scenario job = {.sequences = 1, .prompt = 512, .generate = 128};
    struct qm_offload *offload;
    int rc = qm_offload_open(away, m->model, &job, o, wanted->plan, progress, &offload, err);
    if (!rc)
        rc = qm_offload_plan(offload, m->model, &m->plan, err);
    if (!rc && wanted->check)
        rc = wanted->check(wanted->arg, o, err);
    if (!rc && !offload && !progress->quiet)
        m->predictor = qm_predictor_open(o->isa);
    if (!rc)
        rc = qm_engine_open(m->model, o, &m->engine, err);
    qm_progress_end(progress);
    if (!rc) {
        qm_engine_on_fall_back(m->engine, qm_offload_note_failure, progress);
        qm_offload_note(offload, progress);
    }
    qm_offload_free(offload);
    return rc;
}

/* What was counted before, and whether it can be written in the end: seen before weights are read. */
static int open_routing(const char *path, struct qm_app_model *m, struct qm_error *err) {
    int rc = qm_out_try(path, err);
    m->routing_file = rc ? NULL : strdup(path);
    if (!rc && !m->routing_file)
        rc = qm_fail_memory(err, strlen(path), "a name");
    return rc ? rc : qm_routing_file_open(path, &m->model->config, &m->routing, err);
}

int qm_app_load_engine(const struct qm_load_options *o, const struct qm_app_engine *wanted,
                       struct qm_progress *progress, struct qm_app_model *m, struct qm_error *err) {
    struct qm_engine_options options = {
        .threads = o->threads,
        .numa = o->numa,
        .isa = o->isa,
        .kv_type = o->kv_type,
        .context = o->context ? o->context : wanted->context,
        .sequences = wanted->sequences,
        .kv_memory = wanted->kv_memory,
        .drafts = wanted->drafts,
        .chunk = wanted->chunk,
        .progress = load_progress,
        .progress_arg = progress,
    };
    bool context_given = options.context != 0;
    int rc = wanted->embeddings ? QM_OK : qm_app_check_head(m, err);
    if (!rc && o->routing)
        rc = open_routing(o->routing, m, err);
    if (!rc)
        rc = open_engine(&o->offload, wanted, &options, progress, m, err);
    if (!rc)
        rc = qm_quiet_apply(&o->quiet, progress, m->engine, err);
    if (rc)
        return rc;
    if (m->routing_file)
        qm_engine_set_routing(m->engine, &m->routing);
    qm_report_load(progress, m->engine);
    int64_t context = qm_engine_context(m->engine), most = m->model->config.max_positions;
    int64_t by_default = m->model->config.default_positions;
    if (!context_given && context == by_default && by_default < most)
        qm_note(progress, "context: %lld tokens; the model's dynamic rope scaling takes --context up to %lld",
                (long long)context, (long long)most);
    else if (!context_given)
        qm_note(progress,
                context < most ? "context: %lld tokens, what fits in memory (the model's maximum is %lld)"
                               : "context: %lld tokens, the model's maximum",
                (long long)context, (long long)most);
    return QM_OK;
}

int qm_app_save_routing(const struct qm_app_model *m, struct qm_progress *progress, struct qm_error *err) {
    char text[200];
    if (!m->routing_file || !m->engine)
        return QM_OK;
    int rc = qm_routing_file_save(m->routing_file, &m->model->config, &m->routing, err);
    if (!rc)
        qm_note(progress, "experts: %s", qm_routing_text(&m->routing, text, sizeof text));
    return rc;
}
