#include "base/mem.h"
#include "sip/tx_inner.h"

/* Sizes go 256, 384, 512, 768 ...: at most a third of a block is idle, and a SIP message of usual
 * size finds the block that the last one left. */
static size_t class_bytes(unsigned c) {
    return (c & 1u ? (size_t)384 : (size_t)256) << (c >> 1);
}

void tx_store_init(struct tx_store *s, size_t max) {
    *s = (struct tx_store){ .max = max };
}

static void block_free(struct tx_store *s, struct tx_bytes *b) {
    s->held -= class_bytes(b->size_class);
    mem_free(b);
}

static void cache_empty(struct tx_store *s) {
    for (unsigned c = 0; c < TX_BYTES_CLASSES; c++) {
        while (s->unused[c]) {
            struct tx_bytes *b = s->unused[c];
            s->unused[c] = b->next;
            s->cached -= class_bytes(c);
            mem_unpoison(b->text, class_bytes(c) - offsetof(struct tx_bytes, text));
            block_free(s, b);
        }
    }
}

void tx_store_fini(struct tx_store *s) {
    tx_store_sweep(s);
    cache_empty(s);
    ASSERT(s->held == 0);
}

struct tx_bytes *tx_bytes_keep(struct tx_store *s, slice text) {
    unsigned c = 0;
    while (c < TX_BYTES_CLASSES && class_bytes(c) < offsetof(struct tx_bytes, text) + text.len) c++;
    if (c == TX_BYTES_CLASSES) goto missed;
    struct tx_bytes *b = s->unused[c];
    if (b) {
        s->unused[c] = b->next;
        s->cached -= class_bytes(c);
        mem_unpoison(b->text, class_bytes(c) - offsetof(struct tx_bytes, text));
    } else {
        /* Blocks of other sizes that nobody uses make room first. */
        if (s->max - s->held < class_bytes(c)) cache_empty(s);
        if (s->max - s->held < class_bytes(c)) goto missed;
        b = mem_alloc(class_bytes(c));
        if (!b) goto missed;
        s->held += class_bytes(c);
    }
    b->next = NULL;
    b->len = (uint32_t)text.len;
    b->size_class = (uint8_t)c;
    if (text.len) memcpy(b->text, text.ptr, text.len);
    return b;
missed:
    s->missed++;
    return NULL;
}

void tx_bytes_let_go(struct tx_store *s, struct tx_bytes *b) {
    if (!b) return;
    b->next = s->let_go;
    s->let_go = b;
}

void tx_store_sweep(struct tx_store *s) {
    while (s->let_go) {
        struct tx_bytes *b = s->let_go;
        s->let_go = b->next;
        size_t size = class_bytes(b->size_class);
        /* A burst may leave a quarter of the maximum behind for the next one, not all of it. */
        if (s->cached + size > s->max / 4) {
            block_free(s, b);
            continue;
        }
        b->next = s->unused[b->size_class];
        s->unused[b->size_class] = b;
        /* An effect used too late shows under the address sanitizer. */
        mem_poison(b->text, size - offsetof(struct tx_bytes, text));
        s->cached += size;
    }
}
