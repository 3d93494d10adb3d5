/* Walking folders, and separating texts from what is none. */
#include "batch/collect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/utf8.h"
#include "batch/names.h"
#include "batch/pdf.h"

enum { TEXT_LIMIT = 1000000000, HEAD = 65536, DEEPEST = 64, MOST = 1000000, NAME_LIMIT = 480, PATH_ROOM = 4400 };

struct walk {
    const struct qm_collect *c;
    struct qm_documents *out;
    struct qm_buf hidden, jobs; /* lists of names, passed over */
    struct qm_buf unreadable;   /* "name: reason" a line */
    struct qm_buf first;        /* the first few of them, for the message */
    size_t n_unreadable, seen;
    char pdftotext[PATH_ROOM];
    bool has_pdftotext;
};

/* --- texts --- */

/* What bytes that are no text are, with what makes one of them. */
static const char *other_kind(const char *s, size_t n, bool bad) {
    static const struct {
        const char *mark;
        size_t n;
        const char *what;
    } kinds[] = {
        {"%PDF-", 5, "a PDF: install pdftotext (package poppler-utils), or convert it to text"},
        {"{\\rtf", 5, "rich text: convert it to text (soffice --convert-to txt)"},
        {"PK\3\4", 4, "a zip archive, as .docx, .xlsx and .odt are: convert it to text (soffice --convert-to txt)"},
        {"\xD0\xCF\x11\xE0", 4, "an Office document: convert it to text (soffice --convert-to txt)"},
        {"\x89PNG", 4, "an image"},
        {"\xFF\xD8\xFF", 3, "an image"},
        {"GIF8", 4, "an image"},
        {"\x1F\x8B", 2, "compressed (gzip): unpack it"},
        {"\xFD"
         "7zXZ",
         5, "compressed (xz): unpack it"},
        {"\x28\xB5\x2F\xFD", 4, "compressed (zstd): unpack it"},
        {"SQLite format 3", 15, "a database"},
        {"\x7F"
         "ELF",
         4, "a program"},
        {"\xFF\xFE", 2, "UTF-16 text: convert it (iconv -f UTF-16 -t UTF-8)"},
        {"\xFE\xFF", 2, "UTF-16 text: convert it (iconv -f UTF-16 -t UTF-8)"},
    };
    /* the first two can be made of characters alone */
    for (size_t i = 0; i < (bad ? sizeof kinds / sizeof *kinds : 2); i++)
        if (n >= kinds[i].n && !memcmp(s, kinds[i].mark, kinds[i].n))
            return kinds[i].what;
    return NULL;
}

/* whole: the text ends here, and not in the middle of a character. */
static int check_text(const char *s, size_t n, bool whole, struct qm_error *err) {
    const char *zero = memchr(s, 0, n);
    size_t good = qm_utf8_check(s, n), left = n - good;
    bool bad = left && (whole || left >= 4);
    const char *other = other_kind(s, n, zero || bad);
    if (other)
        return qm_fail(err, QM_INPUT, "%s", other);
    if (zero)
        return qm_fail(err, QM_INPUT, "no text: a zero byte at offset %zu", (size_t)(zero - s));
    if (bad)
        return qm_fail(err, QM_INPUT,
                       "not valid UTF-8: byte 0x%02x at offset %zu; convert it (iconv -f WINDOWS-1252 -t UTF-8)",
                       (unsigned char)s[good], good);
    return QM_OK;
}

