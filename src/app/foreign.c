/* The tables of other programs' words, and the answers. */
#include "app/foreign.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "app/command_list.h"

#define NO_DOWNLOAD "nothing is ever downloaded: hf download NAME gets a model into the cache, and NAME finds it there"
#define UNQUANTIZED "weights are computed in the type they were published in"

/* clang-format off */
const struct qm_foreign_option qm_foreign_options[] = {
    /* the model */
    {"-m --model-path --model-id --model-name --tokenizer", {QM_OPT_MODEL}, "a directory, or a name such as Qwen/Qwen3-4B"},
    {"-hf -hfr --hf-repo -hff --hf-file -hft --hf-token -mu --model-url --revision --download-dir --cache-dir "
     "--load-format", {0}, NO_DOWNLOAD},
    {"--trust-remote-code", {0}, "no code of a model's folder is ever run"},
    {"--lora --lora-scaled --adapter --enable-lora --lora-modules --control-vector", {0}, "adapters are not applied"},
    {"-mm --mmproj --image --audio --limit-mm-per-prompt", {0}, "only text goes in"},
    {"--quantization --quantize --load-in-4bit --load-in-8bit --quant", {0}, UNQUANTIZED},
    {"--dtype --torch-dtype", {QM_OPT_DTYPE}, "with --random"},
    {"--vocab-only --check-tensors", {0}, "quietmind inspect checks a folder without loading it"},
    /* size and memory */
    {"-c --ctx-size --n-ctx --num-ctx --ctx --context-length --context-size --max-model-len --max-seq-len "
     "--max-context-len --max-position-embeddings", {QM_OPT_CONTEXT}, "tokens a sequence may hold"},
    {"-ctk --cache-type-k -ctv --cache-type-v --kv-cache-dtype --type-k --type-v", {QM_OPT_KV_TYPE}, "bf16, f16 or f32"},
    {"-np --parallel --max-num-seqs --max-running-requests --max-batch-size --concurrency",
     {QM_OPT_SEQUENCES, QM_OPT_PLAN_BATCH, QM_OPT_BATCH}, "sequences at once"},
    {"-b --batch-size -ub --ubatch-size --max-num-batched-tokens --chunked-prefill-size --prefill-chunk",
     {QM_OPT_CHUNK}, "tokens of prompts computed at once"},
    {"--swap-space --kv-cache-memory-bytes --kv-cache-memory -cram --cache-ram", {QM_OPT_KV_MEMORY}, "a size such as 64G"},
    {"--prompt-cache --slot-save-path --prompt-cache-all", {QM_OPT_KV_DISK}, "a folder"},
    {"--enable-prefix-caching --cache-reuse --cache-prompt --prompt-cache-ro", {0},
     "shared prefixes are always computed once"},
    {"--mlock --no-mmap --mmap --direct-io -dio", {0}, "weights are read into memory once and stay there"},
    {"--keep --context-shift --no-context-shift --rope-shift", {0}, "what does not fit the context is refused, never cut"},
    /* devices */
    {"-ngl --n-gpu-layers --gpu-layers --num-gpu --ngl --device-map --cpu-offload-gb", {QM_OPT_OFFLOAD},
     "auto, none, or a number of layers"},
    {"-ncmoe --n-cpu-moe -cmoe --cpu-moe -ot --override-tensor", {QM_OPT_PIN, QM_OPT_OFFLOAD},
     "plan --pin makes a plan's file, --offload takes it"},
    {"--gpu-memory-utilization --mem-fraction-static --gpu-memory --gpu-memory-fraction", {QM_OPT_VRAM},
     "a size such as 80G, not a share"},
    {"-dev --gpu --gpus -mg --main-gpu -ts --tensor-split -sm --split-mode --device-ids", {QM_OPT_DEVICE},
     "a device's description; see quietmind machine"},
    {"-tp --tp --tp-size --tensor-parallel-size --pipeline-parallel-size -pp-size --data-parallel-size --dp "
     "--num-nodes --nnodes --rpc", {QM_OPT_NUMA}, "all NUMA nodes of one machine compute each layer; this chooses them"},
    {"-fa --flash-attn --flash-attention --attention-backend --enforce-eager", {0},
     "attention is computed in blocks always, with the same bits"},
    /* the CPU */
    {"-t --n-threads --num-threads --num-thread --cpu-threads -tb --threads-batch", {QM_OPT_THREADS, QM_OPT_THREAD_LIST},
     "0: one a physical core"},
    {"-C --cpu-mask -Cr --cpu-range --cpu-strict -Cb --cpu-mask-batch", {QM_OPT_NUMA}, "NODES; taskset(1) chooses cores"},
    {"--prio --prio-batch", {QM_OPT_NICE}, "0 to 19"},
    {"--poll --poll-batch", {QM_OPT_QUIET}, "threads sleep while they wait"},
    {"--rope-freq-base", {QM_OPT_ROPE_THETA}, NULL},
    {"--rope-freq-scale --rope-scale --rope-factor --yarn-orig-ctx --yarn-ext-factor --yarn-attn-factor --hf-overrides",
     {QM_OPT_ROPE_SCALING}, "such as yarn:factor=4,original=32768"},
    /* prompts and chat */
    {"-p", {QM_OPT_ONCE, QM_OPT_PROMPT}, NULL},
    {"-i --interactive -if --interactive-first -cnv --conversation -ins --instruct --chat", {0},
     "quietmind chat is the conversation"},
    {"-no-cnv --no-conversation", {0}, "quietmind run continues a text"},
    {"-st --single-turn --ask-once", {QM_OPT_ONCE}, "TEXT"},
    {"-sys --system-prompt -sysf --system-prompt-file --system-message", {QM_OPT_SYSTEM}, "TEXT"},
    {"-bf --binary-file --prompt-file --text-file", {QM_OPT_FILE, QM_OPT_DOCUMENT}, NULL},
    {"--jinja --no-jinja --apply-chat-template", {0}, "chat, batch and render always take the model's own template"},
    {"--chat-template-file --custom-chat-template", {QM_OPT_CHAT_TEMPLATE}, "FILE"},
    {"--chat-template-kwargs --reasoning-effort --enable-thinking --think --nothink --no-think --reasoning-budget",
     {QM_OPT_TEMPLATE_ARG, QM_OPT_HIDE_THINKING}, "such as enable_thinking=false"},
    {"--hidethinking --reasoning-format --reasoning-parser", {QM_OPT_HIDE_THINKING}, NULL},
    {"-e --escape --no-escape", {0}, "text is taken as it is; the shell writes a newline as $'\\n'"},
    {"--in-prefix --in-suffix --in-prefix-bos", {QM_OPT_CHAT_TEMPLATE}, "FILE"},
    /* generation */
    {"-n --n-predict --predict --num-predict --max-new-tokens --max-length --max-gen-len --max-completion-tokens",
     {QM_OPT_MAX_TOKENS, QM_OPT_GENERATE, QM_OPT_COMPARE_GENERATE, QM_OPT_N_GEN}, NULL},
    {"--ignore-eos", {0}, "an answer ends with the model's end token; bench generates exactly -n tokens, and a row of "
     "a batch file may say \"ignore_eos\": true"},
    {"--temperatur --sampling-temperature", {QM_OPT_TEMPERATURE}, NULL},
    {"-s --random-seed", {QM_OPT_SEED}, NULL},
    {"--repetition-penalty --repeat-last-n", {QM_OPT_REPEAT_PENALTY}, NULL},
    {"-r --reverse-prompt --stop-sequence --stop-string", {QM_OPT_STOP}, NULL},
    {"-l", {QM_OPT_LOGIT_BIAS}, "ID=X"},
    {"--mirostat --mirostat-lr --mirostat-ent --typical --typical-p --tfs --dry-multiplier --xtc-probability --samplers "
     "--sampler-seq --sampling-seq --dynatemp-range --top-nsigma", {0},
     "sampling is by temperature, top-k, top-p, min-p and penalties"},
    {"--grammar --grammar-file -j --json-schema --json-schema-file --guided-decoding-backend", {0},
     "an answer's form can't be forced"},
    {"--draft-max --draft-n --num-speculative-tokens --speculative-num-draft-tokens", {QM_OPT_DRAFT_TOKENS}, NULL},
    {"--lookup-ngram-min --spec-type --speculative-algorithm --prompt-lookup-num-tokens", {QM_OPT_DRAFT},
     "auto, lookup, off or a model"},
    {"-md --model-draft --draft-model --draft-min --draft-p-min --speculative-config --speculative-model -hfd",
     {QM_OPT_DRAFT}, "MODEL"},
    {"--embedding --embeddings --pooling --task --runner", {0},
     "embeddings are rows of a batch file, to /v1/embeddings"},
    /* server and streams */
    {"--port --bind", {QM_OPT_LISTEN}, "127.0.0.1:8080"},
    {"--api-key --api-key-file", {QM_OPT_API_KEYS}, "a file with a key on each line"},
    {"--served-model-name", {QM_OPT_ALIAS}, NULL},
    {"--cors --allowed-origins", {QM_OPT_ORIGIN}, NULL},
    {"--timeout", {QM_OPT_REQUEST_TIMEOUT}, NULL},
    {"--uvicorn-log-level", {QM_OPT_LOG}, "text, json or off"},
    {"--parallel-slots --slots", {QM_OPT_SEQUENCES}, NULL},
    {"--metrics --keepalive --keep-alive --root-path --webui --no-webui", {0},
     "quietmind serve has /metrics always, its paths with and without /v1, and no page"},
    {"--ssl-key-file --ssl-cert-file --ssl-keyfile --ssl-certfile", {0},
     "quietmind serve speaks plain HTTP: a proxy before it does TLS"},
    {"--input-file", {QM_OPT_FILE, QM_OPT_DOCUMENT}, NULL},
    {"--output-file --out-file", {QM_OPT_OUTPUT}, NULL},
    {"--log-disable --no-perf --no-display-prompt --disable-log-requests --disable-log-stats -lv "
     "--log-verbosity --log-level --quiet-output", {QM_OPT_SILENT}, NULL},
    {"-v --verbose --verbose-prompt --log-verbose --debug --perf", {0},
     "what there is to say is on standard error already; quietmind render shows a prompt"},
    {"--version", {0}, "it goes without a command: quietmind --version"},
    {"--n-prompt --npp", {QM_OPT_N_PROMPT, QM_OPT_PLAN_PROMPT, QM_OPT_PROMPT_TOKENS}, NULL},
    {"--num-prompts --random-input-len --input-len", {QM_OPT_N_PROMPT}, NULL},
    {"--random-output-len --output-len", {QM_OPT_N_GEN}, NULL},
    {"--ppl-stride --all-logits --hellaswag --multiple-choice", {0}, "perplexity reads one text; logits writes them"},
    {0},
};

