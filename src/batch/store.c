/* Where the cache's file is, what it is for, how large it may become. */
#include "batch/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "batch/names.h"
#include "engine/sequence.h"

static char *path_of(const struct qm_batch_options *o, const struct qm_batch_paths *paths, uint64_t place) {
    if (!o->store_folder)
        return strdup(paths->kv);
    const char *slash = strrchr(paths->kv, '/'), *name = slash ? slash + 1 : paths->kv;
    size_t n = strlen(o->store_folder) + strlen(name) + 64;
    char *path = malloc(n);
    if (path && o->keep_store)
        snprintf(path, n, "%s/quietmind-%016llx.kv", o->store_folder, (unsigned long long)place);
    else if (path)
        snprintf(path, n, "%s/%s", o->store_folder, name);
    return path;
}

/* Half of what is free where the file is to be. */
static uint64_t half_of_free(const char *path) {
    char folder[4200];
    struct statvfs vfs;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    return statvfs(slash ? folder : ".", &vfs) == 0 ? (uint64_t)vfs.f_bavail * vfs.f_frsize / 2 : 0;
}

static int open_store(struct qm_batch_store *s, const struct qm_batch_options *options,
                      const struct qm_batch_paths *paths, const struct qm_fingerprint *fingerprint,
                      const struct qm_engine *engine, const struct qm_batch_ui *ui, struct qm_error *err) {
    struct qm_error why = {0};
    if (!(s->path = path_of(options, paths, qm_fingerprint_place(fingerprint))))
        return qm_fail_memory(err, 256, "a file's name");
    struct qm_kv_store_options o = {
        .path = s->path,
        .max_bytes = options->store_bytes ? options->store_bytes : half_of_free(s->path),
        .key = qm_fingerprint_key(fingerprint),
        .block_bytes = qm_engine_block_bytes(engine),
        .block_tokens = qm_engine_block_tokens(engine),
    };
    if (qm_kv_store_open(&o, &s->store, &why))
        qm_batch_note(ui, "the job runs without checkpoints of prompts: %s", why.message);
    else if (*qm_kv_store_note(s->store))
        qm_batch_note(ui, "%s: %s", s->path, qm_kv_store_note(s->store));
    return QM_OK;
}

int qm_batch_store_open(struct qm_batch_store *s, const struct qm_batch_options *options,
                        const struct qm_batch_paths *paths, const struct qm_fingerprint *fingerprint,
                        struct qm_engine *engine, const struct qm_batch_ui *ui, struct qm_error *err) {
    s->keep = options->keep_store;
    int rc = options->no_store ? QM_OK : open_store(s, options, paths, fingerprint, engine, ui, err);
    if (!rc)
        rc = qm_prefix_cache_open(engine, s->store, &s->cache, err);
    if (!rc && s->keep)
        qm_prefix_cache_set_spill(s->cache, true);
    return rc;
}

void qm_batch_store_done(struct qm_batch_store *s) {
    if (s->path && s->store && !s->keep && qm_batch_is_store(s->path))
        unlink(s->path);
}

void qm_batch_store_close(struct qm_batch_store *s) {
    qm_prefix_cache_close(s->cache);
    qm_kv_store_close(s->store);
    free(s->path);
    *s = (struct qm_batch_store){0};
}

struct qm_batch_checkpoint qm_batch_store_checkpoint(const struct qm_batch_store *s,
                                                     const struct qm_batch_options *options,
                                                     const struct qm_engine *engine,
                                                     const struct qm_scheduler *scheduler,
                                                     const struct qm_batch_ui *ui) {
    return (struct qm_batch_checkpoint){
        .cache = s->cache,
        .store = s->store && !qm_kv_store_off(s->store) ? s->store : NULL,
        .ui = ui,
        .every = options->checkpoint_every,
        .bytes_per_token = (double)qm_engine_block_bytes(engine) / (double)qm_engine_block_tokens(engine),
        .scheduler = scheduler,
    };
}
