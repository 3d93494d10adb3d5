/* A child process under limits, read through a pipe. */
#include "batch/pdf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

const struct qm_pdf_limits qm_pdf_limits = {.seconds = 60, .text_bytes = 64u << 20, .memory = (size_t)2 << 30};

enum { PATH_ROOM = 4400, PIECE = 65536, FILES = 64 };

bool qm_pdf_program(const char *search, char *out, size_t size) {
    while (search && *search) {
        size_t n = strcspn(search, ":");
        struct stat st;
        /* an empty part is the current folder: not a place to take a program from */
        int len = n ? snprintf(out, size, "%.*s/pdftotext", (int)n, search) : -1;
        if (len > 0 && (size_t)len < size && search[0] == '/' && stat(out, &st) == 0 && S_ISREG(st.st_mode) &&
            access(out, X_OK) == 0)
            return true;
        search += n + (search[n] == ':');
    }
    return false;
}

static void limit(int what, rlim_t most) {
    struct rlimit r;
    if (getrlimit(what, &r) == 0) {
        r.rlim_cur = r.rlim_max = r.rlim_max < most ? r.rlim_max : most;
        setrlimit(what, &r);
    }
}

/* In the child: only what may be called between fork and exec. */
static void become(const char *program, const char *path, int to, const struct qm_pdf_limits *limits) {
    char *const arguments[] = {(char *)"pdftotext", (char *)"-q", (char *)"-enc", (char *)"UTF-8",
                               (char *)"-nopgbrk",  (char *)path, (char *)"-",    NULL};
    char *const environment[] = {(char *)"PATH=/usr/bin:/bin", (char *)"LC_ALL=C", NULL};
    int null = open("/dev/null", O_RDWR);
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    sigaction(SIGINT, &standard, NULL);
    sigaction(SIGPIPE, &standard, NULL);
    sigaction(SIGXFSZ, &standard, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    limit(RLIMIT_CPU, (rlim_t)limits->seconds + 1);
    limit(RLIMIT_AS, limits->memory);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
    limit(RLIMIT_NOFILE, FILES);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(to, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
        _exit(127);
    close_range(STDERR_FILENO + 1, ~0u, 0);
    execve(program, arguments, environment);
    _exit(127);
}

/* Until the pipe ends, the time is over, or there is too much. */
static int drain(int from, const struct qm_pdf_limits *limits, struct qm_buf *out, struct qm_error *err) {
    double end = qm_now() + limits->seconds;
    size_t total = 0;
    for (;;) {
        double left = end - qm_now();
        struct pollfd wait = {.fd = from, .events = POLLIN};
        int ready = left > 0 ? poll(&wait, 1, (int)(left * 1000) + 1) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return qm_fail(err, QM_INPUT, "pdftotext took more than %.3g s", limits->seconds);
        int rc = qm_buf_reserve(out, PIECE, err);
        if (rc)
            return rc;
        ssize_t n = read(from, out->data + out->len, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? QM_OK : qm_fail_errno(err, "pdftotext");
        out->len += (size_t)n;
        out->data[out->len] = 0;
        total += (size_t)n;
        if (total > limits->text_bytes)
            return qm_fail(err, QM_INPUT, "pdftotext finds more than %zu MiB of text", limits->text_bytes >> 20);
    }
}

int qm_pdf_text(const char *program, const char *path, const struct qm_pdf_limits *limits, struct qm_buf *out,
                struct qm_error *err) {
    char named[PATH_ROOM]; /* not to be taken for an option */
    int ends[2], status = 0;
    if (snprintf(named, sizeof named, "%s%s", path[0] == '/' ? "" : "./", path) >= (int)sizeof named)
        return qm_fail(err, QM_INPUT, "its name is too long for pdftotext");
    if (pipe2(ends, O_CLOEXEC) != 0)
        return qm_fail_errno(err, "pdftotext");
    pid_t child = fork();
    if (child == 0)
        become(program, named, ends[1], limits);
    close(ends[1]);
    if (child < 0) {
        int rc = qm_fail_errno(err, "pdftotext");
        close(ends[0]);
        return rc;
    }
    setpgid(child, child); /* whichever of the two comes first */
    int rc = drain(ends[0], limits, out, err);
    close(ends[0]);
    if (rc)
        kill(-child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    kill(-child, SIGKILL); /* what it may have started */
    if (!rc && status != 0)
        rc = qm_fail(err, QM_INPUT,
                     WIFSIGNALED(status) ? "pdftotext was ended by signal %d"
                                         : "pdftotext failed (%d): damaged or encrypted?",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return rc;
}