const struct qm_foreign_command qm_foreign_commands[] = {
    {"server start api openai api-server llama-server", "serve", NULL},
    {"pull download fetch get install push create login", NULL, NO_DOWNLOAD},
    {"list ls models tags", NULL, "no list of models is kept: hf cache ls shows what was downloaded, and "
     "quietmind plan --table what fits this machine"},
    {"rm remove delete cp copy", NULL, "no store of models is kept: they are folders"},
    {"convert quantize quantise export-gguf merge imatrix gguf-split convert-hf-to-gguf", NULL,
     "a model runs from the folder as it was downloaded, unquantized"},
    {"ps stop kill unload", NULL, "each command loads its own model; quietmind batch --status OUT shows the state of a job"},
    {"show info describe metadata gguf-dump", "inspect", NULL},
    {"cli llama-cli main interactive talk instruct ask", "chat", "or run, which continues a text"},
    {"generate complete completions text predict infer inference", "run", NULL},
    {"run-batch batches offline jobs job", "batch", NULL},
    {"status resume", "batch", "--status OUT shows the state of a job; the same command as before resumes it"},
    {"embed embedding embeddings llama-embedding", "batch", "with rows to /v1/embeddings"},
    {"tokenise encode token-count count llama-tokenize", "tokenize", NULL},
    {"detokenize decode", "tokenize", "--decode"},
    {"template apply-template prompt apply-chat-template", "render", NULL},
    {"ppl llama-perplexity eval evaluate", "perplexity", NULL},
    {"benchmark llama-bench throughput latency", "bench", NULL},
    {"fit estimate memory fit-params llama-fit-params", "plan", NULL},
    {"doctor system cpu devices hardware topology env collect-env", "machine", NULL},
    {"diff", "compare", NULL},
    {"man usage", "help", NULL},
    {"version", NULL, "it is an option: quietmind --version"},
    {0},
};
/* clang-format on */

