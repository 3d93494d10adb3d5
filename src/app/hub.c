/* The cache's folder out of the environment. */
#include "app/hub.h"

#include <ctype.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *given(qm_environment_fn *get, const char *name) {
    const char *value = get(name);
    return value && *value ? value : NULL;
}

/* "~" or "~user" at the beginning; what names nobody stays. *path moves behind it. */
static int expand_home(qm_environment_fn *get, const char **path, struct qm_buf *out, struct qm_error *err) {
    if (**path != '~')
        return QM_OK;
    size_t n = strcspn(*path, "/");
    char user[256];
    if (n > sizeof user)
        return QM_OK;
    snprintf(user, sizeof user, "%.*s", (int)n - 1, *path + 1);
    const char *home = *user ? NULL : given(get, "HOME");
    struct passwd entry, *found = NULL;
    char room[4096];
    int e = home    ? 0
            : *user ? getpwnam_r(user, &entry, room, sizeof room, &found)
                    : getpwuid_r(getuid(), &entry, room, sizeof room, &found);
    home = home ? home : !e && found ? found->pw_dir : NULL;
    if (!home)
        return QM_OK;
    *path += n;
    size_t len = strlen(home);
    while (len > 1 && home[len - 1] == '/')
        len--;
    return qm_buf_add(out, home, len == 1 && **path == '/' && home[0] == '/' ? 0 : len, err);
}

/* "$NAME" and "${NAME}"; what is not set stays as it is written. */
static int expand_variables(qm_environment_fn *get, const char *s, struct qm_buf *out, struct qm_error *err) {
    int rc = QM_OK;
    while (*s && !rc) {
        bool braces = s[0] == '$' && s[1] == '{';
        const char *name = s + 1 + braces;
        size_t n = 0;
        while (braces ? name[n] && name[n] != '}' : isalnum((unsigned char)name[n]) || name[n] == '_')
            n++;
        char variable[256];
        bool whole = s[0] == '$' && n > 0 && n < sizeof variable && (!braces || name[n] == '}');
        const char *value = NULL;
        if (whole) {
            snprintf(variable, sizeof variable, "%.*s", (int)n, name);
            value = get(variable);
        }
        rc = value ? qm_buf_str(out, value, err) : qm_buf_add(out, s, 1, err);
        s = value ? name + n + braces : s + 1;
    }
    return rc;
}

static int expand(qm_environment_fn *get, const char *path, struct qm_buf *out, struct qm_error *err) {
    struct qm_buf at_home = {0};
    int rc = expand_home(get, &path, &at_home, err);
    if (!rc)
        rc = qm_buf_str(&at_home, path, err);
    if (!rc)
        rc = expand_variables(get, at_home.data, out, err);
    qm_buf_free(&at_home);
    return rc;
}

int qm_hub_folder(qm_environment_fn *get, struct qm_buf *out, struct qm_error *err) {
    const char *cache = given(get, "HF_HUB_CACHE"), *home = given(get, "HF_HOME");
    const char *xdg = given(get, "XDG_CACHE_HOME");
    cache = cache ? cache : given(get, "HUGGINGFACE_HUB_CACHE");
    if (cache)
        return expand(get, cache, out, err);
    struct qm_buf above = {0};
    int rc = expand(get, home ? home : xdg ? xdg : "~/.cache", &above, err);
    while (!rc && above.len > 1 && above.data[above.len - 1] == '/')
        above.data[--above.len] = 0;
    if (!rc)
        rc = qm_buf_str(&above, home ? "/hub" : "/huggingface/hub", err);
    /* once more, as there: "~" may have come out of a variable */
    if (!rc)
        rc = expand(get, above.data, out, err);
    qm_buf_free(&above);
    return rc;
}
