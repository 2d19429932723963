#include "sip/dns_reply.h"

#include "base/scan.h"

enum { HEAD = 12, TYPE_CNAME = 5, TYPE_SOA = 6, CLASS_IN = 1, POINTER = 0xc0 };
enum { RCODE_NONE = 0, RCODE_NXDOMAIN = 3 };
#define ALIASES_MAX 8u   /* a chain longer than that is a loop or a prank */
#define JUMPS_MAX   32u  /* pointers in one name; a well-made message needs one */
#define RECORDS_MAX 256u /* of a section: with the jumps, what reading a reply may cost */

struct name { /* as text, without the final dot */
    size_t len;
    bool is_plain; /* it could be a host's or a service's */
    char text[DNS_NAME_BYTES];
};
struct reader {
    slice message;
    size_t at;
    bool is_bad; /* something was not there: all that was read since is void */
};
struct section_record {
    struct name owner;
    uint16_t type, class;
    uint32_t ttl;
    size_t data, end;
};

/* ---- bytes ---- */

static uint32_t number(struct reader *r, unsigned bytes) {
    uint32_t n = 0;
    if (r->is_bad || bytes > r->message.len - r->at) {
        r->is_bad = true;
        return 0;
    }
    while (bytes--) n = n << 8 | (unsigned char)r->message.ptr[r->at++];
    return n;
}
static uint16_t u16(struct reader *r) {
    return (uint16_t)number(r, 2);
}
static uint32_t u32(struct reader *r) {
    return number(r, 4);
}

static slice bytes(struct reader *r, size_t n) {
    if (r->is_bad || n > r->message.len - r->at) {
        r->is_bad = true;
        return SLICE_NONE;
    }
    slice s = slice_of(r->message.ptr + r->at, n);
    r->at += n;
    return s;
}

static void label_add(struct reader *r, slice label, struct name *out) {
    if (label.len + (out->len > 0) > sizeof out->text - out->len) {
        r->is_bad = true;
        return;
    }
    if (out->len) out->text[out->len++] = '.';
    if (label.len) memcpy(out->text + out->len, label.ptr, label.len);
    out->len += label.len;
    for (size_t i = 0; i < label.len; i++)
        if (label.ptr[i] == '.' || !(scan_is(label.ptr[i], SCAN_HOST) || label.ptr[i] == '_'))
            out->is_plain = false;
}

/* RFC 1035 4.1.4: a pointer leads to an earlier occurrence. Each must lead further back than the
 * one before, so that none can go in circles. */
static void name_read(struct reader *r, struct name *out) {
    struct reader in = *r;
    size_t back = r->at;
    unsigned jumps = 0;
    *out = (struct name){ .is_plain = true };
    for (;;) {
        unsigned n = number(&in, 1);
        if (in.is_bad || n == 0) break;
        if (n < POINTER) {
            if (n > 63) in.is_bad = true; /* 01 and 10 are reserved */
            label_add(&in, bytes(&in, n), out);
            continue;
        }
        size_t to = (n & 0x3fu) << 8 | number(&in, 1);
        if (jumps == 0) r->at = in.at;
        if (to >= back || ++jumps > JUMPS_MAX) in.is_bad = true;
        in.at = back = to;
    }
    if (jumps == 0) r->at = in.at;
    r->is_bad = in.is_bad;
}

static bool name_is(const struct name *n, slice text) {
    return n->is_plain && slice_ieq(slice_of(n->text, n->len), text);
}

static bool record_read(struct reader *r, struct section_record *out) {
    name_read(r, &out->owner);
    out->type = u16(r);
    out->class = u16(r);
    out->ttl = u32(r);
    if (out->ttl > INT32_MAX) out->ttl = 0; /* RFC 2181 8 */
    size_t len = u16(r);
    out->data = r->at;
    out->end = r->at + len;
    (void)bytes(r, len);
    return !r->is_bad;
}

/* ---- what a record says ---- */

static bool host_keep(const struct name *n, char *mem, slice *out) {
    if (!n->is_plain) return false;
    memcpy(mem, n->text, n->len);
    *out = slice_of(mem, n->len);
    return true;
}

static slice character_string(struct reader *r) { /* RFC 1035 3.3 */
    return bytes(r, number(r, 1));
}

/* False: of no use. A record that breaks its own format makes the message bad. */
static bool data_read(struct reader *r, enum dns_type type, size_t len, char *name_mem,
                      struct dns_record *out) {
    struct name n;
    switch (type) {
    case DNS_A:
    case DNS_AAAA: {
        slice ip = bytes(r, type == DNS_A ? 4 : 16);
        if (r->is_bad || len != ip.len) r->is_bad = true;
        if (r->is_bad) return false;
        out->addr = (struct addr){ .family = type == DNS_A ? ADDR_V4 : ADDR_V6 };
        memcpy(out->addr.ip, ip.ptr, ip.len);
        return true;
    }
    case DNS_SRV:
        out->srv = (struct dns_srv){ .priority = u16(r) };
        out->srv.weight = u16(r);
        out->srv.port = u16(r);
        name_read(r, &n);
        return host_keep(&n, name_mem, &out->srv.target);
    case DNS_NAPTR:
        out->naptr = (struct dns_naptr){ .order = u16(r) };
        out->naptr.preference = u16(r);
        out->naptr.flags = character_string(r);
        out->naptr.services = character_string(r);
        out->naptr.regexp = character_string(r);
        name_read(r, &n);
        return host_keep(&n, name_mem, &out->naptr.replacement);
    }
    return false;
}

