/* The record of a crash: written by a signal handler, read by the next run. */
#include "batch/crash.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORD_AT = 64, RECORD_BYTES = 32 * 1024, STACK_BYTES = 64 * 1024 };

static const char MARK[] = "ended by signal";
static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
enum { N_FATAL = sizeof fatal / sizeof *fatal };

void qm_batch_flight_add(struct qm_batch_flight *f, int64_t row) {
    for (int i = 0; i < QM_BATCH_FLIGHT; i++)
        if (f->row[i] == 0) {
            f->row[i] = row;
            return;
        }
}

void qm_batch_flight_remove(struct qm_batch_flight *f, int64_t row) {
    for (int i = 0; i < QM_BATCH_FLIGHT; i++)
        if (f->row[i] == row)
            f->row[i] = 0;
}

/* --- in the handler: nothing but stores and pwrite --- */

/* What a handler can reach. */
static struct {
    int fd;
    const struct qm_batch_flight *flight;
    atomic_flag written;
    struct sigaction before[N_FATAL];
    char record[RECORD_BYTES], stack[STACK_BYTES];
} watched = {.fd = -1};

static size_t put_text(size_t at, const char *text) {
    while (*text && at < RECORD_BYTES)
        watched.record[at++] = *text++;
    return at;
}

static size_t put_number(size_t at, int64_t n) {
    char digits[24];
    int i = sizeof digits - 1;
    digits[i] = 0;
    do
        digits[--i] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    at = put_text(at, " ");
    return put_text(at, digits + i);
}

static void write_record(int number) {
    const struct qm_batch_flight *f = watched.flight;
    size_t at = put_number(put_text(0, MARK), number);
    at = put_text(at, ":");
    if (f->current > 0)
        at = put_number(at, f->current);
    for (int i = 0; i < QM_BATCH_FLIGHT && f->current <= 0; i++)
        if (f->row[i] > 0)
            at = put_number(at, f->row[i]);
    at = put_text(at, "\n");
    ssize_t n = pwrite(watched.fd, watched.record, at, RECORD_AT);
    (void)n; /* there is nothing to be done about it */
}

static void on_fatal(int number) {
    if (!atomic_flag_test_and_set(&watched.written))
        write_record(number);
    signal(number, SIG_DFL);
    raise(number);
}

void qm_batch_crash_watch(int fd, const struct qm_batch_flight *flight) {
    const stack_t stack = {.ss_sp = watched.stack, .ss_size = STACK_BYTES};
    struct sigaction action;
    watched.fd = fd;
    watched.flight = flight;
    atomic_flag_clear(&watched.written);
    sigaltstack(&stack, NULL); /* where the stack has overflowed */
    memset(&action, 0, sizeof action);
    action.sa_handler = on_fatal;
    action.sa_flags = SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < N_FATAL; i++)
        sigaction(fatal[i], &action, &watched.before[i]);
}

void qm_batch_crash_end(void) {
    const stack_t none = {.ss_flags = SS_DISABLE};
    for (int i = 0; i < N_FATAL && watched.fd >= 0; i++)
        sigaction(fatal[i], &watched.before[i], NULL);
    if (watched.fd >= 0)
        sigaltstack(&none, NULL);
    watched.fd = -1;
}

/* --- the next run --- */

void qm_batch_crash_read(const char *lock, struct qm_batch_crash *out) {
    char text[RECORD_BYTES + 1];
    *out = (struct qm_batch_crash){0};
    int fd = open(lock, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return;
    ssize_t n = pread(fd, text, RECORD_BYTES, RECORD_AT);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    if (strncmp(text, MARK, sizeof MARK - 1) != 0)
        return;
    char *rest = text + sizeof MARK - 1, *end;
    out->signal = (int)strtol(rest, &end, 10);
    rest = *end == ':' ? end + 1 : "";
    while (out->n < QM_BATCH_FLIGHT) {
        long long row = strtoll(rest, &end, 10);
        if (end == rest || row < 1)
            break;
        out->row[out->n++] = row;
        rest = end;
    }
}

/* Twice how often, and 1 where it was alone the last time. */
static void key_of(int64_t row, char out[48]) {
    snprintf(out, 48, "crash_%lld", (long long)row);
}

int qm_batch_crash_note(struct qm_journal *j, const struct qm_batch_crash *c, struct qm_error *err) {
    int rc = QM_OK;
    for (int i = 0; i < c->n && !rc; i++) {
        char key[48];
        int64_t before;
        bool finished;
        uint64_t line;
        key_of(c->row[i], key);
        rc = qm_journal_has(j, c->row[i], &finished, &line, err);
        if (!rc && !finished)
            rc = qm_journal_get_int(j, key, 0, &before, err);
        if (!rc && !finished)
            rc = qm_journal_set_int(j, key, (before / 2 + 1) * 2 + (c->n == 1), err);
    }
    return !rc && c->n ? qm_journal_set_int(j, "crashes", 1, err) : rc;
}

int qm_batch_crash_of(struct qm_journal *j, int64_t row, enum qm_batch_suspicion *out, struct qm_error *err) {
    char key[48];
    int64_t known;
    key_of(row, key);
    int rc = qm_journal_get_int(j, key, 0, &known, err);
    *out = rc || known <= 0 ? QM_ROW_TRUSTED : known / 2 >= 2 && known % 2 ? QM_ROW_SET_ASIDE : QM_ROW_ALONE;
    return rc;
}
