#include "guard/overload_client.h"

#define MIX_MS        5000 /* RFC 7339 7.2: every 5 to 10 s; sooner, and bursts answer each other */
#define SEQ_FRACTION  100000u
#define SEQ_BACKWARDS (UINT64_C(3600) * SEQ_FRACTION)

/* RFC 7339 9: 1*12DIGIT "." 1*5DIGIT. 0: it is none. */
static uint64_t read_seq(slice s) {
    uint64_t whole, part;
    size_t dot = slice_find(s, '.');
    slice digits = slice_from(s, dot + 1);
    if (dot > 12 || !digits.len || digits.len > 5 ||
        slice_u64(slice_head(s, dot), UINT64_C(999999999999), &whole) != ERR_OK ||
        slice_u64(digits, SEQ_FRACTION, &part) != ERR_OK)
        return 0;
    for (size_t i = digits.len; i < 5; i++) part *= 10;
    return whole * SEQ_FRACTION + part;
}

void overload_client_hear(struct overload_client *o, const struct overload_told *t, mono_t now) {
    uint32_t loss, validity_ms = OVERLOAD_CLIENT_VALIDITY_MS;
    slice algo = t->algo;
    if (!t->oc.len || slice_u32(t->oc, 100, &loss) != ERR_OK) return;
    if (algo.len >= 2 && algo.ptr[0] == '"') algo = slice_of(algo.ptr + 1, algo.len - 2);
    if (algo.len && !slice_ieq(algo, SLICE("loss"))) return;
    if (t->validity.ptr && slice_u32(t->validity, UINT32_MAX, &validity_ms) != ERR_OK) return;
    uint64_t seq = read_seq(t->seq);
    /* RFC 7339 4.4: a tardy answer is a little older than the last one; one that is much older has
     * begun to count anew. */
    if (seq && seq < o->seq && o->seq - seq < SEQ_BACKWARDS) return;
    if (seq) o->seq = seq;
    if (validity_ms > OVERLOAD_CLIENT_LONGEST_MS) validity_ms = OVERLOAD_CLIENT_LONGEST_MS;
    o->loss = validity_ms ? loss : 0; /* 5.7: validity 0 ends it */
    o->until = now + validity_ms;
}

bool overload_client_sheds(struct overload_client *o, bool is_new, uint32_t random, mono_t now) {
    if (now - o->mix_at >= MIX_MS) {
        o->new_before = o->asked_new;
        o->all_before = o->asked_all;
        o->asked_new = o->asked_all = 0;
        o->mix_at = now;
    }
    o->asked_all++;
    if (!is_new) return false;
    o->asked_new++;
    if (!o->loss || now >= o->until) return false;
    /* RFC 7339 7.2: oc=10 where four in ten are new means a quarter of the new ones. */
    uint64_t of_new = o->new_before ? o->new_before : o->asked_new;
    uint64_t of_all = o->new_before ? o->all_before : o->asked_all;
    return random % 100 < o->loss * of_all / of_new;
}
