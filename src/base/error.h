/* Errors are values. Every function that can fail returns int: 0 on success, else one of enum qm_code,
 * and fills the caller's struct qm_error with a message that names the object, what was expected, what
 * was found. What the caller could set otherwise is marked by enum qm_remedy, in nobody's words: a library does not
 * know what its caller calls a setting. Nothing here prints or exits.
 * Thread-safety: an error object belongs to one caller. */
#ifndef QM_BASE_ERROR_H
#define QM_BASE_ERROR_H

#include <stdarg.h>

/* The values are the program's exit codes, which its help and manual page list, but for QM_BUSY and QM_GONE: no command
 * ends with those (qm_exit_code in app/help.h). */
enum qm_code {
    QM_OK = 0,
    QM_DISAGREE = 1,     /* done, and the answer is no */
    QM_USAGE = 2,        /* wrong command line */
    QM_INPUT = 3,        /* a file or request was refused */
    QM_FIT = 4,          /* does not fit in memory, or this CPU can't */
    QM_SYSTEM = 5,       /* the operating system failed: I/O, memory, threads */
    QM_STOPPED = 6,      /* stopped as asked, can be resumed */
    QM_BUSY = 7,         /* a queue is full: the same can be asked for again later */
    QM_GONE = 8,         /* not there (any more): a request that has ended, a scheduler that closes */
    QM_INTERRUPTED = 130 /* Ctrl-C */
};

/* What helps, where something does. A program adds it to the message in the words of its own options
 * (app/remedy.h), a server in those of its requests. */
enum qm_remedy {
    QM_REMEDY_NONE,
    QM_REMEDY_CHAT_TEMPLATE,     /* give a chat template */
    QM_REMEDY_LARGER_CONTEXT,    /* than the one that the message names */
    QM_REMEDY_SMALLER_CONTEXT,   /* needs less memory */
    QM_REMEDY_SHORTER_PROMPT,    /* or a larger context */
    QM_REMEDY_SHORTER_REQUEST,   /* or a larger context, or more memory for keys and values */
    QM_REMEDY_LARGER_KV_MEMORY,  /* more memory for keys and values */
    QM_REMEDY_SMALLER_KV_MEMORY, /* needs less memory */
    QM_REMEDY_FEWER_PINS,        /* or more memory of devices */
    QM_REMEDY_FEWER_LAYERS,      /* on devices, or a placement that is searched for */
    QM_REMEDY_MORE_MEMORY,       /* of devices or of the CPU, or a smaller context */
    QM_REMEDY_AS_DOCUMENT,       /* of a batch job, which converts it */
    QM_REMEDY_START_OVER,        /* the job, without what was finished of it */
    QM_REMEDY_MOVE_ASIDE,        /* the same, where something is in the way that is not the job's */
    QM_REMEDY_LEAVE_OUT,         /* files that can't be read as text */
    QM_REMEDY_ASK_DOCUMENTS,     /* instead of giving rows */
    QM_REMEDY_LOOK_AT_JOB,       /* that is at work */
    QM_REMEDY_NAME_FORMAT,       /* of answers, where the file's name does not say it */
    QM_REMEDY_COUNT
};

struct qm_error {
    int code;
    enum qm_remedy remedy;
    char field[64]; /* of a request, that it is about; "": none */
    char message[1024];
};

/* Sets *err (may be NULL), without a remedy or a field, and returns code, so that a caller can `return qm_fail(err,
 * QM_INPUT,
 * ...)`. A message that does not fit is cut at a UTF-8 character; control bytes become '?'. */
int qm_fail(struct qm_error *err, enum qm_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int qm_vfail(struct qm_error *err, enum qm_code code, const char *format, va_list args);

/* Marks what helps, after qm_fail: `return qm_remedy(err, QM_REMEDY_..., qm_fail(err, ...))`. Returns code. */
int qm_remedy(struct qm_error *err, enum qm_remedy remedy, int code);

/* Marks the field of a request that it is about, in the same way; one that is marked already stays. Returns code. */
int qm_about(struct qm_error *err, const char *field, int code);

/* Puts "context: " before the message that is there, keeps its remedy and its field, and returns its code. */
int qm_fail_context(struct qm_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* QM_SYSTEM with "what: strerror(errno)"; what is wrong with the name is QM_INPUT: ENOENT, EISDIR, ENOTDIR, EACCES,
 * ELOOP, ENAMETOOLONG, and ENXIO and ENODEV (a socket, a device that is not there). */
int qm_fail_errno(struct qm_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* QM_SYSTEM, "out of memory: N bytes for WHAT". */
int qm_fail_memory(struct qm_error *err, unsigned long long bytes, const char *what);

#endif
