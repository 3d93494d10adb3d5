/* The tokenizer against recorded answers of the published libraries, and its parts one by one. The large
 * vocabularies may not be copied into the tree: they are sought under $QM_SHARED, else ../shared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer/internal.h"

/* ---- recorded answers ---- */

static void join(char *out, size_t room, const char *dir, const char *name) {
    assert_true((size_t)snprintf(out, room, "%s/%s", dir, name) < room);
}

static void assert_ids(const json_t *expected, const struct qm_ids *ids, const char *where, int line) {
    bool same = json_array_size(expected) == ids->len;
    for (size_t i = 0; same && i < ids->len; i++)
        same = json_integer_value(json_array_get(expected, i)) == ids->data[i];
    if (!same)
        fail_msg("%s:%d: the ids differ", where, line);
}

static void assert_text(const json_t *expected, const struct qm_buf *b, const char *where, int line, const char *what) {
    if (json_string_length(expected) != b->len || (b->len && memcmp(json_string_value(expected), b->data, b->len) != 0))
        fail_msg("%s:%d: %s: expected \"%s\", found \"%s\"", where, line, what, json_string_value(expected),
                 b->data ? b->data : "");
}

static json_t *next_line(FILE *f, char **line, size_t *cap) {
    ssize_t n = getline(line, cap, f);
    return n > 0 ? json_loadb(*line, (size_t)n, JSON_ALLOW_NUL, NULL) : NULL;
}

/* What made the answers: the tokenizers library; SentencePiece, to which special tokens in a text are text and which
 * has no text for them; or the first, with SentencePiece's where they differ ("sp_ids"). */
enum oracle { TOKENIZERS, SENTENCEPIECE, EITHER };

static void check_vectors(const struct qm_tokenizer *t, const char *path, enum oracle from) {
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    struct qm_error err;
    int n = 0;
    assert_non_null(f);
    for (json_t *v; (v = next_line(f, &line, &cap)); json_decref(v)) {
        const json_t *text = json_object_get(v, "text"), *sp = json_object_get(v, "sp_ids");
        struct qm_ids ids = {0};
        n++;
        if (qm_tokenizer_encode(t, json_string_value(text), json_string_length(text),
                                json_is_true(json_object_get(v, "add_special")), from == TOKENIZERS, &ids, &err))
            fail_msg("%s:%d: %s", path, n, err.message);
        assert_ids(from == EITHER && sp ? sp : json_object_get(v, "ids"), &ids, path, n);
        for (int skip = from == SENTENCEPIECE; from != EITHER && skip < 2; skip++) {
            struct qm_buf b = {0};
            const char *key = skip ? "decoded_skip" : "decoded";
            assert_int_equal(qm_tokenizer_decode(t, ids.data, ids.len, skip, &b, &err), QM_OK);
            assert_text(json_object_get(v, key), &b, path, n, key);
            qm_buf_free(&b);
        }
        qm_ids_free(&ids);
    }
    assert_true(n > 100);
    free(line);
    fclose(f);
}

static void check_streams(const struct qm_tokenizer *t, const char *path) {
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    struct qm_error err;
    int n = 0;
    if (!f)
        return;
    for (json_t *v; (v = next_line(f, &line, &cap)); json_decref(v)) {
        const json_t *ids = json_object_get(v, "ids"), *chunks = json_object_get(v, "chunks");
        struct qm_stream *s;
        struct qm_buf b = {0};
        n++;
        assert_int_equal(qm_stream_new(t, false, &s, &err), QM_OK);
        for (size_t i = 0; i < json_array_size(ids); i++) {
            b.len = 0;
            assert_int_equal(qm_stream_push(s, (int32_t)json_integer_value(json_array_get(ids, i)), &b, &err), QM_OK);
            assert_text(json_array_get(chunks, i), &b, path, n, "chunk");
        }
        b.len = 0;
        assert_int_equal(qm_stream_flush(s, &b, &err), QM_OK);
        assert_text(json_object_get(v, "flush"), &b, path, n, "flush");
        qm_buf_free(&b);
        qm_stream_free(s);
    }
    assert_true(n > 10);
    free(line);
    fclose(f);
}

