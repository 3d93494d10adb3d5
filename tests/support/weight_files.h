/* The weights of a copied model folder, read, changed as publishers change them, and written again as one file. */
#ifndef QM_TESTS_WEIGHT_FILES_H
#define QM_TESTS_WEIGHT_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

struct test_weight {
    char name[200];
    enum qm_dtype type;
    char shape[64]; /* as JSON */
    uint8_t *data;
    size_t bytes;
};

struct test_weights {
    struct test_weight *w;
    size_t n;
};

/* All tensors of the folder. Failures end the test. */
void test_weights_read(const char *folder, struct test_weights *out);
/* Removes the folder's files of weights, writes model.safetensors and frees. */
void test_weights_write(const char *folder, struct test_weights *w);
struct test_weight *test_weights_find(struct test_weights *w, const char *name); /* NULL: none */
/* Every tensor with `part` in its name ("": all) that is BF16, F16 or F32 becomes of that type. How many. */
int test_weights_cast(struct test_weights *w, const char *part, enum qm_dtype to);
void test_weights_copy(struct test_weights *w, const char *from, const char *to);
void test_weights_drop(struct test_weights *w, const char *name);
/* Names that begin with `from` begin with `to` instead. */
void test_weights_rename(struct test_weights *w, const char *from, const char *to);
/* Takes the beginning off the names that have it. */
void test_weights_cut_prefix(struct test_weights *w, const char *prefix);

#endif
