/* Reasoning and answer separated: a small state machine over the text that is not given out yet, which is never more
 * than the possible beginning of a mark, or a harmony header. */
#include "text/reasoning.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 512 };

enum state {
    START,  /* think: only white space so far */
    HEADER, /* harmony: before <|message|> */
    BODY,   /* text up to one of r->marks */
    REST    /* text up to the end */
};

struct qm_reasoning {
    enum qm_reasoning_format format;
    enum state state;
    enum qm_content part;
    const char *const *marks; /* that end BODY; the last is NULL */
    struct qm_buf held;
    struct qm_buf sum[2];    /* by part, what was given out */
    bool trim_start;         /* newlines are dropped until something else comes */
    size_t pending_newlines; /* of reasoning, dropped if nothing follows */
};

static const char open_mark[] = "<think>", message_mark[] = "<|message|>";
static const char channel_mark[] = "<|channel|>", start_mark[] = "<|start|>";
static const char *const think_end[] = {"</think>", NULL};
static const char *const harmony_end[] = {"<|end|>", "<|return|>", "<|call|>", start_mark, channel_mark, NULL};

static bool vocabulary_has(const struct qm_tokenizer *t, const char *content) {
    return qm_tokenizer_id(t, content, strlen(content)) >= 0;
}

enum qm_reasoning_format qm_reasoning_detect(const struct qm_tokenizer *t, bool *keep_special) {
    *keep_special = true;
    if (vocabulary_has(t, channel_mark) && vocabulary_has(t, message_mark))
        return QM_REASONING_HARMONY;
    int32_t id = qm_tokenizer_id(t, open_mark, strlen(open_mark));
    *keep_special = id >= 0 && qm_tokenizer_is_special(t, id);
    return QM_REASONING_THINK;
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool qm_reasoning_opened(const char *prompt, size_t len) {
    size_t n = strlen(open_mark);
    while (len && is_space(prompt[len - 1]))
        len--;
    return len >= n && memcmp(prompt + len - n, open_mark, n) == 0;
}

static void enter_body(struct qm_reasoning *r, enum qm_content part, const char *const *marks) {
    r->state = BODY;
    r->part = part;
    r->marks = marks;
    r->trim_start = r->format == QM_REASONING_THINK;
    r->pending_newlines = 0;
}

int qm_reasoning_new(enum qm_reasoning_format format, bool opened, struct qm_reasoning **out, struct qm_error *err) {
    struct qm_reasoning *r = *out = calloc(1, sizeof *r);
    if (!r)
        return qm_fail_memory(err, sizeof *r, "a reasoning splitter");
    *r = (struct qm_reasoning){.format = format, .part = QM_CONTENT_ANSWER};
    r->state = format == QM_REASONING_HARMONY ? HEADER : format == QM_REASONING_THINK ? START : REST;
    if (format == QM_REASONING_THINK && opened)
        enter_body(r, QM_CONTENT_REASONING, think_end);
    return QM_OK;
}

void qm_reasoning_free(struct qm_reasoning *r) {
    if (!r)
        return;
    qm_buf_free(&r->held);
    qm_buf_free(&r->sum[QM_CONTENT_REASONING]);
    qm_buf_free(&r->sum[QM_CONTENT_ANSWER]);
    free(r);
}

static void drop(struct qm_buf *b, size_t n) {
    b->len -= n;
    memmove(b->data, b->data + n, b->len);
}

/* The listener, and where an error goes. */
struct out {
    qm_content_fn *fn;
    void *arg;
    int rc;
    struct qm_error *err;
};

static void put(struct qm_reasoning *r, struct out *o, const char *text, size_t len) {
    if (!o->rc)
        o->rc = qm_buf_add(&r->sum[r->part], text, len, o->err);
    if (!o->rc && o->fn)
        o->fn(o->arg, r->part, text, len);
}

/* Gives out the first n held bytes, newlines trimmed where the format has it so. */
static void give(struct qm_reasoning *r, size_t n, struct out *o) {
    const char *p = r->held.data;
    size_t len = n;
    while (r->trim_start && len && *p == '\n') {
        p++;
        len--;
    }
    if (len)
        r->trim_start = false;
    size_t newlines = 0;
    if (r->format == QM_REASONING_THINK && r->part == QM_CONTENT_REASONING) {
        while (len && p[len - 1] == '\n') {
            len--;
            newlines++;
        }
    }
    if (len) {
        for (; r->pending_newlines; r->pending_newlines--)
            put(r, o, "\n", 1);
        put(r, o, p, len);
    }
    r->pending_newlines += newlines;
    drop(&r->held, n);
}

/* The first mark in text: its offset, and in *mark which; without one, *mark is NULL and the offset that of the
 * first byte that may be the beginning of one, or len. */
static size_t find_mark(const char *text, size_t len, const char *const *marks, const char **mark) {
    *mark = NULL;
    for (size_t at = 0; at < len; at++) {
        bool partial = false;
        for (const char *const *m = marks; *m; m++) {
            size_t n = strlen(*m), room = len - at;
            if (memcmp(text + at, *m, n < room ? n : room) != 0)
                continue;
            if (n <= room) {
                *mark = *m;
                return at;
            }
            partial = true;
        }
        if (partial)
            return at;
    }
    return len;
}

/* START: true where the state has changed. */
static bool begin(struct qm_reasoning *r) {
    size_t n = strlen(open_mark), at = 0;
    while (at < r->held.len && is_space(r->held.data[at]))
        at++;
    size_t room = r->held.len - at;
    if (memcmp(r->held.data + at, open_mark, n < room ? n : room) != 0) {
        r->state = REST;
        return true;
    }
    if (room < n)
        return false;
    drop(&r->held, at + n);
    enter_body(r, QM_CONTENT_REASONING, think_end);
    return true;
}

/* HEADER: what is no header after all is an answer. */
static bool read_header(struct qm_reasoning *r) {
    static const char *const mark[] = {message_mark, NULL};
    static const char analysis[] = "<|channel|>analysis";
    const char *found;
    const char *newline = memchr(r->held.data, '\n', r->held.len);
    size_t at = find_mark(r->held.data, r->held.len, mark, &found);
    if ((newline && (size_t)(newline - r->held.data) < at) || at > HEADER_MAX) {
        enter_body(r, QM_CONTENT_ANSWER, harmony_end);
        return true;
    }
    if (!found)
        return false;
    r->held.data[at] = 0;
    bool reasoning = strstr(r->held.data, analysis) != NULL;
    drop(&r->held, at + strlen(found));
    enter_body(r, reasoning ? QM_CONTENT_REASONING : QM_CONTENT_ANSWER, harmony_end);
    return true;
}

static bool read_body(struct qm_reasoning *r, struct out *o) {
    const char *mark;
    size_t at = find_mark(r->held.data, r->held.len, r->marks, &mark);
    give(r, at, o);
    if (!mark)
        return false;
    if (mark != channel_mark && mark != start_mark) /* which begin a header themselves */
        drop(&r->held, strlen(mark));
    if (r->format == QM_REASONING_HARMONY) {
        r->state = HEADER;
    } else {
        enter_body(r, QM_CONTENT_ANSWER, NULL);
        r->state = REST;
    }
    return true;
}

static bool advance(struct qm_reasoning *r, struct out *o) {
    if (!r->held.len)
        return false;
    switch (r->state) {
    case START: return begin(r);
    case HEADER: return read_header(r);
    case BODY: return read_body(r, o);
    case REST: give(r, r->held.len, o); return false;
    }
    return false;
}

int qm_reasoning_push(struct qm_reasoning *r, const char *text, size_t len, qm_content_fn *fn, void *arg,
                      struct qm_error *err) {
    struct out o = {.fn = fn, .arg = arg, .rc = qm_buf_add(&r->held, text, len, err), .err = err};
    while (!o.rc && advance(r, &o))
        ;
    return o.rc;
}

int qm_reasoning_flush(struct qm_reasoning *r, qm_content_fn *fn, void *arg, struct qm_error *err) {
    struct out o = {.fn = fn, .arg = arg, .err = err};
    if (r->state == HEADER) {
        /* A header that was cut off is no text; what is no header is an answer. */
        if (r->held.len >= 2 && memcmp(r->held.data, "<|", 2) == 0)
            r->held.len = 0;
        r->part = QM_CONTENT_ANSWER;
    }
    if (r->held.len)
        give(r, r->held.len, &o);
    r->held.len = 0;
    return o.rc;
}

const struct qm_buf *qm_reasoning_sum(const struct qm_reasoning *r, enum qm_content part) {
    return &r->sum[part];
}