static void check_folder(const char *dir) {
    struct qm_tokenizer *t;
    struct qm_error err;
    struct stat st;
    char path[4096];
    if (qm_tokenizer_load(dir, &t, &err))
        fail_msg("%s", err.message);
    join(path, sizeof path, dir, "tokenizer.json");
    bool alone = stat(path, &st) != 0;
    join(path, sizeof path, dir, "vectors.jsonl");
    check_vectors(t, path, alone ? SENTENCEPIECE : TOKENIZERS);
    join(path, sizeof path, dir, "stream.jsonl");
    check_streams(t, path);
    qm_tokenizer_free(t);
}

static void vectors_small_a(void **state) {
    (void)state;
    check_folder("tests/data/tokenizers/small-a-spm-bpe");
}

static void vectors_small_c(void **state) {
    (void)state;
    check_folder("tests/data/tokenizers/small-c-bytelevel-flags");
}

static void vectors_small_e(void **state) {
    (void)state;
    check_folder("tests/data/tokenizers/small-e-o200k-regex");
}

/* Folders with vectors made from generated tokenizers: texts through many combinations of components. */
static void vectors_mixed(void **state) {
    (void)state;
    struct qm_error err;
    json_t *root;
    if (qm_json_load("tests/data/tokenizers/mixed.json", 64 << 20, &root, &err))
        fail_msg("%s", err.message);
    const json_t *models = json_object_get(root, "models"), *config;
    size_t i;
    json_array_foreach(json_object_get(root, "configs"), i, config) {
        json_t *file = json_deep_copy(json_object_get(config, "tokenizer")), *row;
        const char *model = json_string_value(json_object_get(config, "model"));
        json_object_set(file, "model", json_object_get(models, model));
        char *text = json_dumps(file, JSON_COMPACT);
        struct qm_tokenizer *t;
        size_t k;
        if (qm_tokenizer_load_json(text, strlen(text), "mixed.json", NULL, &t, &err))
            fail_msg("configuration %zu: %s", i, err.message);
        json_array_foreach(json_object_get(config, "rows"), k, row) {
            const json_t *in = json_array_get(row, 0);
            struct qm_ids ids = {0};
            struct qm_buf b = {0};
            int rc = qm_tokenizer_encode(t, json_string_value(in), json_string_length(in), true, true, &ids, &err);
            if (rc)
                fail_msg("configuration %zu, row %zu: %s", i, k, err.message);
            assert_ids(json_array_get(row, 1), &ids, "mixed.json", (int)(i * 100 + k));
            assert_int_equal(qm_tokenizer_decode(t, ids.data, ids.len, false, &b, &err), QM_OK);
            assert_text(json_array_get(row, 2), &b, "mixed.json", (int)(i * 100 + k), "decoded");
            qm_buf_free(&b);
            qm_ids_free(&ids);
        }
        qm_tokenizer_free(t);
        free(text);
        json_decref(file);
    }
    assert_true(i > 10);
    json_decref(root);
}

/* The folder of one large vocabulary, or a skipped test. */
static void shared_folder(const char *name, char *out, size_t room) {
    const char *base = getenv("QM_SHARED");
    struct stat st;
    assert_true((size_t)snprintf(out, room, "%s/tokenizers/%s", base ? base : "../shared", name) < room);
    if (stat(out, &st) != 0) {
        print_message("skipped: %s is not there\n", out);
        skip();
    }
}

static void vectors_shared(void **state) {
    char dir[4000];
    shared_folder(*state, dir, sizeof dir);
    check_folder(dir);
}

/* tokenizer.model alone, without the tokenizer.json beside it. */
static void vectors_shared_model(void **state) {
    char dir[4000], path[4096];
    struct qm_buf bytes = {0};
    struct qm_tokenizer *t;
    struct qm_error err;
    shared_folder(*state, dir, sizeof dir);
    join(path, sizeof path, dir, "tokenizer.model");
    assert_int_equal(qm_read_file(path, 64 << 20, &bytes, &err), QM_OK);
    assert_int_equal(qm_tokenizer_load_model(bytes.data, bytes.len, path, NULL, &t, &err), QM_OK);
    join(path, sizeof path, dir, "vectors.jsonl");
    check_vectors(t, path, EITHER);
    qm_tokenizer_free(t);
    qm_buf_free(&bytes);
}

/* ---- parts ---- */

