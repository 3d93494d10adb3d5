/* Put before the program's libraries (LD_PRELOAD): a row whose line has $CRASH_ON in it ends the program. With
 * $CRASH_WHEN "read" that is when it is parsed the first time; else when it has been given to the scheduler, while
 * others are at work: the row's line is hashed once when it is read ahead, once when it begins. $CRASH_SIGNAL: which
 * signal. Used by tests/cli/batch_crash.sh. */
#include <dlfcn.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int seen, calls;

static void crash(void) {
    const char *number = getenv("CRASH_SIGNAL");
    raise(number ? atoi(number) : SIGSEGV);
}

uint64_t XXH3_64bits_withSeed(const void *bytes, size_t n, uint64_t seed) {
    uint64_t (*next)(const void *, size_t, uint64_t) =
        (uint64_t(*)(const void *, size_t, uint64_t))dlsym(RTLD_NEXT, "XXH3_64bits_withSeed");
    const char *on = getenv("CRASH_ON");
    /* a whole line, not the parts of one */
    if (on && n > 40 && *(const char *)bytes == '{' && memmem(bytes, n, on, strlen(on)) && !seed)
        seen++;
    return next(bytes, n, seed);
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
    if (seen >= 2 && ++calls == 30)
        crash();
    return next(id, t);
}
