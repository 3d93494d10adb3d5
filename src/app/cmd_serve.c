/* quietmind serve: the model behind HTTP. Opens it on the service's own thread, listens, writes a line for each
 * request, and ends when it is asked to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/command_list.h"
#include "app/decode.h"
#include "app/drafts.h"
#include "app/load_model.h"
#include "app/out.h"
#include "app/signals.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/path.h"
#include "base/size.h"
#include "engine/report.h"
#include "numa/memory.h"
#include "serve/address.h"
#include "serve/server.h"
#include "session/prefix_cache.h"
#include "session/scheduler_fit.h"

enum { KEYS = 256, LOOK_MS = 50, SEQUENCES = 32, CONNECTIONS = 4096, QUEUE = 1 << 20 };
static const double LAST_WORDS = 5; /* seconds that streams have to say that it ends */

enum log_form { LOG_TEXT, LOG_JSON, LOG_OFF };

struct serve_options {
    struct qm_model_options model;
    struct qm_load_options load;
    struct qm_draft_options drafts;
    int64_t sequences, chunk;
    uint64_t kv_memory, seed;
    const char *listen, *api_keys, *origin;
    struct qm_texts aliases, hosts;
    bool any_model, insecure, silent;
    double ping, timeout, grace;
    enum log_form log;
};

struct serve {
    struct serve_options o;
    struct qm_progress progress;
    struct qm_app_model model;
    struct qm_drafts drafts;
    struct qm_prefix_cache *cache;
    struct qm_service *service;
    struct qm_server *server;
    struct qm_served_model served;
    struct qm_buf keys_text;
    const char *keys[KEYS];
    int n_keys;
};

static int parse_log(const char *text, enum log_form *out, struct qm_error *err) {
    static const char *const forms[] = {"text", "json", "off"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(text, forms[i])) {
            *out = (enum log_form)i;
            return QM_OK;
        }
    return qm_fail(err, QM_USAGE, "--log: expected text, json or off, found \"%s\"", text);
}

static int decode(const struct qm_args *args, struct serve_options *o, struct qm_error *err) {
    *o = (struct serve_options){
        .model = qm_decode_model(args),
        .sequences = qm_args_int(args, QM_OPT_SEQUENCES, SEQUENCES),
        .chunk = qm_args_int(args, QM_OPT_CHUNK, QM_DEFAULT_CHUNK),
        .seed = (uint64_t)qm_args_int(args, QM_OPT_SEED, 0),
        .listen = qm_args_text(args, QM_OPT_LISTEN, "127.0.0.1:8080"),
        .api_keys = qm_args_text(args, QM_OPT_API_KEYS, NULL),
        .origin = qm_args_text(args, QM_OPT_ORIGIN, NULL),
        .aliases = qm_decode_texts(args, QM_OPT_ALIAS),
        .hosts = qm_decode_texts(args, QM_OPT_HOST),
        .any_model = args->option[QM_OPT_ANY_MODEL].set,
        .insecure = args->option[QM_OPT_INSECURE].set,
        .silent = args->option[QM_OPT_SILENT].set,
        .ping = args->option[QM_OPT_PING].set ? args->option[QM_OPT_PING].real : 5,
        .timeout = args->option[QM_OPT_REQUEST_TIMEOUT].set ? args->option[QM_OPT_REQUEST_TIMEOUT].real : 60,
        .grace = args->option[QM_OPT_GRACE].set ? args->option[QM_OPT_GRACE].real : 30,
    };
    struct qm_address address;
    int rc = qm_decode_load(args, &o->load, err);
    if (!rc)
        rc = qm_decode_drafts(args, &o->drafts, err);
    if (!rc)
        rc = qm_decode_size(args, QM_OPT_KV_MEMORY, &o->kv_memory, err);
    if (!rc)
        rc = parse_log(qm_args_text(args, QM_OPT_LOG, "text"), &o->log, err);
    if (!rc)
        rc = qm_address_parse(o->listen, &address, err);
    if (rc == QM_USAGE && !strncmp(err->message, "expected ADDRESS", 16))
        return qm_fail_context(err, "--listen");
    if (!rc && o->aliases.n > QM_SERVE_NAMES)
        rc = qm_fail(err, QM_USAGE, "--alias: more than %d", QM_SERVE_NAMES);
    if (!rc && !qm_address_is_loopback(&address) && !o->api_keys && !o->insecure)
        rc = qm_fail(err, QM_USAGE,
                     "--listen %s: others than this machine could ask: give --api-keys FILE, or --insecure if that is "
                     "meant",
                     o->listen);
    return rc;
}

