/* The fields that requests have: those of OpenAI's API, vLLM's, and what clients of llama.cpp's server add. What is not
 * implemented is refused by name where its value asks for something, and passed over where it does not. */
#include "protocol/fields.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum { CHAT = 1 << QM_ENDPOINT_CHAT, TEXT = 1 << QM_ENDPOINT_COMPLETIONS, EMBED = 1 << QM_ENDPOINT_EMBEDDINGS };

static const char NOTHING[] = "[false, \"\", [], {}]";

static const struct qm_field fields[] = {
    {"model", CHAT | TEXT | EMBED, QM_FIELD_USED, NULL, "string", "the name of a model; without it the first"},
    {"messages", CHAT, QM_FIELD_USED, NULL, "{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"object\"}}",
     "the conversation; texts only"},
    {"prompt", TEXT, QM_FIELD_USED, NULL, "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\"}]}",
     "a text, a list of token ids, or a list of these"},
    {"input", EMBED, QM_FIELD_USED, NULL, "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\"}]}",
     "a text, a list of token ids, or a list of these"},
    {"encoding_format", EMBED, QM_FIELD_USED, NULL, "{\"type\":\"string\",\"enum\":[\"float\",\"base64\"]}",
     "how vectors are written"},
    {"max_tokens", CHAT | TEXT, QM_FIELD_USED, NULL, "{\"type\":\"integer\",\"minimum\":0}",
     "tokens to generate at most; 0 with echo only"},
    {"max_completion_tokens", CHAT, QM_FIELD_USED, NULL, "{\"type\":\"integer\",\"minimum\":1}", "the same"},
    {"temperature", CHAT | TEXT, QM_FIELD_USED, NULL, "{\"type\":\"number\",\"minimum\":0}", "of sampling; 0: greedy"},
    {"top_p", CHAT | TEXT, QM_FIELD_USED, NULL, "{\"type\":\"number\",\"minimum\":0,\"maximum\":1}",
     "the best tokens whose probabilities add up to it"},
    {"top_k", CHAT | TEXT, QM_FIELD_USED, NULL, "{\"type\":\"integer\",\"minimum\":-1}",
     "the best tokens only; 0 or -1: all"},
    {"min_p", CHAT | TEXT, QM_FIELD_USED, NULL, "{\"type\":\"number\",\"minimum\":0,\"maximum\":1}",
     "tokens at least so many times as likely as the best"},
    {"repetition_penalty", CHAT | TEXT, QM_FIELD_USED, NULL, "{\"type\":\"number\",\"exclusiveMinimum\":0}",
     "divides logits of tokens that were there"},
    {"presence_penalty", CHAT | TEXT, QM_FIELD_USED, NULL, "{\"type\":\"number\",\"minimum\":-2,\"maximum\":2}",
     "subtracted from logits of tokens generated"},
    {"frequency_penalty", CHAT | TEXT, QM_FIELD_USED, NULL, "{\"type\":\"number\",\"minimum\":-2,\"maximum\":2}",
     "the same, each time a token was generated"},
    {"logit_bias", CHAT | TEXT, QM_FIELD_USED, NULL, "object", "added to logits, by token id"},
    {"seed", CHAT | TEXT, QM_FIELD_USED, NULL, "integer", "of sampling; choice k has seed + k"},
    {"n", CHAT | TEXT, QM_FIELD_USED, NULL, "{\"type\":\"integer\",\"minimum\":1,\"maximum\":128}",
     "answers to each prompt"},
    {"best_of", TEXT, QM_FIELD_USED, NULL, "{\"type\":\"integer\",\"minimum\":1,\"maximum\":128}",
     "the value of n only"},
    {"stop", CHAT | TEXT, QM_FIELD_USED, NULL,
     "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":64}]}",
     "texts that end the answer"},
    {"ignore_eos", CHAT | TEXT, QM_FIELD_USED, NULL, "boolean", "end tokens do not end it"},
    {"skip_special_tokens", CHAT | TEXT, QM_FIELD_USED, NULL, "boolean",
     "special tokens are left out of the text (true)"},
    {"add_special_tokens", CHAT | TEXT | EMBED, QM_FIELD_USED, NULL, "boolean", "tokens that begin a text"},
    {"logprobs", CHAT, QM_FIELD_USED, NULL, "boolean", "log-probabilities of each token"},
    {"logprobs", TEXT, QM_FIELD_USED, NULL, "{\"type\":\"integer\",\"minimum\":0,\"maximum\":20}",
     "log-probabilities of each token, and of so many best"},
    {"top_logprobs", CHAT, QM_FIELD_USED, NULL, "{\"type\":\"integer\",\"minimum\":0,\"maximum\":20}",
     "and of so many best; needs logprobs"},
    {"tools", CHAT, QM_FIELD_USED, NULL, "array", "functions that may be called"},
    {"tool_choice", CHAT, QM_FIELD_USED, NULL, "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"object\"}]}",
     "auto or none"},
    {"parallel_tool_calls", CHAT, QM_FIELD_USED, NULL, "boolean", "false: the first call only"},
    {"documents", CHAT, QM_FIELD_USED, NULL, "array", "for templates that take them"},
    {"reasoning_effort", CHAT, QM_FIELD_USED, NULL, "string", "for templates that take it"},
    {"chat_template_kwargs", CHAT, QM_FIELD_USED, NULL, "object", "variables of the template"},
    {"add_generation_prompt", CHAT, QM_FIELD_USED, NULL, "boolean", "the answer begins after the messages (true)"},
    {"continue_final_message", CHAT, QM_FIELD_USED, NULL, "boolean", "the answer goes on with the last message"},
    {"response_format", CHAT | TEXT, QM_FIELD_USED, NULL, "object", "{\"type\": \"text\"} only"},
    {"stream", CHAT | TEXT, QM_FIELD_USED, NULL, "boolean", "the answer piece by piece, as server-sent events"},
    {"stream_options", CHAT | TEXT, QM_FIELD_USED, NULL, "object",
     "include_usage: usage last; continuous_usage_stats: in every chunk"},
    {"return_progress", CHAT | TEXT, QM_FIELD_USED, NULL, "boolean",
     "streamed: how far the prompt is, as prompt_progress"},
    {"timings", CHAT | TEXT, QM_FIELD_USED, NULL, "boolean", "how long prompt and answer took, last"},
    {"timings_per_token", CHAT | TEXT, QM_FIELD_USED, NULL, "boolean", "streamed: the same in every chunk"},
    {"echo", TEXT, QM_FIELD_USED, NULL, "boolean", "the prompt stands before the answer"},
    {"stop_token_ids", CHAT | TEXT, QM_FIELD_USED, NULL,
     "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"maxItems\":64}", "tokens that end it"},
    {"min_tokens", CHAT | TEXT, QM_FIELD_USED, NULL, "{\"type\":\"integer\",\"minimum\":0}",
     "before so many nothing ends it"},
    {"include_stop_str_in_output", CHAT | TEXT, QM_FIELD_USED, NULL, "boolean", "what ends it stays in the text"},
    {"user", CHAT | TEXT | EMBED, QM_FIELD_PASSED_OVER, NULL, NULL, NULL},
    {"metadata", CHAT | TEXT, QM_FIELD_PASSED_OVER, NULL, NULL, NULL},
    {"store", CHAT | TEXT, QM_FIELD_PASSED_OVER, NULL, NULL, NULL},
    {"service_tier", CHAT | TEXT, QM_FIELD_PASSED_OVER, NULL, NULL, NULL},
    {"request_id", CHAT | TEXT | EMBED, QM_FIELD_PASSED_OVER, NULL, NULL, NULL},
    {"spaces_between_special_tokens", CHAT | TEXT, QM_FIELD_PASSED_OVER, NULL, NULL, NULL},
    {"safety_identifier", CHAT, QM_FIELD_PASSED_OVER, NULL, NULL, NULL},
    {"prompt_cache_key", CHAT, QM_FIELD_PASSED_OVER, NULL, NULL, NULL},
    {"prompt_cache_retention", CHAT, QM_FIELD_PASSED_OVER, NULL, NULL, NULL},
    {"cache_salt", CHAT | TEXT, QM_FIELD_PASSED_OVER, NULL, NULL, NULL},
    {"cache_prompt", CHAT | TEXT, QM_FIELD_PASSED_OVER, NULL, NULL, NULL},
    {"priority", CHAT | TEXT | EMBED, QM_FIELD_PASSED_OVER, NULL, NULL, NULL},
    {"dimensions", EMBED, QM_FIELD_REFUSED, "[]", NULL, NULL},
    {"suffix", TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"functions", CHAT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"function_call", CHAT, QM_FIELD_REFUSED, "[\"none\", \"auto\"]", NULL, NULL}, /* without "functions" */
    {"modalities", CHAT, QM_FIELD_REFUSED, "[[\"text\"], []]", NULL, NULL},
    {"audio", CHAT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"prediction", CHAT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"verbosity", CHAT, QM_FIELD_REFUSED, "[\"medium\"]", NULL, NULL},
    {"web_search_options", CHAT, QM_FIELD_REFUSED, "[false]", NULL, NULL}, /* {} asks for a search */
    {"echo", CHAT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"bad_words", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"allowed_token_ids", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"use_beam_search", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"length_penalty", CHAT | TEXT, QM_FIELD_REFUSED, "[1]", NULL, NULL},
    {"early_stopping", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"prompt_logprobs", CHAT | TEXT, QM_FIELD_REFUSED, "[false]", NULL, NULL},
    {"truncate_prompt_tokens", CHAT | TEXT | EMBED, QM_FIELD_REFUSED, "[]", NULL, NULL},
    {"include_reasoning", CHAT, QM_FIELD_REFUSED, "[true]", NULL, NULL},
    {"detokenize", CHAT | TEXT, QM_FIELD_REFUSED, "[true]", NULL, NULL},
    {"chat_template", CHAT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"mm_processor_kwargs", CHAT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"logits_processors", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"return_token_ids", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"return_tokens_as_token_ids", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"kv_transfer_params", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"vllm_xargs", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"guided_decoding_backend", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"guided_json", CHAT | TEXT, QM_FIELD_REFUSED, "[false, \"\"]", NULL, NULL}, /* {} asks for JSON, of any kind */
    {"guided_json_object", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"guided_regex", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"guided_choice", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"guided_grammar", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"guided_whitespace_pattern", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"structured_outputs", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"grammar", CHAT | TEXT, QM_FIELD_REFUSED, NOTHING, NULL, NULL},
    {"json_schema", CHAT | TEXT, QM_FIELD_REFUSED, "[false, \"\"]", NULL, NULL},
    {"typical_p", CHAT | TEXT, QM_FIELD_REFUSED, "[1]", NULL, NULL},
    {"mirostat", CHAT | TEXT, QM_FIELD_REFUSED, "[0]", NULL, NULL},
    {"dry_multiplier", CHAT | TEXT, QM_FIELD_REFUSED, "[0]", NULL, NULL},
    {"xtc_probability", CHAT | TEXT, QM_FIELD_REFUSED, "[0]", NULL, NULL},
};

