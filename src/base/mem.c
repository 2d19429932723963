#include "base/mem.h"
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Blocks handed out, counted in a place of the thread's own: one counter for all would travel
 * between the cores with every allocation. */
#define PLACES 32u
static struct { _Alignas(64) atomic_int_fast64_t count; } live[PLACES];
static atomic_uint threads;
static _Thread_local unsigned place;        /* 0: none yet, else its number plus one */
static atomic_int_fast64_t fail_after = -1; /* allocations until one fails; < 0: never */
static atomic_bool failed;

void mem_fail_at(int64_t nth) {
    atomic_store(&failed, false);
    atomic_store(&fail_after, nth);
}

bool mem_failed(void) {
    return atomic_load(&failed);
}

int64_t mem_live(void) {
    int64_t sum = 0;
    for (unsigned i = 0; i < PLACES; i++) sum += atomic_load(&live[i].count);
    return sum;
}

static void count(int by) {
    if (UNLIKELY(place == 0)) place = atomic_fetch_add(&threads, 1) % PLACES + 1;
    atomic_fetch_add_explicit(&live[place - 1].count, by, memory_order_relaxed);
}

static bool must_fail(void) {
    if (LIKELY(atomic_load_explicit(&fail_after, memory_order_relaxed) < 0)) return false;
    if (atomic_fetch_sub(&fail_after, 1) != 0) return false;
    atomic_store(&failed, true);
    return true;
}

static void *counted(void *p) {
    if (p) count(1);
    return p;
}

/* A size of 0 is asked as 1, so that NULL always means that memory is short. */
void *mem_alloc(size_t size) {
    if (must_fail()) return NULL;
    return counted(malloc(size ? size : 1));
}

void *mem_zalloc(size_t size) {
    return mem_array(1, size);
}

void *mem_array(size_t items, size_t size) {
    if (must_fail()) return NULL;
    if (items == 0 || size == 0) items = size = 1;
    if (size > PTRDIFF_MAX / items) return NULL;
    return counted(calloc(items, size));
}

void *mem_grow(void *old, size_t size) {
    if (must_fail()) return NULL;
    void *p = realloc(old, size ? size : 1);
    return old ? p : counted(p);
}

char *mem_dup(const void *bytes, size_t len) {
    if (len == SIZE_MAX) return NULL;
    char *p = mem_alloc(len + 1);
    if (!p) return NULL;
    if (len) memcpy(p, bytes, len);
    p[len] = '\0';
    return p;
}

void mem_step(size_t bytes) {
#ifdef M_TOP_PAD /* glibc */
    (void)mallopt(M_TOP_PAD, (int)bytes);
#else
    (void)bytes;
#endif
}

void mem_free(void *p) {
    if (p) count(-1);
    free(p);
}