/* Whether `word` (n bytes) is one of those separated by blanks. */
static bool is_among(const char *words, const char *word, size_t n) {
    for (const char *w = words; *w;) {
        size_t length = strcspn(w, " ");
        bool same = length == n;
        for (size_t i = 0; i < n && same; i++)
            same = w[i] == word[i] || (w[i] == '-' && word[i] == '_');
        if (same)
            return true;
        w += length + (w[length] == ' ');
    }
    return false;
}

/* The first of the entry's options that the command takes, or QM_OPT_END. */
static enum qm_option taken(const struct qm_foreign_option *f, const struct qm_command *command) {
    for (int i = 0; i < QM_FOREIGN_OPTIONS && f->options[i]; i++)
        if (qm_command_takes(command, f->options[i]))
            return f->options[i];
    return QM_OPT_END;
}

int qm_foreign_option(const struct qm_command *command, const char *arg, struct qm_error *err) {
    const struct qm_foreign_option *f = qm_foreign_options;
    size_t n = strcspn(arg, "=");
    while (f->words && !is_among(f->words, arg, n))
        f++;
    if (!f->words)
        return QM_OK;
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)(n < 63 ? n : 63), arg);
    if (!f->options[0])
        return qm_fail(err, QM_USAGE, "%s: unknown option %s: not here, because %s", command->name, word, f->note);
    enum qm_option option = taken(f, command);
    if (option)
        return qm_fail(err, QM_USAGE, "%s: unknown option %s; did you mean --%s%s%s%s?", command->name, word,
                       qm_options[option].name, f->note ? " (" : "", f->note ? f->note : "", f->note ? ")" : "");
    for (size_t i = 0; i < qm_n_commands; i++)
        if ((option = taken(f, qm_commands[i])))
            return qm_fail(err, QM_USAGE,
                           "%s: unknown option %s: elsewhere it is --%s (quietmind %s --help), and %s has "
                           "none such",
                           command->name, word, qm_options[option].name, qm_commands[i]->name, command->name);
    return QM_OK;
}

