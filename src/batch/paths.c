/* Names beside OUT. */
#include "batch/paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *beside(const char *out, const char *suffix) {
    size_t n = strlen(out) + strlen(suffix) + 1;
    char *s = malloc(n);
    if (s)
        snprintf(s, n, "%s%s", out, suffix);
    return s;
}

int qm_batch_paths(const char *out, struct qm_batch_paths *p, struct qm_error *err) {
    *p = (struct qm_batch_paths){beside(out, ""), beside(out, ".partial"), beside(out, ".journal"),
                                 beside(out, ".lock"), beside(out, ".kv")};
    if (p->out && p->partial && p->journal && p->lock && p->kv)
        return QM_OK;
    qm_batch_paths_free(p);
    return qm_fail_memory(err, strlen(out), "names of files");
}

void qm_batch_paths_free(struct qm_batch_paths *p) {
    free(p->out);
    free(p->partial);
    free(p->journal);
    free(p->lock);
    free(p->kv);
    *p = (struct qm_batch_paths){0};
}
