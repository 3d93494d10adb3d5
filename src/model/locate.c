/* Looks a model up on disk. Where in the flow: before qm_model_open. */
#include "model/locate.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

enum { REF_LIMIT = 256, NAME_LIMIT = 96 };

/* "Org/Name": two parts of letters, digits, '-', '_' and '.', neither beginning with a '.'. */
static int is_hub_name(const char *name) {
    const char *slash = strchr(name, '/');
    if (!slash || strchr(slash + 1, '/') || strlen(name) > NAME_LIMIT)
        return 0;
    if (slash == name || !slash[1] || name[0] == '.' || slash[1] == '.' || strstr(name, "--"))
        return 0;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-_./", *p))
            return 0;
    return 1;
}

static int is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int is_revision(const char *s) {
    size_t n = strspn(s, "0123456789abcdefABCDEF");
    return n > 0 && s[n] == 0;
}

/* HUB/models--Org--Name into *repo (appended). */
static int repo_path(const char *name, const char *hub, struct qm_buf *repo, struct qm_error *err) {
    int org = (int)(strchr(name, '/') - name);
    return qm_buf_printf(repo, err, "%s/models--%.*s--%s", hub, org, name, name + org + 1);
}

static int find_snapshot(const char *name, const char *repo, struct qm_buf *out, struct qm_error *err) {
    struct qm_buf ref_path = {0}, ref = {0};
    int rc = qm_buf_printf(&ref_path, err, "%s/refs/main", repo);
    if (!rc && !qm_file_there(ref_path.data))
        rc = qm_fail(err, QM_INPUT,
                     "%s: expected %s to name the snapshot, found no such file: the download is not complete; run `hf "
                     "download %s`, or name the snapshot's folder",
                     name, ref_path.data, name);
    if (!rc)
        rc = qm_read_file(ref_path.data, REF_LIMIT, &ref, err);
    if (!rc)
        rc = qm_buf_str(&ref, "", err);
    if (!rc) {
        while (ref.len > 0 && isspace((unsigned char)ref.data[ref.len - 1]))
            ref.data[--ref.len] = 0;
        if (!is_revision(ref.data))
            rc = qm_fail(err, QM_INPUT, "%s: expected a commit hash, found something else", ref_path.data);
    }
    if (!rc)
        rc = qm_buf_printf(out, err, "%s/snapshots/%s", repo, ref.data);
    if (!rc && !is_directory(out->data))
        rc = qm_fail(
            err, QM_INPUT,
            "%s: expected the snapshot %s, found no such folder: the download is not complete; run `hf download "
            "%s`",
            name, out->data, name);
    qm_buf_free(&ref_path);
    qm_buf_free(&ref);
    return rc;
}

static int find_in_hub(const char *name, const char *hub, struct qm_buf *out, struct qm_error *err) {
    struct qm_buf repo = {0};
    int rc = repo_path(name, hub, &repo, err);
    if (!rc && !is_directory(repo.data))
        rc =
            qm_fail(err, QM_INPUT,
                    "%s: expected a model folder, or a model in the Hugging Face cache, found neither a folder of that "
                    "name nor %s. Nothing is downloaded here: get it with `hf download %s`",
                    name, repo.data, name);
    if (!rc)
        rc = find_snapshot(name, repo.data, out, err);
    qm_buf_free(&repo);
    return rc;
}

int qm_model_locate(const char *name, const char *hub, char **dir, struct qm_error *err) {
    *dir = NULL;
    struct stat st;
    struct qm_buf out = {0};
    int rc;
    if (stat(name, &st) == 0) /* a file too: opening it says what it is */
        rc = qm_buf_str(&out, name, err);
    else if (hub && is_hub_name(name))
        rc = find_in_hub(name, hub, &out, err);
    else if (is_hub_name(name))
        rc = qm_fail(
            err, QM_INPUT,
            "%s: expected a model folder, found none of that name, and no Hugging Face cache to look in. Nothing "
            "is downloaded here: get it with `hf download %s`, and name the folder that it prints",
            name, name);
    else
        rc = qm_fail(
            err, QM_INPUT,
            "%s: expected a model folder, or a name such as Qwen/Qwen3-4B of a model in the Hugging Face cache, "
            "found no such folder. Nothing is downloaded here",
            name);
    if (rc)
        qm_buf_free(&out);
    else
        *dir = out.data;
    return rc;
}
