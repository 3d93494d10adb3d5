/* Files and folders for tests of the model layer. */
#include "model_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *test_folder(void) {
    char *folder = strdup("/tmp/qm-test-XXXXXX");
    assert_non_null(folder);
    assert_non_null(mkdtemp(folder));
    return folder;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

void test_folder_remove(char *folder) {
    assert_int_equal(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(folder);
}

static FILE *open_in(const char *folder, const char *name, const char *mode) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *p = path + strlen(folder) + 1; *mode == 'w' && (p = strchr(p, '/')); p++) {
        *p = 0;
        mkdir(path, 0700);
        *p = '/';
    }
    FILE *f = fopen(path, mode);
    if (!f)
        fail_msg("%s cannot be opened; run the tests from the project's folder", path);
    return f;
}

void test_write(const char *folder, const char *name, const void *data, size_t n) {
    FILE *f = open_in(folder, name, "wb");
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

void test_write_safetensors(const char *folder, const char *name, const char *header, size_t n) {
    size_t len = strlen(header);
    unsigned char *bytes = calloc(1, 8 + len + n);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(len >> (8 * i));
    memcpy(bytes + 8, header, len);
    test_write(folder, name, bytes, 8 + len + n);
    free(bytes);
}

char *test_read(const char *folder, const char *name, size_t *n) {
    FILE *f = open_in(folder, name, "rb");
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *n = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*n + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *n, f), *n);
    data[*n] = 0;
    fclose(f);
    return data;
}

void test_copy_model(const char *from, const char *to) {
    DIR *d = opendir(from);
    if (!d)
        fail_msg("%s cannot be opened; run the tests from the project's folder", from);
    for (struct dirent *e; (e = readdir(d));) {
        if (strncmp(e->d_name, "model", 5) != 0 && strncmp(e->d_name, "config", 6) != 0)
            continue;
        size_t n;
        char *data = test_read(from, e->d_name, &n);
        test_write(to, e->d_name, data, n);
        free(data);
    }
    closedir(d);
}

void test_edit_config(const char *folder, const char *key, const char *json) {
    size_t n;
    char *text = test_read(folder, "config.json", &n);
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    free(text);
    if (json) {
        json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        assert_int_equal(json_object_set_new(root, key, value), 0);
    } else {
        json_object_del(root, key);
    }
    text = json_dumps(root, 0);
    assert_non_null(text);
    test_write(folder, "config.json", text, strlen(text));
    free(text);
    json_decref(root);
}

uint64_t test_tensor_offset(const char *folder, const char *name, const char *tensor, uint64_t *bytes) {
    size_t size;
    char *file = test_read(folder, name, &size);
    uint64_t n;
    memcpy(&n, file, 8);
    json_t *header = json_loadb(file + 8, n, 0, NULL);
    const json_t *range = json_object_get(json_object_get(header, tensor), "data_offsets");
    if (!range)
        fail_msg("%s/%s has no tensor %s", folder, name, tensor);
    uint64_t begin = (uint64_t)json_integer_value(json_array_get(range, 0));
    *bytes = (uint64_t)json_integer_value(json_array_get(range, 1)) - begin;
    json_decref(header);
    free(file);
    return 8 + n + begin;
}

void test_overwrite(const char *folder, const char *name, uint64_t offset, const void *data, size_t n) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r+b");
    if (!f || fseek(f, (long)offset, SEEK_SET) || fwrite(data, 1, n, f) != n)
        fail_msg("%s cannot be written", path);
    fclose(f);
}