/* One key a line; empty lines and what begins with # are left out. */
static int read_keys(struct serve *s, struct qm_error *err) {
    const char *path = s->o.api_keys;
    char *rest = NULL;
    int rc = path ? qm_read_input(path, 1 << 20, &s->keys_text, err) : QM_OK;
    if (rc || !path)
        return rc;
    for (char *line = s->keys_text.data ? strtok_r(s->keys_text.data, "\r\n", &rest) : NULL; line && !rc;
         line = strtok_r(NULL, "\r\n", &rest)) {
        if (!*line || *line == '#')
            continue;
        if (s->n_keys == KEYS || strlen(line) > QM_SERVE_KEY)
            rc = qm_fail(err, QM_INPUT, "--api-keys %s: expected at most %d keys of at most %d bytes", path, KEYS,
                         QM_SERVE_KEY);
        else
            s->keys[s->n_keys++] = line;
    }
    return rc || s->n_keys ? rc : qm_fail(err, QM_INPUT, "--api-keys %s: there is no key in it", path);
}

/* ---- the model, on the service's thread ---- */

static int open_engine(struct serve *s, struct qm_error *err) {
    const struct qm_config *c = &s->model.model->config;
    uint64_t free;
    struct qm_workload w = {.context = s->o.load.context ? s->o.load.context : c->default_positions,
                            .sequences = s->o.sequences,
                            .chunk = s->o.chunk,
                            .kv_type = s->o.load.kv_type < 0 ? qm_kv_default_type(c) : (enum qm_dtype)s->o.load.kv_type,
                            .threads = 64,
                            .drafts = s->drafts.memory};
    struct qm_app_engine wanted = {.embeddings = true,
                                   .chunk = s->o.chunk,
                                   .sequences = s->o.sequences,
                                   .context = w.context,
                                   .kv_memory = s->o.kv_memory,
                                   .drafts = s->drafts.memory};
    int rc = s->o.kv_memory ? QM_OK : qm_memory_available(&free, err);
    if (!rc && !s->o.kv_memory)
        wanted.kv_memory = qm_scheduler_kv_memory(s->model.model, &w, free);
    return rc ? rc : qm_app_load_engine(&s->o.load, &wanted, &s->progress, &s->model, err);
}

static int open_model(void *arg, struct qm_scheduler_options *out, struct qm_error *err) {
    struct serve *s = arg;
    int rc = open_engine(s, err);
    if (!rc)
        rc = qm_drafts_open(&s->o.drafts, &s->model, &s->progress, &s->drafts, err);
    if (!rc)
        rc = qm_prefix_cache_open(s->model.engine, NULL, &s->cache, err);
    if (rc) {
        qm_drafts_close(&s->drafts);
        qm_engine_close(s->model.engine);
        s->model.engine = NULL;
        return rc;
    }
    qm_engine_set_interrupt(s->model.engine, NULL); /* what is begun is finished, or cancelled between steps */
    *out = (struct qm_scheduler_options){.engine = s->model.engine,
                                         .tokenizer = s->model.tokenizer,
                                         .cache = s->cache,
                                         .speculation = s->drafts.speculation};
    return QM_OK;
}

static void close_model(void *arg) {
    struct serve *s = arg;
    qm_prefix_cache_close(s->cache);
    qm_drafts_report(&s->drafts, &s->progress);
    qm_drafts_close(&s->drafts);
    qm_offload_report(s->model.engine, &s->progress);
    qm_engine_close(s->model.engine);
    s->model.engine = NULL;
}