/* ---- the message ---- */

struct sections {
    size_t answers, authority; /* where they begin */
    unsigned answer_count, authority_count;
};

static void ttl_lower(struct dns_answer *a, uint32_t ttl) {
    if (ttl < a->ttl_s) a->ttl_s = ttl;
}

/* The head and the question, which must be ours. */
static bool begins_well(struct reader *r, const struct dns_question *q, struct sections *s,
                        unsigned *rcode) {
    (void)u16(r); /* the id: compared by whoever asked */
    unsigned flags = u16(r);
    *rcode = flags & 0xfu;
    unsigned questions = u16(r);
    s->answer_count = u16(r);
    s->authority_count = u16(r);
    (void)u16(r);
    struct name n;
    name_read(r, &n);
    unsigned type = u16(r), class = u16(r);
    s->answers = r->at;
    /* QR set, a plain query, not cut short (RFC 1035 4.1.1) */
    return !r->is_bad && (flags & 0xfa00u) == 0x8000u && questions == 1 &&
           s->answer_count <= RECORDS_MAX && s->authority_count <= RECORDS_MAX &&
           name_is(&n, q->name) && type == dns_wire_type(q->type) && class == CLASS_IN;
}

/* RFC 1034 3.6.2: the alias of `current` in the answer section, if there is one. */
static bool follow_alias(slice message, const struct sections *s, struct name *current,
                         struct dns_answer *out) {
    struct reader r = { message, s->answers, false };
    struct section_record rec;
    for (unsigned i = 0; i < s->answer_count && record_read(&r, &rec); i++) {
        if (rec.type != TYPE_CNAME || rec.class != CLASS_IN ||
            !name_is(&rec.owner, slice_of(current->text, current->len)))
            continue;
        struct reader data = { message, rec.data, false };
        name_read(&data, current);
        ttl_lower(out, rec.ttl);
        return !data.is_bad && data.at == rec.end;
    }
    return false;
}

/* Every record of the type that belongs to `owner`. False: the message is bad. */
static bool collect(slice message, struct sections *s, enum dns_type type, slice owner,
                    struct dns_reply *mem, struct dns_answer *out) {
    struct reader r = { message, s->answers, false };
    struct section_record rec;
    for (unsigned i = 0; i < s->answer_count; i++) {
        if (!record_read(&r, &rec)) return false;
        if (rec.type != dns_wire_type(type) || rec.class != CLASS_IN ||
            !name_is(&rec.owner, owner) || out->count == LIMIT_DNS_RECORDS)
            continue;
        struct reader data = { message, rec.data, false };
        bool useful = data_read(&data, type, rec.end - rec.data, mem->names[out->count],
                                &mem->records[out->count]);
        if (data.is_bad || data.at != rec.end) return false;
        if (!useful) continue;
        ttl_lower(out, rec.ttl);
        out->count++;
    }
    s->authority = r.at;
    return true;
}

/* RFC 2308 5: a "no" lives as long as the SOA beside it says; without one it is not kept. */
static void negative_life(slice message, const struct sections *s, struct dns_answer *out) {
    struct reader r = { message, s->authority, false };
    struct section_record rec;
    for (unsigned i = 0; i < s->authority_count && record_read(&r, &rec); i++) {
        if (rec.type != TYPE_SOA || rec.class != CLASS_IN) continue;
        struct reader data = { message, rec.data, false };
        struct name n;
        name_read(&data, &n);
        name_read(&data, &n);
        (void)bytes(&data, 16);
        uint32_t minimum = u32(&data);
        if (data.is_bad || data.at != rec.end) break;
        ttl_lower(out, rec.ttl);
        ttl_lower(out, minimum > INT32_MAX ? 0 : minimum);
        return;
    }
    out->ttl_s = 0;
}

uint16_t dns_wire_type(enum dns_type type) {
    static const uint16_t numbers[] = {
        [DNS_A] = 1, [DNS_AAAA] = 28, [DNS_SRV] = 33, [DNS_NAPTR] = 35
    };
    return numbers[type];
}

void dns_reply_read(slice message, const struct dns_question *q, struct dns_reply *mem,
                    struct dns_answer *out) {
    struct reader r = { message, 0, false };
    struct sections s;
    unsigned rcode;
    *out = (struct dns_answer){ .result = DNS_FAIL, .ttl_s = INT32_MAX, .records = mem->records };
    bool ok = q->name.len <= DNS_NAME_BYTES && begins_well(&r, q, &s, &rcode) &&
              (rcode == RCODE_NONE || rcode == RCODE_NXDOMAIN);
    struct name current = { .is_plain = true };
    if (ok) {
        current.len = q->name.len;
        if (q->name.len) memcpy(current.text, q->name.ptr, q->name.len);
    }
    unsigned aliases = 0;
    while (ok && follow_alias(message, &s, &current, out))
        ok = current.is_plain && ++aliases <= ALIASES_MAX;
    ok = ok && collect(message, &s, q->type, slice_of(current.text, current.len), mem, out);
    if (!ok) {
        out->count = 0;
        out->ttl_s = 0;
        return;
    }
    if (rcode == RCODE_NXDOMAIN) out->count = 0; /* RFC 2308 2.1: the name at the chain's end */
    out->result = rcode == RCODE_NXDOMAIN ? DNS_NXDOMAIN : out->count ? DNS_OK : DNS_NODATA;
    if (out->result != DNS_OK) negative_life(message, &s, out);
}
