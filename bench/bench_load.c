/* How fast weights are loaded, from the disk and from the page cache, beside what the disk and a copy in memory reach
 * in the same run, and how much memory that takes at most. "touch" is the first writing of fresh memory, which loading
 * cannot do without and a copy does not show; "fresh" is the cached file read into fresh memory as it is, the least
 * that loading can be. One line of JSON for each measurement, and one with the medians of the rounds' ratios. Each runs
 * in a process of its own, so that peaks are its own, and after one that wrote as much memory and gave it back: a
 * virtual machine may have to get memory from its host first, which takes longer than all else. Usage: bench_load
 * [MODEL_DIRECTORY]; without one a model of 0.9 GB is written to the current directory for the time. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "engine/engine.h"
#include "engine/report.h"
#include "model/model.h"
#include "numa/memory.h"
#include "numa/probe.h"

enum { RUNS = 5, COPY_BYTES = 256 << 20, ALLOWED = 512 << 20 };
enum { HIDDEN = 2048, FFN = 8192, HEADS = 16, KV_HEADS = 4, LAYERS = 6, VOCAB = 32000 };

/* --- a model to load ------------------------------------------------------------------------------------------ */

struct tensors {
    FILE *file;
    char *header;
    size_t length;
    uint64_t at;
};

static void declare(struct tensors *t, int layer, const char *name, int64_t rows, int64_t columns) {
    uint64_t bytes = (uint64_t)rows * (uint64_t)(columns ? columns : 1) * 2;
    char full[96], shape[48];
    if (layer < 0)
        snprintf(full, sizeof full, "model.%s.weight", name);
    else
        snprintf(full, sizeof full, "model.layers.%d.%s.weight", layer, name);
    snprintf(shape, sizeof shape, columns ? "%lld,%lld" : "%lld", (long long)rows, (long long)columns);
    t->length += (size_t)sprintf(
        t->header + t->length, "%c\"%s\":{\"dtype\":\"BF16\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}",
        t->length ? ',' : '{', full, shape, (unsigned long long)t->at, (unsigned long long)(t->at + bytes));
    t->at += bytes;
}

static void declare_all(struct tensors *t) {
    static const struct {
        const char *name;
        int64_t rows, columns;
    } of_layer[] = {
        {"input_layernorm", HIDDEN, 0},
        {"self_attn.q_proj", HIDDEN, HIDDEN},
        {"self_attn.k_proj", HIDDEN / HEADS * KV_HEADS, HIDDEN},
        {"self_attn.v_proj", HIDDEN / HEADS * KV_HEADS, HIDDEN},
        {"self_attn.o_proj", HIDDEN, HIDDEN},
        {"post_attention_layernorm", HIDDEN, 0},
        {"mlp.gate_proj", FFN, HIDDEN},
        {"mlp.up_proj", FFN, HIDDEN},
        {"mlp.down_proj", HIDDEN, FFN},
    };
    declare(t, -1, "embed_tokens", VOCAB, HIDDEN);
    for (int l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < sizeof of_layer / sizeof *of_layer; i++)
            declare(t, l, of_layer[i].name, of_layer[i].rows, of_layer[i].columns);
    declare(t, -1, "norm", HIDDEN, 0);
    t->length += (size_t)sprintf(t->header + t->length, "}");
    while (t->length % 8)
        t->header[t->length++] = ' ';
}

/* Random bits with a small exponent, so that every value is finite. */
static bool write_values(FILE *f, uint64_t bytes) {
    enum { BLOCK = 1 << 20 };
    uint16_t *block = malloc(BLOCK);
    uint64_t state = 1;
    for (size_t i = 0; block && i < BLOCK / 2; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        block[i] = (uint16_t)((state >> 40 & 0x80FF) | 0x3C00);
    }
    bool ok = block != NULL;
    for (uint64_t done = 0; ok && done < bytes; done += BLOCK)
        ok = fwrite(block, 1, bytes - done < BLOCK ? bytes - done : BLOCK, f) > 0;
    free(block);
    return ok;
}

