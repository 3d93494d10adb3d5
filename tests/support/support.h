/* What most tests need: CMocka with the headers it wants before it, scratch folders, and the place of the
 * vectors that are not part of the project. */
#ifndef QM_TESTS_SUPPORT_H
#define QM_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { TEST_PATH = 256 };

/* A new empty folder, and its removal with all that is in it. */
void test_temp_dir(char dir[TEST_PATH]);
void test_remove_tree(const char *dir);

/* out = "DIR/NAME" */
void test_path(char out[TEST_PATH], const char *dir, const char *name);
void test_write_file(const char *path, const void *bytes, size_t n);
/* The whole file and a NUL, to free; NULL where there is none. */
char *test_read_file(const char *path, size_t *n);
bool test_exists(const char *path);
/* Entries of a folder, "." and ".." left out. */
int test_count_entries(const char *dir);

/* Vectors kept beside the project ($QM_SHARED, else ../shared): false where RELATIVE is not there, and the
 * test then calls skip(). */
bool test_shared(char out[TEST_PATH], const char *relative);
/* False with QM_TEST_SLOW=0 (the sanitizers): leave out the long cases. */
bool test_slow(void);

#endif
