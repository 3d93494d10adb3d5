/* The morning's report as a page: one file, nothing loaded, nothing executed. What the job was, what failed and what
 * was cut, and its pictures (batch/charts.c), all from the journal. */
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "app/batch/charts.h"
#include "app/batch/report.h"
#include "base/file.h"
#include "base/words.h"
#include "batch/clock.h"
#include "batch/facts.h"
#include "batch/forecast.h"
#include "batch/pace.h"
#include "report/numbers.h"
#include "report/page.h"

/* Rows that a table lists. */
enum { LISTED = 200 };

static const char STYLE[] =
    "td,th{text-align:left;vertical-align:top}table{font-size:14px}td{white-space:pre-line}\n"
    ".id{min-width:6em}.n{text-align:right;white-space:nowrap}@media(max-width:34em){.o{display:none}}\n";

struct report {
    struct qm_page page;
    struct qm_journal *journal;
    const char *output, *path;
    int64_t listed;
};

/* A row of the table of facts. */
static void fact(struct report *r, const char *name, const char *text) {
    struct qm_page *p = &r->page;
    qm_page_markup(p, "<tr>");
    qm_page_element(p, "th", name);
    qm_page_element(p, "td", text);
    qm_page_markup(p, "</tr>\n");
}

__attribute__((format(printf, 3, 4))) static void factf(struct report *r, const char *name, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fact(r, name, text);
}

/* What the journal calls so, where it has it. */
static void kept_fact(struct report *r, const char *name, const char *key) {
    struct qm_page *p = &r->page;
    struct qm_buf text = {0};
    bool found = false;
    p->rc = p->rc ? p->rc : qm_journal_get(r->journal, key, &text, &found, p->err);
    if (!p->rc && found && text.len)
        fact(r, name, text.data);
    qm_buf_free(&text);
}

/* Where the answers are, from the page: by name beside it, else by path. */
static void output_link(struct report *r) {
    struct qm_page *p = &r->page;
    char *output = strdup(r->output), *page = strdup(r->path), *file = strdup(r->output);
    char *whole = realpath(r->output, NULL), *a = NULL, *b = NULL;
    if (!output || !page || !file)
        p->rc = p->rc ? p->rc : qm_fail_memory(p->err, 4096, "the report");
    else {
        a = realpath(dirname(output), NULL);
        b = realpath(dirname(page), NULL);
        const char *target = a && b && strcmp(a, b) == 0 ? basename(file) : whole ? whole : r->output;
        qm_page_markup(p, "<tr><th>answers</th><td><a href=\"");
        for (const char *c = target; *c; c++) {
            bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                         strchr("/._-", *c) != NULL;
            qm_page_markup(p, plain ? "%c" : "%%%02X", (unsigned)(unsigned char)*c);
        }
        qm_page_markup(p, "\">");
        qm_page_text(p, r->output);
        qm_page_markup(p, "</a></td></tr>\n");
    }
    free(output);
    free(page);
    free(file);
    free(whole);
    free(a);
    free(b);
}

static void energy_fact(struct report *r, const struct qm_journal_totals *t, const struct qm_journal_run *run) {
    struct qm_buf why = {0};
    bool found = false;
    r->page.rc = r->page.rc ? r->page.rc : qm_journal_get(r->journal, "not_readable", &why, &found, r->page.err);
    if (r->page.rc)
        ;
    else if (run->joules < 0)
        factf(r, "energy", "not readable%s%s", found && why.len ? ": " : "", found && why.len ? why.data : "");
    else if (t->generated > 0)
        factf(r, "energy", "%.0f J, %.2f J a token generated", run->joules, run->joules / (double)t->generated);
    else
        factf(r, "energy", "%.0f J", run->joules);
    qm_buf_free(&why);
}

static void prediction_fact(struct report *r) {
    struct qm_batch_prediction was;
    char about[64], low[64], high[64];
    bool found = false;
    r->page.rc = r->page.rc ? r->page.rc : qm_batch_prediction_load(r->journal, &was, &found, r->page.err);
    if (!r->page.rc && found)
        factf(r, "predicted", "about %s of work (%s to %s), when it began",
              qm_duration_text(was.seconds, about, sizeof about), qm_duration_text(was.low, low, sizeof low),
              qm_duration_text(was.high, high, sizeof high));
}

