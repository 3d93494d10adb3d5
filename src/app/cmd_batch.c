/* quietmind batch: many requests from a file, overnight, without losing work. */
#include <time.h>

#include "app/batch/commands.h"
#include "app/batch/look.h"
#include "app/batch/options.h"
#include "app/command_list.h"

static int run_batch(const struct qm_args *args, struct qm_error *err) {
    struct qm_progress progress;
    struct qm_batch_command batch;
    if (args->option[QM_OPT_STATUS].set)
        return qm_batch_status(args->option[QM_OPT_STATUS].text, args->option[QM_OPT_JSON].set, err);
    if (args->option[QM_OPT_EXPORT].set)
        return qm_batch_export(args->option[QM_OPT_EXPORT].text, err);
    qm_progress_init(&progress, args->option[QM_OPT_SILENT].set);
    int rc = qm_batch_options_take(args, time(NULL), &batch, err);
    if (!rc)
        rc =
            batch.check ? qm_batch_check_command(&batch, &progress, err) : qm_batch_job_command(&batch, &progress, err);
    qm_batch_command_free(&batch);
    return rc;
}

static const unsigned char batch_options[] = {
    QM_OPT_OUTPUT,         QM_OPT_CHECK,           QM_OPT_STATUS,      QM_OPT_EXPORT,       QM_OPT_RESTART,
    QM_OPT_STRICT,         QM_OPT_AS_COMPLETED,    QM_OPT_DOCUMENT,    QM_OPT_ASK,          QM_OPT_SKIP_UNREADABLE,
    QM_OPT_FORMAT,         QM_OPT_MAX_TOKENS,      QM_OPT_TEMPERATURE, QM_OPT_SYSTEM,       QM_OPT_TEMPLATE_ARG,
    QM_OPT_CHAT_TEMPLATE,  QM_OPT_UNTIL,           QM_OPT_HOURS,       QM_OPT_ON_BATTERY,   QM_OPT_ON_DONE,
    QM_OPT_REPORT,         QM_OPT_SEQUENCES,       QM_OPT_DRAFT,       QM_OPT_DRAFT_TOKENS, QM_OPT_CHUNK,
    QM_OPT_LOOK_AHEAD,     QM_OPT_KV_MEMORY,       QM_OPT_KV_DISK,     QM_OPT_KV_DISK_SIZE, QM_OPT_CHECKPOINT_EVERY,
    QM_OPT_CHECKPOINT_DIR, QM_OPT_CHECKPOINT_SIZE, QM_OPT_JSON,        QM_OPT_SEED,         QM_OPT_END};

static const unsigned char status_uses[] = {QM_OPT_JSON, QM_OPT_END};
static const unsigned char export_uses[] = {QM_OPT_END};
static const struct qm_mode batch_modes[] = {{.by = QM_OPT_STATUS, .alone = true, .uses = status_uses},
                                             {.by = QM_OPT_EXPORT, .alone = true, .uses = export_uses},
                                             {.by = QM_OPT_END}};
static const struct qm_need batch_needs[] = {
    {QM_OPT_JSON, QM_OPT_STATUS, 0}, {QM_OPT_KV_DISK_SIZE, QM_OPT_KV_DISK, 0}, {QM_OPT_END, 0, 0}};

static const struct qm_option_words batch_words[] = {
    {QM_OPT_MAX_TOKENS,
     "with --document: generate at most N tokens an answer (-1: until an end token or the context is "
     "full)",
     NULL},
    {QM_OPT_TEMPERATURE, "with --document: sampling temperature; 0: greedy", NULL},
    {QM_OPT_SYSTEM, "with --document: the system message", NULL},
    {QM_OPT_TEMPLATE_ARG,
     "with --document: set a variable of the chat template, as JSON or else as text; may be repeated", NULL},
    {QM_OPT_JSON, "with --status: print it as JSON", NULL},
    {QM_OPT_SEED, "seed of the rows that name none, with their custom_id", "0"},
    {QM_OPT_OUTPUT, "the file to write the answers to", NULL},
    {QM_OPT_END, NULL, NULL}};

const struct qm_command qm_cmd_batch = {
    .name = "batch",
    .usage = "MODEL (IN.jsonl | --document PATH --ask FILE) -o OUT",
    .summary = "Answer many requests from a file, without losing work",
    .details = "IN.jsonl is an OpenAI batch file: a line {custom_id, method, url, body} for each\n"
               "request to /v1/chat/completions, /v1/completions or /v1/embeddings. OUT.jsonl\n"
               "appears when all are answered; until then the finished ones are in\n"
               "OUT.jsonl.partial. A request that can't be answered is a line with an error.\n"
               "Whatever ends the program, the same command goes on with what is left: a\n"
               "journal, OUT.jsonl.journal, says what is finished.\n"
               "Without IN.jsonl: --document and --ask ask every question about every document;\n"
               "OUT's name says how the answers are written: .md, .txt, .csv, .json, or .jsonl.\n"
               "A request without a seed gets one from --seed and its custom_id.\n"
               "Exit codes: 0 done (a row that failed says why); 1 every row failed, or with\n"
               "--strict some; 3 the input or the journal was refused; 4 memory holds less than\n"
               "when the job began; 5 a disk failed or is full; 6 stopped by --until; 130\n"
               "interrupted. After 4, 5, 6 and 130 the same command resumes.\n",
    .example = "quietmind batch ~/models/Qwen3-30B-A3B in.jsonl -o out.jsonl \\\n"
               "    --hours 22:00-07:00\n"
               "quietmind batch ~/models/Qwen3-30B-A3B in.jsonl --check\n"
               "quietmind batch --status out.jsonl\n"
               "quietmind batch Qwen/Qwen3-4B --document reports/ --ask questions.txt \\\n"
               "    -o answers.md\n",
    .options = batch_options,
    .modes = batch_modes,
    .needs = batch_needs,
    .words = batch_words,
    .common = true,
    .max_positional = 1,
    .takes_model = true,
    .demo_without_model = true, /* --status and --export need none */
    .run = run_batch,
};
