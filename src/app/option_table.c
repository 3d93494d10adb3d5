/* The table of options. What is written here is what --help and the manual page say. */
#include "app/options.h"

#define LARGE 1e15

/* clang-format off */
#define NONE 0, 0
const struct qm_option_info qm_options[QM_OPT_COUNT] = {
    [QM_OPT_HELP] = {"help", 0, 'h', QM_VALUE_NONE, 0, NONE, "this text"},
    [QM_OPT_MAN] = {"man", 0, 0, QM_VALUE_NONE, 0, NONE, "print the manual page (roff) instead"},
    [QM_OPT_MODEL] = {"model", 0, 'm', QM_VALUE_TEXT, "DIR", NONE,
        "the model: a directory, or a name like Qwen/Qwen3-30B-A3B in the local Hugging Face cache"},

    [QM_OPT_PROMPT] = {"prompt", 0, 'p', QM_VALUE_TEXT, "TEXT", NONE, "the prompt"},
    [QM_OPT_FILE] = {"file", 0, 'f', QM_VALUE_TEXT, "FILE", NONE, "read the text from FILE (-: standard input)"},
    [QM_OPT_IDS] = {"ids", 0, 0, QM_VALUE_TEXT, "FILE", NONE,
        "read token ids from FILE (-: standard input): decimals separated by white space"},
    [QM_OPT_OUTPUT] = {"output", 0, 'o', QM_VALUE_TEXT, "OUT", NONE, "the file to write"},
    [QM_OPT_JSON] = {"json", 0, 0, QM_VALUE_NONE, 0, NONE, "print the result as JSON"},
    [QM_OPT_JSONL] = {"jsonl", 0, 0, QM_VALUE_NONE, 0, NONE,
        "read one JSON object a line from standard input, print one for each"},
    [QM_OPT_QUIET_OUTPUT] = {"quiet-output", 0, 0, QM_VALUE_NONE, 0, NONE,
        "nothing on standard error but errors"},

    [QM_OPT_MAX_TOKENS] = {"max-tokens", 0, 'n', QM_VALUE_INT, "N", -1, LARGE,
        "generate at most N tokens (-1: until an end token or the context is full)"},
    [QM_OPT_TEMPERATURE] = {"temperature", "temp", 0, QM_VALUE_REAL, "X", 0, 100, "temperature; 0 is greedy"},
    [QM_OPT_TOP_K] = {"top-k", 0, 0, QM_VALUE_INT, "N", 0, LARGE, "sample from the N best tokens; 0: off"},
    [QM_OPT_TOP_P] = {"top-p", 0, 0, QM_VALUE_REAL, "X", 0, 1, "sample from the best tokens that make up X; 1: off"},
    [QM_OPT_MIN_P] = {"min-p", 0, 0, QM_VALUE_REAL, "X", 0, 1,
        "sample from tokens at least X times as likely as the best; 0: off"},
    [QM_OPT_REPEAT_PENALTY] = {"repeat-penalty", 0, 0, QM_VALUE_REAL, "X", 0, 100,
        "divide the logits of tokens seen by X; 1: off"},
    [QM_OPT_PRESENCE_PENALTY] = {"presence-penalty", 0, 0, QM_VALUE_REAL, "X", -2, 2,
        "take X from the logits of tokens generated"},
    [QM_OPT_FREQUENCY_PENALTY] = {"frequency-penalty", 0, 0, QM_VALUE_REAL, "X", -2, 2,
        "take X from them each time they were generated"},
    [QM_OPT_LOGIT_BIAS] = {"logit-bias", 0, 0, QM_VALUE_LIST, "ID=X", NONE,
        "add X to the logit of token ID; may be repeated"},
    [QM_OPT_STOP] = {"stop", 0, 0, QM_VALUE_LIST, "TEXT", NONE, "end before TEXT; may be repeated"},
    [QM_OPT_LOGPROBS] = {"logprobs", 0, 0, QM_VALUE_MAYBE_INT, "N", 0, 20,
        "log-probabilities of each token and of the N best (0 to 20): in --json, else on standard error"},

    [QM_OPT_THREADS] = {"threads", 0, 0, QM_VALUE_INT, "N", 0, 1024, "threads; 0: one a physical core"},
    [QM_OPT_NUMA] = {"numa", 0, 0, QM_VALUE_TEXT, "NODES", NONE,
        "NUMA nodes that compute and hold weights and KV: auto (all), off (memory wherever the system puts it), or a "
        "list such as 0,1"},
    [QM_OPT_CONTEXT] = {"context", 0, 0, QM_VALUE_INT, "N", 0, 1e9,
        "tokens a sequence may hold; 0: the model's maximum, or what fits in memory"},
    [QM_OPT_ISA] = {"isa", 0, 0, QM_VALUE_TEXT, "NAME", NONE,
        "the highest instruction set to use: scalar, avx2, avx512, avx512bf16, or amx (never chosen by itself: it has "
        "run on a model of its instructions only, not yet on a CPU)"},
    [QM_OPT_QUIET] = {"quiet", 0, 0, QM_VALUE_MAYBE_TEXT, "PERCENT", NONE,
        "write tokens with the fewest threads that keep PERCENT (97) of the speed, found in the first seconds; the "
        "others sleep. max: read prompts with as few"},
    [QM_OPT_NICE] = {"nice", 0, 0, QM_VALUE_INT, "N", -20, 19, "give way to other programs, as nice(1) does: 19 most"},
    [QM_OPT_IDLE] = {"idle", 0, 0, QM_VALUE_NONE, 0, NONE,
        "run only while no other program wants the cores (SCHED_IDLE)"},
    [QM_OPT_SEED] = {"seed", 0, 0, QM_VALUE_INT, "N", 0, 9223372036854775807.0, "seed of the random generator"},
    [QM_OPT_KV_TYPE] = {"kv-type", 0, 0, QM_VALUE_TEXT, "TYPE", NONE,
        "type of the KV cache: bf16, f16 or f32; by default the weights' own"},
    [QM_OPT_EXPERTS_PER_TOKEN] = {"experts-per-token", 0, 0, QM_VALUE_INT, "N", 1, 65536,
        "experts a token uses, instead of the model's own number"},
    [QM_OPT_ROPE_THETA] = {"rope-theta", 0, 0, QM_VALUE_REAL, "X", 1e-6, 1e30, "base of the rotary embedding"},
    [QM_OPT_ROPE_SCALING] = {"rope-scaling", 0, 0, QM_VALUE_TEXT, "SPEC", NONE,
        "scaling of the rotary embedding, such as yarn:factor=4,original=32768"},

    [QM_OPT_SYSTEM] = {"system", 0, 0, QM_VALUE_TEXT, "TEXT", NONE, "the system message"},
    [QM_OPT_ONCE] = {"once", 0, 0, QM_VALUE_TEXT, "TEXT", NONE, "ask TEXT, print the answer, end"},
    [QM_OPT_HIDE_THINKING] = {"hide-thinking", 0, 0, QM_VALUE_NONE, 0, NONE,
        "leave the model's reasoning out"},
    [QM_OPT_CHAT_TEMPLATE] = {"chat-template", 0, 0, QM_VALUE_TEXT, "FILE", NONE,
        "a chat template to use instead of the model's own"},
    [QM_OPT_TEMPLATE_ARG] = {"template-arg", 0, 0, QM_VALUE_LIST, "K=V", NONE,
        "give the template a variable, as JSON or else as text; may be repeated"},
    [QM_OPT_NOW] = {"now", 0, 0, QM_VALUE_TEXT, "TIME", NONE,
        "the time the template sees, as 2026-01-15T12:00:00; by default the local time"},

    [QM_OPT_NO_SPECIAL] = {"no-special", 0, 0, QM_VALUE_NONE, 0, NONE,
        "do not add the tokens that the model wants before and after a text"},
    [QM_OPT_SKIP_SPECIAL] = {"skip-special", 0, 0, QM_VALUE_NONE, 0, NONE,
        "with --decode: leave special tokens out"},
    [QM_OPT_DECODE] = {"decode", 0, 0, QM_VALUE_MAYBE_IDS, "IDS", NONE,
        "the other way: from token ids to text (-: ids from standard input)"},

    [QM_OPT_LAST] = {"last", 0, 0, QM_VALUE_INT, "N", 1, LARGE, "the logits of the last N tokens only"},
    [QM_OPT_CHUNK] = {"chunk", 0, 0, QM_VALUE_INT, "N", 1, 65536, "compute at most N tokens at once"},
    [QM_OPT_ATTENTION] = {"attention", 0, 0, QM_VALUE_TEXT, "OUT2", NONE,
        "also write the attention probabilities of one layer, [heads, tokens, tokens]"},
    [QM_OPT_LAYER] = {"layer", 0, 0, QM_VALUE_INT, "L", 0, 65535, "that layer, from 0"},
    [QM_OPT_WINDOW] = {"window", 0, 0, QM_VALUE_INT, "N", 2, LARGE,
        "cut the text into windows of N tokens; by default as much as the context holds"},

    [QM_OPT_N_PROMPT] = {"n-prompt", 0, 'p', QM_VALUE_TEXT, "N,...", NONE,
        "lengths of prompts to measure, separated by commas; 0: none"},
    [QM_OPT_N_GEN] = {"n-gen", 0, 'n', QM_VALUE_TEXT, "N,...", NONE, "numbers of tokens to generate; 0: none"},
    [QM_OPT_N_DEPTH] = {"n-depth", "depth", 'd', QM_VALUE_TEXT, "N,...", NONE,
        "tokens that are there before the prompt or the generation"},
    [QM_OPT_BATCH] = {"batch", 0, 0, QM_VALUE_TEXT, "N,...", NONE, "sequences at once"},
    [QM_OPT_THREAD_LIST] = {"threads", 0, 't', QM_VALUE_TEXT, "N,...", NONE, "threads; 0: one a physical core"},
    [QM_OPT_REPETITIONS] = {"repetitions", 0, 'r', QM_VALUE_INT, "N", 1, 1000, "measure each case N times"},
    [QM_OPT_OUTPUT_FORMAT] = {"output-format", "output", 'o', QM_VALUE_TEXT, "FORMAT", NONE,
        "md, csv, json, jsonl or html"},
    [QM_OPT_RANDOM] = {"random", 0, 0, QM_VALUE_TEXT, "SHAPE", NONE,
        "a model of random weights: the name of a shape, or a config.json"},
    [QM_OPT_LAYERS] = {"layers", 0, 0, QM_VALUE_INT, "N", 1, 1024,
        "with --random: the first N layers only; tokens/s of all are told on paper too"},
    [QM_OPT_FILL_DEPTH] = {"fill-depth", 0, 0, QM_VALUE_NONE, 0, NONE,
        "fill the depth with random keys and values instead of computing it"},
    [QM_OPT_KERNEL] = {"kernel", 0, 0, QM_VALUE_NONE, 0, NONE, "measure the products alone, without a model"},
    [QM_OPT_PROFILE] = {"profile", 0, 0, QM_VALUE_NONE, 0, NONE,
        "also tell parallel regions a step, barriers a layer, and microseconds by kind of operation"},

    [QM_OPT_REFRESH] = {"refresh", 0, 0, QM_VALUE_NONE, 0, NONE, "measure again"},
    [QM_OPT_DISK] = {"disk", 0, 0, QM_VALUE_TEXT, "PATH", NONE,
        "also measure how fast PATH is read: a file, or the largest file of a directory"},
};
/* clang-format on */

const unsigned char qm_common_options[] = {
    QM_OPT_QUIET,      QM_OPT_NICE,         QM_OPT_IDLE,         QM_OPT_THREADS, QM_OPT_NUMA,
    QM_OPT_CONTEXT,    QM_OPT_ISA,          QM_OPT_SEED,         QM_OPT_KV_TYPE, QM_OPT_EXPERTS_PER_TOKEN,
    QM_OPT_ROPE_THETA, QM_OPT_ROPE_SCALING, QM_OPT_QUIET_OUTPUT, QM_OPT_END};