static void facts(struct report *r, const struct qm_journal_totals *t, const struct qm_journal_run *run, int runs) {
    char text[64];
    int64_t created = 0, ended = 0;
    r->page.rc = r->page.rc ? r->page.rc : qm_journal_get_int(r->journal, "created", 0, &created, r->page.err);
    r->page.rc = r->page.rc ? r->page.rc : qm_journal_get_int(r->journal, "ended", 0, &ended, r->page.err);
    qm_page_markup(&r->page, "<table>\n");
    output_link(r);
    kept_fact(r, "model", "model_name");
    kept_fact(r, "machine", "machine");
    kept_fact(r, "program", "program");
    kept_fact(r, "command", "command");
    kept_fact(r, "devices that failed", "device_failures");
    fact(r, "started", qm_batch_time_text(created, text, sizeof text));
    if (ended)
        fact(r, "finished", qm_batch_time_text(ended, text, sizeof text));
    prediction_fact(r);
    factf(r, "took", "%s of work in %d run%s, pauses left out", qm_duration_text(run->seconds, text, sizeof text), runs,
          qm_s(runs));
    factf(r, "prompt tokens", "%lld, %lld of them cached", (long long)t->prompt, (long long)t->cached);
    factf(r, "generated tokens", "%lld", (long long)t->generated);
    if (run->seconds > 0)
        factf(r, "speed", "over all of that time: %.1f tokens/s of prompts computed, %.1f tokens/s generated",
              (double)(t->prompt - t->cached) / run->seconds, (double)t->generated / run->seconds);
    energy_fact(r, t, run);
    qm_page_markup(&r->page, "</table>\n");
}

static void summary(struct report *r, const struct qm_journal_totals *t) {
    struct qm_page *p = &r->page;
    qm_page_markup(p, "<p><b>%lld row%s</b>: %lld answered, ", (long long)t->rows, qm_s(t->rows),
                   (long long)(t->rows - t->failed));
    qm_page_markup(p, t->failed ? "<a href=\"#failed\">%lld failed</a>, " : "%lld failed, ", (long long)t->failed);
    qm_page_markup(p, t->cut ? "<a href=\"#cut\">%lld cut</a>.</p>\n" : "%lld cut.</p>\n", (long long)t->cut);
}

static int add_reason(void *arg, const char *reason, int64_t count, struct qm_error *err) {
    struct qm_page *p = arg;
    (void)err;
    qm_page_markup(p, "<li>%lld row%s: ", (long long)count, qm_s(count));
    qm_page_text(p, reason);
    qm_page_markup(p, "</li>\n");
    return p->rc;
}

/* The message of a row's error, or "". */
static const char *message_of(const json_t *line) {
    const char *message = json_string_value(json_object_get(json_object_get(line, "error"), "message"));
    return message ? message : "";
}

/* A line of a table of rows. anchor: what links to the row leads here. */
static void row_line(struct qm_page *p, bool anchor, int64_t number, const char *custom_id, int64_t prompt,
                     int64_t generated, const char *last) {
    if (anchor)
        qm_page_markup(p, "<tr id=\"row-%lld\">", (long long)number);
    else
        qm_page_row(p);
    qm_page_markup(p, "<td class=\"n\">%lld</td><td class=\"id\">", (long long)number);
    qm_page_text(p, custom_id ? custom_id : "");
    qm_page_markup(p, "</td><td class=\"n o\">%lld</td><td class=\"n o\">%lld</td>", (long long)prompt,
                   (long long)generated);
    qm_page_cell(p, last);
    qm_page_row_end(p);
}

static int add_row(void *arg, const struct qm_journal_row *row, struct qm_error *err) {
    struct report *r = arg;
    (void)err;
    if (r->listed++ >= LISTED)
        return r->page.rc;
    json_t *line = row->reason ? json_loadb(row->text, row->len, 0, NULL) : NULL;
    row_line(&r->page, true, row->number, row->custom_id, row->prompt, row->generated, message_of(line));
    json_decref(line);
    return r->page.rc;
}

