/* Counters and histograms under one lock, which is held for as long as adding a few numbers takes. */
#include "serve/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MODELS = 64, BOUNDS = 16, STATUSES = 6 };

/* Seconds, upper bounds of buckets. */
static const double bounds[BOUNDS] = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                      1,     2.5,   5,    10,    30,   60,  300,  3600};

struct histogram {
    int64_t at_most[BOUNDS], count; /* at_most: not summed up */
    double sum;
};

enum kind { FIRST, BETWEEN, WHOLE, QUEUE, PREFILL, DECODE, KINDS };
static const struct {
    const char *name, *vllm, *about;
} kinds[KINDS] = {
    {"first_token_seconds", "time_to_first_token_seconds", "Seconds from a request to its first token."},
    {"token_seconds", "inter_token_latency_seconds", "Mean seconds between the tokens of a request."},
    {"request_seconds", "e2e_request_latency_seconds", "Seconds from a request to its end."},
    {"queue_seconds", "request_queue_time_seconds", "Seconds that a request waited to be admitted."},
    {"prefill_seconds", "request_prefill_time_seconds", "Seconds from there to the first token."},
    {"decode_seconds", "request_decode_time_seconds", "Seconds from the first token to the end."},
};

enum reason { STOP, LENGTH, ABORT, ERROR, REASONS };
static const char *const reasons[REASONS] = {"stop", "length", "abort", "error"};

struct of_model {
    const struct qm_served_model *model; /* NULL: none yet */
    struct histogram histogram[KINDS];
    int64_t ended[REASONS], prompt, cached, generated;
};

struct qm_serve_metrics {
    pthread_mutex_t lock;
    struct of_model *of;
    int n;
    int64_t status[STATUSES]; /* by hundreds */
};

int qm_serve_metrics_new(int n_models, struct qm_serve_metrics **out, struct qm_error *err) {
    struct qm_serve_metrics *m = calloc(1, sizeof *m);
    *out = NULL;
    if (m)
        m->of = calloc((size_t)n_models, sizeof *m->of);
    if (!m || !m->of) {
        free(m);
        return qm_fail_memory(err, (uint64_t)n_models * sizeof *m->of, "metrics");
    }
    m->n = n_models;
    pthread_mutex_init(&m->lock, NULL);
    *out = m;
    return QM_OK;
}

void qm_serve_metrics_free(struct qm_serve_metrics *m) {
    if (!m)
        return;
    pthread_mutex_destroy(&m->lock);
    free(m->of);
    free(m);
}

static struct of_model *find(struct qm_serve_metrics *m, const struct qm_served_model *model) {
    for (int i = 0; i < m->n; i++) {
        if (!m->of[i].model)
            m->of[i].model = model;
        if (m->of[i].model == model)
            return &m->of[i];
    }
    return NULL;
}

static void observe(struct histogram *h, double seconds) {
    int i = 0;
    while (i < BOUNDS && seconds > bounds[i])
        i++;
    if (i < BOUNDS)
        h->at_most[i]++;
    h->count++;
    h->sum += seconds;
}

static enum reason reason_of(const struct qm_outcome *o) {
    if (o->rc)
        return ERROR;
    return o->finish == QM_FINISH_INTERRUPTED                                ? ABORT
           : o->finish == QM_FINISH_LENGTH || o->finish == QM_FINISH_CONTEXT ? LENGTH
                                                                             : STOP;
}

void qm_serve_metrics_outcome(struct qm_serve_metrics *m, const struct qm_served_model *of,
                              const struct qm_outcome *o) {
    pthread_mutex_lock(&m->lock);
    struct of_model *s = find(m, of);
    if (s) {
        double seconds = o->wait_seconds + o->prefill_seconds + o->decode_seconds;
        s->ended[reason_of(o)]++;
        s->prompt += o->prompt_tokens;
        s->cached += o->prefix_tokens;
        s->generated += o->n_ids;
        observe(&s->histogram[WHOLE], seconds);
        observe(&s->histogram[QUEUE], o->wait_seconds);
        observe(&s->histogram[PREFILL], o->prefill_seconds);
        if (o->n_ids) {
            observe(&s->histogram[FIRST], o->first_token_seconds);
            observe(&s->histogram[DECODE], o->decode_seconds);
        }
        if (o->n_ids > 1)
            observe(&s->histogram[BETWEEN], o->decode_seconds / (double)(o->n_ids - 1));
    }
    pthread_mutex_unlock(&m->lock);
}

