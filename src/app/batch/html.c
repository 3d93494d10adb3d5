/* The morning's report as a page: one file, nothing loaded, nothing executed. What the job was, what failed and what
 * was cut, and its pictures (batch/charts.c), all from the journal. */
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "app/batch/charts.h"
#include "app/batch/clock.h"
#include "app/batch/forecast.h"
#include "app/batch/report.h"
#include "app/batch/show.h"
#include "app/html.h"
#include "base/file.h"
#include "base/words.h"
#include "report/numbers.h"

/* Rows that a table lists. */
enum { LISTED = 200 };

static const char STYLE[] =
    "td,th{text-align:left;vertical-align:top;overflow-wrap:anywhere}table{font-size:14px}td{white-space:pre-line}\n"
    "th{overflow-wrap:normal}.id{min-width:6em}.n{text-align:right;white-space:nowrap}\n"
    "@media(max-width:34em){.o{display:none}}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}\n";

struct page {
    struct qm_journal *journal;
    const char *output, *path;
    struct qm_buf *out;
    struct qm_error *err;
    int64_t listed;
    int rc; /* of the first thing that failed; nothing is added after it */
};

static void add(struct page *p, const char *markup) {
    p->rc = p->rc ? p->rc : qm_buf_str(p->out, markup, p->err);
}

static void add_text(struct page *p, const char *text) {
    p->rc = p->rc ? p->rc : qm_html_add_text(p->out, text, p->err);
}

/* A row of the table of facts. */
static void fact(struct page *p, const char *name, const char *text) {
    add(p, "<tr><th>");
    add_text(p, name);
    add(p, "</th><td>");
    add_text(p, text);
    add(p, "</td></tr>\n");
}

__attribute__((format(printf, 3, 4))) static void factf(struct page *p, const char *name, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fact(p, name, text);
}

/* What the journal calls so, where it has it. */
static void kept_fact(struct page *p, const char *name, const char *key) {
    struct qm_buf text = {0};
    bool found = false;
    p->rc = p->rc ? p->rc : qm_journal_get(p->journal, key, &text, &found, p->err);
    if (!p->rc && found && text.len)
        fact(p, name, text.data);
    qm_buf_free(&text);
}

/* Where the answers are, from the page: by name beside it, else by path. */
static void output_link(struct page *p) {
    char *output = strdup(p->output), *page = strdup(p->path), *file = strdup(p->output);
    char *whole = realpath(p->output, NULL), *a = NULL, *b = NULL;
    if (!output || !page || !file)
        p->rc = p->rc ? p->rc : qm_fail_memory(p->err, 4096, "the report");
    else {
        a = realpath(dirname(output), NULL);
        b = realpath(dirname(page), NULL);
        const char *target = a && b && strcmp(a, b) == 0 ? basename(file) : whole ? whole : p->output;
        add(p, "<tr><th>answers</th><td><a href=\"");
        for (const char *c = target; *c && !p->rc; c++) {
            bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                         strchr("/._-", *c) != NULL;
            p->rc = plain ? qm_buf_add(p->out, c, 1, p->err)
                          : qm_buf_printf(p->out, p->err, "%%%02X", (unsigned)(unsigned char)*c);
        }
        add(p, "\">");
        add_text(p, p->output);
        add(p, "</a></td></tr>\n");
    }
    free(output);
    free(page);
    free(file);
    free(whole);
    free(a);
    free(b);
}

static void energy_fact(struct page *p, const struct qm_journal_totals *t, const struct qm_journal_run *run) {
    struct qm_buf why = {0};
    bool found = false;
    p->rc = p->rc ? p->rc : qm_journal_get(p->journal, "not_readable", &why, &found, p->err);
    if (p->rc)
        ;
    else if (run->joules < 0)
        factf(p, "energy", "not readable%s%s", found && why.len ? ": " : "", found && why.len ? why.data : "");
    else if (t->generated > 0)
        factf(p, "energy", "%.0f J, %.2f J a token generated", run->joules, run->joules / (double)t->generated);
    else
        factf(p, "energy", "%.0f J", run->joules);
    qm_buf_free(&why);
}

