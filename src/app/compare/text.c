/* A comparison for people: tables of at most 80 columns, then what must be said of the numbers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/compare/compare.h"
#include "app/out.h"
#include "app/remedy.h"
#include "base/path.h"
#include "base/size.h"
#include "base/words.h"
#include "batch/expect.h"
#include "report/numbers.h"
#include "report/rows.h"

enum { NAME = 18 };

static const char *range(const struct qm_figure *f, char *out, size_t size) {
    snprintf(out, size, "-");
    if (f->n > 1) {
        char low[32], high[32];
        snprintf(out, size, "%s-%s", qm_number_text(f->low, 4, low, sizeof low),
                 qm_number_text(f->high, 4, high, sizeof high));
    }
    return out;
}

/* A name that may be long: cut, "*" where a device is emulated. */
static const char *label(const struct qm_compare_config *c, char *out, size_t size) {
    size_t n = strlen(c->name), most = NAME - 1 - c->emulated;
    snprintf(out, size, "%.*s%s%s", (int)(n > most ? most - 2 : n), c->name, n > most ? ".." : "",
             c->emulated ? "*" : "");
    return out;
}

static int print_head(const struct qm_compare_report *r, struct qm_error *err) {
    char sampling[48] = "greedy";
    if (r->temperature > 0)
        snprintf(sampling, sizeof sampling, "temperature %g, seed %lld", r->temperature, (long long)r->seed);
    int rc = qm_out_printf(err, "model       %s\nmachine     %s, %s\n", qm_path_last(r->model), r->machine, r->isa);
    return rc ? rc
              : qm_out_printf(err, "work        %d prompt%s, %lld tokens, each answered with %lld; %d round%s; %s\n\n",
                              r->prompts, qm_s(r->prompts), (long long)r->prompt_tokens, (long long)r->generate,
                              r->rounds, qm_s(r->rounds), sampling);
}

static int print_rate(const struct qm_compare_config *k, const struct qm_compare_rate *rate, struct qm_error *err) {
    char name[80], a[32], b[80], c[32];
    return qm_out_printf(err, "%-*s %8s %15s %9s", NAME, label(k, name, sizeof name),
                         qm_number_text(rate->measured.median, 4, a, sizeof a), range(&rate->measured, b, sizeof b),
                         qm_number_text(rate->predicted, 4, c, sizeof c));
}

static int print_prefill(const struct qm_compare_report *r, struct qm_error *err) {
    char a[32];
    int rc = qm_out_printf(err, "%-*s %8s %15s %9s  %s\n", NAME, "tokens/s prefill", "median", "range", "predicted",
                           "first token, s");
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *k = &r->config[i];
        bool run = k->first.measured.n > 0;
        rc = print_rate(k, &k->prefill, err);
        if (!rc)
            rc = qm_out_printf(err, "  %s%s%s\n", run ? "" : "(",
                               qm_number_text(run ? k->first.measured.median : k->first.predicted, 3, a, sizeof a),
                               run ? "" : ")");
    }
    return rc;
}

static int print_decode(const struct qm_compare_report *r, struct qm_error *err) {
    char a[32], share[32];
    int rc = qm_out_printf(err, "\n%-*s %8s %15s %9s %8s %7s\n", NAME, "tokens/s decode", "median", "range",
                           "predicted", "GB/s", "of best");
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *k = &r->config[i];
        snprintf(share, sizeof share, "-");
        if (isfinite(k->decode_efficiency))
            snprintf(share, sizeof share, "%.0f %%", 100 * k->decode_efficiency);
        rc = print_rate(k, &k->decode, err);
        if (!rc)
            rc = qm_out_printf(err, " %8s %7s\n", qm_number_text(k->gb_s, 3, a, sizeof a), share);
    }
    return rc;
}