size_t qm_fields_count(void) {
    return sizeof fields / sizeof *fields;
}

const struct qm_field *qm_fields_at(size_t i) {
    return &fields[i];
}

bool qm_field_is_of(const struct qm_field *f, enum qm_endpoint endpoint) {
    return f->endpoints & 1 << endpoint;
}

static const struct qm_field *find(enum qm_endpoint endpoint, const char *name) {
    for (size_t i = 0; i < qm_fields_count(); i++)
        if (!strcmp(fields[i].name, name) && qm_field_is_of(&fields[i], endpoint))
            return &fields[i];
    return NULL;
}

static bool same(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static bool asks_for_nothing(const struct qm_field *f, const json_t *value) {
    json_t *neutral = NULL;
    bool none = false;
    if (qm_json_parse(f->neutral, strlen(f->neutral), f->name, &neutral, NULL))
        return false;
    for (size_t i = 0; i < json_array_size(neutral) && !none; i++)
        none = same(json_array_get(neutral, i), value);
    json_decref(neutral);
    return none;
}

int qm_ignored_add(struct qm_buf *ignored, const char *name, struct qm_error *err) {
    return qm_buf_printf(ignored, err, "%s%s", ignored->len ? ", " : "", name);
}

int qm_fields_check(enum qm_endpoint endpoint, const json_t *body, struct qm_buf *ignored, struct qm_error *err) {
    const char *key;
    json_t *value;
    int rc = QM_OK;
    json_object_foreach((json_t *)(uintptr_t)body, key, value) {
        const struct qm_field *f = json_is_null(value) ? NULL : find(endpoint, key);
        if (json_is_null(value))
            continue;
        if (!f)
            return qm_about(err, key, qm_fail(err, QM_INPUT, "\"%.60s\" is not a field of this request", key));
        if (f->kind == QM_FIELD_REFUSED && !asks_for_nothing(f, value))
            return qm_about(err, key, qm_fail(err, QM_INPUT, "\"%s\": not implemented", key));
        if (f->kind == QM_FIELD_PASSED_OVER)
            rc = qm_ignored_add(ignored, key, err);
        if (rc)
            return rc;
    }
    return rc;
}
