/* The scheduler's cost and its promise: one line of JSON each on standard output, wanted beside measured.
 *  overhead: the median time of a step outside the engine, 64 sequences of the demonstration model generating; of
 *            which choosing the step, and sampling and reporting its tokens (with text); greedy, and at temperature 1.
 *  stall:    a stream of tokens beside a prompt of 32k of a small random model: its longest wait for a token, in times
 *            of a chunk (the longest of that prompt's chunks when it is computed alone), and the prompt's speed.
 * Usage: bench_scheduler [overhead|stall] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "numa/topology.h"
#include "session/scheduler.h"

enum { SEQUENCES = 64, STEPS = 400, LONG = 32768, CHUNK = 512, PROMPT = 48 };

static const char config[] =
    "{\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"qwen3\",\"vocab_size\":2048,\"hidden_size\":256,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":64,"
    "\"intermediate_size\":1024,\"rms_norm_eps\":1e-6,\"rope_theta\":1000000,\"max_position_embeddings\":40960,"
    "\"torch_dtype\":\"bfloat16\",\"hidden_act\":\"silu\",\"tie_word_embeddings\":true}";

struct bench {
    struct qm_model *model;
    struct qm_engine *engine;
    struct qm_tokenizer *tokenizer;
    struct qm_scheduler *scheduler;
    struct qm_error err;
    char where[256]; /* the machine, as fields of JSON */
};

struct stream {
    int64_t tokens;
    double last, longest, first, done;
};

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, size_t n) {
    qsort(v, n, sizeof *v, by_size);
    return v[n / 2];
}

static int on_token(void *arg, const struct qm_generate_token *t, bool replay) {
    struct stream *s = arg;
    double at = qm_now();
    (void)t, (void)replay;
    if (s->tokens++ && at - s->last > s->longest)
        s->longest = at - s->last;
    s->last = at;
    return 0;
}

static void on_done(void *arg, const struct qm_outcome *o) {
    struct stream *s = arg;
    s->first = o->first_token_seconds;
    s->done = qm_now();
}

static int submit(struct bench *b, struct stream *s, int64_t n_prompt, int64_t max_tokens, double temperature,
                  int32_t seed) {
    static int32_t prompt[LONG];
    uint64_t id, random = (uint64_t)seed;
    *s = (struct stream){0};
    for (int64_t i = 0; i < n_prompt; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        prompt[i] = (int32_t)(random >> 40) % 1000;
    }
    struct qm_request r = {.prompt = prompt,
                           .n_prompt = n_prompt,
                           .decoding.max_tokens = max_tokens,
                           .decoding.sampling = qm_sampling_default,
                           .decoding.ignore_end = true,
                           .decoding.top_logprobs = -1,
                           .on_token = on_token,
                           .on_done = on_done,
                           .arg = s};
    r.decoding.sampling.temperature = temperature;
    r.decoding.sampling.seed = (uint64_t)seed;
    return qm_scheduler_submit(b->scheduler, &r, &id, &b->err);
}

/* Over b->model. */
static int open_scheduler(struct bench *b, int64_t context, int64_t sequences) {
    struct qm_engine_options o = {
        .isa = qm_isa_best(), .context = context, .sequences = sequences, .chunk = CHUNK, .kv_type = -1};
    int rc = qm_engine_open(b->model, &o, &b->engine, &b->err);
    const struct qm_scheduler_options so = {.engine = b->engine, .tokenizer = b->tokenizer};
    return rc ? rc : qm_scheduler_open(&so, &b->scheduler, &b->err);
}

static void close_scheduler(struct bench *b) {
    qm_scheduler_close(b->scheduler);
    qm_engine_close(b->engine);
    qm_model_close(b->model);
    b->scheduler = NULL;
    b->engine = NULL;
    b->model = NULL;
}

