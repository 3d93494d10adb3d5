/* The safetensors files of a model directory, opened and cross-checked: one file, or shards and the index that
 * names them. Where in the flow: first step of qm_model_open. Headers are parsed in safetensors_header.c. */
#include "model/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/path.h"

#define HEADER_LIMIT 100000000ull
enum { MAX_FILES = 4096, INDEX_LIMIT = 100000000 };

static const char index_name[] = "model.safetensors.index.json", single_name[] = "model.safetensors";

/* What a file that can't be safetensors looks like from its first bytes, or NULL. */
static const char *other_format(const char *head, size_t n) {
    static const char lfs[] = "version https://git-lfs";
    if (n >= 4 && memcmp(head, "GGUF", 4) == 0)
        return "a GGUF file; GGUF is not read: use the model's safetensors";
    if (n >= 2 && memcmp(head, "PK", 2) == 0)
        return "a PyTorch checkpoint (zip); it is not read: use the model's safetensors";
    if (n >= sizeof lfs - 1 && memcmp(head, lfs, sizeof lfs - 1) == 0)
        return "a Git LFS pointer, not the file itself: run `git lfs pull` in its folder";
    return NULL;
}

static int read_header(struct qm_shard_file *f, struct qm_tensor **tensors, int64_t *n, struct qm_error *err) {
    unsigned char head[32];
    size_t have = f->bytes < sizeof head ? (size_t)f->bytes : sizeof head;
    int rc = qm_pread_full(f->fd, f->path, head, have, 0, err);
    if (rc)
        return rc;
    const char *other = other_format((const char *)head, have);
    if (other)
        return qm_fail(err, QM_INPUT, "%s: expected a safetensors file, found %s", f->path, other);
    if (have < 8)
        return qm_fail(err, QM_INPUT,
                       "%s: expected at least the 8 bytes of a safetensors header length, found a file of %llu bytes: "
                       "it is cut short; get it again",
                       f->path, (unsigned long long)f->bytes);
    uint64_t len = 0;
    for (int i = 7; i >= 0; i--)
        len = len << 8 | head[i];
    if (len > HEADER_LIMIT)
        return qm_fail(err, QM_INPUT,
                       "%s: expected a header of at most %llu bytes, found a length of %llu: this is not a safetensors "
                       "file",
                       f->path, HEADER_LIMIT, (unsigned long long)len);
    if (len > f->bytes - 8)
        return qm_fail(err, QM_INPUT,
                       "%s: expected a header of %llu bytes, found a file of %llu: it is cut short; get it again",
                       f->path, (unsigned long long)len, (unsigned long long)f->bytes);
    char *json = malloc((size_t)len + 1);
    if (!json)
        return qm_fail_memory(err, len, "a safetensors header");
    rc = qm_pread_full(f->fd, f->path, json, (size_t)len, 8, err);
    if (!rc)
        rc = qm_safetensors_header(json, (size_t)len, f->path, f->bytes - 8 - len, tensors, n, err);
    free(json);
    for (int64_t i = 0; !rc && i < *n; i++)
        (*tensors)[i].offset += 8 + len;
    return rc;
}

/* Opens s->files[s->n_files] = dir/name and appends its tensors. */
static int add_file(struct qm_shards *s, const char *dir, const char *name, struct qm_error *err) {
    struct qm_shard_file *f = &s->files[s->n_files];
    f->path = qm_path_join(dir, name);
    if (!f->path)
        return qm_fail_memory(err, strlen(dir) + strlen(name), "a file name");
    f->fd = -1;
    s->n_files++;
    if (!qm_file_there(f->path))
        return qm_fail(err, QM_INPUT, "%s: missing; %s names it: get it again", f->path, index_name);
    struct stat st;
    int rc = qm_open_regular(f->path, &f->fd, &st, err);
    if (rc)
        return rc;
    f->bytes = (uint64_t)st.st_size;
    struct qm_tensor *tensors = NULL;
    int64_t n = 0;
    rc = read_header(f, &tensors, &n, err);
    if (rc)
        return rc;
    for (int64_t i = 0; i < n; i++)
        tensors[i].file = s->n_files - 1;
    struct qm_tensor *all = realloc(s->tensors, (size_t)(s->n_tensors + n + 1) * sizeof *all);
    if (!all) {
        qm_tensors_free(tensors, n);
        return qm_fail_memory(err, (size_t)(s->n_tensors + n) * sizeof *all, "the list of tensors");
    }
    memcpy(all + s->n_tensors, tensors, (size_t)n * sizeof *all);
    s->tensors = all;
    s->n_tensors += n;
    free(tensors);
    return QM_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct qm_tensor *)a)->name, ((const struct qm_tensor *)b)->name);
}

