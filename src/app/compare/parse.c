/* A report of another day or machine, read back from its JSON, and how its answers are held against today's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/compare/compare.h"
#include "base/json.h"

static const double LARGE = 1e18;

void qm_compare_report_free(struct qm_compare_report *r) {
    for (int i = 0; i < r->configs; i++)
        for (int p = 0; p < QM_COMPARE_PROMPTS; p++)
            free(r->config[i].answer[p]);
    r->configs = 0;
}

/* null stays "". */
static int text(const json_t *o, const char *key, const char *name, char *out, size_t size, struct qm_error *err) {
    const char *s = "";
    int rc = qm_json_string(o, key, name, &s, err);
    size_t n = strlen(s);
    for (size_t i = 0; i < n && !rc; i++)
        if ((unsigned char)s[i] < ' ' && s[i] != '\n')
            rc = qm_fail(err, QM_INPUT, "%s: \"%s\": a control character at %zu", name, key, i);
    if (!rc && n >= size)
        rc = qm_fail(err, QM_INPUT, "%s: \"%s\": expected less than %zu bytes, found %zu", name, key, size, n);
    if (!rc)
        memcpy(out, s, n + 1);
    return rc;
}

static int needed_text(const json_t *o, const char *key, const char *name, char *out, size_t size,
                       struct qm_error *err) {
    int rc = text(o, key, name, out, size, err);
    return !rc && !out[0] ? qm_fail(err, QM_INPUT, "%s: expected a text \"%s\"", name, key) : rc;
}

/* null: not known. */
static int number(const json_t *o, const char *key, const char *name, double *out, struct qm_error *err) {
    *out = NAN;
    int rc = qm_json_double(o, key, name, out, err);
    if (!rc && !isnan(*out) && !(*out >= 0 && *out <= LARGE))
        rc = qm_fail(err, QM_INPUT, "%s: \"%s\": expected 0 to %g, found %g", name, key, LARGE, *out);
    return rc;
}

static int integer(const json_t *o, const char *key, const char *name, int64_t most, int64_t *out,
                   struct qm_error *err) {
    return qm_json_int(o, key, name, 0, most, out, err);
}

static int rate(const json_t *o, const char *key, const char *name, struct qm_compare_rate *out, struct qm_error *err) {
    const json_t *r = json_object_get(o, key);
    int64_t n = 0;
    if (!qm_json_is_object(r))
        return qm_fail(err, QM_INPUT, "%s: expected an object \"%s\"", name, key);
    int rc = number(r, "median", name, &out->measured.median, err);
    if (!rc)
        rc = number(r, "low", name, &out->measured.low, err);
    if (!rc)
        rc = number(r, "high", name, &out->measured.high, err);
    if (!rc)
        rc = number(r, "predicted", name, &out->predicted, err);
    if (!rc)
        rc = integer(r, "n", name, QM_COMPARE_ROUNDS, &n, err);
    out->measured.n = (int)n;
    const struct qm_figure *f = &out->measured;
    bool ordered = f->low <= f->median && f->median <= f->high;
    bool none = isnan(f->low) && isnan(f->median) && isnan(f->high);
    if (!rc && (n > 0 ? !ordered : !none))
        rc = qm_fail(err, QM_INPUT, "%s: \"%s\": expected low <= median <= high where n is not 0", name, key);
    return rc;
}

static int answer(const json_t *ids, const char *name, struct qm_compare_config *c, size_t p, struct qm_error *err) {
    size_t n = json_array_size(ids);
    if (!json_is_array(ids) || n < 1 || n > QM_COMPARE_ANSWER)
        return qm_fail(err, QM_INPUT, "%s: \"answers\": expected lists of 1 to %d tokens", name, QM_COMPARE_ANSWER);
    c->answer[p] = malloc(n * sizeof *c->answer[p]);
    if (!c->answer[p])
        return qm_fail_memory(err, n * sizeof *c->answer[p], "an answer");
    for (size_t k = 0; k < n; k++) {
        const json_t *id = json_array_get(ids, k);
        json_int_t v = json_is_integer(id) ? json_integer_value(id) : -1;
        if (v < 0 || v > INT32_MAX)
            return qm_fail(err, QM_INPUT, "%s: \"answers\": expected token ids", name);
        c->answer[p][k] = (int32_t)v;
    }
    c->n_answer[p] = (int64_t)n;
    return QM_OK;
}

static int config(const json_t *o, const char *file, int64_t prompts, struct qm_compare_config *c,
                  struct qm_error *err) {
    char name[300];
    int64_t threads = 0, used = 0;
    if (!qm_json_is_object(o))
        return qm_fail(err, QM_INPUT, "%s: \"configs\": expected objects, found %s", file, qm_json_type_name(o));
    int rc = needed_text(o, "name", file, c->name, sizeof c->name, err);
    snprintf(name, sizeof name, "%.160s: %s", file, c->name);
    if (!rc)
        rc = text(o, "why_not", name, c->why_not, sizeof c->why_not, err);
    if (!rc)
        rc = text(o, "failed", name, c->failed, sizeof c->failed, err);
    if (!rc)
        rc = qm_json_bool(o, "emulated", name, &c->emulated, err);
    if (!rc)
        rc = integer(o, "threads", name, 65536, &threads, err);
    if (!rc)
        rc = integer(o, "threads_used", name, 65536, &used, err);
    c->threads = (int)threads;
    c->threads_used = (int)used;
    if (!rc)
        rc = integer(o, "drafted", name, INT64_MAX, &c->drafted, err);
    if (!rc)
        rc = integer(o, "accepted", name, c->drafted, &c->accepted, err);
    if (!rc)
        rc = rate(o, "prefill_tps", name, &c->prefill, err);
    if (!rc)
        rc = rate(o, "decode_tps", name, &c->decode, err);
    if (!rc)
        rc = rate(o, "first_token_seconds", name, &c->first, err);
    if (!rc)
        rc = number(o, "joules_per_token", name, &c->joules_per_token, err);
    if (!rc)
        rc = number(o, "watts", name, &c->watts, err);
    if (!rc)
        rc = number(o, "decode_limit_share", name, &c->decode_efficiency, err);
    const json_t *traits = json_object_get(o, "traits"); /* of a report from before they were kept: none */
    for (int t = 0; t < QM_TRAIT_COUNT && !rc && qm_json_is_object(traits); t++)
        rc = text(traits, qm_trait_key((enum qm_trait)t), name, c->traits.value[t], QM_TRAIT_VALUE, err);
    const json_t *answers = json_object_get(o, "answers");
    size_t n = json_array_size(answers);
    if (!rc && (!json_is_array(answers) || (n != 0 && (int64_t)n != prompts)))
        rc = qm_fail(err, QM_INPUT, "%s: \"answers\": expected a list of none or of %lld", name, (long long)prompts);
    for (size_t p = 0; p < n && !rc; p++)
        rc = answer(json_array_get(answers, p), name, c, p, err);
    return rc;
}

