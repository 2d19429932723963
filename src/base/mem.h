/* base/mem.h - the one door to the heap.
 *
 * Everything in Kith that allocates does it here, so that tests can let the n-th allocation fail
 * and can see that nothing leaks. Threads: safe; the counters are atomics. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/defs.h"

NODISCARD void *mem_alloc(size_t size);               /* NULL when short */
NODISCARD void *mem_zalloc(size_t size);              /* zeroed */
NODISCARD void *mem_array(size_t count, size_t size); /* zeroed; NULL on overflow too */
NODISCARD void *mem_grow(void *old, size_t size);     /* realloc; the old block lives on failure */
NODISCARD char *mem_dup(const void *bytes, size_t len); /* a terminated copy */
void mem_free(void *p);
/* By how many bytes to ask the system for memory when more is needed. While much is loaded large
 * steps save most of the asking; what is not touched costs nothing. For all threads. */
void mem_step(size_t bytes);
#define MEM_STEP      ((size_t)512 << 10) /* of a server at work */
#define MEM_STEP_MUCH ((size_t)64 << 20)

/* Under AddressSanitizer a touch of poisoned bytes is reported: pools and arenas hide with it what
 * they took back. Elsewhere nothing. */
#if defined(__SANITIZE_ADDRESS__)
#define MEM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEM_ASAN 1
#endif
#endif
#ifdef MEM_ASAN
#include <sanitizer/asan_interface.h>
static inline void mem_poison(const void *p, size_t size) {
    __asan_poison_memory_region(p, size);
}
static inline void mem_unpoison(const void *p, size_t size) {
    __asan_unpoison_memory_region(p, size);
}
#else
static inline void mem_poison(const void *p, size_t size) {
    (void)p, (void)size;
}
static inline void mem_unpoison(const void *p, size_t size) {
    (void)p, (void)size;
}
#endif

/* For tests. */
void mem_fail_at(int64_t nth); /* the nth allocation from now fails (0: the next); < 0: never */
bool mem_failed(void);         /* did that failure happen? */
int64_t mem_live(void);        /* blocks not freed */

#endif
