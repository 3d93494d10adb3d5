/* Put before the program's libraries (LD_PRELOAD): a row whose line has $CRASH_ON in it ends the program. With
 * $CRASH_WHEN "read" that is when it is parsed the first time; else when it has been given to the scheduler, while
 * others are at work: a row's line is read alone when it begins. $CRASH_SIGNAL: which signal. Used by
 * tests/cli/batch_crash.sh. */
#include <dlfcn.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

static int begun, calls;

static void crash(void) {
    const char *number = getenv("CRASH_SIGNAL");
    raise(number ? atoi(number) : SIGSEGV);
}

/* A row's line alone: it begins. (What reads ahead takes more at once.) */
static ssize_t look(ssize_t n, const char *bytes) {
    const char *on = getenv("CRASH_ON");
    if (on && n > 40 && *bytes == '{' && !memchr(bytes, '\n', (size_t)n) && memmem(bytes, (size_t)n, on, strlen(on)))
        begun = 1;
    return n;
}

ssize_t pread(int fd, void *out, size_t n, off_t offset) {
    ssize_t (*next)(int, void *, size_t, off_t) = (ssize_t(*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread");
    return look(next(fd, out, n, offset), out);
}

ssize_t pread64(int fd, void *out, size_t n, off64_t offset) {
    ssize_t (*next)(int, void *, size_t, off64_t) =
        (ssize_t(*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
    return look(next(fd, out, n, offset), out);
}

/* The program's own reader of JSON makes its strings so. */
void *json_stringn_nocheck(const char *text, size_t n) {
    void *(*next)(const char *, size_t) = (void *(*)(const char *, size_t))dlsym(RTLD_NEXT, "json_stringn_nocheck");
    const char *on = getenv("CRASH_ON"), *when = getenv("CRASH_WHEN");
    if (on && when && !strcmp(when, "read") && memmem(text, n, on, strlen(on)))
        crash();
    return next(text, n);
}

int clock_gettime(clockid_t id, struct timespec *t) {
    int (*next)(clockid_t, struct timespec *) =
        (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (begun && ++calls == 30)
        crash();
    return next(id, t);
}