static void describe(struct serve *s) {
    const struct qm_config *c = &s->model.model->config;
    struct qm_served_model *m = &s->served;
    m->context = qm_openai_context_of(c, &s->model.defaults, s->model.tokenizer, s->model.chat);
    m->context.context = qm_service_context(s->service);
    m->service = s->service;
    m->created = (int64_t)time(NULL);
    m->trained_context = c->max_positions;
    m->parameters = s->model.model->parameters;
    m->bytes = qm_engine_load(s->model.engine).bytes;
    for (size_t i = 0; i < s->o.aliases.n; i++)
        m->name[m->n_names++] = s->o.aliases.text[i];
    if (!m->n_names)
        m->name[m->n_names++] = s->o.model.name ? qm_path_last(s->o.model.name) : qm_path_last(s->model.dir);
    if (!s->o.aliases.n && s->o.model.name && strcmp(m->name[0], s->o.model.name) != 0)
        m->name[m->n_names++] = s->o.model.name; /* as it was asked for: "Qwen/Qwen3-4B" */
    m->context.model = m->name[0];
}

/* ---- the log ---- */

static void log_json(const struct qm_served *w, const char *when) {
    json_t *line = json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:s?, s:I, s:I, s:I, s:f, s:f, s:s?, s:s?}", "time", when, "id", w->id, "method",
        w->method, "path", w->path, "status", w->status, "model", *w->model ? w->model : NULL, "prompt_tokens",
        (json_int_t)w->prompt_tokens, "cached_tokens", (json_int_t)w->cached_tokens, "generated_tokens",
        (json_int_t)w->generated_tokens, "seconds", w->seconds, "first_token_seconds", w->first_token_seconds,
        "ignored", *w->ignored ? w->ignored : NULL, "error", *w->error ? w->error : NULL);
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    if (text)
        fprintf(stderr, "%s\n", text);
    free(text);
    json_decref(line);
}

static void on_served(void *arg, const struct qm_served *w) {
    const struct serve *s = arg;
    char when[40];
    time_t now = time(NULL);
    struct tm utc;
    if (s->o.log == LOG_OFF)
        return;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    if (s->o.log == LOG_JSON) {
        log_json(w, when);
        return;
    }
    char tokens[120] = "";
    if (w->prompt_tokens)
        snprintf(tokens, sizeof tokens, ", %lld tokens in (%lld cached), %lld out", (long long)w->prompt_tokens,
                 (long long)w->cached_tokens, (long long)w->generated_tokens);
    fprintf(stderr, "%s %s %s %s %d, %.3f s%s%s%s%s%s\n", when, w->id, w->method, w->path, w->status, w->seconds,
            tokens, *w->ignored ? ", passed over: " : "", w->ignored, *w->error ? ": " : "", w->error);
}

/* ---- the course of it ---- */

