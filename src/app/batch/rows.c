/* The rows of a job as its settings say, and the memory for its sequences. */
#include <string.h>

#include "app/batch/job.h"
#include "app/template_args.h"
#include "numa/memory.h"
#include "session/scheduler.h"

static int open_documents(const struct qm_args *args, struct qm_batch_rows *out, struct qm_error *err) {
    json_t *body = json_object(), *variables = json_object();
    int rc = body && variables ? qm_template_args(args, variables, err) : qm_fail_memory(err, 256, "requests");
    if (!rc && args->option[QM_OPT_MAX_TOKENS].set && args->option[QM_OPT_MAX_TOKENS].integer > 0)
        json_object_set_new(body, "max_tokens", json_integer(args->option[QM_OPT_MAX_TOKENS].integer));
    if (!rc && args->option[QM_OPT_TEMPERATURE].set)
        json_object_set_new(body, "temperature", json_real(args->option[QM_OPT_TEMPERATURE].real));
    if (!rc && json_object_size(variables))
        json_object_set(body, "chat_template_kwargs", variables);
    const struct qm_arg *paths = &args->option[QM_OPT_DOCUMENT];
    if (!rc)
        rc = qm_batch_documents_open(paths->list, paths->n_list, args->option[QM_OPT_ASK].text,
                                     qm_args_text(args, QM_OPT_SYSTEM, NULL), body, &out->documents, err);
    json_decref(body);
    json_decref(variables);
    if (!rc)
        out->source = qm_batch_documents_source(out->documents);
    return rc;
}

int qm_batch_rows_open(const struct qm_args *args, const struct qm_batch_settings *s, struct qm_batch_rows *out,
                       struct qm_error *err) {
    if (!s->input)
        return open_documents(args, out, err);
    int rc = qm_batch_input_open(s->input, QM_BATCH_LINE_LIMIT, &out->input, err);
    if (!rc)
        out->source = qm_batch_input_source(out->input);
    return rc;
}

void qm_batch_rows_close(struct qm_batch_rows *r) {
    qm_batch_input_close(r->input);
    qm_batch_documents_close(r->documents);
    *r = (struct qm_batch_rows){0};
}

int qm_batch_kv_memory(const struct qm_args *args, const struct qm_batch_settings *s, const struct qm_model *m,
                       uint64_t *out, struct qm_error *err) {
    static const uint64_t least_reserve = 256u << 20;
    int kv_type;
    *out = s->kv_memory;
    int rc = qm_app_kv_type(args, &kv_type, err);
    if (rc || *out)
        return rc;
    int64_t context = qm_args_int(args, QM_OPT_CONTEXT, 0);
    struct qm_workload w = {.context = context ? context : m->config.max_positions,
                            .sequences = s->sequences,
                            .chunk = s->chunk ? s->chunk : 512,
                            .kv_type = kv_type < 0 ? qm_kv_default_type(&m->config) : (enum qm_dtype)kv_type,
                            .threads = 64};
    struct qm_memory_table table;
    uint64_t available;
    qm_memory_estimate(m, &w, &table);
    if ((rc = qm_memory_available(&available, err)))
        return rc;
    uint64_t reserve = available / 20 > least_reserve ? available / 20 : least_reserve;
    uint64_t running = qm_scheduler_bytes(m->config.vocab, w.sequences, w.threads);
    uint64_t others = table.weights + table.scratch + running + reserve;
    if (others + table.kv > available && others < available)
        *out = available - others;
    return QM_OK;
}
