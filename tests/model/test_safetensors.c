/* safetensors: headers and files, one case for every way they can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "model/safetensors.h"
#include "tests/support/model_files.h"

#define T(name, dtype, shape, range)                                                                                   \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" range "}"

static void expect_message(int rc, const struct qm_error *err, const char *wanted, const char *what) {
    if (rc != QM_INPUT)
        fail_msg("%s: expected QM_INPUT, found %d", what, rc);
    if (!strstr(err->message, wanted))
        fail_msg("%s: expected a message with \"%s\", found \"%s\"", what, wanted, err->message);
}

static const struct {
    const char *json;
    uint64_t bytes;
    const char *wanted;
} refused[] = {
    {"", 0, "begin with '{'"},
    {" {}", 0, "begin with '{'"},
    {"[]", 0, "begin with '{'"},
    {"{}\n", 0, "end with '}'"},
    {"{}x", 0, "end with '}'"},
    {"{", 0, "end with '}'"},
    {"{\"a\":}", 0, "not valid JSON"},
    {"{\"a\xff\":1}", 0, "not valid JSON"},
    {"{} {}", 0, "not valid JSON"},
    {"{" T("a", "F32", "[1]", "[0,4]") "," T("a", "F32", "[1]", "[4,8]") "}", 8, "duplicate"},
    {"{\"__metadata__\":[]}", 0, "__metadata__: expected an object"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "expected \"a\" to be a string"},
    {"{\"a\":1}", 0, "tensor \"a\": expected an object, found an integer"},
    {"{\"a\":{\"shape\":[],\"data_offsets\":[0,4]}}", 4, "\"dtype\" to be a string"},
    {"{\"a\":{\"dtype\":1,\"shape\":[],\"data_offsets\":[0,4]}}", 4, "\"dtype\" to be a string"},
    {"{" T("a", "F33", "[]", "[0,4]") "}", 4, "found \"F33\""},
    {"{" T("a", "F8_E5M2", "[]", "[0,1]") "}", 1, "dtype F8_E5M2 is not read"},
    {"{" T("a", "U64", "[]", "[0,8]") "}", 8, "dtype U64 is not read"},
    {"{" T("a", "I64", "[2]", "[0,8]") "}", 8, "expected 16 bytes by its shape and dtype"},
    {"{" T("a", "F8_E8M0", "[4]", "[0,8]") "}", 8, "expected 4 bytes by its shape and dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "\"shape\" to be a list"},
    {"{" T("a", "F32", "[1.0]", "[0,4]") "}", 4, "each dimension to be an integer"},
    {"{" T("a", "F32", "[-1]", "[0,4]") "}", 4, "dimensions of 0 or more, found -1"},
    {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "at most 8 dimensions, found 9"},
    {"{" T("a", "F32", "[4294967296,4294967296]", "[0,0]") "}", 0, "fits in 64 bits"},
    {"{" T("a", "F32", "[4611686018427387904]", "[0,0]") "}", 0, "fits in 64 bits"},
    {"{" T("a", "F32", "[9223372036854775808]", "[0,0]") "}", 0, "each dimension to be an integer"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4, "\"data_offsets\" to be a list of two"},
    {"{" T("a", "F32", "[]", "[0]") "}", 4, "\"data_offsets\" to be a list of two"},
    {"{" T("a", "F32", "[]", "[0,4,4]") "}", 4, "\"data_offsets\" to be a list of two"},
    {"{" T("a", "F32", "[]", "[0,4.0]") "}", 4, "\"data_offsets\" to be a list of two"},
    {"{" T("a", "F32", "[]", "[-4,0]") "}", 4, "0 <= begin <= end, found [-4, 0]"},
    {"{" T("a", "F32", "[]", "[4,0]") "}", 4, "0 <= begin <= end, found [4, 0]"},
    {"{" T("a", "F32", "[2]", "[0,8]") "}", 4, "expected 8 bytes of data after the header, found 4"},
    {"{" T("a", "F32", "[2]", "[0,4]") "}", 4, "expected 8 bytes by its shape and dtype, found 4"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":1}}", 4, "found \"x\" too"},
    {"{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[1]", "[4,8]") "}", 8, "they overlap"},
    {"{" T("a", "F32", "[1]", "[0,4]") "," T("b", "F32", "[1]", "[0,4]") "}", 4, "they overlap"},
    {"{" T("a", "F32", "[1]", "[4,8]") "}", 8, "a hole of 4 bytes"},
    {"{" T("a", "F32", "[1]", "[0,4]") "," T("b", "F32", "[1]", "[8,12]") "}", 12, "a hole of 4 bytes"},
    {"{" T("a", "F32", "[1]", "[0,4]") "}", 6, "2 bytes left over"},
    {"{}", 1, "1 bytes left over"},
};

static void headers_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct qm_tensor *t;
        int64_t n;
        struct qm_error err = {0};
        int rc = qm_safetensors_header(refused[i].json, strlen(refused[i].json), "x.safetensors", refused[i].bytes, &t,
                                       &n, &err);
        expect_message(rc, &err, refused[i].wanted, refused[i].json);
        assert_non_null(strstr(err.message, "x.safetensors"));
        assert_null(t);
    }
}

static void header_read(void **state) {
    (void)state;
    static const char json[] = "{\"__metadata__\":{\"format\":\"pt\"}," T("b", "BF16", "[2,3]", "[4,16]") "," T(
        "a", "U8", "[4]", "[0,4]") "," T("scalar", "F32", "[]", "[16,20]") "," T("none", "F16", "[0,7]",
                                                                                 "[16,16]") "}    ";
    struct qm_tensor *t;
    int64_t n;
    struct qm_error err;
    if (qm_safetensors_header(json, strlen(json), "x", 20, &t, &n, &err))
        fail_msg("%s", err.message);
    assert_int_equal(n, 4);
    assert_string_equal(t[0].name, "a");
    assert_int_equal(t[0].dtype, QM_U8);
    assert_string_equal(t[1].name, "b");
    assert_int_equal(t[1].dims, 2);
    assert_int_equal(t[1].shape[1], 3);
    assert_int_equal(t[1].offset, 4);
    assert_int_equal(t[1].bytes, 12);
    assert_int_equal(t[2].bytes, 0);
    assert_int_equal(t[3].dims, 0);
    qm_tensors_free(t, n);
    if (qm_safetensors_header("{}", 2, "x", 0, &t, &n, &err))
        fail_msg("%s", err.message);
    assert_int_equal(n, 0);
    qm_tensors_free(t, n);
}

static void folder_refused(const char *folder, const char *wanted) {
    struct qm_shards *s;
    struct qm_error err = {0};
    int rc = qm_shards_open(folder, &s, &err);
    expect_message(rc, &err, wanted, folder);
    assert_null(s);
}

/* One file of raw bytes as model.safetensors. */
static void file_refused(const void *bytes, size_t n, const char *wanted) {
    char *folder = test_folder();
    test_write(folder, "model.safetensors", bytes, n);
    folder_refused(folder, wanted);
    test_folder_remove(folder);
}