/* A BPE over a few letters, with further top-level members. */
static int load(const char *members, struct qm_tokenizer **t, struct qm_error *err) {
    char text[4096];
    snprintf(text, sizeof text,
             "{%s%s\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"b\":2,\"c\":3,\" \":4,"
             "\"ab\":5,\"abc\":6,\"\xE2\x96\x81\":7,\"-\":8,\"A\":9,\"1\":10},\"merges\":[\"a b\",[\"ab\",\"c\"]]}}",
             members, *members ? "," : "");
    return qm_tokenizer_load_json(text, strlen(text), "test.json", NULL, t, err);
}

/* The ids of text as "1,2,3". */
static void assert_encodes(const char *members, const char *text, const char *expected) {
    struct qm_tokenizer *t;
    struct qm_error err;
    struct qm_ids ids = {0};
    struct qm_buf b = {0};
    if (load(members, &t, &err))
        fail_msg("%s", err.message);
    if (qm_tokenizer_encode(t, text, strlen(text), true, true, &ids, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < ids.len; i++)
        assert_int_equal(qm_buf_printf(&b, &err, i ? ",%d" : "%d", ids.data[i]), QM_OK);
    assert_string_equal(b.data ? b.data : "", expected);
    qm_buf_free(&b);
    qm_ids_free(&ids);
    qm_tokenizer_free(t);
}

static void bpe_merges_by_rank(void **state) {
    (void)state;
    assert_encodes("", "abcab", "6,5");
    assert_encodes("", "xyab", "0,0,5");
    assert_encodes("", "", "");
}

static void splits(void **state) {
    (void)state;
#define SPLIT(behavior)                                                                                                \
    "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"b\"},\"behavior\":\"" behavior                     \
    "\",\"invert\":false}"
    assert_encodes(SPLIT("Removed"), "abbc", "1,3");
    assert_encodes(SPLIT("Isolated"), "abbc", "1,2,2,3");
    assert_encodes(SPLIT("MergedWithPrevious"), "abbc", "5,2,3");
    assert_encodes(SPLIT("MergedWithNext"), "babc", "2,1,2,3");
    assert_encodes(SPLIT("Contiguous"), "abbc", "1,2,2,3");
    assert_encodes("\"pre_tokenizer\":{\"type\":\"Punctuation\",\"behavior\":\"Removed\"}", "a-b", "1,2");
    assert_encodes("\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"}", " a b ", "1,2");
    assert_encodes("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\","
                   "\"prepend_scheme\":\"first\"}",
                   "a b", "7,1,7,2");
}

static void normalizers(void **state) {
    (void)state;
    assert_encodes("\"normalizer\":{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}", "  ab ", "5");
    assert_encodes("\"normalizer\":{\"type\":\"Lowercase\"}", "ABC", "6");
    assert_encodes("\"normalizer\":{\"type\":\"NFKC\"}", "\xEF\xBD\x81\xEF\xBD\x82", "5");
    assert_encodes("\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"a\"}", "b", "5");
    assert_encodes("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"-+\"},\"content\":\"b\"}", "a--c",
                   "6");
}

#define ADDED(content, flags)                                                                                          \
    "\"added_tokens\":[{\"id\":11,\"content\":\"" content "\",\"special\":true,\"normalized\":false" flags "}]"

static void added_tokens(void **state) {
    (void)state;
    assert_encodes(ADDED("<x>", ""), "a<x> b", "1,11,4,2");
    assert_encodes(ADDED("<x>", ",\"rstrip\":true"), "a <x> b", "1,4,11,2");
    assert_encodes(ADDED("<x>", ",\"lstrip\":true"), "a <x> b", "1,11,4,2");
    assert_encodes(ADDED("cc", ",\"single_word\":true"), "cc acc", "11,4,1,3,3");
}

static void special_tokens_as_text(void **state) {
    (void)state;
    struct qm_tokenizer *t;
    struct qm_error err;
    struct qm_ids ids = {0};
    assert_int_equal(load(ADDED("ab", ""), &t, &err), QM_OK);
    assert_int_equal(qm_tokenizer_encode(t, "abc", 3, true, false, &ids, &err), QM_OK);
    assert_int_equal(ids.len, 1);
    assert_int_equal(ids.data[0], 6);
    qm_ids_free(&ids);
    assert_true(qm_tokenizer_is_special(t, 5)); /* the added token is the vocabulary's own */
    assert_false(qm_tokenizer_is_special(t, 6));
    assert_false(qm_tokenizer_is_special(t, -1));
    qm_tokenizer_free(t);
}

static void lookups(void **state) {
    (void)state;
    struct qm_tokenizer *t;
    struct qm_error err;
    size_t len;
    struct qm_buf b = {0};
    assert_int_equal(load(ADDED("<x>", ""), &t, &err), QM_OK);
    assert_int_equal(qm_tokenizer_size(t), 12);
    assert_int_equal(qm_tokenizer_id(t, "abc", 3), 6);
    assert_int_equal(qm_tokenizer_id(t, "<x>", 3), 11);
    assert_int_equal(qm_tokenizer_id(t, "none", 4), -1);
    assert_string_equal(qm_tokenizer_piece(t, 6, &len), "abc");
    assert_int_equal(len, 3);
    assert_null(qm_tokenizer_piece(t, 12, &len));
    assert_null(qm_tokenizer_piece(t, -1, &len));
    int32_t bad[] = {1, -12};
    assert_int_equal(qm_tokenizer_decode(t, bad, 2, false, &b, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "id -12 at position 1"));
    assert_int_equal(qm_tokenizer_token_bytes(t, -3, &b, &err), QM_INPUT);
    qm_buf_free(&b);
    qm_tokenizer_free(t);
}

/* An id that no token has, in a gap of the file or beyond it, stands for no text, everywhere. */
static void ids_without_tokens(void **state) {
    (void)state;
    struct qm_tokenizer *t[2];
    struct qm_error err;
    struct qm_stream *s;
    assert_int_equal(load("", &t[0], &err), QM_OK);
    assert_int_equal(qm_tokenizer_load("tests/data/tokenizers/small-a-spm-bpe", &t[1], &err), QM_OK);
    for (int k = 0; k < 2; k++) {
        int32_t a = qm_tokenizer_id(t[k], "a", 1), beyond = (int32_t)qm_tokenizer_size(t[k]) + 5;
        const int32_t ids[] = {a, beyond, INT32_MAX, a};
        for (int skip = 0; skip < 2; skip++) {
            struct qm_buf b = {0}, streamed = {0};
            assert_int_equal(qm_tokenizer_decode(t[k], ids, 4, skip, &b, &err), QM_OK);
            assert_int_equal(qm_stream_new(t[k], skip, &s, &err), QM_OK);
            for (int i = 0; i < 4; i++)
                assert_int_equal(qm_stream_push(s, ids[i], &streamed, &err), QM_OK);
            assert_int_equal(qm_stream_flush(s, &streamed, &err), QM_OK);
            assert_string_equal(b.data, k ? "aa" : "a a"); /* the first has no decoder */
            assert_string_equal(streamed.data, b.data);
            b.len = 0;
            assert_int_equal(qm_tokenizer_token_bytes(t[k], beyond, &b, &err), QM_OK);
            assert_int_equal(b.len, 0);
            qm_buf_free(&b);
            qm_buf_free(&streamed);
            qm_stream_free(s);
        }
        qm_tokenizer_free(t[k]);
    }
}

/* ---- what is refused ---- */

static void assert_refused(const char *members, const char *part) {
    struct qm_tokenizer *t;
    struct qm_error err;
    assert_int_equal(load(members, &t, &err), QM_INPUT);
    assert_null(t);
    if (!strstr(err.message, part))
        fail_msg("\"%s\" does not name \"%s\"", err.message, part);
}

static void refuses_by_name(void **state) {
    (void)state;
    assert_refused("\"normalizer\":{\"type\":\"Zalgo\"}", "normalizer \"Zalgo\"");
    assert_refused("\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}", "pre_tokenizer \"UnicodeScripts\"");
    assert_refused("\"post_processor\":{\"type\":\"Odd\"}", "post_processor \"Odd\"");
    assert_refused("\"decoder\":{\"type\":\"WordPiece\"}", "decoder \"WordPiece\"");
    assert_refused("\"decoder\":{\"type\":\"BPEDecoder\"}", "decoder \"BPEDecoder\"");
    assert_refused("\"decoder\":{\"type\":\"CTC\"}", "decoder \"CTC\"");
    assert_refused("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\","
                   "\"invert\":false}",
                   "regular expression");
    assert_refused("\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}", "character map");
    assert_refused("\"added_tokens\":[{\"content\":5}]", "\"content\"");
    assert_refused("\"added_tokens\":7", "added_tokens");
}

static void refuses_models(void **state) {
    (void)state;
    static const struct {
        const char *json, *part;
    } cases[] = {
        {"", "not valid JSON"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0", "not valid JSON"},
        {"[]", "must be an object"},
        {"{}", "\"model\""},
        {"{\"model\":{\"type\":\"WordPiece\"}}", "\"WordPiece\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", "id -1"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":4194304},\"merges\":[]}}", "id 4194304"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":99999999999999999999999},\"merges\":[]}}",
         "must be an integer"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1,\"b\":1},\"merges\":[]}}", "two tokens have id 1"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1},\"merges\":[\"a b\"]}}", "\"b\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1},\"merges\":[\"a a\"]}}", "\"aa\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1},\"merges\":[\"aa\"]}}", "merge 0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1},\"merges\":[],\"dropout\":0.5}}", "dropout"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":1}}", "unk_id"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", "entry 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_tokenizer *t;
        struct qm_error err;
        assert_int_equal(qm_tokenizer_load_json(cases[i].json, strlen(cases[i].json), "x.json", NULL, &t, &err),
                         QM_INPUT);
        if (!strstr(err.message, cases[i].part))
            fail_msg("case %zu: \"%s\" does not name \"%s\"", i, err.message, cases[i].part);
    }
}

static void refuses_damaged_model(void **state) {
    (void)state;
    struct qm_buf bytes = {0};
    struct qm_error err;
    struct qm_tokenizer *t;
    assert_int_equal(qm_read_file("tests/data/tokenizers/small-a-spm-bpe/tokenizer.model", 1 << 20, &bytes, &err),
                     QM_OK);
    for (size_t n = 0; n < bytes.len; n += n < 64 ? 1 : 499) {
        int rc = qm_tokenizer_load_model(bytes.data, n, "cut.model", NULL, &t, &err);
        if (rc == QM_OK) /* cut between two fields of the trailing specs: still a whole model */
            qm_tokenizer_free(t);
        else
            assert_int_equal(rc, QM_INPUT);
    }
    qm_buf_free(&bytes);
    assert_int_equal(qm_tokenizer_load("tests", &t, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "neither tokenizer.json nor tokenizer.model"));
}

static void refuses_invalid_utf8(void **state) {
    (void)state;
    struct qm_tokenizer *t;
    struct qm_error err;
    struct qm_ids ids = {0};
    assert_int_equal(load("", &t, &err), QM_OK);
    assert_int_equal(qm_tokenizer_encode(t, "ab\xFFz", 4, true, true, &ids, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "byte 2 of 4"));
    assert_int_equal(ids.len, 0);
    qm_tokenizer_free(t);
}

/* ---- long texts: would not end in time if a step were quadratic ---- */

static void check_long(const char *dir, const char *unit, size_t times) {
    struct qm_tokenizer *t;
    struct qm_error err;
    struct qm_buf text = {0}, back = {0};
    struct qm_ids ids = {0};
    assert_int_equal(qm_tokenizer_load(dir, &t, &err), QM_OK);
    for (size_t i = 0; i < times; i++)
        assert_int_equal(qm_buf_str(&text, unit, &err), QM_OK);
    if (qm_tokenizer_encode(t, text.data, text.len, false, true, &ids, &err))
        fail_msg("%s", err.message);
    assert_int_equal(qm_tokenizer_decode(t, ids.data, ids.len, false, &back, &err), QM_OK);
    size_t lead = back.len - text.len; /* ByteLevel's prefix space */
    assert_true(lead <= 1);
    assert_memory_equal(back.data + lead, text.data, text.len);
    qm_buf_free(&text);
    qm_buf_free(&back);
    qm_ids_free(&ids);
    qm_tokenizer_free(t);
}

static void long_texts(void **state) {
    (void)state;
    static const char *const dirs[] = {"tests/data/tokenizers/small-a-spm-bpe",
                                       "tests/data/tokenizers/small-c-bytelevel-flags",
                                       "tests/data/tokenizers/small-e-o200k-regex"};
    for (size_t i = 0; i < 3; i++) {
        check_long(dirs[i], "a", 1 << 20);
        check_long(dirs[i], " ", 1 << 18);
        check_long(dirs[i], "qwertyuiop", 500);
        check_long(dirs[i], "\n \t", 1 << 16);
    }
    check_long(dirs[2], "a\xCC\x81\xCC\xA3", 1 << 16); /* nothing normalizes here */
}

static void long_marks_in_nfc(void **state) {
    (void)state;
    struct qm_tokenizer *t;
    struct qm_error err;
    struct qm_buf text = {0};
    struct qm_ids ids = {0};
    assert_int_equal(qm_tokenizer_load("tests/data/tokenizers/small-c-bytelevel-flags", &t, &err), QM_OK);
    for (int i = 0; i < 1 << 17; i++) /* two classes in the wrong order: a sort by neighbours is quadratic */
        assert_int_equal(qm_buf_str(&text, i < 1 << 16 ? "\xCC\x81" : "\xCC\xA3", &err), QM_OK);
    assert_int_equal(qm_tokenizer_encode(t, text.data, text.len, false, true, &ids, &err), QM_OK);
    assert_true(ids.len > 0);
    qm_buf_free(&text);
    qm_ids_free(&ids);
    qm_tokenizer_free(t);
}

/* ---- streams ---- */

static void stream_drops_space(void **state) {
    (void)state;
    struct qm_tokenizer *t;
    struct qm_stream *s;
    struct qm_error err;
    struct qm_buf b = {0};
    assert_int_equal(
        load("\"decoder\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":\" \"}", &t,
             &err),
        QM_OK);
    assert_int_equal(qm_stream_new(t, false, &s, &err), QM_OK);
    qm_stream_drop_space(s);
    const int32_t ids[] = {7, 1, 7, 2};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(qm_stream_push(s, ids[i], &b, &err), QM_OK);
    assert_int_equal(qm_stream_push(s, -1, &b, &err), QM_INPUT);
    assert_int_equal(qm_stream_flush(s, &b, &err), QM_OK);
    assert_string_equal(b.data, "a b");
    qm_buf_free(&b);
    qm_stream_free(s);
    qm_tokenizer_free(t);
}

/* Ended between two words; nothing is appended then. */
static void interrupted(void **state) {
    (void)state;
    static const char *const dirs[] = {"tests/data/tokenizers/small-a-spm-bpe",
                                       "tests/data/tokenizers/small-c-bytelevel-flags"};
    static const char text[] = "One two three.";
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        struct qm_tokenizer *t;
        struct qm_error err;
        struct qm_ids ids = {0};
        volatile sig_atomic_t flag = 0;
        assert_int_equal(qm_tokenizer_load(dirs[i], &t, &err), QM_OK);
        assert_int_equal(qm_tokenizer_encode_until(t, text, sizeof text - 1, false, true, &flag, &ids, &err), QM_OK);
        size_t n = ids.len;
        assert_true(n > 0);
        flag = 1;
        assert_int_equal(qm_tokenizer_encode_until(t, text, sizeof text - 1, false, true, &flag, &ids, &err),
                         QM_INTERRUPTED);
        assert_int_equal(ids.len, n);
        qm_ids_free(&ids);
        qm_tokenizer_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interrupted),
        cmocka_unit_test(vectors_small_a),
        cmocka_unit_test(vectors_small_c),
        cmocka_unit_test(vectors_small_e),
        cmocka_unit_test(vectors_mixed),
        cmocka_unit_test_prestate(vectors_shared, (void *)"qwen3"),
        cmocka_unit_test_prestate(vectors_shared, (void *)"llama3"),
        cmocka_unit_test_prestate(vectors_shared, (void *)"llama2"),
        cmocka_unit_test_prestate(vectors_shared, (void *)"mistral-v3"),
        cmocka_unit_test_prestate(vectors_shared_model, (void *)"llama2"),
        cmocka_unit_test_prestate(vectors_shared_model, (void *)"mistral-v3"),
        cmocka_unit_test(bpe_merges_by_rank),
        cmocka_unit_test(splits),
        cmocka_unit_test(normalizers),
        cmocka_unit_test(added_tokens),
        cmocka_unit_test(special_tokens_as_text),
        cmocka_unit_test(lookups),
        cmocka_unit_test(ids_without_tokens),
        cmocka_unit_test(refuses_by_name),
        cmocka_unit_test(refuses_models),
        cmocka_unit_test(refuses_damaged_model),
        cmocka_unit_test(refuses_invalid_utf8),
        cmocka_unit_test(long_texts),
        cmocka_unit_test(long_marks_in_nfc),
        cmocka_unit_test(stream_drops_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