static bool write_model(const char *dir) {
    char path[512];
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *config = fopen(path, "w");
    if (!config)
        return false;
    fprintf(config,
            "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"torch_dtype\":\"bfloat16\","
            "\"hidden_size\":%d,\"intermediate_size\":%d,\"num_attention_heads\":%d,\"num_key_value_heads\":%d,"
            "\"num_hidden_layers\":%d,\"vocab_size\":%d,\"rms_norm_eps\":1e-6,\"rope_theta\":10000.0,"
            "\"max_position_embeddings\":4096,\"hidden_act\":\"silu\",\"tie_word_embeddings\":true}",
            HIDDEN, FFN, HEADS, KV_HEADS, LAYERS, VOCAB);
    bool ok = fclose(config) == 0;
    struct tensors t = {.header = malloc(64 << 10)};
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    t.file = fopen(path, "w");
    if (t.header && t.file) {
        declare_all(&t);
        uint64_t length = t.length;
        ok = ok && fwrite(&length, 8, 1, t.file) == 1 && fwrite(t.header, 1, t.length, t.file) == t.length &&
             write_values(t.file, t.at) && fflush(t.file) == 0 && fdatasync(fileno(t.file)) == 0;
    }
    ok = t.file && fclose(t.file) == 0 && ok;
    free(t.header);
    return ok;
}

