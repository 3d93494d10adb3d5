/* Profiles of routing on disk, and in words. */
#include "engine/routing_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

enum { FILE_LIMIT = 256 << 20 };

int qm_routing_file_open(const char *path, const struct qm_config *c, struct qm_routing_profile *out,
                         struct qm_error *err) {
    struct qm_buf text = {0};
    *out = (struct qm_routing_profile){0};
    if (!qm_file_there(path))
        return qm_routing_profile_open(c, out, err);
    int rc = qm_read_file(path, FILE_LIMIT, &text, err);
    if (!rc)
        rc = qm_routing_profile_parse(text.data ? text.data : "", text.len, path, out, err);
    if (!rc && (rc = qm_routing_profile_check(out, c, path, err)))
        qm_routing_profile_free(out);
    qm_buf_free(&text);
    return rc;
}

int qm_routing_file_save(const char *path, const struct qm_config *c, const struct qm_routing_profile *p,
                         struct qm_error *err) {
    char *text = NULL;
    int rc = qm_routing_profile_write(p, c, &text, err);
    if (!rc)
        rc = qm_write_file(path, text, strlen(text), err);
    free(text);
    return rc;
}

const char *qm_routing_text(const struct qm_routing_profile *p, char *out, size_t size) {
    struct qm_routing_skew s;
    qm_routing_measure(p, &s);
    snprintf(
        out, size,
        "%llu tokens counted; the busiest %.0f %% take %.0f %% of the choices; a token shares %.0f %% of its experts "
        "with the one before (by chance %.0f %%)",
        (unsigned long long)p->tokens, 100 * s.tenth, 100 * s.static_share, 100 * s.local_share,
        100 * s.independent_share);
    return out;
}