static int head(const json_t *root, const char *name, struct qm_compare_report *r, struct qm_error *err) {
    int64_t version = 0, prompts = 0, rounds = 0;
    int rc = integer(root, "version", name, INT32_MAX, &version, err);
    if (!rc && version != QM_COMPARE_VERSION)
        rc = qm_fail(err, QM_INPUT, "%s: expected a report of quietmind compare, version %d, found version %lld", name,
                     QM_COMPARE_VERSION, (long long)version);
    if (!rc)
        rc = needed_text(root, "model", name, r->model, sizeof r->model, err);
    if (!rc)
        rc = needed_text(root, "machine", name, r->machine, sizeof r->machine, err);
    if (!rc)
        rc = needed_text(root, "isa", name, r->isa, sizeof r->isa, err);
    if (!rc)
        rc = needed_text(root, "when", name, r->when, sizeof r->when, err);
    if (!rc)
        rc = needed_text(root, "build", name, r->build, sizeof r->build, err);
    if (!rc)
        rc = needed_text(root, "prompts_hash", name, r->text_hash, sizeof r->text_hash, err);
    if (!rc)
        rc = integer(root, "prompts", name, QM_COMPARE_PROMPTS, &prompts, err);
    if (!rc)
        rc = integer(root, "rounds", name, QM_COMPARE_ROUNDS, &rounds, err);
    if (!rc)
        rc = integer(root, "prompt_tokens", name, INT64_MAX, &r->prompt_tokens, err);
    if (!rc)
        rc = integer(root, "generate", name, QM_COMPARE_ANSWER, &r->generate, err);
    if (!rc)
        rc = integer(root, "seed", name, INT64_MAX, &r->seed, err);
    if (!rc)
        rc = number(root, "temperature", name, &r->temperature, err);
    if (!rc)
        rc = number(root, "bound_nats", name, &r->bound, err);
    if (!rc && (isnan(r->temperature) || isnan(r->bound)))
        rc = qm_fail(err, QM_INPUT, "%s: expected numbers \"temperature\" and \"bound_nats\"", name);
    r->prompts = (int)prompts;
    r->rounds = (int)rounds;
    return rc ? rc : qm_json_bool(root, "agree", name, &r->agree, err);
}

int qm_compare_parse(const char *source, size_t len, const char *name, struct qm_compare_report *out,
                     struct qm_error *err) {
    json_t *root = NULL;
    *out = (struct qm_compare_report){.reference = -1};
    int rc = qm_json_parse(source, len, name, &root, err);
    if (!rc && !qm_json_is_object(root))
        rc = qm_fail(err, QM_INPUT, "%s: expected an object, found %s", name, qm_json_type_name(root));
    if (!rc)
        rc = head(root, name, out, err);
    const json_t *configs = json_object_get(root, "configs");
    size_t n = json_array_size(configs);
    if (!rc && (n < 1 || n > QM_COMPARE_CONFIGS))
        rc = qm_fail(err, QM_INPUT, "%s: \"configs\": expected 1 to %d", name, QM_COMPARE_CONFIGS);
    for (size_t i = 0; i < n && !rc; i++) {
        out->configs = (int)i + 1;
        rc = config(json_array_get(configs, i), name, out->prompts, &out->config[i], err);
    }
    json_decref(root);
    if (rc)
        qm_compare_report_free(out);
    return rc;
}

const struct qm_compare_config *qm_compare_find(const struct qm_compare_report *r, const char *name) {
    for (int i = 0; i < r->configs; i++)
        if (!strcmp(r->config[i].name, name))
            return &r->config[i];
    return NULL;
}

bool qm_compare_answers(const struct qm_compare_report *r, const struct qm_compare_config *a,
                        const struct qm_compare_report *before, const struct qm_compare_config *b,
                        struct qm_agreement *out) {
    bool same = !strcmp(r->text_hash, before->text_hash) && r->seed == before->seed && r->prompts == before->prompts &&
                r->temperature == before->temperature;
    qm_agreement_begin(out);
    for (int p = 0; p < r->prompts && same; p++) {
        if (!a->answer[p] || !b->answer[p])
            return false;
        int64_t n = a->n_answer[p] < b->n_answer[p] ? a->n_answer[p] : b->n_answer[p];
        qm_agreement_answer(out, p, b->answer[p], n, a->answer[p], n, 0);
    }
    return same && r->prompts > 0;
}
