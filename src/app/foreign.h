/* Words that people bring from other programs (llama.cpp, vLLM, Ollama, SGLang, transformers): what each is called
 * here, or why it is not here. Nothing is an alias: a word is answered, not obeyed. Used by the errors about options,
 * commands and models; tests/app/test_foreign.c holds every suggestion against the commands. */
#ifndef QM_APP_FOREIGN_H
#define QM_APP_FOREIGN_H

#include "app/options.h"

enum { QM_FOREIGN_OPTIONS = 4 };

struct qm_foreign_option {
    const char *words;                         /* with their dashes, separated by blanks; '_' counts as '-' */
    unsigned char options[QM_FOREIGN_OPTIONS]; /* enum qm_option: the first that a command takes; none: not here */
    const char *note;                          /* of its value; or why it is not here, after "because" */
};
struct qm_foreign_command {
    const char *words;
    const char *command; /* what does it here, or NULL */
    const char *note;    /* more about it, or NULL; or why it is not here */
};

/* Ended by an entry without words. */
extern const struct qm_foreign_option qm_foreign_options[];
extern const struct qm_foreign_command qm_foreign_commands[];

/* Answers an option that `command` does not know: arg as it was typed, with "=VALUE" or without. QM_USAGE, or QM_OK
 * where it is no such word. */
int qm_foreign_option(const struct qm_command *command, const char *arg, struct qm_error *err);
/* The same of a command's name. */
int qm_foreign_command(const char *name, struct qm_error *err);
/* Called when a model was not found: where its name is one that another program uses, *err says what to do instead. */
void qm_foreign_model(const char *name, struct qm_error *err);

#endif