static void prediction_fact(struct page *p) {
    struct qm_batch_prediction was;
    char about[64], low[64], high[64];
    bool found = false;
    p->rc = p->rc ? p->rc : qm_batch_prediction_load(p->journal, &was, &found, p->err);
    if (!p->rc && found)
        factf(p, "predicted", "about %s of work (%s to %s), when it began",
              qm_duration_text(was.seconds, about, sizeof about), qm_duration_text(was.low, low, sizeof low),
              qm_duration_text(was.high, high, sizeof high));
}

static void facts(struct page *p, const struct qm_journal_totals *t, const struct qm_journal_run *run, int runs) {
    char text[64];
    int64_t created = 0, ended = 0;
    p->rc = p->rc ? p->rc : qm_journal_get_int(p->journal, "created", 0, &created, p->err);
    p->rc = p->rc ? p->rc : qm_journal_get_int(p->journal, "ended", 0, &ended, p->err);
    add(p, "<table>\n");
    output_link(p);
    kept_fact(p, "model", "model_name");
    kept_fact(p, "machine", "machine");
    kept_fact(p, "program", "program");
    kept_fact(p, "command", "command");
    kept_fact(p, "devices that failed", "device_failures");
    fact(p, "started", qm_batch_time_text(created, text, sizeof text));
    if (ended)
        fact(p, "finished", qm_batch_time_text(ended, text, sizeof text));
    prediction_fact(p);
    factf(p, "took", "%s of work in %d run%s, pauses left out", qm_duration_text(run->seconds, text, sizeof text), runs,
          qm_s(runs));
    factf(p, "prompt tokens", "%lld, %lld of them cached", (long long)t->prompt, (long long)t->cached);
    factf(p, "generated tokens", "%lld", (long long)t->generated);
    if (run->seconds > 0)
        factf(p, "speed", "over all of that time: %.1f tokens/s of prompts computed, %.1f tokens/s generated",
              (double)(t->prompt - t->cached) / run->seconds, (double)t->generated / run->seconds);
    energy_fact(p, t, run);
    add(p, "</table>\n");
}

static void summary(struct page *p, const struct qm_journal_totals *t) {
    char text[256];
    snprintf(text, sizeof text, "<p><b>%lld row%s</b>: %lld answered, ", (long long)t->rows, qm_s(t->rows),
             (long long)(t->rows - t->failed));
    add(p, text);
    snprintf(text, sizeof text, t->failed ? "<a href=\"#failed\">%lld failed</a>, " : "%lld failed, ",
             (long long)t->failed);
    add(p, text);
    snprintf(text, sizeof text, t->cut ? "<a href=\"#cut\">%lld cut</a>.</p>\n" : "%lld cut.</p>\n", (long long)t->cut);
    add(p, text);
}

static int add_reason(void *arg, const char *reason, int64_t count, struct qm_error *err) {
    struct page *p = arg;
    char text[64];
    (void)err;
    snprintf(text, sizeof text, "<li>%lld row%s: ", (long long)count, qm_s(count));
    add(p, text);
    add_text(p, reason);
    add(p, "</li>\n");
    return p->rc;
}

/* The message of a row's error, or "". */
static const char *message_of(const json_t *line) {
    const char *message = json_string_value(json_object_get(json_object_get(line, "error"), "message"));
    return message ? message : "";
}

/* A line of a table of rows. anchor: what links to the row leads here. */
static void row_line(struct page *p, bool anchor, int64_t number, const char *custom_id, int64_t prompt,
                     int64_t generated, const char *last) {
    char text[160];
    snprintf(text, sizeof text, anchor ? "<tr id=\"row-%lld\"><td class=\"n\">" : "<tr><td class=\"n\">",
             (long long)number);
    add(p, text);
    snprintf(text, sizeof text, "%lld</td><td class=\"id\">", (long long)number);
    add(p, text);
    add_text(p, custom_id ? custom_id : "");
    snprintf(text, sizeof text, "</td><td class=\"n o\">%lld</td><td class=\"n o\">%lld</td><td>", (long long)prompt,
             (long long)generated);
    add(p, text);
    add_text(p, last);
    add(p, "</td></tr>\n");
}

