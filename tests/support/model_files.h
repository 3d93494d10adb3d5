/* Files and folders for tests of the model layer: a temporary folder, files in it, edited copies of a model. */
#ifndef QM_TESTS_MODEL_FILES_H
#define QM_TESTS_MODEL_FILES_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define QM_REFERENCE "tests/data/reference/"

/* A new folder; remove it with test_folder_remove. Failures end the test. */
char *test_folder(void);
void test_folder_remove(char *folder);
/* Writes folder/name (parent folders in name are made). */
void test_write(const char *folder, const char *name, const void *data, size_t n);
/* A safetensors file: the length of `header`, the header, n bytes of zeros. */
void test_write_safetensors(const char *folder, const char *name, const char *header, size_t n);
/* Copies the files of a model folder whose names begin with "model" or "config". */
void test_copy_model(const char *from, const char *to);
/* Sets a field of a copied config.json, from JSON text; NULL removes it. */
void test_edit_config(const char *folder, const char *key, const char *json);
/* Offset of a tensor's first byte in folder/name (safetensors), and its length in bytes. */
uint64_t test_tensor_offset(const char *folder, const char *name, const char *tensor, uint64_t *bytes);
/* Writes over bytes of a file. */
void test_overwrite(const char *folder, const char *name, uint64_t offset, const void *data, size_t n);
/* The whole file, to be freed. */
char *test_read(const char *folder, const char *name, size_t *n);

#endif
