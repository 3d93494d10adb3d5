/* Places beside the program, and the descriptions of machines that lie there. */
#include "app/beside.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

enum { DESCRIPTION_LIMIT = 1 << 20, PATH_ROOM = 4400 };

bool qm_beside_program(const char *source, const char *installed, const char *file, char *out, size_t size) {
    const char *const up[] = {"..", "../..", "../share/quietmind"};
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0)
        return false;
    program[n] = 0;
    *strrchr(program, '/') = 0;
    for (size_t i = 0; i < sizeof up / sizeof *up; i++) {
        int len = snprintf(out, size, "%s/%s/%s/%s", program, up[i], i < 2 ? source : installed, file);
        if (len > 0 && (size_t)len < size && access(out, R_OK) == 0)
            return true;
    }
    return false;
}

/* "epyc-9575f-2s, h200": what there is, for a message. */
static void name_all(char *out, size_t size) {
    struct dirent **list = NULL;
    char path[PATH_ROOM];
    size_t at = 0;
    bool there = qm_beside_program("bench/machines", "machines", ".", path, sizeof path);
    int n = there ? scandir(path, &list, NULL, alphasort) : 0;
    out[0] = 0;
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name, *end = strstr(name, ".json");
        if (end && at < size)
            at += (size_t)snprintf(out + at, size - at, "%s%.*s", at ? ", " : "", (int)(end - name), name);
        free(list[i]);
    }
    free(list);
}

int qm_description_read(const char *option, const char *name, struct qm_buf *out, struct qm_error *err) {
    char file[280], path[PATH_ROOM], all[600];
    snprintf(file, sizeof file, "%.255s.json", name);
    if (strchr(name, '/') || access(name, F_OK) == 0)
        return qm_read_given(name, DESCRIPTION_LIMIT, out, err);
    if (qm_beside_program("bench/machines", "machines", file, path, sizeof path))
        return qm_read_file(path, DESCRIPTION_LIMIT, out, err);
    name_all(all, sizeof all);
    return qm_fail(err, QM_INPUT, "%s %s: No such file, and no description of that name comes with quietmind%s%s",
                   option, name, all[0] ? "; there are " : "", all);
}
