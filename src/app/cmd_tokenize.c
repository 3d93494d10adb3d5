/* quietmind tokenize: text to token ids and back. Needs the tokenizer's files only. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/command_list.h"
#include "app/decode.h"
#include "app/open_model.h"
#include "app/options.h"
#include "app/out.h"
#include "base/json.h"
#include "base/path.h"
#include "text/ids_file.h"

static const size_t LINE_LIMIT = 1000000000;
enum { CONFIG_LIMIT = 1 << 20 };

static int print_ids(const struct qm_ids *ids, const char *separator, struct qm_error *err) {
    int rc = QM_OK;
    for (size_t i = 0; i < ids->len && !rc; i++)
        rc = qm_out_printf(err, "%s%d", i ? separator : "", (int)ids->data[i]);
    return rc;
}

/* A JSON string, or null where the bytes are not UTF-8. */
static int print_json_string(const char *s, size_t n, struct qm_error *err) {
    json_t *value = json_stringn(s, n);
    if (!value)
        return qm_out_text("null", err);
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    json_decref(value);
    if (!text)
        return qm_fail_memory(err, n, "a JSON string");
    int rc = qm_out_text(text, err);
    free(text);
    return rc;
}

static int print_ids_json(const struct qm_tokenizer *t, const struct qm_ids *ids, bool pieces, struct qm_error *err) {
    int rc = qm_out_text("{\"ids\":[", err);
    if (!rc)
        rc = print_ids(ids, ",", err);
    if (!rc && pieces)
        rc = qm_out_text("],\"pieces\":[", err);
    for (size_t i = 0; pieces && i < ids->len && !rc; i++) {
        size_t n = 0;
        const char *piece = qm_tokenizer_piece(t, ids->data[i], &n);
        if (i)
            rc = qm_out_text(",", err);
        if (!rc)
            rc = piece ? print_json_string(piece, n, err) : qm_out_text("null", err);
    }
    return rc ? rc : qm_out_text("]}\n", err);
}

static int print_text_json(const struct qm_buf *text, struct qm_error *err) {
    int rc = qm_out_text("{\"text\":", err);
    if (!rc)
        rc = print_json_string(text->data ? text->data : "", text->len, err);
    return rc ? rc : qm_out_text("}\n", err);
}

static int encode_line(const struct qm_tokenizer *t, const json_t *line, bool special, struct qm_error *err) {
    const json_t *text = json_object_get(line, "text");
    if (!json_is_string(text))
        return qm_fail(err, QM_INPUT, "expected {\"text\": a string}, found \"text\" to be %s",
                       qm_json_type_name(text));
    int rc = qm_json_bool(line, "add_special", "the line", &special, err);
    struct qm_ids ids = {0};
    if (!rc)
        rc = qm_tokenizer_encode(t, json_string_value(text), json_string_length(text), special, true, &ids, err);
    if (!rc)
        rc = print_ids_json(t, &ids, false, err);
    qm_ids_free(&ids);
    return rc;
}

/* The vocabulary that ids are of: the tokenizer's tokens and, where the folder has the model's config.json, the rows
 * with which a model pads them. */
struct vocabulary {
    const struct qm_tokenizer *t;
    int64_t size;
};

static int64_t padded_size(const char *dir, int64_t size) {
    json_t *root = NULL;
    char *path = qm_path_join(dir, "config.json");
    if (path && access(path, R_OK) == 0 && !qm_json_load(path, CONFIG_LIMIT, &root, NULL)) {
        const json_t *text = json_object_get(root, "text_config");
        const json_t *vocab = json_object_get(json_is_object(text) ? text : root, "vocab_size");
        if (json_is_integer(vocab) && json_integer_value(vocab) > size && json_integer_value(vocab) <= INT32_MAX)
            size = json_integer_value(vocab);
    }
    json_decref(root);
    free(path);
    return size;
}

static int decode(const struct vocabulary *v, const struct qm_ids *ids, bool skip_special, struct qm_buf *text,
                  struct qm_error *err) {
    for (size_t i = 0; i < ids->len; i++)
        if (ids->data[i] >= v->size)
            return qm_fail(err, QM_INPUT, "token id %d at position %zu is not in the vocabulary (ids 0 to %lld)",
                           (int)ids->data[i], i, (long long)v->size - 1);
    return qm_tokenizer_decode(v->t, ids->data, ids->len, skip_special, text, err);
}

