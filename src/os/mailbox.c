/* A linked queue after Dmitry Vyukov's intrusive multi-producer queue: a writer swaps itself in as
 * the newest letter and then links its predecessor to itself; the reader walks the links. Between
 * the two steps of a writer the chain ends early for the reader, who then believes the box is
 * empty; that writer wakes the loop after its second step, so nothing is forgotten. */
#include "os/mailbox.h"

#include "base/list.h"
#include "base/mem.h"
#include "os/loop.h"
#include <stdatomic.h>

#define CACHE_LINE 64

struct mailbox {
    struct letter_link *_Atomic newest; /* writers swap here */
    _Atomic uint32_t used;
    uint32_t places;
    struct loop *loop;
    char apart[CACHE_LINE]; /* the reader's words are not pulled along by the writers' */
    struct letter_link *oldest;
    struct letter_link stub; /* keeps the chain from ever being empty */
};

enum err mailbox_new(struct loop *loop, uint32_t places, struct mailbox **out) {
    ASSERT(places >= 2);
    struct mailbox *m = mem_zalloc(sizeof *m);
    if (!m) return ERR_MEMORY;
    m->places = places;
    m->loop = loop;
    m->oldest = &m->stub;
    atomic_store(&m->newest, &m->stub);
    *out = m;
    return ERR_OK;
}

void mailbox_free(struct mailbox *m) {
    if (!m) return;
    for (struct letter *l; (l = mailbox_take(m)) != NULL;) mem_free(l);
    mem_free(m);
}

static void link_in(struct mailbox *m, struct letter_link *l) {
    atomic_store_explicit(&l->next, NULL, memory_order_relaxed);
    struct letter_link *before = atomic_exchange_explicit(&m->newest, l, memory_order_acq_rel);
    atomic_store(&before->next, l); /* seq_cst: ordered before the look at the loop's sleep */
}

enum err mailbox_send(struct mailbox *m, const void *head, size_t head_len, slice bytes,
                      bool must_arrive) {
    uint32_t limit = must_arrive ? m->places : m->places / 2;
    if (atomic_fetch_add_explicit(&m->used, 1, memory_order_relaxed) >= limit) {
        atomic_fetch_sub_explicit(&m->used, 1, memory_order_relaxed);
        return ERR_FULL;
    }
    size_t head_room = (head_len + 15) & ~(size_t)15;
    struct letter *l = mem_alloc(sizeof *l + head_room + bytes.len);
    if (!l) {
        atomic_fetch_sub_explicit(&m->used, 1, memory_order_relaxed);
        return ERR_MEMORY;
    }
    char *copy = (char *)l->head + head_room;
    memcpy(l->head, head, head_len);
    if (bytes.len) memcpy(copy, bytes.ptr, bytes.len);
    l->bytes = slice_of(copy, bytes.len);
    link_in(m, &l->link);
    loop_wake(m->loop);
    return ERR_OK;
}

struct letter *mailbox_take(struct mailbox *m) {
    struct letter_link *l = m->oldest;
    struct letter_link *next = atomic_load_explicit(&l->next, memory_order_acquire);
    if (l == &m->stub) {
        if (!next) return NULL;
        m->oldest = l = next;
        next = atomic_load_explicit(&l->next, memory_order_acquire);
    }
    if (!next) {
        /* The last letter can go out only with something behind it: put the stub back, unless a
         * writer is just linking itself there. */
        if (l != atomic_load_explicit(&m->newest, memory_order_acquire)) return NULL;
        link_in(m, &m->stub);
        next = atomic_load_explicit(&l->next, memory_order_acquire);
        if (!next) return NULL;
    }
    m->oldest = next;
    atomic_fetch_sub_explicit(&m->used, 1, memory_order_relaxed);
    return LIST_ITEM(l, struct letter, link);
}

bool mailbox_has_letters(const struct mailbox *m) {
    return m->oldest != &m->stub || atomic_load(&m->stub.next) != NULL;
}

uint32_t mailbox_count(const struct mailbox *m) {
    return atomic_load_explicit(&m->used, memory_order_relaxed);
}
