/* The fields that requests have: those of OpenAI's API, vLLM's, and what clients of llama.cpp's server add. What is not
 * implemented is refused by name where its value asks for something, and passed over where it does not. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "protocol/internal.h"

enum { CHAT = 1 << QM_ENDPOINT_CHAT, TEXT = 1 << QM_ENDPOINT_COMPLETIONS, EMBED = 1 << QM_ENDPOINT_EMBEDDINGS };

enum field_kind { FIELD_USED, FIELD_PASSED_OVER, FIELD_MISSING };

struct field {
    const char *name;
    int endpoints;
    enum field_kind kind;
    const char *neutral; /* of FIELD_MISSING: the values that ask for nothing, a list; null always does */
};

static const char NOTHING[] = "[false, \"\", [], {}]";

static const struct field fields[] = {
    {"model", CHAT | TEXT | EMBED, FIELD_USED, NULL},
    {"messages", CHAT, FIELD_USED, NULL},
    {"prompt", TEXT, FIELD_USED, NULL},
    {"input", EMBED, FIELD_USED, NULL},
    {"encoding_format", EMBED, FIELD_USED, NULL},
    {"max_tokens", CHAT | TEXT, FIELD_USED, NULL},
    {"max_completion_tokens", CHAT, FIELD_USED, NULL},
    {"temperature", CHAT | TEXT, FIELD_USED, NULL},
    {"top_p", CHAT | TEXT, FIELD_USED, NULL},
    {"top_k", CHAT | TEXT, FIELD_USED, NULL},
    {"min_p", CHAT | TEXT, FIELD_USED, NULL},
    {"repetition_penalty", CHAT | TEXT, FIELD_USED, NULL},
    {"presence_penalty", CHAT | TEXT, FIELD_USED, NULL},
    {"frequency_penalty", CHAT | TEXT, FIELD_USED, NULL},
    {"logit_bias", CHAT | TEXT, FIELD_USED, NULL},
    {"seed", CHAT | TEXT, FIELD_USED, NULL},
    {"n", CHAT | TEXT, FIELD_USED, NULL},
    {"best_of", TEXT, FIELD_USED, NULL},
    {"stop", CHAT | TEXT, FIELD_USED, NULL},
    {"ignore_eos", CHAT | TEXT, FIELD_USED, NULL},
    {"skip_special_tokens", CHAT | TEXT, FIELD_USED, NULL},
    {"add_special_tokens", CHAT | TEXT | EMBED, FIELD_USED, NULL},
    {"logprobs", CHAT | TEXT, FIELD_USED, NULL},
    {"top_logprobs", CHAT, FIELD_USED, NULL},
    {"tools", CHAT, FIELD_USED, NULL},
    {"tool_choice", CHAT, FIELD_USED, NULL},
    {"parallel_tool_calls", CHAT, FIELD_USED, NULL},
    {"documents", CHAT, FIELD_USED, NULL},
    {"reasoning_effort", CHAT, FIELD_USED, NULL},
    {"chat_template_kwargs", CHAT, FIELD_USED, NULL},
    {"add_generation_prompt", CHAT, FIELD_USED, NULL},
    {"continue_final_message", CHAT, FIELD_USED, NULL},
    {"response_format", CHAT | TEXT, FIELD_USED, NULL},
    {"stream", CHAT | TEXT, FIELD_USED, NULL},
    {"echo", TEXT, FIELD_USED, NULL},
    {"stop_token_ids", CHAT | TEXT, FIELD_USED, NULL},
    {"min_tokens", CHAT | TEXT, FIELD_USED, NULL},
    {"include_stop_str_in_output", CHAT | TEXT, FIELD_USED, NULL},
    {"user", CHAT | TEXT | EMBED, FIELD_PASSED_OVER, NULL},
    {"metadata", CHAT | TEXT, FIELD_PASSED_OVER, NULL},
    {"store", CHAT | TEXT, FIELD_PASSED_OVER, NULL},
    {"service_tier", CHAT | TEXT, FIELD_PASSED_OVER, NULL},
    {"request_id", CHAT | TEXT | EMBED, FIELD_PASSED_OVER, NULL},
    {"spaces_between_special_tokens", CHAT | TEXT, FIELD_PASSED_OVER, NULL},
    {"safety_identifier", CHAT, FIELD_PASSED_OVER, NULL},
    {"prompt_cache_key", CHAT, FIELD_PASSED_OVER, NULL},
    {"prompt_cache_retention", CHAT, FIELD_PASSED_OVER, NULL},
    {"cache_salt", CHAT | TEXT, FIELD_PASSED_OVER, NULL},
    {"cache_prompt", CHAT | TEXT, FIELD_PASSED_OVER, NULL},
    {"stream_options", CHAT | TEXT, FIELD_PASSED_OVER, NULL},
    {"priority", CHAT | TEXT | EMBED, FIELD_PASSED_OVER, NULL},
    {"dimensions", EMBED, FIELD_MISSING, "[]"},
    {"suffix", TEXT, FIELD_MISSING, NOTHING},
    {"functions", CHAT, FIELD_MISSING, NOTHING},
    {"function_call", CHAT, FIELD_MISSING, "[\"none\", \"auto\"]"}, /* without "functions" */
    {"modalities", CHAT, FIELD_MISSING, "[[\"text\"], []]"},
    {"audio", CHAT, FIELD_MISSING, NOTHING},
    {"prediction", CHAT, FIELD_MISSING, NOTHING},
    {"verbosity", CHAT, FIELD_MISSING, "[\"medium\"]"},
    {"web_search_options", CHAT, FIELD_MISSING, "[false]"}, /* {} asks for a search */
    {"echo", CHAT, FIELD_MISSING, NOTHING},
    {"bad_words", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"allowed_token_ids", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"use_beam_search", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"length_penalty", CHAT | TEXT, FIELD_MISSING, "[1]"},
    {"early_stopping", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"prompt_logprobs", CHAT | TEXT, FIELD_MISSING, "[false]"},
    {"truncate_prompt_tokens", CHAT | TEXT | EMBED, FIELD_MISSING, "[]"},
    {"include_reasoning", CHAT, FIELD_MISSING, "[true]"},
    {"detokenize", CHAT | TEXT, FIELD_MISSING, "[true]"},
    {"chat_template", CHAT, FIELD_MISSING, NOTHING},
    {"mm_processor_kwargs", CHAT, FIELD_MISSING, NOTHING},
    {"logits_processors", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"return_token_ids", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"return_tokens_as_token_ids", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"kv_transfer_params", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"vllm_xargs", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"guided_decoding_backend", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"guided_json", CHAT | TEXT, FIELD_MISSING, "[false, \"\"]"}, /* {} asks for JSON, of any kind */
    {"guided_json_object", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"guided_regex", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"guided_choice", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"guided_grammar", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"guided_whitespace_pattern", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"structured_outputs", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"grammar", CHAT | TEXT, FIELD_MISSING, NOTHING},
    {"json_schema", CHAT | TEXT, FIELD_MISSING, "[false, \"\"]"},
    {"typical_p", CHAT | TEXT, FIELD_MISSING, "[1]"},
    {"mirostat", CHAT | TEXT, FIELD_MISSING, "[0]"},
    {"dry_multiplier", CHAT | TEXT, FIELD_MISSING, "[0]"},
    {"xtc_probability", CHAT | TEXT, FIELD_MISSING, "[0]"},
};

static bool same(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static bool asks_for_nothing(const struct field *f, const json_t *value) {
    json_t *neutral = NULL;
    bool none = false;
    if (qm_json_parse(f->neutral, strlen(f->neutral), f->name, &neutral, NULL))
        return false;
    for (size_t i = 0; i < json_array_size(neutral) && !none; i++)
        none = same(json_array_get(neutral, i), value);
    json_decref(neutral);
    return none;
}

int qm_openai_check_fields(enum qm_endpoint endpoint, const json_t *body, struct qm_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, key, value) {
        const struct field *f = NULL;
        if (json_is_null(value))
            continue;
        for (size_t i = 0; i < sizeof fields / sizeof *fields && !f; i++)
            if (!strcmp(fields[i].name, key) && fields[i].endpoints & 1 << endpoint)
                f = &fields[i];
        if (!f)
            return qm_fail(err, QM_INPUT, "\"%.60s\" is not a field of this request", key);
        if (f->kind == FIELD_MISSING && !asks_for_nothing(f, value))
            return qm_fail(err, QM_INPUT, "\"%s\": not implemented", key);
    }
    return QM_OK;
}
