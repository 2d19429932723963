/* nat/strangers.c - see strangers.h. A row is a leaking bucket, in thousandths of an answer. */
#include "nat/strangers.h"

#include "base/mem.h"

struct row {
    mono_t at;
    uint32_t used;
};

struct strangers {
    struct hash_key key;
    struct row rows[STRANGER_ROWS];
};

struct strangers *strangers_new(const struct hash_key *key) {
    struct strangers *s = mem_zalloc(sizeof *s);
    if (s) s->key = *key;
    return s;
}

void strangers_free(struct strangers *s) {
    mem_free(s);
}

bool strangers_may_hear(struct strangers *s, const struct addr *from, mono_t now) {
    uint64_t hash = siphash(&s->key, from->ip, from->family == ADDR_V6 ? 8 : 16);
    struct row *r = &s->rows[hash % STRANGER_ROWS];
    int64_t ms = now - r->at, back = ms > 60000 ? UINT32_MAX : ms * STRANGER_ANSWERS_PER_S;
    r->used = (int64_t)r->used > back ? r->used - (uint32_t)back : 0;
    r->at = now;
    if (r->used > (STRANGER_ANSWERS_BURST - 1) * 1000) return false;
    r->used += 1000;
    return true;
}
