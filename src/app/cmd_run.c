/* quietmind run: raw completion of a prompt, streamed to standard output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/command_list.h"
#include "app/decode.h"
#include "app/drafts.h"
#include "app/generation_report.h"
#include "app/load_model.h"
#include "app/load_report.h"
#include "app/offload.h"
#include "app/out.h"
#include "app/quiet.h"
#include "app/signals.h"
#include "engine/sequence.h"
#include "protocol/logprob.h"
#include "text/ids_file.h"

struct run_options {
    struct qm_model_options model;
    struct qm_load_options load;
    struct qm_sampling_options sampling;
    struct qm_draft_options drafts;
    const char *prompt, *ids; /* a text, a file of ids; NULL */
    struct qm_texts files;
    struct qm_texts stop;
    int64_t max_tokens; /* -1: any number */
    int logprobs;       /* -1: none */
    bool json, silent;
};

struct run {
    const struct run_options *options;
    struct qm_progress progress;
    struct qm_app_model model;
    struct qm_drafts drafts;
    struct qm_meter meter; /* of the tokens that are written */
    struct qm_ids prompt;
    bool generating;
    size_t written;   /* bytes of the text that are out */
    size_t n_ids;     /* ids that are out, where there is no tokenizer */
    json_t *logprobs; /* NULL: not asked for */
    int failed;       /* code of a write that failed, with its message in *err */
    struct qm_error *err;
};

static int write_id(struct run *r, int32_t id) {
    return qm_out_printf(r->err, "%s%d", r->n_ids++ ? " " : "", (int)id);
}

static int on_token(void *arg, const struct qm_generate_token *token) {
    struct run *r = arg;
    if (!r->generating) /* until now Ctrl-C ends the program at once: there was nothing to keep */
        qm_signals_hold();
    if (!r->generating)
        qm_meter_begin(&r->meter);
    r->generating = true;
    qm_meter_tick(&r->meter);
    qm_progress_end(&r->progress);
    int rc = r->logprobs ? qm_protocol_logprob(r->logprobs, token, r->model.tokenizer, r->err) : QM_OK;
    if (!rc && !r->options->json) {
        if (!r->model.tokenizer)
            rc = write_id(r, token->id);
        else
            rc = qm_out_write(token->text, token->text_len, r->err);
        r->written += token->text_len;
        if (!rc)
            rc = qm_out_flush(r->err);
    }
    return r->failed = rc;
}

static int on_prefill(void *arg, int64_t done, int64_t total) {
    struct run *r = arg;
    qm_progress_update(&r->progress, "prompt", (uint64_t)done, (uint64_t)total, QM_PROGRESS_TOKENS);
    return 0;
}

static int decode(const struct qm_args *args, struct run_options *o, struct qm_error *err) {
    *o = (struct run_options){.model = qm_decode_model(args),
                              .sampling = qm_decode_sampling(args),
                              .prompt = qm_args_text(args, QM_OPT_PROMPT, NULL),
                              .ids = qm_args_text(args, QM_OPT_IDS, NULL),
                              .files = qm_decode_texts(args, QM_OPT_FILE),
                              .stop = qm_decode_texts(args, QM_OPT_STOP),
                              .max_tokens = qm_args_int(args, QM_OPT_MAX_TOKENS, -1),
                              .logprobs = (int)qm_args_int(args, QM_OPT_LOGPROBS, -1),
                              .json = args->option[QM_OPT_JSON].set,
                              .silent = args->option[QM_OPT_SILENT].set};
    int n = (o->prompt != NULL) + (o->files.n > 0) + (o->ids != NULL), rc = qm_decode_load(args, &o->load, err);
    if (!rc && n > 1)
        rc = qm_fail(err, QM_USAGE, "run: expected one of --prompt, --file and --ids, found %d of them", n);
    return rc ? rc : qm_decode_drafts(args, &o->drafts, err);
}

static int read_prompt(struct run *r) {
    const struct run_options *o = r->options;
    if (o->ids) {
        int rc = qm_ids_read(o->ids, &r->prompt, r->err);
        return rc ? rc : qm_app_check_ids(&r->model, &r->prompt, o->ids, r->err);
    }
    struct qm_buf text = {0};
    int rc;
    if (o->prompt) {
        rc = qm_buf_str(&text, o->prompt, r->err);
        if (!rc)
            rc = qm_check_text(text.data, text.len, "--prompt", r->err);
    } else {
        if ((!o->files.n || !strcmp(o->files.text[o->files.n - 1], "-")) && isatty(STDIN_FILENO))
            qm_note(&r->progress, "reading the prompt from the terminal; Ctrl-D ends it");
        rc = o->files.n ? qm_app_read_texts(&o->files, &text, r->err) : qm_read_text("-", &text, r->err);
    }
    qm_progress_update(&r->progress, "tokenizing", 0, 0, QM_PROGRESS_BYTES);
    if (!rc)
        rc = qm_tokenizer_encode(r->model.tokenizer, text.data, text.len, true, true, &r->prompt, r->err);
    qm_progress_end(&r->progress);
    if (!rc)
        rc = qm_tokenizer_check_ids(r->model.tokenizer, &r->prompt, r->model.model->config.vocab, "the prompt", r->err);
    if (!rc && r->prompt.len == 0)
        rc = qm_fail(r->err, QM_INPUT, "the prompt is empty");
    qm_buf_free(&text);
    return rc;
}

