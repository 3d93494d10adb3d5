/* Where the cache's file is, what it is for, how large it may become. */
#include "app/batch/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "app/batch/names.h"
#include "engine/sequence.h"

static char *path_of(const struct qm_batch_settings *s, const struct qm_batch_paths *paths, uint64_t place) {
    if (!s->store_folder)
        return strdup(paths->kv);
    const char *slash = strrchr(paths->kv, '/'), *name = slash ? slash + 1 : paths->kv;
    size_t n = strlen(s->store_folder) + strlen(name) + 64;
    char *path = malloc(n);
    if (path && s->keep_store)
        snprintf(path, n, "%s/quietmind-%016llx.kv", s->store_folder, (unsigned long long)place);
    else if (path)
        snprintf(path, n, "%s/%s", s->store_folder, name);
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

static int open_store(struct qm_batch_store *s, const struct qm_batch_settings *settings,
                      const struct qm_batch_paths *paths, const struct qm_fingerprint *fingerprint,
                      const struct qm_engine *engine, struct qm_progress *progress, struct qm_error *err) {
    struct qm_error why = {0};
    if (!(s->path = path_of(settings, paths, qm_fingerprint_place(fingerprint))))
        return qm_fail_memory(err, 256, "a file's name");
    struct qm_kv_store_options o = {
        .path = s->path,
        .max_bytes = settings->store_bytes ? settings->store_bytes : half_of_free(s->path),
        .key = qm_fingerprint_key(fingerprint),
        .block_bytes = qm_engine_block_bytes(engine),
        .block_tokens = qm_engine_block_tokens(engine),
    };
    if (qm_kv_store_open(&o, &s->store, &why))
        qm_note(progress, "the job runs without checkpoints of prompts: %s", why.message);
    else if (*qm_kv_store_note(s->store))
        qm_note(progress, "%s: %s", s->path, qm_kv_store_note(s->store));
    return QM_OK;
}

int qm_batch_store_open(struct qm_batch_store *s, const struct qm_batch_settings *settings,
                        const struct qm_batch_paths *paths, const struct qm_fingerprint *fingerprint,
                        struct qm_engine *engine, struct qm_progress *progress, struct qm_error *err) {
    s->keep = settings->keep_store;
    int rc = settings->no_store ? QM_OK : open_store(s, settings, paths, fingerprint, engine, progress, err);
    rc = rc ? rc : qm_prefix_cache_open(engine, s->store, &s->cache, err);
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
                                                     const struct qm_batch_settings *settings,
                                                     const struct qm_engine *engine,
                                                     const struct qm_scheduler *scheduler,
                                                     struct qm_progress *progress) {
    return (struct qm_batch_checkpoint){
        .cache = s->cache,
        .store = s->store && !qm_kv_store_off(s->store) ? s->store : NULL,
        .progress = progress,
        .every = settings->checkpoint_every,
        .bytes_per_token = (double)qm_engine_block_bytes(engine) / (double)qm_engine_block_tokens(engine),
        .scheduler = scheduler,
    };
}