int qm_foreign_command(const char *name, struct qm_error *err) {
    const struct qm_foreign_command *f = qm_foreign_commands;
    while (f->words && !is_among(f->words, name, strlen(name)))
        f++;
    if (!f->words)
        return QM_OK;
    if (!f->command)
        return qm_fail(err, QM_USAGE, "unknown command \"%s\": not here, because %s", name, f->note);
    return qm_fail(err, QM_USAGE, "unknown command \"%s\"; did you mean %s%s%s%s?", name, f->command,
                   f->note ? " (" : "", f->note ? f->note : "", f->note ? ")" : "");
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), k = strlen(end);
    return n >= k && strcasecmp(text + n - k, end) == 0;
}

/* Behind "https://huggingface.co/" and the like: the name, or NULL. */
static const char *after_hub(const char *name) {
    static const char *const hubs[] = {"https://", "http://", "hf://", "www.", "huggingface.co/", "hf.co/", "models/"};
    const char *rest = name;
    for (size_t i = 0; i < sizeof hubs / sizeof *hubs; i++)
        if (!strncasecmp(rest, hubs[i], strlen(hubs[i])))
            rest += strlen(hubs[i]);
    return rest == name ? NULL : rest;
}

void qm_foreign_model(const char *name, struct qm_error *err) {
    const char *hub = after_hub(name), *base = hub ? hub : name, *colon = strchr(base, ':');
    char stem[256];
    snprintf(stem, sizeof stem, "%.*s", (int)(colon ? (size_t)(colon - base) : strlen(base)), base);
    if (ends_with(stem, ".gguf") || ends_with(stem, "-gguf"))
        qm_fail(err, QM_INPUT,
                "%s: GGUF is not here, because a model runs as it was published: get the folder with config.json and "
                "safetensors that it was made of, as in hf download Qwen/Qwen3-4B",
                name);
    else if (hub && strchr(stem, '/')) {
        char *end = strchr(strchr(stem, '/') + 1, '/');
        if (end)
            *end = 0;
        qm_fail(err, QM_INPUT, "%s: nothing is downloaded here; did you mean %s, after hf download %s?", name, stem,
                stem);
    } else if (colon)
        qm_fail(err, QM_INPUT,
                "%s: names with a tag (as Ollama's) are not here, because models are named as they were published: a "
                "folder, or a name such as Qwen/Qwen3-4B after hf download Qwen/Qwen3-4B",
                name);
}
