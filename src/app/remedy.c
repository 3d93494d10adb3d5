/* The options of this program that help against errors of libraries. */
#include "app/remedy.h"

#include <string.h>

void qm_remedy_add(struct qm_error *err) {
    static const char *const words[] = {
        [QM_REMEDY_NONE] = "",
        [QM_REMEDY_CHAT_TEMPLATE] = "; give one with --chat-template FILE",
        [QM_REMEDY_LARGER_CONTEXT] = "; --context raises it",
        [QM_REMEDY_SMALLER_CONTEXT] = "; a smaller --context needs less",
        [QM_REMEDY_SHORTER_PROMPT] = "; shorten the prompt or raise --context",
        [QM_REMEDY_SHORTER_REQUEST] = "; shorten the prompt, or raise --context or --kv-memory",
        [QM_REMEDY_LARGER_KV_MEMORY] = "; --kv-memory raises it",
        [QM_REMEDY_SMALLER_KV_MEMORY] = "; a smaller --kv-memory needs less",
        [QM_REMEDY_FEWER_PINS] = "; pin less (--pin), or raise --vram to what is needed",
        [QM_REMEDY_FEWER_LAYERS] = "; --offload with fewer layers, or --offload auto",
        [QM_REMEDY_MORE_MEMORY] = "; a smaller --context, or --vram or --ram of that much more",
        [QM_REMEDY_AS_DOCUMENT] = "; batch --document does so itself",
        [QM_REMEDY_START_OVER] = "; or start over with --restart",
        [QM_REMEDY_MOVE_ASIDE] = "; --restart moves it aside",
        [QM_REMEDY_LEAVE_OUT] = "; --skip-unreadable leaves them out",
        [QM_REMEDY_ASK_DOCUMENTS] = "; for questions about a text: --document FILE --ask QUESTIONS",
        [QM_REMEDY_NAME_FORMAT] = "; --format says it where the name does not",
        [QM_REMEDY_LOOK_AT_JOB] = "; quietmind batch --status shows how it stands",
    };
    _Static_assert(sizeof words / sizeof *words == QM_REMEDY_COUNT, "a remedy without words");
    const char *more = words[err->remedy];
    size_t n = strlen(err->message);
    if (n + strlen(more) < sizeof err->message) /* else its own words are worth more than half of these */
        memcpy(err->message + n, more, strlen(more) + 1);
    err->remedy = QM_REMEDY_NONE;
}

const char *qm_trait_options(enum qm_trait t) {
    switch (t) {
    case QM_TRAIT_EXPERTS: return " (--experts-per-token)";
    case QM_TRAIT_ROTATION: return " (--rope-theta, --rope-scaling; with dynamic scaling --context too)";
    case QM_TRAIT_SPLIT: return " (--offload, --device)";
    case QM_TRAIT_KV_TYPE: return " (--kv-type)";
    default: return "";
    }
}