static int print_cost(const struct qm_compare_report *r, struct qm_error *err) {
    char name[80], a[32], b[32];
    int rc = qm_out_printf(err, "\n%-*s %7s %8s %6s %4s %5s  %s\n", NAME, "", "threads", "J/token", "W", "°C", "  fan",
                           "memory, GiB");
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *k = &r->config[i];
        char threads[32] = "-", joules[32], watts[32];
        if (k->threads)
            snprintf(threads, sizeof threads, k->threads_used < k->threads ? "%d of %d" : "%d", k->threads_used,
                     k->threads);
        rc = qm_out_printf(err, "%-*s %7s %8s %6s %4s %5s ", NAME, label(k, name, sizeof name), threads,
                           qm_number_text(k->joules_per_token, 3, joules, sizeof joules),
                           qm_number_text(k->watts, 3, watts, sizeof watts), qm_number_text(k->celsius, 3, a, sizeof a),
                           qm_number_text(k->fan_rpm, 4, b, sizeof b));
        for (int m = 0; m < k->n_memory && !rc; m++)
            rc = qm_out_printf(err, "%s %.40s %.2f", m ? "," : "", k->memory[m].device, qm_gib(k->memory[m].total));
        if (!rc)
            rc = qm_out_text("\n", err);
    }
    return rc;
}

static int print_drafts(const struct qm_compare_report *r, struct qm_error *err) {
    char name[80];
    int rc = QM_OK;
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *c = &r->config[i];
        if (c->drafted)
            rc = qm_out_printf(err, "%-*s %lld of %lld drafted tokens were right (%.0f %%)\n", NAME,
                               label(c, name, sizeof name), (long long)c->accepted, (long long)c->drafted,
                               100.0 * (double)c->accepted / (double)c->drafted);
    }
    return rc;
}

static int print_nodes(const struct qm_compare_report *r, struct qm_error *err) {
    char name[80], head[120], parts[QM_COMPARE_NODES * 96], a[32], b[32];
    bool any = false;
    int rc = QM_OK;
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *c = &r->config[i];
        size_t n = 0;
        if (c->n_nodes < 2)
            continue;
        rc = any ? QM_OK
                 : qm_out_text("\nmemory of nodes, GiB: weights + keys and values; share of pages in place\n", err);
        any = true;
        for (int k = 0; k < c->n_nodes; k++) {
            const struct qm_compare_node *at = &c->node[k];
            n += (size_t)snprintf(parts + n, sizeof parts - n, "%snode %d: %s + %s", k ? ", " : "", at->number,
                                  qm_number_text(qm_gib(at->weights), 3, a, sizeof a),
                                  qm_number_text(qm_gib(at->kv), 3, b, sizeof b));
            if (isfinite(at->placed))
                n += (size_t)snprintf(parts + n, sizeof parts - n, " (%.0f %%)", 100 * at->placed);
        }
        snprintf(head, sizeof head, "%-*s", NAME, label(c, name, sizeof name));
        if (!rc)
            rc = qm_out_wrapped(head, parts, NAME + 1, err);
    }
    return rc;
}

static int print_agreement(const struct qm_compare_report *r, struct qm_error *err) {
    char name[80], mean[32], most[32];
    int rc = qm_out_text("\nanswers\n", err);
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *c = &r->config[i];
        const struct qm_agreement *a = &c->agreement;
        label(c, name, sizeof name);
        if (c->unsteady)
            rc = qm_out_printf(err, "%-*s not the same in every round\n", NAME, name);
        if (rc || c->why_not[0] || (c->failed[0] && !c->answer[0]))
            continue;
        if (!a->compared) {
            rc = qm_out_printf(err, "%-*s reference\n", NAME, name);
            continue;
        }
        char head[120], text[240], same[120];
        snprintf(head, sizeof head, "%-*s", NAME, name);
        if (a->first_difference < 0)
            snprintf(same, sizeof same, "identical, %lld tokens", (long long)a->tokens);
        else
            snprintf(same, sizeof same, "%lld of %lld tokens before the first difference, at %lld of answer %d",
                     (long long)a->same, (long long)a->tokens, (long long)a->first_difference + 1, a->first_prompt + 1);
        snprintf(text, sizeof text, "%s; mean KL %s, max KL %s nats", same,
                 qm_number_text(a->kl_mean, 2, mean, sizeof mean), qm_number_text(a->kl_max, 2, most, sizeof most));
        rc = qm_out_wrapped(head, text, NAME + 1, err);
    }
    if (rc || r->reference < 0)
        return rc;
    return qm_out_printf(err, "%-*s %s, within %g nats along the same prefix\n", NAME, "",
                         r->agree ? "they agree" : "they do NOT agree", r->bound);
}

