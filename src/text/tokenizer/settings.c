/* tokenizer_config.json, special_tokens_map.json and added_tokens.json; see settings.h. */
#include "text/tokenizer/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/path.h"
#include "text/tokenizer/internal.h"

enum { CONFIG_LIMIT = 64 << 20 };

const char *const qm_named_keys[QM_NAMED_COUNT] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                   "pad_token", "cls_token", "mask_token"};

/* ---- files ---- */

static int read_object(const char *dir, const char *name, json_t **out, struct qm_error *err) {
    struct stat st;
    char *path = qm_path_join(dir, name);
    int rc = path ? QM_OK : qm_fail_memory(err, strlen(dir), "a file name");
    if (!rc && stat(path, &st) == 0)
        rc = qm_json_load(path, CONFIG_LIMIT, out, err);
    if (!rc && *out && !json_is_object(*out))
        rc = qm_fail(err, QM_INPUT, "%s: expected an object, found %s", path, qm_json_type_name(*out));
    free(path);
    return rc;
}

int qm_token_files_read(const char *dir, struct qm_token_files *out, struct qm_error *err) {
    *out = (struct qm_token_files){0};
    int rc = read_object(dir, "tokenizer_config.json", &out->config, err);
    if (!rc)
        rc = read_object(dir, "special_tokens_map.json", &out->map, err);
    if (!rc)
        rc = read_object(dir, "added_tokens.json", &out->added, err);
    /* config.json may be there for another reason and is the model's to judge: here only a hint. */
    if (!rc && !json_object_get(out->config, "tokenizer_class") &&
        read_object(dir, "config.json", &out->of_model, NULL)) {
        json_decref(out->of_model);
        out->of_model = NULL;
    }
    return rc;
}

void qm_token_files_free(struct qm_token_files *f) {
    json_decref(f->tokenizer);
    json_decref(f->config);
    json_decref(f->map);
    json_decref(f->added);
    json_decref(f->of_model);
    *f = (struct qm_token_files){0};
}

/* ---- the class ---- */

/* The class that transformers takes for a model where nothing names one. */
static const char *class_of_model(const char *type) {
    static const struct {
        const char *type, *name;
    } known[] = {
        {"llama", "LlamaTokenizer"},       {"mistral", "LlamaTokenizer"},    {"mixtral", "LlamaTokenizer"},
        {"phi3", "LlamaTokenizer"},        {"phimoe", "LlamaTokenizer"},     {"deepseek_v2", "LlamaTokenizer"},
        {"deepseek_v3", "LlamaTokenizer"}, {"ernie4_5", "LlamaTokenizer"},   {"ernie4_5_moe", "LlamaTokenizer"},
        {"gemma", "GemmaTokenizer"},       {"gemma2", "GemmaTokenizer"},     {"gemma3", "GemmaTokenizer"},
        {"gemma3_text", "GemmaTokenizer"}, {"cohere", "CohereTokenizer"},    {"cohere2", "CohereTokenizer"},
        {"gpt_neox", "GPTNeoXTokenizer"},  {"olmo", "GPTNeoXTokenizer"},     {"olmo2", "GPTNeoXTokenizer"},
        {"olmoe", "GPTNeoXTokenizer"},     {"stablelm", "GPTNeoXTokenizer"}, {"gpt2", "GPT2Tokenizer"},
        {"starcoder2", "GPT2Tokenizer"},   {"granite", "GPT2Tokenizer"},     {"granitemoe", "GPT2Tokenizer"},
        {"olmo3", "GPT2Tokenizer"},        {"exaone4", "GPT2Tokenizer"},     {"phi", "GPT2Tokenizer"},
        {"qwen2", "Qwen2Tokenizer"},       {"qwen2_moe", "Qwen2Tokenizer"},  {"qwen3", "Qwen2Tokenizer"},
        {"qwen3_moe", "Qwen2Tokenizer"},
    };
    for (size_t i = 0; type && i < sizeof known / sizeof *known; i++)
        if (!strcmp(type, known[i].type))
            return known[i].name;
    return "";
}