static int decode_line(const struct vocabulary *v, const json_t *line, bool skip_special, struct qm_error *err) {
    const json_t *list = json_object_get(line, "ids"), *item;
    if (!json_is_array(list))
        return qm_fail(err, QM_INPUT, "expected {\"ids\": a list}, found \"ids\" to be %s", qm_json_type_name(list));
    struct qm_ids ids = {0};
    struct qm_buf text = {0};
    int rc = QM_OK;
    size_t i;
    json_array_foreach(list, i, item) {
        json_int_t id = json_is_integer(item) ? json_integer_value(item) : -1;
        if (id < 0 || id > INT32_MAX)
            rc = qm_fail(err, QM_INPUT, "ids[%zu]: expected an integer from 0 to 2147483647", i);
        else
            rc = qm_ids_push(&ids, (int32_t)id, err);
        if (rc)
            break;
    }
    if (!rc)
        rc = decode(v, &ids, skip_special, &text, err);
    if (!rc)
        rc = print_text_json(&text, err);
    qm_ids_free(&ids);
    qm_buf_free(&text);
    return rc;
}

/* One line of standard input into *line, without its newline. *more: there was one. */
static int read_line(char **line, size_t *cap, size_t *len, bool *more, struct qm_error *err) {
    errno = 0;
    ssize_t n = getline(line, cap, stdin);
    *more = n >= 0;
    if (n < 0)
        return errno && !feof(stdin) ? qm_fail_errno(err, "standard input") : QM_OK;
    *len = (size_t)n - ((*line)[n - 1] == '\n');
    return *len > LINE_LIMIT ? qm_fail(err, QM_INPUT, "longer than the limit of %zu bytes", LINE_LIMIT) : QM_OK;
}

/* A line is answered before the next is read, so that another program can hold a conversation. */
struct tokenize_options {
    const char *model; /* NULL: the demonstration model */
    bool decode, lines, json, count;
    bool no_special, skip_special;
    const char *ids; /* the value of --decode; NULL: none */
    struct qm_texts files;
    const char *const *words; /* TEXT, or ids */
    int n_words;
    bool silent;
};

static int json_lines(const struct tokenize_options *o, const struct vocabulary *v, struct qm_error *err) {
    bool decoding = o->decode, special = !o->no_special;
    char *line = NULL;
    size_t cap = 0, len = 0;
    bool more = true;
    int rc = QM_OK;
    for (long long number = 1; !rc; number++) {
        json_t *root = NULL;
        rc = read_line(&line, &cap, &len, &more, err);
        if (!rc && !more)
            break;
        if (!rc)
            rc = qm_json_parse(line, len, "the line", &root, err);
        if (!rc && !qm_json_is_object(root))
            rc = qm_fail(err, QM_INPUT, "expected an object, found %s", qm_json_type_name(root));
        if (!rc)
            rc = decoding ? decode_line(v, root, o->skip_special, err) : encode_line(v->t, root, special, err);
        if (!rc)
            rc = qm_out_flush(err);
        if (rc == QM_INPUT)
            qm_fail_context(err, "standard input: line %lld", number);
        json_decref(root);
    }
    free(line);
    return rc;
}

/* Ids from the option's value and the arguments after it, or from standard input. Commas separate too. */
static int gather_ids(const struct tokenize_options *o, struct qm_ids *ids, struct qm_error *err) {
    struct qm_buf text = {0};
    int rc = o->ids ? qm_buf_str(&text, o->ids, err) : QM_OK;
    for (int i = 0; i < o->n_words && !rc; i++)
        rc = qm_buf_printf(&text, err, " %s", o->words[i]);
    if (!rc && (text.len == 0 || !strcmp(text.data + (text.data[0] == ' '), "-")))
        rc = qm_ids_read("-", ids, err);
    else if (!rc) {
        for (size_t i = 0; i < text.len; i++)
            if (text.data[i] == ',')
                text.data[i] = ' ';
        rc = qm_ids_parse(text.data, text.len, "--decode", ids, err);
    }
    qm_buf_free(&text);
    return rc;
}