static const char *file_name(const struct qm_shards *s, int file) {
    const char *slash = strrchr(s->files[file].path, '/');
    return slash ? slash + 1 : s->files[file].path;
}

static int sort_and_check_unique(struct qm_shards *s, struct qm_error *err) {
    qsort(s->tensors, (size_t)s->n_tensors, sizeof *s->tensors, by_name);
    for (int64_t i = 1; i < s->n_tensors; i++) {
        const struct qm_tensor *a = &s->tensors[i - 1], *b = &s->tensors[i];
        if (strcmp(a->name, b->name) == 0)
            return qm_fail(err, QM_INPUT, "%s: tensor \"%.200s\": expected in one file, found in %s too",
                           s->files[a->file].path, a->name, file_name(s, b->file));
    }
    return QM_OK;
}

/* A shard's name in an index: a plain file name of this directory. */
static int check_shard_name(const char *index, const char *tensor, const json_t *v, struct qm_error *err) {
    if (!json_is_string(v))
        return qm_fail(err, QM_INPUT, "%s: tensor \"%.200s\": expected a file name, found %s", index, tensor,
                       qm_json_type_name(v));
    const char *name = json_string_value(v);
    size_t n = json_string_length(v);
    static const char suffix[] = ".safetensors";
    size_t tail = sizeof suffix - 1;
    if (strlen(name) != n || n > 255 || strchr(name, '/') || strstr(name, ".."))
        return qm_fail(err, QM_INPUT,
                       "%s: tensor \"%.200s\": expected the plain name of a file in the same folder, found \"%.100s\"",
                       index, tensor, name);
    if (n <= tail || strcmp(name + n - tail, suffix) != 0)
        return qm_fail(err, QM_INPUT, "%s: tensor \"%.200s\": expected a file named *.safetensors, found \"%.100s\"",
                       index, tensor, name);
    return QM_OK;
}

/* The distinct file names of the weight map, as keys of a new object. */
static int distinct_files(const char *index, const json_t *map, json_t *files, struct qm_error *err) {
    const char *tensor;
    json_t *v;
    json_object_foreach((json_t *)map, tensor, v) {
        int rc = check_shard_name(index, tensor, v, err);
        if (rc)
            return rc;
        if (json_object_set(files, json_string_value(v), json_null()) != 0)
            return qm_fail_memory(err, 64, "the list of shards");
        if (json_object_size(files) > MAX_FILES)
            return qm_fail(err, QM_INPUT, "%s: expected at most %d files, found more", index, MAX_FILES);
    }
    return QM_OK;
}

static int check_index(const struct qm_shards *s, const char *index, const json_t *map, struct qm_error *err) {
    for (int64_t i = 0; i < s->n_tensors; i++) {
        const struct qm_tensor *t = &s->tensors[i];
        const json_t *v = json_object_get(map, t->name);
        if (!v)
            return qm_fail(err, QM_INPUT, "%s: tensor \"%.200s\" is in this file but not in %s", s->files[t->file].path,
                           t->name, index_name);
        if (strcmp(json_string_value(v), file_name(s, t->file)) != 0)
            return qm_fail(err, QM_INPUT, "%s: tensor \"%.200s\": expected in %s, found in %s", index, t->name,
                           json_string_value(v), file_name(s, t->file));
    }
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)map, name, v) {
        if (!qm_shards_find(s, name))
            return qm_fail(err, QM_INPUT, "%s: tensor \"%.200s\": expected in %s, found in no file", index, name,
                           json_string_value(v));
    }
    return QM_OK;
}

static int open_sharded(struct qm_shards *s, const char *dir, const char *index, struct qm_error *err) {
    json_t *root = NULL, *files = json_object();
    int rc = files ? qm_json_load(index, INDEX_LIMIT, &root, err) : qm_fail_memory(err, 64, "the list of shards");
    const json_t *map = json_object_get(root, "weight_map");
    if (!rc && (!qm_json_is_object(map) || json_object_size(map) == 0))
        rc = qm_fail(err, QM_INPUT, "%s: expected \"weight_map\" to be an object that names tensors, found %s", index,
                     qm_json_is_object(map) ? "an empty one" : qm_json_type_name(map));
    if (!rc)
        rc = distinct_files(index, map, files, err);
    if (!rc && !(s->files = calloc(json_object_size(files), sizeof *s->files)))
        rc = qm_fail_memory(err, json_object_size(files) * sizeof *s->files, "the list of shards");
    const char *name;
    json_t *v;
    json_object_foreach(files, name, v) {
        if (!rc)
            rc = add_file(s, dir, name, err);
    }
    if (!rc)
        rc = sort_and_check_unique(s, err);
    if (!rc)
        rc = check_index(s, index, map, err);
    json_decref(root);
    json_decref(files);
    return rc;
}