static int print_incomplete(const struct qm_compare_report *r, struct qm_error *err) {
    char name[80], head[120];
    int rc = QM_OK;
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *c = &r->config[i];
        bool ran = !c->why_not[0];
        snprintf(head, sizeof head, "%-*s %s", NAME, label(c, name, sizeof name),
                 ran ? "FAILED in" : "predicted only:");
        if (!ran || c->failed[0])
            rc = qm_out_wrapped(head, ran ? c->failed : c->why_not, NAME + 1, err);
    }
    return rc;
}

static int print_placements(const struct qm_compare_report *r, struct qm_error *err) {
    char name[80];
    int rc = QM_OK;
    for (int i = 0; i < r->configs && !rc; i++) {
        const char *at = r->config[i].placement;
        if (*at)
            rc = qm_out_printf(err, "\nplacement of %s\n", label(&r->config[i], name, sizeof name));
        while (*at && !rc) {
            int n = (int)strcspn(at, "\n");
            rc = qm_out_printf(err, "  %.*s\n", n, at);
            at += n + (at[n] == '\n');
        }
    }
    return rc;
}

static int print_job(const struct qm_compare_report *r, struct qm_error *err) {
    char name[80], time[64], low[64], high[64], joules[32];
    if (!r->job[0])
        return QM_OK;
    char text[400];
    int n = snprintf(
        text, sizeof text,
        "%.60s: %lld row%s%s; prompts %lld tokens, of which %lld shared; answers at most %lld tokens; %lld at "
        "once",
        r->job, (long long)r->job_rows, r->job_rows == 1 ? "" : "s", r->job_bad ? " valid" : ", all valid",
        (long long)r->job_prompt, (long long)r->job_shared, (long long)r->job_answers, (long long)r->job_at_once);
    if (r->job_bad)
        n += snprintf(text + n, sizeof text - (size_t)n, "; %lld row%s can't be answered (batch --check says why)",
                      (long long)r->job_bad, r->job_bad == 1 ? "" : "s");
    if (r->job_open)
        snprintf(text + n, sizeof text - (size_t)n, "; %lld without max_tokens counted with %d", (long long)r->job_open,
                 QM_EXPECT_OPEN);
    int rc = qm_out_text("\n", err);
    if (!rc)
        rc = qm_out_wrapped("job        ", text, NAME + 1, err);
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *c = &r->config[i];
        bool known = isfinite(c->job.seconds);
        rc = known ? qm_out_printf(err, "%-*s about %s (%s to %s)", NAME, label(c, name, sizeof name),
                                   qm_calculated_duration_text(c->job.seconds, time, sizeof time),
                                   qm_calculated_duration_text(c->job.low, low, sizeof low),
                                   qm_calculated_duration_text(c->job.high, high, sizeof high))
                   : qm_out_printf(err, "%-*s -", NAME, label(c, name, sizeof name));
        if (!rc && isfinite(c->job.joules))
            rc =
                qm_out_printf(err, ", %s %sJ",
                              qm_number_text(c->job.joules / (c->job.joules < 1e4 ? 1 : 1e3), 3, joules, sizeof joules),
                              c->job.joules < 1e4 ? "" : "k");
        if (!rc)
            rc = qm_out_printf(err, "%s\n", known && !qm_compare_measured(c) ? " (predicted only)" : "");
    }
    return rc;
}

static int print_change(double now, double then, struct qm_error *err) {
    char a[32], b[32];
    int rc = qm_out_printf(err, " %8s %8s", qm_number_text(then, 4, a, sizeof a), qm_number_text(now, 4, b, sizeof b));
    if (rc)
        return rc;
    return isfinite(now) && then > 0 ? qm_out_printf(err, " %+5.0f %%", 100 * (now / then - 1))
                                     : qm_out_printf(err, " %7s", "-");
}