static int add_row(void *arg, const struct qm_journal_row *row, struct qm_error *err) {
    struct page *p = arg;
    (void)err;
    if (p->listed++ >= LISTED)
        return p->rc;
    json_t *line = row->reason ? json_loadb(row->text, row->len, 0, NULL) : NULL;
    row_line(p, true, row->number, row->custom_id, row->prompt, row->generated, message_of(line));
    json_decref(line);
    return p->rc;
}

static const char HEADINGS[] =
    "<table>\n<tr><th class=\"n\">row</th><th>custom_id</th><th class=\"n o\">prompt tokens</th>"
    "<th class=\"n o\">generated tokens</th><th>";

static void end_rows(struct page *p) {
    char text[96];
    snprintf(text, sizeof text, "</table>\n<p>The first %d of %lld.</p>\n", LISTED, (long long)p->listed);
    add(p, p->listed > LISTED ? text : "</table>\n");
    p->listed = 0;
}

static void failed_rows(struct page *p) {
    add(p, "<h2 id=\"failed\">Rows that failed</h2>\n<ul>\n");
    p->rc = p->rc ? p->rc : qm_journal_reasons(p->journal, add_reason, p, p->err);
    add(p, "</ul>\n");
    add(p, HEADINGS);
    add(p, "error</th></tr>\n");
    p->rc = p->rc ? p->rc : qm_journal_each(p->journal, QM_JOURNAL_FAILED, true, add_row, p, p->err);
    end_rows(p);
}

static void cut_rows(struct page *p) {
    add(p, "<h2 id=\"cut\">Rows whose answer was cut</h2>\n<p>They have as many tokens as they were allowed "
           "(--max-tokens, "
           "max_tokens of the request, or what the context holds), and no end.</p>\n");
    add(p, HEADINGS);
    add(p, "</th></tr>\n");
    p->rc = p->rc ? p->rc : qm_journal_each(p->journal, QM_JOURNAL_CUT, false, add_row, p, p->err);
    end_rows(p);
}

static void slow_rows(struct page *p) {
    struct qm_batch_slow slow[QM_BATCH_SLOWEST];
    char length[64];
    int n = 0;
    p->rc = p->rc ? p->rc : qm_batch_slowest(p->journal, slow, &n, p->err);
    if (p->rc || n == 0)
        return;
    add(p, "<h2>Slowest rows</h2>\n");
    add(p, HEADINGS);
    add(p, "time</th></tr>\n");
    for (int i = 0; i < n; i++)
        row_line(p, false, slow[i].number, slow[i].custom_id, slow[i].prompt, slow[i].generated,
                 qm_duration_text(slow[i].seconds, length, sizeof length));
    add(p, "</table>\n");
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
    struct qm_buf out = {0}, style = {0};
    struct page p = {.journal = j, .output = output, .path = path, .out = &out, .err = err};
    struct qm_journal_totals t = {0};
    struct qm_journal_run run = {0};
    int runs = 0;
    p.rc = qm_journal_totals(j, &t, err);
    p.rc = p.rc ? p.rc : qm_journal_runs(j, &run, &runs, err);
    p.rc = p.rc ? p.rc : qm_buf_printf(&style, err, "%s%s", qm_batch_charts_style, STYLE);
    p.rc = p.rc ? p.rc : qm_html_add_head(&out, "quietmind batch", style.data, err);
    summary(&p, &t);
    facts(&p, &t, &run, runs);
    p.rc = p.rc ? p.rc : qm_batch_charts(j, &out, err);
    if (t.failed)
        failed_rows(&p);
    if (t.cut)
        cut_rows(&p);
    slow_rows(&p);
    add(&p, "</body></html>\n");
    p.rc = p.rc ? p.rc : write_page(&out, path, err);
    qm_buf_free(&out);
    qm_buf_free(&style);
    return p.rc;
}