int qm_document_text(const struct qm_document *d, struct qm_buf *out, struct qm_error *err) {
    if (d->kept)
        return qm_buf_add(out, d->text.data, d->text.len, err);
    char head[HEAD];
    struct stat st;
    size_t before = out->len;
    int rc = QM_OK;
    /* a look at the beginning first: what is no text may be large, as a model's weights are */
    if (stat(d->path, &st) == 0 && S_ISREG(st.st_mode)) {
        int fd;
        if ((rc = qm_open_regular(d->path, &fd, NULL, err)))
            return rc;
        ssize_t n = pread(fd, head, sizeof head, 0);
        if (n < 0)
            rc = qm_fail_errno(err, "%s", d->path);
        close(fd);
        if (!rc && n > 0)
            rc = check_text(head, (size_t)n, n < (ssize_t)sizeof head, err);
    }
    if (!rc)
        rc = qm_read_input(d->path, TEXT_LIMIT, out, err);
    if (rc)
        return rc;
    size_t n = out->len - before, mark = qm_utf8_bom(out->data + before, n);
    rc = check_text(out->data + before, n, true, err);
    memmove(out->data + before, out->data + before + mark, n - mark + 1);
    out->len -= mark;
    return rc;
}

static bool is_pdf(const char *path) {
    char head[5];
    struct stat st;
    int fd = -1;
    bool pdf = stat(path, &st) == 0 && S_ISREG(st.st_mode) && !qm_open_regular(path, &fd, NULL, NULL) &&
               pread(fd, head, sizeof head, 0) == (ssize_t)sizeof head && !memcmp(head, "%PDF-", sizeof head);
    if (fd >= 0)
        close(fd);
    return pdf;
}

static bool is_blank(const struct qm_buf *text) {
    for (size_t i = 0; i < text->len; i++)
        if (!strchr(" \t\r\n\f\v", text->data[i]))
            return false;
    return true;
}

/* Whether it is a document, and a PDF's text. */
static int try_document(const struct walk *w, struct qm_document *d, struct qm_error *err) {
    struct qm_buf text = {0};
    if (strlen(d->name) > NAME_LIMIT)
        return qm_fail(err, QM_INPUT, "its name has more than %d bytes", NAME_LIMIT);
    if (qm_utf8_check(d->name, strlen(d->name)) != strlen(d->name))
        return qm_fail(err, QM_INPUT, "its name is not UTF-8");
    bool pdf = w->has_pdftotext && is_pdf(d->path);
    int rc = pdf ? qm_pdf_text(w->pdftotext, d->path, &qm_pdf_limits, &text, err) : qm_document_text(d, &text, err);
    if (!rc && pdf)
        rc = check_text(text.data ? text.data : "", text.len, true, err);
    if (!rc && is_blank(&text))
        rc = qm_fail(err, QM_INPUT,
                     pdf ? "a PDF without text, scanned perhaps: run ocrmypdf over it" : "the document is empty");
    struct stat st;
    if (!rc && (pdf || stat(d->path, &st) != 0 || !S_ISREG(st.st_mode))) { /* a pipe can't be read again */
        d->text = text;
        d->kept = true;
    } else {
        qm_buf_free(&text);
    }
    return rc;
}

/* --- folders --- */

static int list(struct qm_buf *names, const char *name, const char *end, struct qm_error *err) {
    return qm_buf_printf(names, err, "%s%s%s", names->len ? ", " : "", name, end);
}

static int leave_out(struct walk *w, const char *name, const char *reason, struct qm_error *err) {
    enum { SHOWN = 3 };
    int rc = qm_buf_printf(&w->unreadable, err, "  %s: %s\n", name, reason);
    if (!rc && w->n_unreadable < SHOWN)
        rc = qm_buf_printf(&w->first, err, "%s%s (%s)", w->n_unreadable ? ", " : "", name, reason);
    w->n_unreadable++;
    return rc;
}

static int add(struct walk *w, const char *path, const char *name, struct qm_error *err) {
    struct qm_documents *out = w->out;
    if (out->n == out->cap) {
        size_t cap = out->cap ? 2 * out->cap : 64;
        struct qm_document *more = realloc(out->document, cap * sizeof *more);
        if (!more)
            return qm_fail_memory(err, cap * sizeof *more, "documents");
        out->document = more;
        out->cap = cap;
    }
    struct qm_document *d = &out->document[out->n++];
    *d = (struct qm_document){.path = strdup(path), .name = strdup(name)};
    return d->path && d->name ? QM_OK : qm_fail_memory(err, strlen(path), "a document's name");
}