/* Why answers may differ from those of then. */
static int print_changed(const struct qm_compare_config *c, const struct qm_compare_config *old, struct qm_error *err) {
    struct qm_buf text = {0};
    int rc = QM_OK;
    for (int t = 0; t < QM_TRAIT_COUNT && !rc; t++)
        if (c->traits.value[t][0] && old->traits.value[t][0] && strcmp(c->traits.value[t], old->traits.value[t]) != 0)
            rc = qm_buf_printf(&text, err, "%s%s%s", text.len ? ", " : "", qm_trait_name((enum qm_trait)t),
                               qm_trait_options((enum qm_trait)t));
    if (!rc && text.len)
        rc = qm_out_wrapped("  changed:", text.data, NAME + 1, err);
    qm_buf_free(&text);
    return rc;
}

static int print_before(const struct qm_compare_report *r, const struct qm_compare_report *b, struct qm_error *err) {
    char name[80];
    if (!b)
        return QM_OK;
    int rc = qm_out_printf(err, "\nbefore      %s: %s, %s\n", b->when, b->machine, b->isa);
    if (!rc && (r->prompt_tokens != b->prompt_tokens || r->generate != b->generate))
        rc = qm_out_printf(err, "            other work: prompts %lld tokens, answers %lld tokens each\n",
                           (long long)b->prompt_tokens, (long long)b->generate);
    if (!rc && strcmp(r->model, b->model) != 0)
        rc = qm_out_printf(err, "            another model's folder: %.80s\n", b->model);
    if (!rc)
        rc = qm_out_printf(err, "%-*s %25s %25s\n%-*s %8s %8s %7s %8s %8s %7s  answers\n", NAME, "",
                           "prefill, tokens/s", "decode, tokens/s", NAME, "", "then", "now", "", "then", "now", "");
    for (int i = 0; i < r->configs && !rc; i++) {
        const struct qm_compare_config *c = &r->config[i], *old = qm_compare_find(b, c->name);
        struct qm_agreement a;
        if (!old)
            continue;
        rc = qm_out_printf(err, "%-*s", NAME, label(c, name, sizeof name));
        if (!rc)
            rc = print_change(c->prefill.measured.median, old->prefill.measured.median, err);
        if (!rc)
            rc = print_change(c->decode.measured.median, old->decode.measured.median, err);
        bool comparable = !rc && qm_compare_answers(r, c, b, old, &a);
        if (!rc && !comparable)
            rc = qm_out_text("  not comparable\n", err);
        else if (!rc && a.first_difference < 0)
            rc = qm_out_text("  identical\n", err);
        else if (!rc)
            rc = qm_out_printf(err, "  differ from token %lld on\n", (long long)a.first_difference + 1);
        if (!rc)
            rc = print_changed(c, old, err);
    }
    return rc;
}

static int print_notes(const struct qm_compare_report *r, struct qm_error *err) {
    bool emulated = false;
    int rc = QM_OK;
    for (int i = 0; i < r->configs; i++)
        emulated = emulated || r->config[i].emulated;
    if (emulated)
        rc = qm_out_text("\n* emulated device: computed on the CPU, times are simulated from what it is said\n"
                         "  to be; its joules are not measured\n",
                         err);
    if (!rc && r->reopened)
        rc = qm_out_text(
            "\nthe configurations do not fit in memory side by side: they were loaded one after the other\n", err);
    if (!rc && r->noise[0]) {
        rc = qm_out_text("\n", err);
        if (!rc)
            rc = qm_out_wrapped("noise      ", r->noise, NAME + 1, err);
    }
    return rc;
}

int qm_compare_text(const struct qm_compare_report *r, const struct qm_compare_report *before, struct qm_error *err) {
    int rc = print_head(r, err);
    if (!rc)
        rc = print_prefill(r, err);
    if (!rc)
        rc = print_decode(r, err);
    if (!rc)
        rc = print_cost(r, err);
    if (!rc)
        rc = print_drafts(r, err);
    if (!rc)
        rc = print_nodes(r, err);
    if (!rc)
        rc = print_agreement(r, err);
    if (!rc)
        rc = print_incomplete(r, err);
    if (!rc)
        rc = print_placements(r, err);
    if (!rc)
        rc = print_job(r, err);
    if (!rc)
        rc = print_before(r, before, err);
    return rc ? rc : print_notes(r, err);
}