void qm_serve_metrics_status(struct qm_serve_metrics *m, int status) {
    pthread_mutex_lock(&m->lock);
    m->status[status / 100 < STATUSES ? status / 100 : 0]++;
    pthread_mutex_unlock(&m->lock);
}

/* A name of a model as a label's value. */
static int label(const struct qm_served_model *m, char *out, size_t size, struct qm_error *err) {
    size_t n = 0;
    for (const char *c = m->name[0]; *c; c++) {
        if (n + 3 > size)
            return qm_fail(err, QM_SYSTEM, "a model's name is too long to be shown");
        if (*c == '"' || *c == '\\')
            out[n++] = '\\';
        out[n++] = *c == '\n' ? ' ' : *c;
    }
    out[n] = 0;
    return QM_OK;
}

struct writer {
    struct qm_buf *out;
    const struct qm_served_model *const *models;
    int n;
    struct qm_serve_metrics *m;
};

static int head(const struct writer *w, const char *prefix, const char *name, const char *type, const char *about,
                struct qm_error *err) {
    return qm_buf_printf(w->out, err, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name, about, prefix, name, type);
}

static int histograms(const struct writer *w, bool vllm, struct qm_error *err) {
    const char *prefix = vllm ? "vllm:" : "quietmind_";
    char model[600];
    int rc = QM_OK;
    for (int k = 0; k < KINDS && !rc; k++) {
        const char *name = vllm ? kinds[k].vllm : kinds[k].name;
        rc = head(w, prefix, name, "histogram", kinds[k].about, err);
        for (int i = 0; i < w->n && !rc; i++) {
            const struct of_model *s = find(w->m, w->models[i]);
            int64_t sum = 0;
            rc = s ? label(w->models[i], model, sizeof model, err) : QM_SYSTEM;
            for (int b = 0; b < BOUNDS && !rc; b++) {
                sum += s->histogram[k].at_most[b];
                rc = qm_buf_printf(w->out, err, "%s%s_bucket{model_name=\"%s\",le=\"%g\"} %lld\n", prefix, name, model,
                                   bounds[b], (long long)sum);
            }
            if (!rc)
                rc = qm_buf_printf(w->out, err,
                                   "%s%s_bucket{model_name=\"%s\",le=\"+Inf\"} %lld\n%s%s_sum{model_name=\"%s\"} %.9g\n"
                                   "%s%s_count{model_name=\"%s\"} %lld\n",
                                   prefix, name, model, (long long)s->histogram[k].count, prefix, name, model,
                                   s->histogram[k].sum, prefix, name, model, (long long)s->histogram[k].count);
        }
    }
    return rc;
}

/* What one number of a model is, under both names. */
enum number { RUNNING, WAITING, PREEMPTIONS, PROMPT, CACHED, GENERATED, USAGE, QUERIES, HITS, NUMBERS };
static const struct {
    const char *name, *vllm, *type, *about;
} numbers[NUMBERS] = {
    {"requests_running", "num_requests_running", "gauge", "Requests that are being computed."},
    {"requests_waiting", "num_requests_waiting", "gauge", "Requests that wait to be admitted."},
    {"preemptions_total", "num_preemptions_total", "counter", "Requests that gave way and are computed again."},
    {"prompt_tokens_total", "prompt_tokens_total", "counter", "Tokens of prompts, of requests that ended."},
    {"cached_tokens_total", "prompt_tokens_cached_total", "counter", "Those of them found in the prefix cache."},
    {"generated_tokens_total", "generation_tokens_total", "counter", "Tokens generated, of requests that ended."},
    {"kv_used_ratio", "kv_cache_usage_perc", "gauge", "Share of the pages of keys and values in use, 0 to 1."},
    {"prefix_queries_total", "prefix_cache_queries_total", "counter", "Tokens looked for in the prefix cache."},
    {"prefix_hits_total", "prefix_cache_hits_total", "counter", "Tokens found there."},
};

