/* The command line: one table of options (name, value, range, help text), the commands that take them, and
 * one parser for both the arguments and the environment (QUIETMIND_NAME; the command line wins). Help and
 * the manual page are written from the same tables. Nothing here opens a file.
 * Parsed arguments point into argv and the environment. */
#ifndef QM_APP_OPTIONS_H
#define QM_APP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum qm_option {
    QM_OPT_END, /* ends a command's list */
    QM_OPT_HELP,
    QM_OPT_MAN,
    QM_OPT_COMPLETION,
    QM_OPT_MODEL,
    /* input and output */
    QM_OPT_PROMPT,
    QM_OPT_FILE,
    QM_OPT_IDS,
    QM_OPT_OUTPUT,
    QM_OPT_JSON,
    QM_OPT_JSONL,
    QM_OPT_SILENT,
    /* generation */
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
    /* the engine */
    QM_OPT_THREADS,
    QM_OPT_NUMA,
    QM_OPT_CONTEXT,
    QM_OPT_ISA,
    QM_OPT_QUIET,
    QM_OPT_NICE,
    QM_OPT_IDLE,
    QM_OPT_POWER_CAP,
    QM_OPT_SEED,
    QM_OPT_KV_TYPE,
    QM_OPT_EXPERTS_PER_TOKEN,
    QM_OPT_ROPE_THETA,
    QM_OPT_ROPE_SCALING,
    /* chat and templates */
    QM_OPT_SYSTEM,
    QM_OPT_ONCE,
    QM_OPT_HIDE_THINKING,
    QM_OPT_CHAT_TEMPLATE,
    QM_OPT_TEMPLATE_ARG,
    QM_OPT_NOW,
    /* tokenize */
    QM_OPT_NO_SPECIAL,
    QM_OPT_SKIP_SPECIAL,
    QM_OPT_DECODE,
    /* logits, perplexity */
    QM_OPT_LAST,
    QM_OPT_CHUNK,
    QM_OPT_ATTENTION,
    QM_OPT_LAYER,
    QM_OPT_WINDOW,
    /* bench */
    QM_OPT_N_PROMPT,
    QM_OPT_N_GEN,
    QM_OPT_N_DEPTH,
    QM_OPT_BATCH,
    QM_OPT_THREAD_LIST,
    QM_OPT_REPETITIONS,
    QM_OPT_OUTPUT_FORMAT,
    QM_OPT_RANDOM,
    QM_OPT_LAYERS,
    QM_OPT_DTYPE,
    QM_OPT_FILL_DEPTH,
    QM_OPT_KERNEL,
    QM_OPT_PROGRESS,
    QM_OPT_PROFILE,
    /* plan */
    QM_OPT_PLAN_BATCH,
    QM_OPT_PLAN_PROMPT,
    QM_OPT_GENERATE,
    QM_OPT_ACCEPTANCE,
    QM_OPT_PLAN_DEPTH,
    QM_OPT_RAM,
    QM_OPT_MACHINE,
    QM_OPT_VRAM,
    QM_OPT_OFFLOAD,
    QM_OPT_PIN,
    QM_OPT_DEVICE,
    QM_OPT_PROFILE_EXPERTS,
    QM_OPT_ACCURACY,
    QM_OPT_NO_MEASURE,
    QM_OPT_ATTENTION_MAPS,
    QM_OPT_TABLE,
    QM_OPT_HTML,
    /* compare */
    QM_OPT_CONFIGS,
    QM_OPT_PROMPTS,
    QM_OPT_FILES,
    QM_OPT_COUNT_TOKENS,
    QM_OPT_PROMPT_TOKENS,
    QM_OPT_COMPARE_GENERATE,
    QM_OPT_ROUNDS,
    QM_OPT_BOUND,
    QM_OPT_JOB,
    QM_OPT_WITH,
    QM_OPT_HISTORY,
    QM_OPT_CSV,
    /* machine */
    QM_OPT_REFRESH,
    QM_OPT_DISK,
    /* batch */
    QM_OPT_CHECK,
    QM_OPT_STATUS,
    QM_OPT_EXPORT,
    QM_OPT_RESTART,
    QM_OPT_STRICT,
    QM_OPT_AS_COMPLETED,
    QM_OPT_DOCUMENT,
    QM_OPT_ASK,
    QM_OPT_SKIP_UNREADABLE,
    QM_OPT_FORMAT,
    QM_OPT_UNTIL,
    QM_OPT_HOURS,
    QM_OPT_ON_BATTERY,
    QM_OPT_ON_DONE,
    QM_OPT_REPORT,
    QM_OPT_LOOK_AHEAD,
    QM_OPT_CHECKPOINT_EVERY,
    QM_OPT_CHECKPOINT_DIR,
    QM_OPT_CHECKPOINT_SIZE,
    /* many sequences at once */
    QM_OPT_LISTEN,
    QM_OPT_ALIAS,
    QM_OPT_ANY_MODEL,
    QM_OPT_API_KEYS,
    QM_OPT_INSECURE,
    QM_OPT_HOST,
    QM_OPT_ORIGIN,
    QM_OPT_PING,
    QM_OPT_REQUEST_TIMEOUT,
    QM_OPT_GRACE,
    QM_OPT_LOG,

    QM_OPT_SEQUENCES,
    QM_OPT_KV_MEMORY,
    QM_OPT_KV_DISK,
    QM_OPT_KV_DISK_SIZE,
    QM_OPT_COUNT
};