static int print_json(struct run *r, const struct qm_generate_result *result) {
    json_t *ids = json_array();
    for (size_t i = 0; i < result->ids.len; i++)
        json_array_append_new(ids, json_integer(result->ids.data[i]));
    json_t *text =
        r->model.tokenizer ? json_stringn(result->text.data ? result->text.data : "", result->text.len) : json_null();
    json_int_t prompt = result->prompt_tokens, completion = (json_int_t)result->ids.len;
    json_t *root = json_pack("{s:o, s:o, s:s, s:{s:I, s:I, s:I}, s:f, s:f}", "text", text, "ids", ids, "finish_reason",
                             qm_finish_name(result->finish), "usage", "prompt_tokens", prompt, "completion_tokens",
                             completion, "total_tokens", prompt + completion, "prefill_tps",
                             qm_report_prefill_tps(result), "decode_tps", qm_report_decode_tps(result));
    if (root)
        json_object_set_new(root, "load", qm_load_json(r->model.engine));
    if (root)
        json_object_set_new(root, "quiet", qm_quiet_json(r->model.engine));
    if (root)
        json_object_set_new(root, "power_cap", qm_power_cap_json(r->model.engine));
    if (root)
        json_object_set_new(root, "devices", qm_offload_json(r->model.engine));
    if (root)
        json_object_set_new(root, "drafts", qm_drafts_json(&r->drafts));
    json_object_set_new(root, "energy", qm_meter_json(&r->meter, (double)result->decode_tokens));
    if (root && r->logprobs)
        json_object_set(root, "logprobs", r->logprobs);
    char *line = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    int rc =
        line ? qm_out_printf(r->err, "%s\n", line) : qm_fail_memory(r->err, result->text.len, "the result as JSON");
    free(line);
    json_decref(root);
    return rc;
}

/* A chat model that is given a text without its template often has nothing to add to it. */
static void note_chat(struct run *r, const struct qm_generate_result *result) {
    bool blank = !result->text.len || strspn(result->text.data, " \t\n") == result->text.len;
    if (!blank || result->finish != QM_FINISH_STOP || !result->ids.len || !r->model.chat)
        return;
    qm_note(&r->progress, "the model ended at once. It is a chat model: quietmind chat --once \"...\" asks it with its "
                          "chat template");
}

/* What streaming left to be written. */
static int finish_output(struct run *r, const struct qm_generate_result *result) {
    int rc = QM_OK;
    if (r->options->json)
        rc = print_json(r, result);
    else if (!r->model.tokenizer)
        rc = qm_out_text("\n", r->err);
    else if (!(rc = qm_out_write(result->text.data + r->written, result->text.len - r->written, r->err)))
        rc = qm_out_terminal_newline(r->err);
    if (!rc)
        rc = qm_out_flush(r->err);
    if (rc)
        return rc;
    if (r->logprobs && !r->options->json)
        qm_report_logprobs_print(&r->progress, r->logprobs);
    if (result->finish == QM_FINISH_CONTEXT)
        qm_note(&r->progress, "the context of %lld tokens is full", (long long)qm_engine_context(r->model.engine));
    if (result->finish == QM_FINISH_INTERRUPTED)
        qm_note(&r->progress, "stopped; %s", result->ids.len ? "the text so far is kept" : "nothing was generated yet");
    note_chat(r, result);
    const struct qm_predicted_run predicted = {r->model.predictor, "run", r->model.dir};
    qm_report_speed(&r->progress, r->model.engine, result, &r->meter, &predicted);
    qm_drafts_report(&r->drafts, &r->progress);
    return result->finish == QM_FINISH_INTERRUPTED ? QM_INTERRUPTED : QM_OK;
}