static int run_overhead(struct bench *b, double temperature) {
    static struct stream streams[SEQUENCES];
    static double outside[STEPS], choosing[STEPS], reporting[STEPS];
    struct qm_scheduler_stats last, t;
    bool worked = true;
    int rc = qm_tokenizer_load("data/demo", &b->tokenizer, &b->err);
    if (!rc)
        rc = qm_model_open("data/demo", NULL, &b->model, &b->err);
    if (!rc)
        rc = open_scheduler(b, 2048, SEQUENCES);
    for (int i = 0; !rc && i < SEQUENCES; i++)
        rc = submit(b, &streams[i], PROMPT, -1, temperature, i + 1);
    while (!rc && streams[SEQUENCES - 1].tokens < 8)
        rc = qm_scheduler_step(b->scheduler, &worked, &b->err);
    for (int i = 0; !rc && i < STEPS; i++) {
        qm_scheduler_stats(b->scheduler, &last);
        double begin = qm_now();
        rc = qm_scheduler_step(b->scheduler, &worked, &b->err);
        double seconds = qm_now() - begin;
        qm_scheduler_stats(b->scheduler, &t);
        outside[i] = 1e6 * (seconds - (t.decode_seconds - last.decode_seconds));
        choosing[i] = 1e6 * (t.schedule_seconds - last.schedule_seconds);
        reporting[i] = 1e6 * (t.token_seconds - last.token_seconds);
    }
    if (!rc)
        printf("{\"bench\":\"scheduler "
               "overhead\",%s,\"sequences\":%d,\"temperature\":%g,\"wanted_us\":50,\"outside_engine_us\":%.1f,"
               "\"choosing_us\":%.1f,\"tokens_us\":%.1f}\n",
               b->where, SEQUENCES, temperature, median(outside, STEPS), median(choosing, STEPS),
               median(reporting, STEPS));
    close_scheduler(b);
    qm_tokenizer_free(b->tokenizer);
    b->tokenizer = NULL;
    return rc;
}

/* The prompt alone: its whole time, and its longest chunk's. */
static int run_alone(struct bench *b, double *all, double *chunk) {
    struct stream prompt = {0};
    bool worked = true;
    int rc = submit(b, &prompt, LONG, 1, 0, 1);
    double begin = qm_now();
    *chunk = 0;
    while (!rc && !prompt.tokens) {
        double step = qm_now();
        rc = qm_scheduler_step(b->scheduler, &worked, &b->err);
        step = qm_now() - step;
        *chunk = step > *chunk ? step : *chunk;
    }
    *all = qm_now() - begin;
    return rc;
}

static int run_stall(struct bench *b) {
    json_t *fields = NULL;
    struct stream stream = {0}, prompt = {0};
    bool worked = true;
    double alone = 0, chunk = 0, begin = 0;
    int64_t before = 0;
    int rc = qm_json_parse(config, strlen(config), "config", &fields, &b->err);
    if (!rc)
        rc = qm_model_from_config(fields, "random", NULL, &b->model, &b->err);
    json_decref(fields);
    if (!rc)
        rc = open_scheduler(b, LONG + 1024, 2);
    if (!rc)
        rc = run_alone(b, &alone, &chunk);
    if (!rc)
        rc = submit(b, &stream, PROMPT, -1, 0, 2);
    while (!rc && stream.tokens < 50)
        rc = qm_scheduler_step(b->scheduler, &worked, &b->err);
    if (!rc)
        rc = submit(b, &prompt, LONG, 1, 0, 3);
    begin = qm_now();
    before = stream.tokens;
    stream.longest = 0;
    while (!rc && !prompt.tokens)
        rc = qm_scheduler_step(b->scheduler, &worked, &b->err);
    double seconds = qm_now() - begin;
    if (!rc)
        printf(
            "{\"bench\":\"scheduler stall\",%s,\"prompt\":%d,\"chunk\":%d,\"wanted_chunks\":2,\"longest_gap_chunks\":"
            "%.2f,\"chunk_ms\":%.1f,\"longest_gap_ms\":%.1f,\"stream_tokens_s\":%.1f,\"prompt_tokens_s\":%.0f,"
            "\"prompt_alone_tokens_s\":%.0f}\n",
            b->where, LONG, CHUNK, stream.longest / chunk, 1e3 * chunk, 1e3 * stream.longest,
            (double)(stream.tokens - before) / seconds, LONG / seconds, LONG / alone);
    close_scheduler(b);
    return rc;
}

int main(int argc, char **argv) {
    static struct bench b;
    struct qm_topology topology;
    int rc = qm_topology_load(NULL, &topology, &b.err);
    if (!rc) {
        snprintf(b.where, sizeof b.where, "\"cpu\":\"%s\",\"cores\":%d,\"isa\":\"%s\"", topology.cpu_model,
                 topology.cores, qm_isa_name(qm_isa_best()));
        qm_topology_free(&topology);
    }
    if (!rc && (argc < 2 || !strcmp(argv[1], "overhead")))
        rc = run_overhead(&b, 0);
    if (!rc && (argc < 2 || !strcmp(argv[1], "overhead")))
        rc = run_overhead(&b, 1);
    if (!rc && (argc < 2 || !strcmp(argv[1], "stall")))
        rc = run_stall(&b);
    if (rc)
        fprintf(stderr, "bench_scheduler: %s\n", b.err.message);
    return rc;
}