static void wait_ms(int ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

/* Until no request is being answered, or so many seconds have passed, or the user asks again. */
static void wait_for_answers(struct serve *s, double seconds) {
    double end = qm_now() + seconds;
    sig_atomic_t first = *qm_signals_flag();
    while (qm_server_active(s->server) && qm_now() < end && *qm_signals_flag() == first)
        wait_ms(LOOK_MS);
}

static int listen_and_wait(struct serve *s, struct qm_error *err) {
    const struct qm_served_model *models[] = {&s->served};
    const struct qm_server_options o = {.models = models,
                                        .n_models = 1,
                                        .address = s->o.listen,
                                        .any_model = s->o.any_model,
                                        .keys = s->keys,
                                        .n_keys = s->n_keys,
                                        .hosts = s->o.hosts.text,
                                        .n_hosts = (int)s->o.hosts.n,
                                        .origin = s->o.origin,
                                        .ping = s->o.ping,
                                        .deadline = s->o.timeout,
                                        .connections = CONNECTIONS,
                                        .seed = s->o.seed,
                                        .served = on_served,
                                        .arg = s};
    int rc = qm_server_open(&o, &s->server, err);
    if (rc)
        return rc;
    qm_note(&s->progress, "%s serves %s: %s/v1; Ctrl-C ends it", s->served.name[0],
            s->n_keys ? "who has a key" : "everybody who can reach it", qm_server_url(s->server));
    while (!*qm_signals_flag())
        wait_ms(LOOK_MS);
    qm_server_drain(s->server);
    if (qm_server_active(s->server))
        qm_note(&s->progress, "no request is taken any more; answers have %.0f s to end (Ctrl-C: at once)", s->o.grace);
    wait_for_answers(s, s->o.grace);
    qm_service_stop(s->service);
    wait_for_answers(s, LAST_WORDS);
    return QM_OK;
}

static int run_serve(const struct qm_args *args, struct qm_error *err) {
    struct serve s = {0};
    int rc = decode(args, &s.o, err);
    if (rc)
        return rc;
    qm_progress_init(&s.progress, s.o.silent);
    rc = read_keys(&s, err);
    if (!rc)
        rc = qm_app_open(&s.o.model, QM_TOKENIZER_YES, &s.progress, &s.model, err);
    if (!rc)
        rc = qm_drafts_describe(&s.o.drafts, &s.model, 0, &s.progress, &s.drafts, err);
    if (!rc) {
        const struct qm_service_options o = {.open = open_model, .close = close_model, .arg = &s, .queue_bytes = QUEUE};
        rc = qm_service_open(&o, &s.service, err);
    }
    if (!rc) {
        describe(&s);
        qm_signals_hold();
        rc = listen_and_wait(&s, err);
        qm_signals_release();
    }
    qm_server_close(s.server);
    qm_service_close(s.service);
    qm_drafts_close(&s.drafts);
    qm_app_close(&s.model);
    qm_buf_free(&s.keys_text);
    return rc;
}

static const unsigned char serve_options[] = {
    QM_OPT_LISTEN,          QM_OPT_ALIAS,         QM_OPT_ANY_MODEL, QM_OPT_API_KEYS,
    QM_OPT_INSECURE,        QM_OPT_HOST,          QM_OPT_ORIGIN,    QM_OPT_PING,
    QM_OPT_REQUEST_TIMEOUT, QM_OPT_GRACE,         QM_OPT_LOG,       QM_OPT_SEQUENCES,
    QM_OPT_KV_MEMORY,       QM_OPT_CHUNK,         QM_OPT_SEED,      QM_OPT_DRAFT,
    QM_OPT_DRAFT_TOKENS,    QM_OPT_CHAT_TEMPLATE, QM_OPT_END};

const struct qm_command qm_cmd_serve = {
    .name = "serve",
    .usage = "[MODEL]",
    .summary = "Serve a model over HTTP, as OpenAI's API has it",
    .details = "Paths, each with and without /v1: /chat/completions, /completions, /embeddings,\n"
               "/models, /tokenize, /detokenize, /apply-template; and /health, /ready, /metrics.\n"
               "Requests are computed together, as many as --sequences at once; an answer is the\n"
               "same to the last bit whoever else asks, and whether it is streamed or not. A\n"
               "request without a seed has that of --seed, so that the same request gets the\n"
               "same answer.\n"
               "Who listens beyond this machine needs --api-keys. SIGTERM or Ctrl-C: no request\n"
               "is taken any more, answers have --grace seconds to end.\n"
               "Exit codes: 0 ended as asked; 2 to 5 as ever.\n",
    .example = "quietmind serve Qwen/Qwen3-4B\n"
               "quietmind serve Qwen/Qwen3-4B --alias gpt-4o --listen 0.0.0.0:8080 \\\n"
               "    --api-keys keys.txt\n"
               "curl http://127.0.0.1:8080/v1/chat/completions -d \\\n"
               "    '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}], \"stream\": true}'\n",
    .options = serve_options,
    .common = true,
    .takes_model = true,
    .run = run_serve,
};
