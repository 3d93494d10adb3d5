/* Files as untrusted input, and output that is never half there.
 * Thread-safety: qm_pread_full may be called from many threads on one descriptor; a qm_out belongs to one. */
#ifndef QM_BASE_FILE_H
#define QM_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/error.h"

/* What is there where a regular file was expected: "a folder", "a named pipe", ... */
const char *qm_file_kind(mode_t mode);
/* Whether something has this name, whatever it is: a loop of links too, which reading then names; a link that leads
 * nowhere is nothing. */
bool qm_file_there(const char *path);

/* Opens a regular file for reading and never waits: a pipe, a device, a folder, a socket, a loop of links is QM_INPUT
 * that says what it is. *st, where not NULL, is the file's. */
int qm_open_regular(const char *path, int *fd, struct stat *st, struct qm_error *err);

/* Reads a whole file of at most `limit` bytes into *out (appended). Three kinds of name:
 * qm_read_file   a regular file, and nothing else: what is found in a folder, or kept by the program;
 * qm_read_given  also a pipe that whoever started the program handed over, as a shell's <(command); not a named pipe,
 *                which would be waited for;
 * qm_read_input  also "-", standard input, and anything that can be read, waited for as cat(1) would: a user's text. */
int qm_read_file(const char *path, size_t limit, struct qm_buf *out, struct qm_error *err);
int qm_read_given(const char *path, size_t limit, struct qm_buf *out, struct qm_error *err);
int qm_read_input(const char *path, size_t limit, struct qm_buf *out, struct qm_error *err);

/* Reads exactly n bytes at `offset`; a file that ends before is QM_INPUT ("shrank while it was read"). */
int qm_pread_full(int fd, const char *path, void *dst, size_t n, uint64_t offset, struct qm_error *err);

/* An output file written under a temporary name beside `path` and renamed over it by qm_out_commit
 * (after fsync); qm_out_abort, or a failing commit, removes it. Temporary names are also removed when
 * the caller ends by a signal and calls qm_out_abort_all (async-signal-safe: unlink only). A path that
 * exists and is not a regular file (/dev/stdout, a pipe) is written directly, and "-" is standard output. The
 * temporary file is a new one (mkstemp), and a symbolic link at `path` is replaced, not followed. */
struct qm_out {
    FILE *file;
    char *path, *temporary;
    int slot;
};
int qm_out_open(struct qm_out *o, const char *path, struct qm_error *err);
int qm_out_commit(struct qm_out *o, struct qm_error *err);
void qm_out_abort(struct qm_out *o);
void qm_out_abort_all(void);
/* Whether a file that is written at the end can be, seen before the work; nothing of it is left. */
int qm_out_try(const char *path, struct qm_error *err);

/* Writes a whole file so: it is there with all of its n bytes, or as it was before. */
int qm_write_file(const char *path, const void *bytes, size_t n, struct qm_error *err);

/* Makes the directories above the file `path`, where they are missing. */
int qm_make_directories(const char *path, struct qm_error *err);

#endif