static int generate(struct run *r, const struct qm_sampling *sampling) {
    const struct run_options *o = r->options;
    struct qm_sequence *sequence;
    int rc = qm_sequence_open(r->model.engine, &sequence, r->err);
    if (rc)
        return rc;
    struct qm_generate g = {
        .engine = r->model.engine,
        .sequence = sequence,
        .prompt = r->prompt.data,
        .n_prompt = (int64_t)r->prompt.len,
        .decoding = {.tokenizer = r->model.tokenizer,
                     .max_tokens = o->max_tokens,
                     .sampling = *sampling,
                     .stop = o->stop.text,
                     .n_stop = (int)o->stop.n,
                     .skip_special = true,
                     .top_logprobs = o->logprobs},
        .speculation = r->drafts.speculation,
        .on_token = on_token,
        .on_prefill = on_prefill,
        .arg = r,
        .interrupt = qm_signals_flag(),
    };
    struct qm_generate_result result;
    rc = qm_generate(&g, &result, r->err);
    if (r->generating)
        qm_meter_end(&r->meter);
    qm_signals_release();
    qm_progress_end(&r->progress);
    if (!rc)
        rc = r->failed ? r->failed : finish_output(r, &result);
    qm_generate_result_free(&result);
    qm_sequence_close(sequence);
    return rc;
}

static int run_run(const struct qm_args *args, struct qm_error *err) {
    struct run_options o;
    struct run r = {.options = &o, .err = err};
    struct qm_sampling sampling;
    struct qm_logit_bias *biases = NULL;
    int rc = decode(args, &o, err);
    if (rc)
        return rc;
    qm_progress_init(&r.progress, o.silent);
    qm_signals_kept("nothing was generated yet");
    rc = qm_app_open(&o.model, o.ids ? QM_TOKENIZER_IF_THERE : QM_TOKENIZER_YES, &r.progress, &r.model, err);
    if (!rc)
        rc = qm_app_sampling(&o.sampling, &r.model, &sampling, &biases, err);
    if (!rc)
        rc = read_prompt(&r);
    if (!rc && o.logprobs >= 0 && !(r.logprobs = json_array()))
        rc = qm_fail_memory(err, 256, "log-probabilities");
    if (!rc)
        rc = qm_drafts_describe(&o.drafts, &r.model, 1, &r.progress, &r.drafts, err);
    if (!rc)
        rc =
            qm_app_load_engine(&o.load, &(struct qm_app_engine){.drafts = r.drafts.memory}, &r.progress, &r.model, err);
    if (!rc)
        rc = qm_drafts_open(&o.drafts, &r.model, &r.progress, &r.drafts, err);
    if (!rc)
        rc = qm_meter_open("", &r.meter, err);
    if (!rc)
        rc = generate(&r, &sampling);
    if (!rc)
        qm_offload_report(r.model.engine, &r.progress);
    if (!rc || rc == QM_INTERRUPTED) {
        int saved = qm_app_save_routing(&r.model, &r.progress, err);
        rc = saved ? saved : rc;
    }
    qm_meter_close(&r.meter);
    qm_drafts_close(&r.drafts);
    free(biases);
    json_decref(r.logprobs);
    qm_ids_free(&r.prompt);
    qm_app_close(&r.model);
    return rc;
}

static const unsigned char run_options[] = {QM_OPT_PROMPT,
                                            QM_OPT_PROFILE_EXPERTS,
                                            QM_OPT_FILE,
                                            QM_OPT_IDS,
                                            QM_OPT_MAX_TOKENS,
                                            QM_OPT_TEMPERATURE,
                                            QM_OPT_TOP_K,
                                            QM_OPT_TOP_P,
                                            QM_OPT_MIN_P,
                                            QM_OPT_REPEAT_PENALTY,
                                            QM_OPT_PRESENCE_PENALTY,
                                            QM_OPT_FREQUENCY_PENALTY,
                                            QM_OPT_LOGIT_BIAS,
                                            QM_OPT_STOP,
                                            QM_OPT_LOGPROBS,
                                            QM_OPT_DRAFT,
                                            QM_OPT_DRAFT_TOKENS,
                                            QM_OPT_JSON,
                                            QM_OPT_SEED,
                                            QM_OPT_END};

const struct qm_command qm_cmd_run = {
    .name = "run",
    .usage = "[MODEL] [-p TEXT | -f FILE | --ids FILE]",
    .summary = "Continue a text",
    .details = "The prompt comes from -p, -f, --ids or standard input, and is not repeated in\n"
               "the output. Sampling follows the model's generation_config.json unless asked\n"
               "otherwise, and is greedy without one. With --ids a model without a tokenizer\n"
               "prints token ids. --json prints one object: text, ids, finish_reason, usage,\n"
               "prefill_tps, decode_tps, load, devices, drafts, quiet, power_cap, energy. Ctrl-C\n"
               "ends it with what was generated so far. Without MODEL the demonstration model\n"
               "is used.\n",
    .example = "quietmind run Qwen/Qwen3-4B -p \"The capital of France is\" -n 20\n"
               "quietmind run ~/models/Yi-6B -f story.txt --temperature 0.8 --seed 7\n",
    .options = run_options,
    .common = true,
    .takes_model = true,
    .demo_without_model = true,
    .run = run_run,
};