enum qm_value_kind {
    QM_VALUE_NONE,      /* a flag */
    QM_VALUE_INT,       /* integer in [min, max] */
    QM_VALUE_MAYBE_INT, /* the same, may be left out (then 0) */
    QM_VALUE_REAL,      /* real in [min, max] */
    QM_VALUE_TEXT,
    QM_VALUE_MAYBE_TEXT, /* only after "=": --name=VALUE */
    QM_VALUE_MAYBE_IDS,  /* digits, spaces and commas, or "-"; may be left out */
    QM_VALUE_LIST        /* text, may be repeated */
};

struct qm_option_info {
    const char *name, *alias; /* alias may be NULL */
    char letter;              /* 0: none */
    enum qm_value_kind kind;
    const char *value; /* its name in help */
    double min, max;
    const char *help;
    const char *initial; /* what holds where it is not given, as help shows it; NULL: nothing to show */
};

/* By enum qm_option; entry 0 is empty. Two options may share a name or a letter where no command takes both. */
extern const struct qm_option_info qm_options[QM_OPT_COUNT];

/* The options by what they are about, each in one group: the order of help. */
struct qm_option_group {
    const char *name;
    const unsigned char *options; /* ended by QM_OPT_END */
};
extern const struct qm_option_group qm_option_groups[];
extern const size_t qm_n_option_groups;

struct qm_args;

/* What holds where an option is given, on the command line or by the environment: of the options on the command line
 * others are refused, since they would do nothing (those of the environment are for whatever uses them). All modes
 * that hold count. */
struct qm_mode {
    unsigned char by; /* enum qm_option; QM_OPT_END ends a list */
    bool or_several;  /* holds too where there are arguments beside the model */
    bool alone;       /* takes no arguments and no model */
    /* Ended by QM_OPT_END: what may be given beside it (NULL: anything), and what may not. QM_OPT_SILENT always
     * may. */
    const unsigned char *uses, *refuses;
};

/* An option that does something only where another one, or one of two, is given. */
struct qm_need {
    unsigned char option, with, or_with;
};

/* What --help says of an option where it is something else in one command than in the table; NULL: as in the table. */
struct qm_option_words {
    unsigned char option; /* enum qm_option; QM_OPT_END ends a list */
    const char *help, *initial;
};

struct qm_command {
    const char *name;
    const char *usage;                    /* what follows the name */
    const char *summary;                  /* one line */
    const char *details;                  /* paragraphs, lines at most 78 wide */
    const char *example;                  /* lines, each a command */
    const unsigned char *options;         /* enum qm_option, ended by QM_OPT_END */
    const struct qm_mode *modes;          /* or NULL */
    const struct qm_need *needs;          /* ended by an option QM_OPT_END; or NULL */
    const struct qm_option_words *words;  /* or NULL */
    bool common;                          /* takes qm_common_options too: loads a model */
    int min_positional, max_positional;   /* beside the model; max -1: any number */
    bool takes_model, demo_without_model; /* the first positional argument is the model, unless -m gives it */
    int (*run)(const struct qm_args *args, struct qm_error *err);
};

extern const unsigned char qm_common_options[];

struct qm_arg {
    bool set;
    bool given;     /* on the command line */
    bool has_value; /* of the MAYBE kinds */
    int64_t integer;
    double real;
    const char *text;
    const char **list;
    size_t n_list;
};

struct qm_args {
    const struct qm_command *command;
    struct qm_arg option[QM_OPT_COUNT];
    const char *model; /* NULL: none given */
    const char **positional;
    int n_positional;
};

/* Parses what follows the command's name. environment: NAME=VALUE strings ended by NULL, or NULL. What follows
 * --help is not checked. QM_USAGE naming the option, what was expected and what was found. */
int qm_args_parse(const struct qm_command *command, int argc, char *const *argv, char *const *environment,
                  struct qm_args *out, struct qm_error *err);
void qm_args_free(struct qm_args *a);

bool qm_command_takes(const struct qm_command *command, enum qm_option option);
/* What the option is in this command, and its default (NULL: nothing to show). */
struct qm_option_words qm_command_words(const struct qm_command *command, enum qm_option option);

/* The value given, or the default. */
int64_t qm_args_int(const struct qm_args *a, enum qm_option option, int64_t absent);
double qm_args_real(const struct qm_args *a, enum qm_option option, double absent);
const char *qm_args_text(const struct qm_args *a, enum qm_option option, const char *absent);

/* "QUIETMIND_TOP_K" for --top-k. */
void qm_option_environment(enum qm_option option, char *out, size_t size);

#endif