static int csv_number(double x, struct qm_buf *out, struct qm_error *err) {
    return isfinite(x) ? qm_buf_printf(out, err, ",%.9g", x) : qm_buf_str(out, ",", err);
}

/* Two fields: "cpu=BYTES;emulated=BYTES" and "0=BYTES;1=BYTES": weights, keys and values by a node's
 * number, -1 where the system does not distinguish nodes. */
static int csv_memory(const struct qm_compare_config *c, struct qm_buf *out, struct qm_error *err) {
    char text[QM_COMPARE_NODES * 32] = "";
    size_t n = 0;
    for (int m = 0; m < c->n_memory; m++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s=%llu", m ? ";" : "", c->memory[m].device,
                              (unsigned long long)c->memory[m].total);
    int rc = qm_buf_str(out, ",", err);
    if (!rc)
        rc = qm_csv_text(out, text, err);
    text[0] = 0;
    n = 0;
    for (int k = 0; k < c->n_nodes; k++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%d=%llu", k ? ";" : "", c->node[k].number,
                              (unsigned long long)(c->node[k].weights + c->node[k].kv));
    if (!rc)
        rc = qm_buf_str(out, ",", err);
    return rc ? rc : qm_csv_text(out, text, err);
}

static int csv_config(const struct qm_compare_report *r, const struct qm_compare_config *c, struct qm_buf *out,
                      struct qm_error *err) {
    const struct qm_agreement *a = &c->agreement;
    double bytes = 0;
    for (int m = 0; m < c->n_memory; m++)
        bytes += (double)c->memory[m].total;
    const double numbers[] = {c->prefill.measured.median,
                              c->prefill.measured.low,
                              c->prefill.measured.high,
                              c->prefill.predicted,
                              c->decode.measured.median,
                              c->decode.measured.low,
                              c->decode.measured.high,
                              c->decode.predicted,
                              c->first.measured.median,
                              c->first.predicted,
                              c->gb_s,
                              c->decode_efficiency,
                              c->prefill_efficiency,
                              c->joules_per_token,
                              c->watts,
                              c->celsius,
                              c->fan_rpm,
                              bytes,
                              a->compared ? a->first_difference < 0 : NAN,
                              a->compared && a->first_difference >= 0 ? (double)a->first_difference : NAN,
                              a->kl_mean,
                              a->kl_max,
                              c->job.seconds,
                              c->job.joules};
    int rc = qm_csv_text(out, c->name, err);
    if (!rc)
        rc = qm_buf_printf(out, err, ",%d,%d,%d", qm_compare_measured(c), c->emulated, c->threads_used);
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers && !rc; k++)
        rc = csv_number(numbers[k], out, err);
    const char *texts[] = {r->model, r->machine, r->when};
    for (size_t k = 0; k < 3 && !rc; k++) {
        rc = qm_buf_str(out, ",", err);
        if (!rc)
            rc = qm_csv_text(out, texts[k], err);
    }
    if (!rc)
        rc = csv_memory(c, out, err);
    if (!rc)
        rc = qm_buf_str(out, ",", err);
    if (!rc)
        rc = qm_csv_text(out, c->failed, err);
    return rc ? rc : qm_buf_str(out, "\n", err);
}

int qm_compare_csv(const struct qm_compare_report *r, struct qm_error *err) {
    static const char names[] =
        "config,measured,emulated,threads_used,prefill_tps,prefill_low,prefill_high,prefill_predicted,decode_tps,"
        "decode_low,decode_high,decode_predicted,first_token_seconds,first_token_predicted,gb_s,decode_limit_share,"
        "prefill_limit_share,joules_per_token,watts,celsius,fan_rpm,memory_bytes,identical,first_difference,kl_mean,"
        "kl_max,job_seconds,job_joules,model,machine,when,memory_devices,memory_nodes,"
        "failed\n";
    struct qm_buf out = {0};
    int rc = qm_buf_str(&out, names, err);
    for (int i = 0; i < r->configs && !rc; i++)
        rc = csv_config(r, &r->config[i], &out, err);
    if (!rc)
        rc = qm_out_write(out.data, out.len, err);
    qm_buf_free(&out);
    return rc;
}
