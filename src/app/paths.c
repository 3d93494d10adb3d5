/* The files of a command line: which options read, which write, and whether two are one. */
#include "app/paths.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/command_list.h"
#include "app/open_model.h"
#include "base/file.h"
#include "base/parse.h"
#include "batch/names.h"
#include "model/locate.h"

enum { MAX_LINKS = 40, MAX_WRITTEN = 16, NAME_ROOM = 4400, PIPE_LIMIT = 1 << 30 };

/* A regular file that is there, or a name in a folder. */
struct identity {
    dev_t device;
    ino_t inode;
    char name[NAME_MAX + 1]; /* "": it is there, and device and inode are its own, not its folder's */
};

struct written {
    const char *option; /* as typed */
    char path[NAME_ROOM];
    struct identity identity;
    bool known; /* it has an identity: devices, pipes, names in folders that are not there have none */
};

struct check {
    const struct qm_args *args;
    struct written written[MAX_WRITTEN];
    int n;
};

/* The folder of a path, "." or "/" where it says none, and the name in it. */
static const char *split(const char *path, char folder[PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        strcpy(folder, ".");
    else
        snprintf(folder, PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return slash ? slash + 1 : path;
}

/* Where a link that leads nowhere would make a file: path becomes what it names. */
static bool follow(char path[PATH_MAX]) {
    char folder[PATH_MAX], to[PATH_MAX], next[2 * PATH_MAX];
    for (int i = 0; i < MAX_LINKS; i++) {
        ssize_t n = readlink(path, to, sizeof to - 1);
        if (n < 0)
            return true;
        to[n] = 0;
        split(path, folder);
        int len = snprintf(next, sizeof next, "%s%s%s", to[0] == '/' ? "" : folder, to[0] == '/' ? "" : "/", to);
        if (len >= PATH_MAX)
            return false;
        memcpy(path, next, (size_t)len + 1);
    }
    return false;
}

static bool identify(const char *path, struct identity *out) {
    struct stat st;
    char whole[PATH_MAX], folder[PATH_MAX];
    *out = (struct identity){0};
    if (strlen(path) >= sizeof whole || !strcmp(path, "-"))
        return false;
    bool there = stat(path, &st) == 0;
    if (there && !S_ISREG(st.st_mode))
        return false;
    strcpy(whole, path);
    if (!there) {
        if (!follow(whole))
            return false;
        const char *name = split(whole, folder);
        if (!*name || strlen(name) > NAME_MAX || stat(folder, &st) != 0)
            return false;
        strcpy(out->name, name);
    }
    out->device = st.st_dev;
    out->inode = st.st_ino;
    return true;
}

static bool same(const struct identity *a, const struct identity *b) {
    return a->device == b->device && a->inode == b->inode && !strcmp(a->name, b->name);
}

/* --- what is written --- */

static int add_written(struct check *c, const char *option, const char *path, const char *suffix,
                       struct qm_error *err) {
    struct written *w = &c->written[c->n];
    if (snprintf(w->path, sizeof w->path, "%s%s", path, suffix) >= (int)sizeof w->path)
        return qm_fail(err, QM_USAGE, "%s: the name is too long", option);
    w->option = option;
    w->known = identify(w->path, &w->identity);
    for (int i = 0; i < c->n; i++)
        if (w->known && c->written[i].known && same(&w->identity, &c->written[i].identity))
            return qm_fail(err, QM_INPUT, "%s %s: %s %s is written there too; name another file", option, w->path,
                           c->written[i].option, c->written[i].path);
    c->n++;
    return QM_OK;
}

static int add_job(struct check *c, const char *out, struct qm_error *err) {
    static const char *const suffixes[] = {".partial",         ".journal", ".journal-wal", ".journal-shm",
                                           ".journal-journal", ".lock",    ".kv"};
    const char *folder = qm_args_text(c->args, QM_OPT_CHECKPOINT_DIR, NULL), *slash = strrchr(out, '/');
    char kv[NAME_ROOM];
    int rc = QM_OK;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes && !rc; i++)
        rc = add_written(c, "-o", out, suffixes[i], err);
    if (rc || !folder)
        return rc;
    snprintf(kv, sizeof kv, "%s/%s", folder, slash ? slash + 1 : out);
    c->n--; /* instead of the one beside the output */
    return add_written(c, "--checkpoint-dir", kv, ".kv", err);
}

static bool is_command(const struct check *c, const struct qm_command *command) {
    return c->args->command == command;
}

static int add_all_written(struct check *c, struct qm_error *err) {
    const struct qm_args *a = c->args;
    const char *out = qm_args_text(a, QM_OPT_OUTPUT, NULL), *attention = qm_args_text(a, QM_OPT_ATTENTION, NULL);
    const char *report = qm_args_text(a, QM_OPT_REPORT, NULL);
    const char *routing = is_command(c, &qm_cmd_plan) ? NULL : qm_args_text(a, QM_OPT_PROFILE_EXPERTS, NULL);
    bool job = is_command(c, &qm_cmd_batch), numbers = is_command(c, &qm_cmd_logits);
    if (out && !strcmp(out, "-") && !numbers)
        return qm_fail(err, QM_USAGE,
                       job ? "-o -: expected a file's name: a job that resumes needs one; --export prints its rows"
                           : "-o -: expected a file's name: the result is printed already; --json prints it as JSON");
    if ((routing && !strcmp(routing, "-")) || (report && !strcmp(report, "-")) ||
        (attention && !strcmp(attention, "-")))
        return qm_fail(err, QM_USAGE, "--%s -: expected a file's name",
                       routing  ? "profile-experts"
                       : report ? "report"
                                : "attention");
    int rc = out && *out ? add_written(c, "-o", out, "", err) : QM_OK;
    if (!rc && out && *out && job)
        rc = add_job(c, out, err);
    if (!rc && attention)
        rc = add_written(c, "--attention", attention, "", err);
    if (!rc && report)
        rc = add_written(c, "--report", report, "", err);
    return rc || !routing ? rc : add_written(c, "--profile-experts", routing, "", err);
}

/* --- what is read --- */

static int check_read(const struct check *c, const char *option, const char *path, struct qm_error *err) {
    struct identity identity;
    if (!path || !identify(path, &identity))
        return QM_OK;
    for (int i = 0; i < c->n; i++)
        if (c->written[i].known && same(&identity, &c->written[i].identity))
            return qm_fail(err, QM_INPUT, "%s %s would be written over %s%s%s, which is read: name another output",
                           c->written[i].option, c->written[i].path, option, *option ? " " : "", path);
    return QM_OK;
}

static int check_options(const struct check *c, struct qm_error *err) {
    static const enum qm_option reading[] = {QM_OPT_FILE,   QM_OPT_FILES,  QM_OPT_IDS,     QM_OPT_CHAT_TEMPLATE,
                                             QM_OPT_JOB,    QM_OPT_WITH,   QM_OPT_MACHINE, QM_OPT_OFFLOAD,
                                             QM_OPT_DEVICE, QM_OPT_RANDOM, QM_OPT_ASK,     QM_OPT_DOCUMENT};
    int rc = QM_OK;
    for (size_t i = 0; i < sizeof reading / sizeof *reading && !rc; i++) {
        const struct qm_arg *a = &c->args->option[reading[i]];
        char option[64];
        snprintf(option, sizeof option, "--%s", qm_options[reading[i]].name);
        if (a->set)
            rc = check_read(c, option, a->text, err);
        for (size_t k = 0; k < a->n_list && !rc; k++)
            rc = check_read(c, option, a->list[k], err);
    }
    for (int i = 0; i < c->args->n_positional && !rc; i++)
        rc = check_read(c, "", c->args->positional[i], err);
    return rc;
}

/* Every file of the model's folder, whatever is read of them. */
static int check_model(const struct check *c, struct qm_error *err) {
    char *dir = NULL, path[NAME_ROOM];
    int rc = QM_OK;
    if (!c->args->model || qm_app_find(c->args->model, &dir, NULL))
        return QM_OK;
    DIR *d = opendir(dir);
    rc = check_read(c, "the model", dir, err);
    for (struct dirent *e; d && !rc && (e = readdir(d));) {
        struct stat st;
        if (snprintf(path, sizeof path, "%s/%s", dir, e->d_name) < (int)sizeof path && stat(path, &st) == 0 &&
            S_ISREG(st.st_mode))
            rc = check_read(c, "the model's", path, err);
    }
    if (d)
        closedir(d);
    free(dir);
    return rc;
}

/* Refuses files of a job, but for the job's own output, which the command resumes. */
static int check_jobs(const struct check *c, struct qm_error *err) {
    const char *own = is_command(c, &qm_cmd_batch) ? qm_args_text(c->args, QM_OPT_OUTPUT, NULL) : NULL;
    char job[NAME_ROOM];
    for (int i = 0; i < c->n; i++)
        if (qm_batch_job_of(c->written[i].path, job, sizeof job) && !(own && !strcmp(job, own)))
            return qm_fail(err, QM_INPUT, "%s %s is a file of the batch job %s: name another file",
                           c->written[i].option, c->written[i].path, job);
    return QM_OK;
}

/* A pipe that a shell hands over, as <(command) does by the name /dev/fd/63, could be read once only; templates,
 * questions and documents are read again, by the fingerprint of a job for one. Its place is taken by a file in memory
 * with what it held. What the name does not lead to stays as it is. */
static int keep_pipe(const char *path, struct qm_error *err) {
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
    struct qm_buf text = {0};
    int64_t number = -1;
    struct stat st;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (!strncmp(path, folders[i], strlen(folders[i])))
            qm_parse_int(path + strlen(folders[i]), &number);
    if (number <= STDERR_FILENO || number > INT_MAX || fstat((int)number, &st) != 0 || !S_ISFIFO(st.st_mode))
        return QM_OK;
    int rc = qm_read_given(path, PIPE_LIMIT, &text, err);
    int fd = rc ? -1 : memfd_create("pipe", MFD_CLOEXEC);
    size_t done = 0;
    while (!rc && fd >= 0 && done < text.len) {
        ssize_t n = write(fd, text.data + done, text.len - done);
        if (n < 0 && errno != EINTR)
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    if (!rc && (fd < 0 || done < text.len || dup2(fd, (int)number) < 0))
        rc = qm_fail_errno(err, "%s", path);
    if (fd >= 0)
        close(fd);
    qm_buf_free(&text);
    return rc;
}

static int keep_pipes(const struct qm_args *args, struct qm_error *err) {
    static const enum qm_option again[] = {QM_OPT_CHAT_TEMPLATE, QM_OPT_ASK, QM_OPT_DOCUMENT, QM_OPT_JOB,
                                           QM_OPT_OFFLOAD};
    int rc = QM_OK;
    for (size_t i = 0; i < sizeof again / sizeof *again && !rc; i++) {
        const struct qm_arg *a = &args->option[again[i]];
        if (a->text)
            rc = keep_pipe(a->text, err);
        for (size_t k = 0; k < a->n_list && !rc; k++)
            rc = keep_pipe(a->list[k], err);
    }
    return rc;
}

static int check_written(const struct qm_args *args, struct qm_error *err) {
    struct check *c = calloc(1, sizeof *c);
    if (!c)
        return qm_fail_memory(err, sizeof *c, "names of files");
    c->args = args;
    int rc = add_all_written(c, err);
    if (!rc && c->n) {
        rc = check_options(c, err);
        if (!rc)
            rc = check_model(c, err);
        if (!rc)
            rc = check_jobs(c, err);
    }
    free(c);
    return rc;
}

int qm_paths_check(const struct qm_args *args, struct qm_error *err) {
    const struct qm_arg *o = args->option;
    bool writes = !o[QM_OPT_STATUS].set && !o[QM_OPT_EXPORT].set && !o[QM_OPT_CHECK].set;
    int rc = writes ? check_written(args, err) : QM_OK;
    return rc ? rc : keep_pipes(args, err);
}
