#include "base/arena.h"
#include "base/mem.h"

enum { ALIGN = 16, BLOCK_MIN = 4096 };

struct arena_block {
    struct arena_block *next;
    size_t size, used; /* of the bytes behind this head */
};
#define HEAD ((sizeof(struct arena_block) + ALIGN - 1) / ALIGN * ALIGN)

static char *block_bytes(struct arena_block *b) {
    return (char *)b + HEAD;
}

void arena_init(struct arena *a, size_t max) {
    *a = (struct arena){ .max = max };
}

static void free_from(struct arena_block *b) {
    while (b) {
        struct arena_block *next = b->next;
        mem_unpoison(block_bytes(b), b->size);
        mem_free(b);
        b = next;
    }
}

void arena_reset(struct arena *a) {
    a->used = 0;
    a->current = a->first;
    if (!a->first) return;
    free_from(a->first->next);
    a->first->next = NULL;
    a->first->used = 0;
    mem_poison(block_bytes(a->first), a->first->size);
}

void arena_fini(struct arena *a) {
    free_from(a->first);
    *a = (struct arena){ .max = a->max };
}

/* Blocks double, so that many small messages and one large one both cost few allocations. */
static struct arena_block *block_add(struct arena *a, size_t need) {
    size_t size = a->current ? a->current->size * 2 : BLOCK_MIN;
    if (size > a->max) size = (a->max + ALIGN - 1) / ALIGN * ALIGN;
    if (size < need) size = need;
    struct arena_block *b = mem_alloc(HEAD + size);
    if (!b) return NULL;
    *b = (struct arena_block){ .size = size };
    mem_poison(block_bytes(b), size);
    if (a->current)
        a->current->next = b;
    else
        a->first = b;
    a->current = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t size) {
    if (size > a->max || a->max > SIZE_MAX / 4) return NULL;
    size_t take = (size ? size + ALIGN - 1 : ALIGN) / ALIGN * ALIGN;
    if (size > a->max - a->used) return NULL;
    struct arena_block *b = a->current;
    if (!b || take > b->size - b->used) b = block_add(a, take);
    if (!b) return NULL;
    char *p = block_bytes(b) + b->used;
    b->used += take;
    a->used = a->max - a->used < take ? a->max : a->used + take;
    mem_unpoison(p, size);
    return p;
}

void *arena_zalloc(struct arena *a, size_t size) {
    void *p = arena_alloc(a, size);
    if (p) memset(p, 0, size);
    return p;
}

enum err arena_copy(struct arena *a, slice s, slice *out) {
    char *p = arena_alloc(a, s.len);
    if (!p) return ERR_MEMORY;
    if (s.len) memcpy(p, s.ptr, s.len);
    *out = slice_of(p, s.len);
    return ERR_OK;
}