static const char HEADINGS[] =
    "<table>\n<tr><th class=\"n\">row</th><th>custom_id</th><th class=\"n o\">prompt tokens</th>"
    "<th class=\"n o\">generated tokens</th><th>";

static void end_rows(struct report *r) {
    qm_page_markup(&r->page, "</table>\n");
    if (r->listed > LISTED)
        qm_page_markup(&r->page, "<p>The first %d of %lld.</p>\n", LISTED, (long long)r->listed);
    r->listed = 0;
}

static void failed_rows(struct report *r) {
    qm_page_markup(&r->page, "<h2 id=\"failed\">Rows that failed</h2>\n<ul>\n");
    r->page.rc = r->page.rc ? r->page.rc : qm_journal_reasons(r->journal, add_reason, &r->page, r->page.err);
    qm_page_markup(&r->page, "</ul>\n");
    qm_page_markup(&r->page, HEADINGS);
    qm_page_markup(&r->page, "error</th></tr>\n");
    r->page.rc =
        r->page.rc ? r->page.rc : qm_journal_each(r->journal, QM_JOURNAL_FAILED, true, add_row, r, r->page.err);
    end_rows(r);
}

static void cut_rows(struct report *r) {
    qm_page_markup(&r->page,
                   "<h2 id=\"cut\">Rows whose answer was cut</h2>\n<p>They have as many tokens as they were allowed "
                   "(--max-tokens, max_tokens "
                   "of the request, or what the context holds), and no end.</p>\n");
    qm_page_markup(&r->page, HEADINGS);
    qm_page_markup(&r->page, "</th></tr>\n");
    r->page.rc = r->page.rc ? r->page.rc : qm_journal_each(r->journal, QM_JOURNAL_CUT, false, add_row, r, r->page.err);
    end_rows(r);
}

static void slow_rows(struct report *r) {
    struct qm_batch_slow slow[QM_BATCH_SLOWEST];
    char length[64];
    int n = 0;
    r->page.rc = r->page.rc ? r->page.rc : qm_batch_slowest(r->journal, slow, &n, r->page.err);
    if (r->page.rc || n == 0)
        return;
    qm_page_markup(&r->page, "<h2>Slowest rows</h2>\n");
    qm_page_markup(&r->page, HEADINGS);
    qm_page_markup(&r->page, "time</th></tr>\n");
    for (int i = 0; i < n; i++)
        row_line(&r->page, false, slow[i].number, slow[i].custom_id, slow[i].prompt, slow[i].generated,
                 qm_duration_text(slow[i].seconds, length, sizeof length));
    qm_page_markup(&r->page, "</table>\n");
}

static int write_page(const struct qm_buf *page, const char *path, struct qm_error *err) {
    struct qm_out file;
    int rc = qm_out_open(&file, path, err);
    if (rc)
        return rc;
    if (fwrite(page->data, 1, page->len, file.file) == page->len)
        return qm_out_commit(&file, err);
    rc = qm_fail_errno(err, "%s", path);
    qm_out_abort(&file);
    return rc;
}

int qm_batch_report_html(struct qm_journal *j, const char *output, const char *path, struct qm_error *err) {
    struct report r = {.journal = j, .output = output, .path = path};
    struct qm_page *p = &r.page;
    struct qm_journal_totals t = {0};
    struct qm_journal_run run = {0};
    int runs = 0;
    qm_page_begin(p, "quietmind batch", STYLE, err);
    p->rc = p->rc ? p->rc : qm_journal_totals(j, &t, err);
    p->rc = p->rc ? p->rc : qm_journal_runs(j, &run, &runs, err);
    summary(&r, &t);
    facts(&r, &t, &run, runs);
    qm_batch_charts(j, p);
    if (t.failed)
        failed_rows(&r);
    if (t.cut)
        cut_rows(&r);
    slow_rows(&r);
    int rc = qm_page_end(p);
    if (!rc)
        rc = write_page(&p->out, path, err);
    qm_page_free(p);
    return rc;
}
