/* Counts every allocation of the process and its bytes, by any thread, while `counting` is set. For one source file of
 * a test program: it stands before the C library's functions, or hooks into the sanitizers'. */
#ifndef QM_TESTS_SUPPORT_ALLOCATIONS_H
#define QM_TESTS_SUPPORT_ALLOCATIONS_H

#include <stdatomic.h>
#include <stdlib.h>

#include "tests/support/support.h"

static atomic_bool counting;
static atomic_long allocations;
static atomic_ullong allocated; /* bytes that were asked for */

static void count(size_t n) {
    if (!atomic_load(&counting))
        return;
    atomic_fetch_add(&allocations, 1);
    atomic_fetch_add(&allocated, n);
}

#ifdef __has_feature /* clang's; gcc has macros */
#define HAS_SANITIZER (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#else
#define HAS_SANITIZER 0
#endif

#if HAS_SANITIZER

int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));

static void on_malloc(const volatile void *p, size_t n) {
    (void)p;
    count(n);
}

static void on_free(const volatile void *p) {
    (void)p;
}

static void watch_allocations(void) {
    assert_true(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) > 0);
}

#else /* glibc's own functions, behind ones that count */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n) {
    count(n);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
    count(n * size);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n) {
    count(n);
    return __libc_realloc(p, n);
}

static void watch_allocations(void) {
}

#endif

#endif