static void remove_model(const char *dir) {
    static const char *const names[] = {"config.json", "model.safetensors"};
    char path[512];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

/* --- measurements, each in a process of its own --------------------------------------------------------------- */

struct result {
    int code;
    double rate; /* bytes a second */
    uint64_t bytes, peak, allowed;
    bool direct, dropped;
};

struct copying {
    char *from, *to;
    size_t bytes;
};

static void copy_region(void *arg, int thread, int threads) {
    const struct copying *c = arg;
    int64_t begin, end;
    qm_team_range((int64_t)c->bytes, thread, threads, &begin, &end);
    memcpy(c->to + begin, c->from + begin, (size_t)(end - begin));
}

/* Bytes copied a second, best of several runs, the first of which touches the pages. */
static int measure_copy(struct result *out, const char *dir, struct qm_error *err) {
    struct qm_team *team = NULL;
    struct qm_memory from = {0}, to = {0};
    (void)dir;
    int rc = qm_team_create(0, &team, err);
    if (!rc)
        rc = qm_memory_alloc(COPY_BYTES, "a copy", &from, err);
    if (!rc)
        rc = qm_memory_alloc(COPY_BYTES, "a copy", &to, err);
    struct copying backwards = {to.data, from.data, COPY_BYTES}, c = {from.data, to.data, COPY_BYTES};
    for (int i = 0; i < 8 && !rc; i++) {
        double begin = qm_now();
        qm_team_run(team, copy_region, i ? &c : &backwards);
        double rate = COPY_BYTES / (qm_now() - begin);
        out->rate = i > 1 && rate > out->rate ? rate : out->rate;
    }
    out->bytes = COPY_BYTES;
    qm_memory_free(&from);
    qm_memory_free(&to);
    qm_team_destroy(team);
    return rc;
}

static void touch_region(void *arg, int thread, int threads) {
    const struct qm_memory *m = arg;
    int64_t begin, end;
    qm_team_range((int64_t)m->bytes, thread, threads, &begin, &end);
    memset((char *)m->data + begin, 1, (size_t)(end - begin));
}

/* Gives back memory for what is measured next. */
static int prepare(struct result *out, const char *dir, struct qm_error *err) {
    enum { MOST = 1 << 30 };
    struct qm_memory m = {0};
    (void)out, (void)dir;
    int rc = qm_memory_alloc(MOST, "preparing", &m, err);
    if (!rc)
        memset(m.data, 1, MOST);
    qm_memory_free(&m);
    return rc;
}

static int measure_touch(struct result *out, const char *dir, struct qm_error *err) {
    struct qm_team *team = NULL;
    struct qm_memory m = {0};
    (void)dir;
    int rc = qm_team_create(0, &team, err);
    if (!rc)
        rc = qm_memory_alloc(COPY_BYTES, "a copy", &m, err);
    double begin = qm_now();
    if (!rc)
        qm_team_run(team, touch_region, &m);
    out->rate = COPY_BYTES / (qm_now() - begin);
    out->bytes = COPY_BYTES;
    qm_memory_free(&m);
    qm_team_destroy(team);
    return rc;
}

struct filling {
    const struct qm_memory *to;
    const struct qm_shard_file *file;
    _Atomic uint64_t next;
    _Atomic int failed;
};

static void fill_region(void *arg, int thread, int threads) {
    enum { PIECE = 4 << 20 };
    struct filling *f = arg;
    (void)thread, (void)threads;
    for (uint64_t at; (at = atomic_fetch_add(&f->next, PIECE)) < f->file->bytes;) {
        uint64_t n = f->file->bytes - at < PIECE ? f->file->bytes - at : PIECE;
        if (qm_pread_full(f->file->fd, f->file->path, (char *)f->to->data + at, n, at, NULL))
            f->failed = 1;
    }
}

/* The model's first file, cached, into fresh memory. */
static int measure_fresh(struct result *out, const char *dir, struct qm_error *err) {
    struct qm_team *team = NULL;
    struct qm_shards *shards = NULL;
    struct qm_memory m = {0};
    int rc = qm_team_create(0, &team, err);
    if (!rc)
        rc = qm_shards_open(dir, &shards, err);
    if (!rc)
        rc = qm_memory_alloc(shards->files[0].bytes, "a copy", &m, err);
    if (!rc) {
        struct filling f = {.to = &m, .file = &shards->files[0]};
        double begin = qm_now();
        qm_team_run(team, fill_region, &f);
        out->bytes = f.file->bytes;
        out->rate = (double)out->bytes / (qm_now() - begin);
        rc = f.failed ? qm_fail(err, QM_SYSTEM, "%s can't be read", f.file->path) : QM_OK;
    }
    qm_memory_free(&m);
    qm_shards_close(shards);
    qm_team_destroy(team);
    return rc;
}

static int measure_disk(struct result *out, const char *dir, struct qm_error *err) {
    struct qm_team *team;
    struct qm_probe_disk disk;
    int rc = qm_team_create(0, &team, err);
    if (rc)
        return rc;
    rc = qm_probe_disk_read(team, dir, &disk, err);
    qm_team_destroy(team);
    out->rate = disk.rate;
    out->bytes = disk.bytes;
    out->direct = disk.direct;
    return rc;
}

/* The most memory that this process has had, of both kinds. */
static uint64_t peak_bytes(void) {
    char line[256];
    unsigned long long kb = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %llu kB", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb * 1024;
}

static int load(struct result *out, const char *dir, bool cold, struct qm_error *err) {
    struct qm_model *m;
    struct qm_engine *e = NULL;
    int rc = qm_model_open(dir, NULL, &m, err);
    if (rc)
        return rc;
    for (int i = 0; i < m->shards->n_files && cold; i++)
        posix_fadvise(m->shards->files[i].fd, 0, 0, POSIX_FADV_DONTNEED);
    struct qm_engine_options o = {.isa = qm_isa_best(), .context = 4096, .kv_type = -1};
    rc = qm_engine_open(m, &o, &e, err);
    if (!rc) {
        struct qm_engine_load l = qm_engine_load(e);
        out->rate = (double)l.bytes / l.seconds;
        out->bytes = l.bytes;
        out->dropped = l.dropped_cache;
        out->peak = peak_bytes();
        out->allowed = qm_engine_memory(e)->weights + qm_engine_memory(e)->kv + ALLOWED;
    }
    qm_engine_close(e);
    qm_model_close(m);
    return rc;
}

static int load_cold(struct result *out, const char *dir, struct qm_error *err) {
    return load(out, dir, true, err);
}

static int load_cached(struct result *out, const char *dir, struct qm_error *err) {
    return load(out, dir, false, err);
}

typedef int measure_fn(struct result *out, const char *dir, struct qm_error *err);

static struct result in_a_process(measure_fn *measure, const char *dir) {
    struct result r = {.code = QM_SYSTEM};
    int ends[2];
    if (pipe(ends) != 0)
        return r;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct qm_error err = {0};
        r.code = measure(&r, dir, &err);
        if (r.code)
            fprintf(stderr, "bench_load: %s\n", err.message);
        _exit(write(ends[1], &r, sizeof r) == (ssize_t)sizeof r ? 0 : 1);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &r, sizeof r) != (ssize_t)sizeof r)
        r.code = QM_SYSTEM;
    close(ends[0]);
    if (child > 0)
        waitpid(child, NULL, 0);
    return r;
}

