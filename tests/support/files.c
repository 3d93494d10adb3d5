/* Copying and damaging model directories. */
#include "tests/support/files.h"

#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void copy_file(const char *from, const char *to) {
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    if (!in || !out)
        fail_msg("%s cannot be copied to %s", from, to);
    char block[65536];
    for (size_t n; (n = fread(block, 1, sizeof block, in)) > 0;)
        if (fwrite(block, 1, n, out) != n)
            fail_msg("%s cannot be written", to);
    fclose(in);
    fclose(out);
}

const char *copy_model(const char *from) {
    static char dir[64];
    strcpy(dir, "/tmp/quietmind-test-XXXXXX");
    if (!mkdtemp(dir))
        fail_msg("no temporary directory");
    DIR *d = opendir(from);
    if (!d)
        fail_msg("%s cannot be read", from);
    for (struct dirent *e; (e = readdir(d));) {
        char source[1024], target[1024];
        struct stat st;
        snprintf(source, sizeof source, "%s/%s", from, e->d_name);
        snprintf(target, sizeof target, "%s/%s", dir, e->d_name);
        if (stat(source, &st) == 0 && S_ISREG(st.st_mode))
            copy_file(source, target);
    }
    closedir(d);
    return dir;
}

void remove_copy(const char *dir) {
    DIR *d = opendir(dir);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    closedir(d);
    rmdir(dir);
}

uint64_t tensor_offset(const char *dir, const char *file, const char *tensor, uint64_t *bytes) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = fopen(path, "rb");
    uint64_t n = 0;
    if (!f || fread(&n, 8, 1, f) != 1)
        fail_msg("%s cannot be read", path);
    char *text = malloc(n);
    if (!text || fread(text, 1, n, f) != n)
        fail_msg("%s is short", path);
    fclose(f);
    json_t *header = json_loadb(text, n, 0, NULL);
    const json_t *range = json_object_get(json_object_get(header, tensor), "data_offsets");
    if (!range)
        fail_msg("%s has no tensor %s", path, tensor);
    uint64_t begin = (uint64_t)json_integer_value(json_array_get(range, 0));
    *bytes = (uint64_t)json_integer_value(json_array_get(range, 1)) - begin;
    json_decref(header);
    free(text);
    return 8 + n + begin;
}

void write_at(const char *dir, const char *file, uint64_t offset, const void *bytes, size_t n) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = fopen(path, "r+b");
    if (!f || fseek(f, (long)offset, SEEK_SET) || fwrite(bytes, 1, n, f) != n)
        fail_msg("%s cannot be written", path);
    fclose(f);
}