static bool is_other(const struct walk *w, const struct stat *st) {
    for (size_t i = 0; i < w->c->n_others; i++) {
        struct stat other;
        if (w->c->others[i] && stat(w->c->others[i], &other) == 0 && other.st_dev == st->st_dev &&
            other.st_ino == st->st_ino)
            return true;
    }
    return false;
}

static int add_folder(struct walk *w, const char *path, const char *below, int depth, struct qm_error *err);

static int add_entry(struct walk *w, const char *path, const char *name, int depth, struct qm_error *err) {
    const char *slash = strrchr(name, '/'), *last = slash ? slash + 1 : name;
    struct stat st, link;
    char job[PATH_ROOM];
    if (w->c->output && qm_batch_name_of(path, w->c->output))
        return QM_OK;
    bool there = stat(path, &st) == 0;
    int e = errno;
    if (there && is_other(w, &st))
        return QM_OK;
    bool folder = there && S_ISDIR(st.st_mode);
    if (last[0] == '.')
        return list(&w->hidden, name, folder ? "/" : "", err);
    if (!there)
        return leave_out(w, name, strerror(e), err);
    if (folder && lstat(path, &link) == 0 && S_ISLNK(link.st_mode))
        return leave_out(w, name, "a link to a folder: name the folder itself", err);
    if (folder)
        return add_folder(w, path, name, depth + 1, err);
    if (!S_ISREG(st.st_mode))
        return leave_out(w, name, qm_file_kind(st.st_mode), err);
    if (qm_batch_job_of(path, job, sizeof job))
        return list(&w->jobs, name, "", err);
    return add(w, path, name, err);
}

/* below: its name in the folder given, or NULL for that itself. */
static int add_folder(struct walk *w, const char *path, const char *below, int depth, struct qm_error *err) {
    struct dirent **names;
    if (depth > DEEPEST)
        return qm_fail(err, QM_INPUT, "%s: folders are in each other more than %d deep", path, DEEPEST);
    int n = scandir(path, &names, NULL, alphasort), rc = QM_OK;
    if (n < 0 && below)
        return leave_out(w, below, strerror(errno), err);
    if (n < 0)
        return qm_fail_errno(err, "%s", path);
    for (int i = 0; i < n; i++) {
        const char *entry = names[i]->d_name;
        struct qm_buf file = {0}, name = {0};
        size_t end = strlen(path);
        bool dots = !strcmp(entry, ".") || !strcmp(entry, "..");
        if (!rc && !dots) {
            rc = ++w->seen > MOST ? qm_fail(err, QM_INPUT, "%s: more than %d files", path, MOST) : QM_OK;
            if (!rc)
                rc = qm_buf_printf(&file, err, "%s%s%s", path, end && path[end - 1] == '/' ? "" : "/", entry);
            if (!rc)
                rc = qm_buf_printf(&name, err, "%s%s%s", below ? below : "", below ? "/" : "", entry);
            if (!rc)
                rc = add_entry(w, file.data, name.data, depth, err);
        }
        qm_buf_free(&file);
        qm_buf_free(&name);
        free(names[i]);
    }
    free(names);
    return rc;
}

static int add_path(struct walk *w, const char *path, struct qm_error *err) {
    struct stat st;
    if (stat(path, &st) != 0)
        return qm_fail_errno(err, "%s", path);
    const char *slash = strrchr(path, '/');
    return S_ISDIR(st.st_mode) ? add_folder(w, path, NULL, 0, err) : add(w, path, slash ? slash + 1 : path, err);
}

/* --- all of it --- */

static void free_document(struct qm_document *d) {
    free(d->path);
    free(d->name);
    qm_buf_free(&d->text);
}

