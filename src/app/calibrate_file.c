/* The kept shares: kernels-HASH.json beside the machine's profile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/calibrate.h"
#include "app/calibrate_model.h"
#include "base/file.h"
#include "base/json.h"

enum { VERSION = 1, FIELDS = 5, FILE_LIMIT = 1 << 20 };

int qm_calibration_parse(const char *text, size_t len, const char *name, const char *identity, const char *isa,
                         struct qm_efficiency *out, struct qm_error *err) {
    json_t *root = NULL;
    int64_t version = 0;
    const char *of = NULL, *with = NULL, *measured = NULL;
    int rc = qm_json_parse(text, len, name, &root, err);
    if (!rc && !json_is_object(root))
        rc = qm_fail(err, QM_INPUT, "%s: expected an object, found %s", name, qm_json_type_name(root));
    if (!rc)
        rc = qm_json_int(root, "version", name, VERSION, VERSION, &version, err);
    if (!rc)
        rc = qm_json_string(root, "identity", name, &of, err);
    if (!rc)
        rc = qm_json_string(root, "isa", name, &with, err);
    if (!rc)
        rc = qm_json_string(root, "measured", name, &measured, err);
    if (!rc && (!version || !of || !with || !measured || json_object_size(root) != FIELDS))
        rc = qm_fail(err, QM_INPUT, "%s: expected version, identity, isa, measured and efficiency", name);
    if (!rc && (strcmp(of, identity) != 0 || strcmp(with, isa) != 0))
        rc = qm_fail(err, QM_INPUT, "%s is of another machine or instruction set: \"%s\", %s", name, of, with);
    if (!rc)
        rc = qm_efficiency_parse(json_object_get(root, "efficiency"), name, out, err);
    json_decref(root);
    return rc;
}

static int load(const char *path, const char *identity, const char *isa, struct qm_efficiency *out, bool *found,
                struct qm_error *err) {
    struct qm_buf text = {0};
    *found = false;
    if (access(path, F_OK) != 0)
        return QM_OK;
    int rc = qm_read_file(path, FILE_LIMIT, &text, err);
    if (!rc)
        rc = qm_calibration_parse(text.data ? text.data : "", text.len, path, identity, isa, out, err);
    qm_buf_free(&text);
    *found = rc == QM_OK;
    return rc;
}

static int save(const char *path, const char *identity, const char *isa, const struct qm_efficiency *e,
                struct qm_error *err) {
    char measured[32];
    time_t now = time(NULL);
    struct tm utc;
    strftime(measured, sizeof measured, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:o}", "version", VERSION, "identity", identity, "isa", isa,
                             "measured", measured, "efficiency", qm_efficiency_json(e));
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    struct qm_out out = {0};
    json_decref(root);
    int rc = text ? qm_out_open(&out, path, err) : qm_fail_memory(err, 4096, "the kernels' shares");
    if (!rc && fprintf(out.file, "%s\n", text) < 0) {
        rc = qm_fail_errno(err, "%s", path);
        qm_out_abort(&out);
    } else if (!rc) {
        rc = qm_out_commit(&out, err);
    }
    free(text);
    return rc;
}

/* machine-HASH.json becomes kernels-HASH.json. */
static bool path_of(const char *identity, char *out, size_t size) {
    static const char was[] = "machine-", is[] = "kernels-"; /* equally long */
    if (qm_machine_profile_path(identity, getenv("XDG_CACHE_HOME"), getenv("HOME"), out, size, NULL))
        return false;
    memcpy(strrchr(out, '/') + 1, is, sizeof was - 1);
    return true;
}

bool qm_calibration_kept(const char *identity, const char *isa, struct qm_efficiency *out) {
    char path[4200];
    bool found = false;
    return path_of(identity, path, sizeof path) && !load(path, identity, isa, out, &found, NULL) && found;
}

int qm_calibration_find(const struct qm_machine *m, const struct qm_machine_profile *profile, enum qm_isa isa,
                        bool refresh, struct qm_progress *progress, struct qm_efficiency *out, struct qm_error *err) {
    char path[4200];
    struct qm_error why = {0};
    bool found = false, whole, kept = path_of(m->identity, path, sizeof path);
    if (kept && !refresh && load(path, m->identity, qm_isa_name(isa), out, &found, &why))
        qm_note(progress, "measuring again: %s", why.message);
    if (found)
        return QM_OK;
    qm_note(progress, "measuring the kernels: some seconds");
    int rc = qm_calibrate(m, profile, isa, progress, out, &whole, err);
    if (rc == QM_FIT) {
        qm_note(progress, "the kernels are not measured, usual shares are taken: %s", err->message);
        qm_efficiency_usual(out);
        return QM_OK;
    }
    if (!rc && !whole)
        qm_note(progress, "measuring the kernels took too long and is not kept: is the machine busy?");
    if (!rc && whole && kept && save(path, m->identity, qm_isa_name(isa), out, &why))
        qm_note(progress, "the kernels' shares are not kept: %s", why.message);
    return rc;
}