static int decode_once(const struct tokenize_options *o, const struct vocabulary *v, struct qm_error *err) {
    struct qm_ids ids = {0};
    struct qm_buf text = {0};
    int rc = gather_ids(o, &ids, err);
    if (!rc)
        rc = decode(v, &ids, o->skip_special, &text, err);
    if (!rc && o->json)
        rc = print_text_json(&text, err);
    else if (!rc && !(rc = qm_out_write(text.data ? text.data : "", text.len, err)))
        rc = qm_out_terminal_newline(err);
    qm_ids_free(&ids);
    qm_buf_free(&text);
    return rc;
}

/* A text's ids. name: what it is called in messages; path: where it is, NULL for TEXT itself. */
static int encode_text(const struct tokenize_options *o, const struct qm_tokenizer *t, const char *path,
                       struct qm_ids *ids, struct qm_error *err) {
    struct qm_buf text = {0};
    int rc;
    if (path) {
        rc = qm_read_text(path, &text, err);
    } else {
        rc = qm_buf_str(&text, o->words[0], err);
        if (!rc)
            rc = qm_check_text(text.data, text.len, "TEXT", err);
    }
    if (!rc)
        rc = qm_tokenizer_encode(t, text.data, text.len, !o->no_special, true, ids, err);
    qm_buf_free(&text);
    return rc;
}

static int print_encoded(const struct tokenize_options *o, const struct qm_tokenizer *t, const struct qm_ids *ids,
                         struct qm_error *err) {
    if (o->count)
        return qm_out_printf(err, o->json ? "{\"tokens\":%zu}\n" : "%zu\n", ids->len);
    if (o->json)
        return print_ids_json(t, ids, true, err);
    int rc = print_ids(ids, " ", err);
    return rc ? rc : qm_out_text("\n", err);
}

/* A line of a count of several files; the last has no name in JSON. */
static int print_count(size_t n, const char *name, bool json, bool last, struct qm_error *err) {
    if (!json)
        return qm_out_printf(err, "%zu %s\n", n, name);
    if (last)
        return qm_out_printf(err, "],\"tokens\":%zu}\n", n);
    int rc = qm_out_text("{\"file\":", err);
    if (!rc)
        rc = print_json_string(name, strlen(name), err);
    return rc ? rc : qm_out_printf(err, ",\"tokens\":%zu}", n);
}

/* Files one by one, each a text of its own: no more than one is in memory. */
static int encode_files(const struct tokenize_options *o, const struct qm_tokenizer *t, struct qm_progress *progress,
                        struct qm_error *err) {
    const struct qm_texts *files = &o->files;
    bool count = o->count && files->n > 1, json = o->json;
    size_t total = 0;
    int rc = count && json ? qm_out_text("{\"files\":[", err) : QM_OK;
    for (size_t i = 0; i < files->n && !rc; i++) {
        struct qm_ids ids = {0};
        qm_progress_update(progress, "tokenizing", i, files->n, QM_PROGRESS_TOKENS);
        rc = encode_text(o, t, files->text[i], &ids, err);
        qm_progress_end(progress);
        total += ids.len;
        if (!rc && count && json && i)
            rc = qm_out_text(",", err);
        if (!rc)
            rc = count ? print_count(ids.len, files->text[i], json, false, err) : print_encoded(o, t, &ids, err);
        qm_ids_free(&ids);
    }
    return rc || !count ? rc : print_count(total, "total", json, true, err);
}

static int encode_once(const struct tokenize_options *o, const struct qm_tokenizer *t, struct qm_progress *progress,
                       struct qm_error *err) {
    struct qm_ids ids = {0};
    if (o->files.n)
        return encode_files(o, t, progress, err);
    bool given = o->n_words && strcmp(o->words[0], "-");
    int rc = encode_text(o, t, given ? NULL : "-", &ids, err);
    if (!rc)
        rc = print_encoded(o, t, &ids, err);
    qm_ids_free(&ids);
    return rc;
}