static void files_refused(void **state) {
    (void)state;
    file_refused("", 0, "found a file of 0 bytes: it is cut short");
    file_refused("\1\0\0", 3, "found a file of 3 bytes");
    file_refused("\3\0\0\0\0\0\0\0{}", 10, "header of 3 bytes, found a file of 10: it is cut short");
    file_refused("\1\xe1\xf5\5\0\0\0\0{}", 10, "at most 100000000 bytes, found a length of 100000001");
    file_refused("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, "at most 100000000 bytes");
    file_refused("GGUF\3\0\0\0\0\0\0\0", 12, "GGUF is not read");
    file_refused("PK\3\4\0\0\0\0\0\0", 10, "PyTorch checkpoint");
    file_refused("version https://git-lfs.github.com/spec/v1\n", 43, "git lfs pull");
    file_refused("\2\0\0\0\0\0\0\0{}x", 11, "1 bytes left over");
}

static void folders_refused(void **state) {
    (void)state;
    char *folder = test_folder();
    folder_refused(folder, "no model here");
    test_write(folder, "model-Q4_K_M.gguf", "GGUF", 4);
    folder_refused(folder, "quietmind reads safetensors; .gguf files are not read");
    char path[256];
    snprintf(path, sizeof path, "%s/model-Q4_K_M.gguf", folder);
    folder_refused(path, "found a GGUF file");
    snprintf(path, sizeof path, "%s/nothing", folder);
    folder_refused(path, "No such file");
    test_write(folder, "x/pytorch_model.bin", "", 0);
    test_write(folder, "y/consolidated.00.pth", "", 0);
    test_write(folder, "z/model-00001-of-00002.safetensors", "", 0);
    snprintf(path, sizeof path, "%s/x", folder);
    folder_refused(path, ".bin files are not read");
    snprintf(path, sizeof path, "%s/y", folder);
    folder_refused(path, ".pth files are not read");
    snprintf(path, sizeof path, "%s/y/consolidated.00.pth", folder);
    folder_refused(path, "found a file: name its folder");
    snprintf(path, sizeof path, "%s/z", folder);
    folder_refused(path, "get the index too");
    test_write(folder, "model.safetensors/x", "", 0);
    folder_refused(folder, "expected a regular file, found a folder");
    test_write(folder, "model.safetensors.index.json", "{}", 2);
    folder_refused(folder, "found both");
    test_folder_remove(folder);
}

/* Two shards, a in the first and b in the second, and this index. */
static char *sharded(const char *index, const char *second) {
    char *folder = test_folder();
    test_write(folder, "model.safetensors.index.json", index, strlen(index));
    test_write_safetensors(folder, "1.safetensors", "{" T("a", "F32", "[1]", "[0,4]") "}", 4);
    if (second)
        test_write_safetensors(folder, "2.safetensors", second, 4);
    return folder;
}

static void sharded_refused(const char *index, const char *second, const char *wanted) {
    char *folder = sharded(index, second);
    folder_refused(folder, wanted);
    test_folder_remove(folder);
}

static void shards(void **state) {
    (void)state;
    static const char good[] = "{\"metadata\":{},\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}";
    static const char b[] = "{" T("b", "F32", "[1]", "[0,4]") "}";
    char *folder = sharded(good, b);
    struct qm_shards *s;
    struct qm_error err;
    if (qm_shards_open(folder, &s, &err))
        fail_msg("%s", err.message);
    assert_int_equal(s->n_files, 2);
    assert_int_equal(s->n_tensors, 2);
    const struct qm_tensor *t = qm_shards_find(s, "b");
    assert_non_null(t);
    assert_int_equal(t->offset, 8 + strlen(b));
    assert_int_equal(s->files[t->file].bytes, t->offset + 4);
    assert_null(qm_shards_find(s, "c"));
    qm_shards_close(s);
    test_folder_remove(folder);

    sharded_refused(good, NULL, "2.safetensors: missing");
    sharded_refused(good, "{" T("c", "F32", "[1]", "[0,4]") "}", "tensor \"c\" is in this file but not in");
    sharded_refused(good, "{" T("a", "F32", "[1]", "[0,4]") "}", "tensor \"a\": expected in one file");
    sharded_refused("{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"1.safetensors\"}}", b,
                    "tensor \"b\": expected in 1.safetensors, found in no file");
    sharded_refused("{\"weight_map\":{\"a\":\"2.safetensors\",\"b\":\"1.safetensors\"}}", b,
                    "tensor \"a\": expected in 2.safetensors, found in 1.safetensors");
    sharded_refused("[]", b, "\"weight_map\" to be an object");
    sharded_refused("{}", b, "\"weight_map\" to be an object");
    sharded_refused("{\"weight_map\":{}}", b, "found an empty one");
    sharded_refused("{\"weight_map\":{\"a\":1}}", b, "expected a file name, found an integer");
    sharded_refused("{\"weight_map\":{\"a\":\"../1.safetensors\"}}", b, "plain name");
    sharded_refused("{\"weight_map\":{\"a\":\"/etc/1.safetensors\"}}", b, "plain name");
    sharded_refused("{\"weight_map\":{\"a\":\"1\\u0000.safetensors\"}}", b, "plain name");
    sharded_refused("{\"weight_map\":{\"a\":\"1.bin\"}}", b, "named *.safetensors");
    sharded_refused("nonsense", b, "not valid JSON");
}

static void many_tensors(void **state) {
    (void)state;
    enum { COUNT = 50000 };
    struct qm_buf json = {0};
    struct qm_error err;
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(qm_buf_printf(&json, &err,
                                       "%s\"model.layers.%d.weight\":{\"dtype\":\"BF16\",\"shape\":[2,2],"
                                       "\"data_offsets\":[%d,%d]}",
                                       i ? "," : "{", i, 8 * i, 8 * i + 8),
                         0);
    assert_int_equal(qm_buf_str(&json, "}", &err), 0);
    struct qm_tensor *t;
    int64_t n;
    if (qm_safetensors_header(json.data, json.len, "many", 8 * COUNT, &t, &n, &err))
        fail_msg("%s", err.message);
    assert_int_equal(n, COUNT);
    struct qm_shards s = {.tensors = t, .n_tensors = n};
    for (int i = 0; i < COUNT; i++) {
        char name[64];
        snprintf(name, sizeof name, "model.layers.%d.weight", i);
        const struct qm_tensor *found = qm_shards_find(&s, name);
        assert_non_null(found);
        assert_int_equal(found->offset, 8 * i);
    }
    qm_tensors_free(t, n);
    qm_buf_free(&json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_refused), cmocka_unit_test(header_read), cmocka_unit_test(files_refused),
        cmocka_unit_test(folders_refused), cmocka_unit_test(shards),      cmocka_unit_test(many_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
