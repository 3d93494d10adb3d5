/* JSON from hostile files and requests, as Python's json module reads it (what Hugging Face and the APIs'
 * clients write), into jansson's values. The reader is our own, since jansson's refuses what they write:
 *   numbers    integers of any size up to 4300 digits (Python's limit), NaN, Infinity, -Infinity; a real
 *              beyond a double is an infinity
 *   strings    UTF-8, checked. \u0000 is a character like any other. Half a surrogate pair, which Python
 *              keeps, and which neither UTF-8 nor a tokenizer knows, becomes U+FFFD
 *   objects    of a key that stands twice the last value counts; keys keep their order
 *   the rest   one value, at most 2048 levels deep; a byte order mark before it is left out
 * What jansson has no type for (integers beyond 64 bits, NaN, infinities) is an object that no text can
 * make: ask qm_json_number before taking an object for one, and print such values by qm_json_write.
 * Errors name the file, line, column and what was expected. The caller owns what the parse functions
 * return (json_decref); what getters return belongs to the value. Reals are read and printed by the C library in the C
 * locale. */
#ifndef QM_BASE_JSON_H
#define QM_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

int qm_json_parse(const char *text, size_t len, const char *name, json_t **out, struct qm_error *err);
/* A file of at most `limit` bytes. */
int qm_json_load(const char *path, size_t limit, json_t **out, struct qm_error *err);
/* Refuses keys that stand twice or hold a NUL: for formats that forbid them, and for files that people edit. */
int qm_json_parse_strict(const char *text, size_t len, const char *name, json_t **out, struct qm_error *err);

/* The text, as Python prints it ("18446744073709551615", "NaN", "-Infinity"), of a number that jansson has
 * no type for; NULL of every other value. */
const char *qm_json_number(const json_t *v);
/* An object, and not such a number. */
static inline bool qm_json_is_object(const json_t *v) {
    return json_is_object(v) && !qm_json_number(v);
}
/* A new value of such a number. text: a JSON integer beyond 64 bits, "NaN", "Infinity" or "-Infinity". NULL:
 * out of memory. */
json_t *qm_json_number_new(const char *text);

/* Typed fields of an object. `where` names the object in messages. An absent or null key leaves *out as
 * it was (the caller's default); a value of another type is QM_INPUT, as are numbers that are not finite
 * and strings with a NUL inside. The error is marked as being about the key (qm_about). */
int qm_json_int(const json_t *obj, const char *key, const char *where, int64_t min, int64_t max, int64_t *out,
                struct qm_error *err);
int qm_json_double(const json_t *obj, const char *key, const char *where, double *out, struct qm_error *err);
int qm_json_bool(const json_t *obj, const char *key, const char *where, bool *out, struct qm_error *err);
int qm_json_string(const json_t *obj, const char *key, const char *where, const char **out, struct qm_error *err);

/* "a string", "an integer", "NaN", ... for messages. */
const char *qm_json_type_name(const json_t *v);

/* Prints any value that the parse functions return on one line, characters as they are (what json.dumps
 * prints with ensure_ascii=False), by `write`, which ends it by returning other than 0. spaced: with a
 * blank after commas and colons, as json.dumps has by default. 0, or -1: `write` ended it or memory did. */
int qm_json_write(const json_t *v, bool spaced, json_dump_callback_t write, void *arg);
/* The same as a string, which the caller frees. NULL: out of memory. */
char *qm_json_text(const json_t *v, bool spaced);

/* Writes a value as a file of lines, each level indented by so many blanks, so that the file is whole or as it was
 * (qm_write_file). v is let go of in any case; NULL: whoever made it had no memory. */
int qm_json_save(const char *path, json_t *v, int indent, struct qm_error *err);

/* A double as Python's repr() prints it: the fewest digits that are read as the same number. */
enum { QM_JSON_REAL_SIZE = 32 };
void qm_json_real(double x, char text[QM_JSON_REAL_SIZE]);

#endif