/* What a class's constructor says where the folder is silent. */
static const struct class_rule {
    const char *name;
    enum qm_token_class token_class;
    bool add_bos;
    const char *named[QM_NAMED_COUNT];
} class_rules[] = {
    {"LlamaTokenizer", QM_CLASS_LLAMA, true, {"<s>", "</s>", "<unk>"}},
    {"CodeLlamaTokenizer", QM_CLASS_CODE_LLAMA, true, {"<s>", "</s>", "<unk>"}},
    {"GemmaTokenizer", QM_CLASS_GEMMA, true, {"<bos>", "<eos>", "<unk>", NULL, "<pad>"}},
    {"CohereTokenizer", QM_CLASS_COHERE, true, {"<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", "<UNK>"}},
    {"GPTNeoXTokenizer", QM_CLASS_GPT_NEOX, false, {"<|endoftext|>", "<|endoftext|>", "<|endoftext|>"}},
    {"GPT2Tokenizer", QM_CLASS_GPT2, false, {"<|endoftext|>", "<|endoftext|>", "<|endoftext|>"}},
    {"Qwen2Tokenizer", QM_CLASS_QWEN2, false, {NULL, "<|endoftext|>", "<|endoftext|>", NULL, "<|endoftext|>"}},
};

static int read_class(const struct qm_token_files *f, struct qm_settings *s, struct qm_error *err) {
    const char *name = NULL;
    int rc = qm_json_string(f->config, "tokenizer_class", "tokenizer_config.json", &name, err);
    if (rc)
        return rc;
    if (!name)
        name = json_string_value(json_object_get(f->of_model, "tokenizer_class"));
    if (!name)
        name = class_of_model(json_string_value(json_object_get(f->of_model, "model_type")));
    size_t n = strlen(name);
    n -= n > 4 && !strcmp(name + n - 4, "Fast") ? 4 : 0;
    for (size_t i = 0; i < sizeof class_rules / sizeof *class_rules; i++) {
        const struct class_rule *r = &class_rules[i];
        if (strlen(r->name) != n || strncmp(r->name, name, n) != 0)
            continue;
        s->token_class = r->token_class;
        s->add_bos = r->add_bos;
        for (int k = 0; k < QM_NAMED_COUNT; k++)
            s->named[k] = r->named[k];
    }
    return QM_OK;
}

/* ---- tokens ---- */

static int flags(const json_t *v, const char *where, struct qm_new_token *t, struct qm_error *err) {
    int rc = qm_json_bool(v, "lstrip", where, &t->lstrip, err);
    if (!rc)
        rc = qm_json_bool(v, "rstrip", where, &t->rstrip, err);
    if (!rc)
        rc = qm_json_bool(v, "single_word", where, &t->single_word, err);
    if (!rc)
        rc = qm_json_bool(v, "special", where, &t->special, err);
    t->normalized = !t->special;
    return rc ? rc : qm_json_bool(v, "normalized", where, &t->normalized, err);
}

/* A token as these files write it: its text, or an object with "content". *t has the defaults. */
static int read_token(const json_t *v, const char *where, struct qm_new_token *t, struct qm_error *err) {
    const json_t *content = json_is_object(v) ? json_object_get(v, "content") : v;
    if (!json_is_string(content))
        return qm_fail(err, QM_INPUT, "%s: expected a token's text or an object with \"content\", found %s", where,
                       qm_json_type_name(v));
    t->text = json_string_value(content);
    t->len = json_string_length(content);
    if (t->len > QM_MAX_ADDED_BYTES)
        return qm_fail(err, QM_INPUT, "%s: a token of %zu bytes, expected at most %d", where, t->len,
                       QM_MAX_ADDED_BYTES);
    return json_is_object(v) ? flags(v, where, t, err) : QM_OK;
}

static int push(struct qm_settings *s, const struct qm_new_token *t, struct qm_error *err) {
    if (s->n == QM_MAX_ADDED)
        return qm_fail(err, QM_INPUT, "tokenizer_config.json: expected at most %d added tokens", QM_MAX_ADDED);
    if ((s->n & (s->n - 1)) == 0) { /* doubled at each power of two */
        struct qm_new_token *p = realloc(s->tokens, (s->n ? s->n * 2 : 1) * sizeof *p);
        if (!p)
            return qm_fail_memory(err, s->n * sizeof *p, "added tokens");
        s->tokens = p;
    }
    s->tokens[s->n++] = *t;
    return QM_OK;
}

