/* Copies of model directories that a test may damage. */
#ifndef QM_TESTS_SUPPORT_FILES_H
#define QM_TESTS_SUPPORT_FILES_H

#include <stddef.h>
#include <stdint.h>

/* A new temporary directory holding copies of the plain files of `from`; the name stays valid until the next call. */
const char *copy_model(const char *from);
void remove_copy(const char *dir);

/* Offset of a tensor's first byte in DIR/FILE (safetensors), and its length in bytes. */
uint64_t tensor_offset(const char *dir, const char *file, const char *tensor, uint64_t *bytes);
void write_at(const char *dir, const char *file, uint64_t offset, const void *bytes, size_t n);

#endif