static double value_of(enum number k, const struct of_model *s, const struct qm_service_stats *v) {
    switch (k) {
    case RUNNING: return (double)v->scheduler.running;
    case WAITING: return (double)(v->scheduler.waiting + v->scheduler.preempted);
    case PREEMPTIONS: return (double)v->scheduler.preemptions;
    case PROMPT: return (double)s->prompt;
    case CACHED: return (double)s->cached;
    case GENERATED: return (double)s->generated;
    case USAGE: return v->pool.blocks > 0 ? 1 - (double)v->pool.free_blocks / (double)v->pool.blocks : 0;
    case QUERIES: return (double)(v->scheduler.prompt_tokens + v->scheduler.prefix_tokens);
    case HITS: return (double)v->scheduler.prefix_tokens;
    default: return 0;
    }
}

static int gauges(const struct writer *w, const struct qm_service_stats *stats, bool vllm, struct qm_error *err) {
    const char *prefix = vllm ? "vllm:" : "quietmind_";
    char model[600];
    int rc = QM_OK;
    for (int k = 0; k < NUMBERS && !rc; k++) {
        const char *name = vllm ? numbers[k].vllm : numbers[k].name;
        rc = head(w, prefix, name, numbers[k].type, numbers[k].about, err);
        for (int i = 0; i < w->n && !rc; i++) {
            const struct of_model *s = find(w->m, w->models[i]);
            rc = s ? label(w->models[i], model, sizeof model, err) : QM_SYSTEM;
            if (!rc)
                rc = qm_buf_printf(w->out, err, "%s%s{model_name=\"%s\"} %.12g\n", prefix, name, model,
                                   value_of((enum number)k, s, &stats[i]));
        }
    }
    return rc;
}

static int endings(const struct writer *w, bool vllm, struct qm_error *err) {
    const char *prefix = vllm ? "vllm:" : "quietmind_", *name = vllm ? "request_success_total" : "requests_total",
               *key = vllm ? "finished_reason" : "finish";
    char model[600];
    int rc = head(w, prefix, name, "counter", "Requests that ended, by how.", err);
    for (int i = 0; i < w->n && !rc; i++) {
        const struct of_model *s = find(w->m, w->models[i]);
        rc = s ? label(w->models[i], model, sizeof model, err) : QM_SYSTEM;
        for (int k = 0; k < REASONS && !rc; k++)
            rc = qm_buf_printf(w->out, err, "%s%s{model_name=\"%s\",%s=\"%s\"} %lld\n", prefix, name, model, key,
                               reasons[k], (long long)s->ended[k]);
    }
    return rc;
}

static int statuses(const struct writer *w, struct qm_error *err) {
    int rc = head(w, "quietmind_", "http_responses_total", "counter", "Answers of HTTP, by status.", err);
    for (int i = 1; i < STATUSES && !rc; i++)
        rc = qm_buf_printf(w->out, err, "quietmind_http_responses_total{status=\"%dxx\"} %lld\n", i,
                           (long long)w->m->status[i]);
    return rc;
}

int qm_serve_metrics_text(struct qm_serve_metrics *m, const struct qm_served_model *const *models, int n_models,
                          struct qm_buf *out, struct qm_error *err) {
    const struct writer w = {out, models, n_models, m};
    struct qm_service_stats stats[MODELS];
    int rc = n_models <= MODELS ? QM_OK : qm_fail(err, QM_SYSTEM, "more than %d models", MODELS);
    for (int i = 0; i < n_models && !rc; i++)
        qm_service_stats(models[i]->service, &stats[i]);
    pthread_mutex_lock(&m->lock);
    for (int vllm = 0; vllm < 2 && !rc; vllm++) {
        rc = gauges(&w, stats, vllm, err);
        if (!rc)
            rc = endings(&w, vllm, err);
        if (!rc)
            rc = histograms(&w, vllm, err);
    }
    if (!rc)
        rc = statuses(&w, err);
    pthread_mutex_unlock(&m->lock);
    return rc;
}