static void print(const char *what, const struct result *r) {
    printf("{\"bench\":\"load\",\"what\":\"%s\",\"bytes\":%llu,\"gb_s\":%.3f", what, (unsigned long long)r->bytes,
           r->rate / 1e9);
    if (r->peak)
        printf(",\"peak_rss\":%llu,\"peak_allowed\":%llu,\"cache_dropped\":%s", (unsigned long long)r->peak,
               (unsigned long long)r->allowed, r->dropped ? "true" : "false");
    printf("}\n");
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of the rounds' ratios. */
static double ratio(const struct result r[RUNS], const struct result of[RUNS]) {
    double ratios[RUNS];
    for (int i = 0; i < RUNS; i++)
        ratios[i] = r[i].rate / of[i].rate;
    qsort(ratios, RUNS, sizeof *ratios, ascending);
    return ratios[RUNS / 2];
}

/* Alternately, so that what else the machine does falls on all alike. */
static int run(const char *dir) {
    enum { DISK, COLD, COPY, CACHED, TOUCH, FRESH, KINDS };
    static const struct {
        const char *name;
        measure_fn *measure;
    } kinds[KINDS] = {{"disk", measure_disk},  {"cold", load_cold},      {"copy", measure_copy},
                      {"cached", load_cached}, {"touch", measure_touch}, {"fresh", measure_fresh}};
    struct result r[KINDS][RUNS];
    for (int i = 0; i < RUNS; i++)
        for (int k = 0; k < KINDS; k++) {
            in_a_process(prepare, dir);
            r[k][i] = in_a_process(kinds[k].measure, dir);
            if (r[k][i].code)
                return r[k][i].code;
            print(kinds[k].name, &r[k][i]);
        }
    printf("{\"bench\":\"load\",\"cold_of_disk\":%.3f,\"cached_of_copy\":%.3f,\"cached_of_touch\":%.3f,"
           "\"cached_of_fresh\":%.3f,\"fresh_of_copy\":%.3f,\"disk_read_directly\":%s,\"peak_of_allowed\":%.3f}\n",
           ratio(r[COLD], r[DISK]), ratio(r[CACHED], r[COPY]), ratio(r[CACHED], r[TOUCH]), ratio(r[CACHED], r[FRESH]),
           ratio(r[FRESH], r[COPY]), r[DISK][0].direct ? "true" : "false",
           (double)r[COLD][0].peak / (double)r[COLD][0].allowed);
    return 0;
}

int main(int argc, char **argv) {
    char made[] = "bench_load.XXXXXX";
    if (argc > 1)
        return run(argv[1]);
    if (!mkdtemp(made) || !write_model(made)) {
        perror("bench_load: writing a model");
        remove_model(made);
        return QM_SYSTEM;
    }
    int rc = run(made);
    remove_model(made);
    return rc;
}