static int by_id(const void *a, const void *b) {
    const struct qm_new_token *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* added_tokens_decoder: {"32000": {"content": ...}}. */
static int read_decoder(const json_t *decoder, struct qm_settings *s, struct qm_error *err) {
    const char *where = "tokenizer_config.json: \"added_tokens_decoder\"", *key;
    json_t *v;
    int rc = QM_OK;
    if (!json_is_object(decoder))
        return qm_fail(err, QM_INPUT, "%s: expected an object, found %s", where, qm_json_type_name(decoder));
    json_object_foreach((json_t *)(uintptr_t)decoder, key, v) {
        struct qm_new_token t = {0};
        char *end;
        t.id = strtoll(key, &end, 10);
        if (*key < '0' || *key > '9' || *end || t.id >= QM_VOCAB_MAX_ID)
            return qm_fail(err, QM_INPUT, "%s: expected ids from 0 to %d, found \"%.40s\"", where, QM_VOCAB_MAX_ID - 1,
                           key);
        if (!json_is_object(v))
            return qm_fail(err, QM_INPUT, "%s: expected an object for id %s, found %s", where, key,
                           qm_json_type_name(v));
        if ((rc = read_token(v, where, &t, err)) || (rc = push(s, &t, err)))
            return rc;
    }
    return rc;
}

/* added_tokens.json: {"<|im_start|>": 32000}. Where tokenizer.json has an id too, that one counts. */
static int read_added(const struct qm_token_files *f, struct qm_settings *s, struct qm_error *err) {
    const char *where = "added_tokens.json", *key;
    bool *taken = calloc(QM_VOCAB_MAX_ID, 1);
    json_t *v;
    size_t i;
    int rc = taken ? QM_OK : qm_fail_memory(err, QM_VOCAB_MAX_ID, "added tokens");
    json_array_foreach(json_object_get(f->tokenizer, "added_tokens"), i, v) {
        json_int_t id = json_is_integer(json_object_get(v, "id")) ? json_integer_value(json_object_get(v, "id")) : -1;
        if (taken && id >= 0 && id < QM_VOCAB_MAX_ID)
            taken[id] = true;
    }
    json_object_foreach(f->added, key, v) {
        struct qm_new_token t = {.text = key, .len = strlen(key), .normalized = true};
        t.id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (!rc && (t.id < 0 || t.id >= QM_VOCAB_MAX_ID))
            rc = qm_fail(err, QM_INPUT, "%s: \"%.64s\": expected an id from 0 to %d", where, key, QM_VOCAB_MAX_ID - 1);
        if (!rc && t.len > QM_MAX_ADDED_BYTES)
            rc = qm_fail(err, QM_INPUT, "%s: a token of %zu bytes, expected at most %d", where, t.len,
                         QM_MAX_ADDED_BYTES);
        if (!rc && !taken[t.id])
            rc = push(s, &t, err);
    }
    free(taken);
    return rc;
}

/* bos_token and its like, of one file over what is known. */
static int read_named(const json_t *file, const char *name, const json_t *found[QM_NAMED_COUNT], struct qm_settings *s,
                      struct qm_error *err) {
    for (int k = 0; k < QM_NAMED_COUNT; k++) {
        struct qm_new_token t = {0};
        const json_t *v = json_object_get(file, qm_named_keys[k]);
        char where[80];
        if (!v)
            continue;
        snprintf(where, sizeof where, "%s: \"%s\"", name, qm_named_keys[k]);
        int rc = json_is_null(v) ? QM_OK : read_token(v, where, &t, err);
        if (rc)
            return rc;
        found[k] = json_is_null(v) ? NULL : v;
        s->named[k] = t.len ? t.text : NULL;
        s->given[k] = true;
    }
    return QM_OK;
}

static bool is_named(const struct qm_settings *s, const struct qm_new_token *t) {
    for (int k = 0; k < QM_NAMED_COUNT; k++)
        if (s->named[k] && strlen(s->named[k]) == t->len && !memcmp(s->named[k], t->text, t->len))
            return true;
    return false;
}

/* One of a list of special tokens; the named ones are known by then. */
static int push_special(const json_t *v, const char *where, struct qm_settings *s, struct qm_error *err) {
    struct qm_new_token t = {.id = -1, .special = true, .how = json_is_object(v) ? QM_NEW_REPLACE : QM_NEW_WEAK};
    int rc = read_token(v, where, &t, err);
    t.special = true;
    return rc || is_named(s, &t) ? rc : push(s, &t, err);
}

/* additional_special_tokens, extra_special_tokens: lists, or an object of names. */
static int push_more(const json_t *list, const char *where, struct qm_settings *s, struct qm_error *err) {
    const char *key;
    size_t i;
    json_t *v;
    int rc;
    if (list && !json_is_null(list) && !json_is_array(list) && !qm_json_is_object(list))
        return qm_fail(err, QM_INPUT, "%s: expected a list of tokens, found %s", where, qm_json_type_name(list));
    json_array_foreach(list, i, v) {
        if ((rc = push_special(v, where, s, err)))
            return rc;
    }
    json_object_foreach((json_t *)(uintptr_t)list, key, v) {
        if ((rc = push_special(v, where, s, err)))
            return rc;
    }
    return QM_OK;
}

/* The named ones. What has its properties from an id, or in old folders from tokenizer.json, keeps them. */
static int push_named(const json_t *const found[QM_NAMED_COUNT], bool old, struct qm_settings *s,
                      struct qm_error *err) {
    int rc = QM_OK;
    for (int k = 0; !rc && k < QM_NAMED_COUNT; k++) {
        struct qm_new_token t = {.id = -1, .special = true};
        if (!found[k])
            continue;
        t.how = old ? QM_NEW_MARK : json_is_object(found[k]) ? QM_NEW_REPLACE : QM_NEW_KEEP;
        rc = read_token(found[k], qm_named_keys[k], &t, err);
        t.special = true;
        if (!rc && t.len)
            rc = push(s, &t, err);
    }
    return rc;
}

static int same_text(const void *a, const void *b) {
    const struct qm_new_token *x = *(const struct qm_new_token *const *)a, *y = *(const struct qm_new_token *const *)b;
    int c = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

/* What has an id and is also called special is special. In old folders the ids come without properties. */
static int join_special(struct qm_settings *s, bool old, struct qm_error *err) {
    const struct qm_new_token **sorted = malloc((s->with_ids + 1) * sizeof *sorted);
    if (!sorted)
        return qm_fail_memory(err, s->with_ids * sizeof *sorted, "added tokens");
    for (size_t i = 0; i < s->with_ids; i++)
        sorted[i] = &s->tokens[i];
    qsort(sorted, s->with_ids, sizeof *sorted, same_text);
    for (size_t i = s->with_ids; s->with_ids && i < s->n; i++) {
        const struct qm_new_token *t = &s->tokens[i];
        const struct qm_new_token **found = bsearch(&t, sorted, s->with_ids, sizeof *sorted, same_text);
        if (!found)
            continue;
        struct qm_new_token *first = &s->tokens[*found - s->tokens];
        first->normalized &= !old;
        first->special = true;
        if (is_named(s, t))
            s->tokens[i].how = QM_NEW_KEEP;
    }
    free(sorted);
    return QM_OK;
}

static int read_tokens(const struct qm_token_files *f, struct qm_settings *s, struct qm_error *err) {
    const json_t *found[QM_NAMED_COUNT] = {0}, *decoder = json_object_get(f->config, "added_tokens_decoder");
    bool old = !decoder || json_is_null(decoder); /* without it the older files count, and count over the config */
    int rc = read_named(f->config, "tokenizer_config.json", found, s, err);
    if (!rc && old)
        rc = read_named(f->map, "special_tokens_map.json", found, s, err);
    if (!rc)
        rc = old ? read_added(f, s, err) : read_decoder(decoder, s, err);
    if (!rc && s->n)
        qsort(s->tokens, s->n, sizeof *s->tokens, by_id);
    s->with_ids = s->n;
    if (!rc)
        rc = push_named(found, old, s, err);
    static const char *const more[] = {"additional_special_tokens", "extra_special_tokens"};
    for (int k = 0; !rc && k < 2; k++) {
        rc = push_more(json_object_get(f->config, more[k]), more[k], s, err);
        if (!rc && old)
            rc = push_more(json_object_get(f->map, more[k]), more[k], s, err);
    }
    return rc ? rc : join_special(s, old, err);
}

/* A switch where null is "off", not "as it is". */
static int read_switch(const json_t *config, const char *key, bool *out, struct qm_error *err) {
    const json_t *v = json_object_get(config, key);
    if (v && json_is_null(v))
        *out = false;
    return qm_json_bool(config, key, "tokenizer_config.json", out, err);
}

int qm_settings_read(const struct qm_token_files *f, struct qm_settings *out, struct qm_error *err) {
    *out = (struct qm_settings){.legacy = true, .prefix_space = true};
    const json_t *prefix = json_object_get(f->config, "add_prefix_space");
    int rc = read_class(f, out, err);
    if (!rc && !f->tokenizer && out->token_class == QM_CLASS_OTHER)
        out->add_bos = true; /* SentencePiece models alone are Llama's kin */
    if (!rc)
        rc = read_switch(f->config, "add_bos_token", &out->add_bos, err);
    if (!rc)
        rc = read_switch(f->config, "add_eos_token", &out->add_eos, err);
    if (!rc)
        rc = qm_json_bool(f->config, "legacy", "tokenizer_config.json", &out->legacy, err);
    if (!rc)
        rc = qm_json_bool(f->config, "add_prefix_space", "tokenizer_config.json", &out->prefix_space, err);
    out->has_prefix_space = json_is_boolean(prefix);
    out->resaved = json_is_string(json_object_get(f->config, "backend"));
    if (!rc)
        rc = read_tokens(f, out, err);
    if (rc)
        qm_settings_free(out);
    return rc;
}

void qm_settings_free(struct qm_settings *s) {
    free(s->tokens);
    s->tokens = NULL;
    s->n = 0;
}

/* ---- how a text begins ---- */

static bool is_type(const json_t *v, const char *type) {
    const char *s = json_string_value(json_object_get(v, "type"));
    return s && !strcmp(s, type);
}

/* Llama's constructor makes these parts anew wherever add_prefix_space is given. */
static int rewrite_llama(const struct qm_settings *s, json_t *root, struct qm_error *err) {
    static const char mark[] = "\xE2\x96\x81";
    json_t *normalizer = NULL, *pre = NULL;
    if (s->legacy) {
        normalizer = json_pack("{s:s, s:[]}", "type", "Sequence", "normalizers");
        json_t *steps = json_object_get(normalizer, "normalizers");
        if (s->prefix_space)
            json_array_append_new(steps, json_pack("{s:s, s:s}", "type", "Prepend", "prepend", mark));
        json_array_append_new(
            steps, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", " ", "content", mark));
    } else {
        pre = json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", mark, "prepend_scheme",
                        s->prefix_space ? "first" : "never", "split", 0);
    }
    json_t *decoder =
        json_pack("{s:s, s:[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}]}", "type", "Sequence", "decoders", "type", "Replace",
                  "pattern", "String", mark, "content", " ", "type", "ByteFallback", "type", "Fuse");
    if (s->prefix_space)
        json_array_append_new(json_object_get(decoder, "decoders"), json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip",
                                                                              "content", " ", "start", 1, "stop", 0));
    int bad = !decoder || (s->legacy ? !normalizer : !pre);
    bad |= json_object_set_new(root, "normalizer", normalizer ? normalizer : json_null());
    bad |= json_object_set_new(root, "pre_tokenizer", pre ? pre : json_null());
    bad |= json_object_set_new(root, "decoder", decoder);
    return bad ? qm_fail_memory(err, 1024, "a tokenizer's parts") : QM_OK;
}

int qm_settings_rewrite(const struct qm_settings *s, json_t *root, struct qm_error *err) {
    json_t *pre = json_object_get(root, "pre_tokenizer");
    bool spaced = !pre || json_is_null(pre) || is_type(pre, "Metaspace");
    if (s->resaved)
        return QM_OK;
    if (s->token_class == QM_CLASS_LLAMA)
        return s->has_prefix_space && spaced && is_type(json_object_get(root, "model"), "BPE")
                   ? rewrite_llama(s, root, err)
                   : QM_OK;
    bool own =
        s->token_class == QM_CLASS_GPT2 || s->token_class == QM_CLASS_GPT_NEOX || s->token_class == QM_CLASS_QWEN2;
    if (is_type(pre, "ByteLevel") && (s->has_prefix_space || own) &&
        json_object_set_new(pre, "add_prefix_space", json_boolean(s->has_prefix_space && s->prefix_space)))
        return qm_fail_memory(err, 64, "a pre-tokenizer");
    return QM_OK;
}