static int take_options(const struct qm_args *args, struct tokenize_options *o, struct qm_error *err) {
    const struct qm_arg *ids = &args->option[QM_OPT_DECODE];
    *o = (struct tokenize_options){.model = args->model,
                                   .decode = ids->set,
                                   .lines = args->option[QM_OPT_JSONL].set,
                                   .json = args->option[QM_OPT_JSON].set,
                                   .count = args->option[QM_OPT_COUNT_TOKENS].set,
                                   .no_special = args->option[QM_OPT_NO_SPECIAL].set,
                                   .skip_special = args->option[QM_OPT_SKIP_SPECIAL].set,
                                   .ids = ids->has_value ? ids->text : NULL,
                                   .files = qm_decode_texts(args, QM_OPT_FILES),
                                   .words = args->positional,
                                   .n_words = args->n_positional,
                                   .silent = args->option[QM_OPT_SILENT].set};
    if (o->lines && (o->n_words || o->ids))
        return qm_fail(err, QM_USAGE, "tokenize: --jsonl reads standard input, but there is an argument too");
    if (o->n_words && o->files.n)
        return qm_fail(err, QM_USAGE, "tokenize: expected TEXT or --file, found both");
    if (!o->decode && o->n_words > 1)
        return qm_fail(err, QM_USAGE, "tokenize: expected one TEXT (quote it), found a second: \"%s\"", o->words[1]);
    return QM_OK;
}

static int run_tokenize(const struct qm_args *args, struct qm_error *err) {
    struct tokenize_options o;
    int rc = take_options(args, &o, err);
    if (rc)
        return rc;
    struct qm_progress progress;
    struct qm_tokenizer *t = NULL;
    char *dir = NULL;
    qm_progress_init(&progress, o.silent);
    rc = qm_app_locate(o.model, &progress, &dir, err);
    if (!rc)
        rc = qm_tokenizer_load(dir, &t, err);
    if (!rc) {
        const struct vocabulary v = {t, padded_size(dir, qm_tokenizer_size(t))};
        rc = o.lines    ? json_lines(&o, &v, err)
             : o.decode ? decode_once(&o, &v, err)
                        : encode_once(&o, t, &progress, err);
    }
    qm_tokenizer_free(t);
    free(dir);
    return rc;
}

static const unsigned char tokenize_options[] = {QM_OPT_FILES,  QM_OPT_COUNT_TOKENS, QM_OPT_NO_SPECIAL,
                                                 QM_OPT_DECODE, QM_OPT_SKIP_SPECIAL, QM_OPT_JSON,
                                                 QM_OPT_JSONL,  QM_OPT_SILENT,       QM_OPT_END};

static const unsigned char decode_refuses[] = {QM_OPT_NO_SPECIAL, QM_OPT_FILES, QM_OPT_COUNT_TOKENS, QM_OPT_END};
static const unsigned char lines_refuses[] = {QM_OPT_JSON, QM_OPT_FILES, QM_OPT_COUNT_TOKENS, QM_OPT_END};
static const struct qm_mode tokenize_modes[] = {{.by = QM_OPT_DECODE, .refuses = decode_refuses},
                                                {.by = QM_OPT_JSONL, .refuses = lines_refuses},
                                                {.by = QM_OPT_END}};
static const struct qm_need tokenize_needs[] = {{QM_OPT_SKIP_SPECIAL, QM_OPT_DECODE, 0}, {QM_OPT_END, 0, 0}};

const struct qm_command qm_cmd_tokenize = {
    .name = "tokenize",
    .usage = "MODEL [TEXT|-] | MODEL -f FILE ... | MODEL --decode [IDS|-]",
    .summary = "Turn text into token ids, or token ids into text",
    .details = "Without TEXT, or with -, standard input is read; of several files each is a\n"
               "text of its own. --count prints how many tokens there are: of several files\n"
               "each with its name, and the total. Needs only the tokenizer's files in the\n"
               "model's directory. --json prints {\"ids\":[...],\"pieces\":[...]}, with --decode\n"
               "{\"text\":...}. --jsonl reads {\"text\":..., \"add_special\":true} a line and\n"
               "prints {\"ids\":[...]}; with --decode, {\"ids\":[...]} and {\"text\":...}. A line\n"
               "that is refused ends it, naming the line's number (exit code 3).\n",
    .example = "quietmind tokenize Qwen/Qwen3-4B \"Hello, world\"\n"
               "quietmind tokenize Qwen/Qwen3-4B --count -f a.txt -f b.txt\n"
               "quietmind tokenize Qwen/Qwen3-4B --decode \"9707 11 1879\"\n",
    .options = tokenize_options,
    .modes = tokenize_modes,
    .needs = tokenize_needs,
    .max_positional = -1,
    .takes_model = true,
    .run = run_tokenize,
};