static int ends_with(const char *s, const char *suffix) {
    size_t n = strlen(s), m = strlen(suffix);
    return n > m && strcmp(s + n - m, suffix) == 0;
}

/* No safetensors here: says what is there instead. */
static int no_weights(const char *dir, struct qm_error *err) {
    static const char *const kinds[] = {".gguf", ".bin", ".pth", ".pt", ".safetensors"};
    char found[256] = "";
    DIR *d = opendir(dir);
    for (struct dirent *e; d && !found[0] && (e = readdir(d));)
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
            if (ends_with(e->d_name, kinds[k]))
                snprintf(found, sizeof found, "%s", e->d_name);
    if (d)
        closedir(d);
    if (!found[0])
        return qm_fail(err, QM_INPUT, "%s: no model here: expected %s or %s, found neither", dir, single_name,
                       index_name);
    if (ends_with(found, ".safetensors"))
        return qm_fail(
            err, QM_INPUT,
            "%s: expected %s or %s, found neither, but %s: if it is one of several shards, get the index too", dir,
            single_name, index_name, found);
    return qm_fail(
        err, QM_INPUT,
        "%s: expected %s or %s, found %s: quietmind reads safetensors; %s files are not read. Get the model's "
        "safetensors form",
        dir, single_name, index_name, found, strrchr(found, '.'));
}

static int check_directory(const char *dir, struct qm_error *err) {
    struct stat st;
    if (stat(dir, &st) != 0)
        return qm_fail_errno(err, "%s: expected a model folder", dir);
    if (S_ISDIR(st.st_mode))
        return QM_OK;
    char magic[4] = "";
    int fd = S_ISREG(st.st_mode) ? open(dir, O_RDONLY | O_CLOEXEC) : -1;
    int gguf = fd >= 0 && read(fd, magic, 4) == 4 && memcmp(magic, "GGUF", 4) == 0;
    if (fd >= 0)
        close(fd);
    if (gguf || ends_with(dir, ".gguf"))
        return qm_fail(err, QM_INPUT,
                       "%s: expected a model folder with config.json and safetensors, found a GGUF file: GGUF is not "
                       "read. Get the model's safetensors form",
                       dir);
    return qm_fail(err, QM_INPUT,
                   "%s: expected a model folder with config.json and safetensors, found a file: name its folder", dir);
}

int qm_shards_open(const char *dir, struct qm_shards **out, struct qm_error *err) {
    *out = NULL;
    int rc = check_directory(dir, err);
    if (rc)
        return rc;
    struct qm_shards *s = calloc(1, sizeof *s);
    char *index = qm_path_join(dir, index_name), *single = qm_path_join(dir, single_name);
    if (!s || !index || !single) {
        rc = qm_fail_memory(err, sizeof *s, "a model's files");
    } else {
        int has_index = qm_file_there(index), has_single = qm_file_there(single);
        if (has_index && has_single)
            rc = qm_fail(err, QM_INPUT, "%s: expected %s or %s, found both: remove the one that does not belong", dir,
                         single_name, index_name);
        else if (has_index)
            rc = open_sharded(s, dir, index, err);
        else if (!has_single)
            rc = no_weights(dir, err);
        else if (!(s->files = calloc(1, sizeof *s->files)))
            rc = qm_fail_memory(err, sizeof *s->files, "a model's files");
        else if (!(rc = add_file(s, dir, single_name, err)))
            rc = sort_and_check_unique(s, err);
    }
    free(index);
    free(single);
    if (rc) {
        qm_shards_close(s);
        return rc;
    }
    *out = s;
    return QM_OK;
}

void qm_shards_close(struct qm_shards *s) {
    if (!s)
        return;
    for (int i = 0; i < s->n_files; i++) {
        if (s->files[i].fd >= 0)
            close(s->files[i].fd);
        free(s->files[i].path);
    }
    free(s->files);
    qm_tensors_free(s->tensors, s->n_tensors);
    free(s);
}

const struct qm_tensor *qm_shards_find(const struct qm_shards *s, const char *name) {
    struct qm_tensor key = {.name = (char *)name};
    return s->n_tensors ? bsearch(&key, s->tensors, (size_t)s->n_tensors, sizeof key, by_name) : NULL;
}