/* Keeps those files that hold text. */
static int try_all(struct walk *w, struct qm_error *err) {
    struct qm_documents *out = w->out;
    size_t n = out->n, kept = 0;
    int rc = QM_OK;
    for (size_t i = 0; i < n; i++) {
        struct qm_document d = out->document[i];
        struct qm_error why = {0};
        qm_batch_progress(w->c->ui, "reading documents", i, n, false);
        if (!rc && !try_document(w, &d, &why)) {
            out->document[kept++] = d;
            continue;
        }
        /* "path: reason" of the system, or the reason */
        size_t len = strlen(d.path);
        bool named = !strncmp(why.message, d.path, len) && why.message[len] == ':';
        if (!rc && why.code == QM_INPUT) {
            rc = leave_out(w, d.name, why.message + (named ? len + 2 : 0), err);
        } else if (!rc) {
            *err = why;
            rc = why.code;
        }
        free_document(&d);
    }
    qm_batch_progress_end(w->c->ui);
    out->n = kept;
    return rc;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct qm_document *)a)->name, ((const struct qm_document *)b)->name);
}

/* All of a list, in as many notes as it takes: one has room for some names only. */
static void note_names(const struct qm_batch_ui *ui, const char *what, const struct qm_buf *names) {
    enum { ROOM = 4000 };
    for (const char *s = names->data; s && *s;) {
        size_t n = strlen(s);
        while (n > ROOM && n > 2 && !(s[n - 1] == ' ' && s[n - 2] == ','))
            n--;
        qm_batch_note(ui, "%s: %.*s", what, (int)(s[n] ? n - 2 : n), s);
        s += n;
    }
}

static int settle(struct walk *w, struct qm_error *err) {
    const struct qm_batch_ui *ui = w->c->ui;
    struct qm_documents *out = w->out;
    note_names(ui, "skipped, hidden", &w->hidden);
    note_names(ui, "skipped, files of other batch jobs", &w->jobs);
    if (w->n_unreadable)
        qm_batch_note(ui, "%s:", w->c->skip_unreadable ? "skipped, not readable as text" : "not readable as text");
    for (const char *s = w->unreadable.data, *end; s && *s; s = end + 1) {
        end = strchr(s, '\n');
        qm_batch_note(ui, "%.*s", (int)(end - s), s);
    }
    if (w->n_unreadable && !w->c->skip_unreadable)
        return qm_remedy(
            err, QM_REMEDY_LEAVE_OUT,
            qm_fail(err, QM_INPUT, "%zu of %zu files can't be read as text: %s%s. Convert them, or move them away",
                    w->n_unreadable, w->n_unreadable + out->n, w->first.data, w->n_unreadable > 3 ? ", ..." : ""));
    if (out->n == 0)
        return qm_fail(err, QM_INPUT, "%s: no document in it: a text file is expected", w->c->paths[0]);
    qsort(out->document, out->n, sizeof *out->document, by_name);
    for (size_t i = 1; i < out->n; i++)
        if (!strcmp(out->document[i].name, out->document[i - 1].name))
            return qm_fail(err, QM_INPUT, "two documents are called %s: %s and %s", out->document[i].name,
                           out->document[i - 1].path, out->document[i].path);
    return QM_OK;
}

int qm_documents_collect(const struct qm_collect *c, struct qm_documents *out, struct qm_error *err) {
    struct walk *w = calloc(1, sizeof *w);
    *out = (struct qm_documents){0};
    if (!w)
        return qm_fail_memory(err, sizeof *w, "documents");
    w->c = c;
    w->out = out;
    w->has_pdftotext = qm_pdf_program(c->search, w->pdftotext, sizeof w->pdftotext);
    int rc = QM_OK;
    for (size_t i = 0; i < c->n_paths && !rc; i++)
        rc = add_path(w, c->paths[i], err);
    if (!rc)
        rc = try_all(w, err);
    if (!rc)
        rc = settle(w, err);
    qm_buf_free(&w->hidden);
    qm_buf_free(&w->jobs);
    qm_buf_free(&w->unreadable);
    qm_buf_free(&w->first);
    free(w);
    return rc;
}

void qm_documents_free(struct qm_documents *d) {
    for (size_t i = 0; i < d->n; i++)
        free_document(&d->document[i]);
    free(d->document);
    *d = (struct qm_documents){0};
}
