/* load/sipmsg.c - see sipmsg.h. */
#include "sipmsg.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct span span_of(const char *p, size_t n) {
    return (struct span){ p, n };
}

bool span_begins(struct span s, const char *lower_case_name) {
    size_t n = strlen(lower_case_name);
    return s.n >= n && strncasecmp(s.p, lower_case_name, n) == 0;
}

void text_add(struct text *t, struct span s) {
    if (t->bad || t->max - t->n < s.n) {
        t->bad = true;
        return;
    }
    if (s.n) memcpy(t->p + t->n, s.p, s.n);
    t->n += s.n;
}

__attribute__((format(printf, 2, 0))) static void text_vprintf(struct text *t, const char *fmt,
                                                               va_list args) {
    if (t->bad) return;
    int n = vsnprintf(t->p + t->n, t->max - t->n, fmt, args);
    if (n < 0 || (size_t)n >= t->max - t->n) {
        t->bad = true;
        return;
    }
    t->n += (size_t)n;
}

void text_printf(struct text *t, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    text_vprintf(t, fmt, args);
    va_end(args);
}

static const char *find(struct span s, const char *what, size_t n) {
    return s.n ? memmem(s.p, s.n, what, n) : NULL;
}

long sip_frame(struct span s) {
    size_t skip = 0;
    while (skip < s.n && (s.p[skip] == '\r' || s.p[skip] == '\n')) skip++;
    if (skip) return (long)skip; /* keep-alive: a message of no content */
    const char *end = find(s, "\r\n\r\n", 4);
    if (!end) return s.n > 16384 ? -1 : 0;
    struct span head = span_of(s.p, (size_t)(end - s.p) + 2);
    struct span value = sip_header(head, H_LENGTH);
    size_t body = 0;
    if (!value.n) return -1;
    for (size_t i = 0; i < value.n && value.p[i] >= '0' && value.p[i] <= '9' && body < 65536; i++)
        body = body * 10 + (size_t)(value.p[i] - '0');
    size_t total = head.n + 2 + body;
    return s.n < total ? 0 : (long)total;
}

unsigned sip_status(struct span msg) {
    if (!span_begins(msg, "sip/2.0 ") || msg.n < 11) return 0;
    unsigned status = 0;
    for (size_t i = 8; i < 11; i++) status = status * 10 + (unsigned)(msg.p[i] - '0');
    return status;
}

static enum header header_id(struct span name) {
    static const struct {
        const char *name;
        enum header id;
    } names[] = {
        { "via", H_VIA },
        { "v", H_VIA },
        { "from", H_FROM },
        { "f", H_FROM },
        { "to", H_TO },
        { "t", H_TO },
        { "call-id", H_CALL_ID },
        { "i", H_CALL_ID },
        { "cseq", H_CSEQ },
        { "contact", H_CONTACT },
        { "m", H_CONTACT },
        { "record-route", H_RECORD_ROUTE },
        { "l", H_LENGTH },
        { "content-length", H_LENGTH },
        { "www-authenticate", H_CHALLENGE },
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i].name) == name.n && span_begins(name, names[i].name)) return names[i].id;
    return H_OTHER;
}

bool sip_next_header(struct span *rest, enum header *id, struct span *line, struct span *value) {
    const char *end = find(*rest, "\r\n", 2);
    if (!end) return false;
    /* The first call stands on the start line, later ones on the line given before. */
    const char *start = end + 2;
    struct span left = span_of(start, rest->n - (size_t)(start - rest->p));
    const char *stop = find(left, "\r\n", 2);
    if (!stop || stop == left.p) return false;
    *line = span_of(left.p, (size_t)(stop - left.p));
    const char *colon = memchr(line->p, ':', line->n);
    if (!colon) return false;
    struct span name = span_of(line->p, (size_t)(colon - line->p));
    while (name.n && name.p[name.n - 1] == ' ') name.n--;
    *id = header_id(name);
    colon++;
    while (colon < stop && (*colon == ' ' || *colon == '\t')) colon++;
    *value = span_of(colon, (size_t)(stop - colon));
    *rest = left;
    return true;
}

struct span sip_header(struct span msg, enum header id) {
    enum header found;
    struct span line, value;
    while (sip_next_header(&msg, &found, &line, &value))
        if (found == id) return value;
    return span_of("", 0);
}

struct span sip_uri(struct span value) {
    const char *open = value.n ? memchr(value.p, '<', value.n) : NULL;
    if (open) {
        open++;
        struct span rest = span_of(open, value.n - (size_t)(open - value.p));
        const char *close = memchr(rest.p, '>', rest.n);
        return close ? span_of(open, (size_t)(close - open)) : span_of("", 0);
    }
    const char *semicolon = value.n ? memchr(value.p, ';', value.n) : NULL;
    return semicolon ? span_of(value.p, (size_t)(semicolon - value.p)) : value;
}

struct span sip_param(struct span value, const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i + n < value.n; i++) {
        bool at_start =
            i == 0 || value.p[i - 1] == ' ' || value.p[i - 1] == ',' || value.p[i - 1] == ';';
        if (!at_start || strncasecmp(value.p + i, name, n) != 0 || value.p[i + n] != '=') continue;
        size_t from = i + n + 1;
        bool quoted = from < value.n && value.p[from] == '"';
        if (quoted) from++;
        size_t to = from;
        while (to < value.n &&
               (quoted ? value.p[to] != '"'
                       : value.p[to] != ',' && value.p[to] != ';' && value.p[to] != ' '))
            to++;
        return span_of(value.p + from, to - from);
    }
    return span_of("", 0);
}

#define TAG_BLANK "00000000 000000 "
#define TAG_NAME  "X-Bench: "

void sip_begin(struct text *t, uint32_t destination, enum tag_kind kind, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    text_vprintf(t, fmt, args);
    va_end(args);
    text_printf(t, "\r\n" TAG_NAME "%08x 000000 %c\r\n", (unsigned)destination, (int)kind);
}

void sip_end(struct text *t) {
    const char *line = t->bad ? NULL : memchr(t->p, '\n', t->n);
    if (!line) return;
    size_t at = (size_t)(line - t->p) + 1 + sizeof TAG_NAME - 1 + 9;
    char digits[8];
    int n = snprintf(digits, sizeof digits, "%06x", (unsigned)t->n & 0xffffffU);
    if (n == 6) memcpy(t->p + at, digits, 6);
}

void sip_copy(struct text *t, struct span msg, unsigned mask, uint32_t to_tag) {
    enum header id;
    struct span line, value;
    while (sip_next_header(&msg, &id, &line, &value)) {
        if (!((unsigned)id & mask)) continue;
        text_add(t, line);
        if (id == H_TO && to_tag && !sip_param(value, "tag").n)
            text_printf(t, ";tag=%08x", (unsigned)to_tag);
        text_add(t, span_of("\r\n", 2));
    }
}

void sip_routes(struct text *t, struct span response) {
    struct span hops[16];
    size_t count = 0;
    enum header id;
    struct span line, value;
    while (sip_next_header(&response, &id, &line, &value)) {
        if (id != H_RECORD_ROUTE) continue;
        while (value.n && count < 16) { /* several may stand on one line */
            const char *close = memchr(value.p, '>', value.n);
            const char *comma =
                close ? memchr(close, ',', value.n - (size_t)(close - value.p)) : NULL;
            size_t n = comma ? (size_t)(comma - value.p) : value.n;
            hops[count++] = span_of(value.p, n);
            if (!comma) break;
            value = span_of(comma + 1, value.n - n - 1);
        }
    }
    while (count) {
        text_printf(t, "Route: ");
        text_add(t, hops[--count]);
        text_add(t, span_of("\r\n", 2));
    }
}

static bool sha256_hex(struct text *in, char out[static 65]) {
    static EVP_MD *md;
    static EVP_MD_CTX *ctx;
    if (!md) md = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!ctx) ctx = EVP_MD_CTX_new();
    uint8_t sum[32];
    unsigned n = 0;
    if (in->bad || !md || !ctx || EVP_DigestInit_ex(ctx, md, NULL) != 1 ||
        EVP_DigestUpdate(ctx, in->p, in->n) != 1 || EVP_DigestFinal_ex(ctx, sum, &n) != 1)
        return false;
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 32; i++) {
        out[2 * i] = digits[sum[i] >> 4];
        out[2 * i + 1] = digits[sum[i] & 15];
    }
    out[64] = 0;
    return true;
}

bool sip_authorize(struct text *t, const struct credentials *c) {
    struct span realm = sip_param(c->challenge, "realm"), nonce = sip_param(c->challenge, "nonce");
    struct span opaque = sip_param(c->challenge, "opaque");
    struct span algorithm = sip_param(c->challenge, "algorithm");
    if (!span_begins(c->challenge, "digest ") || !nonce.n || algorithm.n != 7 ||
        !span_begins(algorithm, "sha-256"))
        return false;
    char room[1024], ha1[65], ha2[65], response[65];
    const char *cnonce = "6c6f61642d67656e";
    struct text in = { room, 0, sizeof room, false };
    text_printf(&in, "%.*s:%.*s:%.*s", (int)c->user.n, c->user.p, (int)realm.n, realm.p,
                (int)c->secret.n, c->secret.p);
    if (!sha256_hex(&in, ha1)) return false;
    in.n = 0;
    text_printf(&in, "%.*s:%.*s", (int)c->method.n, c->method.p, (int)c->uri.n, c->uri.p);
    if (!sha256_hex(&in, ha2)) return false;
    in.n = 0;
    text_printf(&in, "%s:%.*s:%08x:%s:auth:%s", ha1, (int)nonce.n, nonce.p, c->count, cnonce, ha2);
    if (!sha256_hex(&in, response)) return false;
    text_printf(t,
                "Authorization: Digest username=\"%.*s\", realm=\"%.*s\", nonce=\"%.*s\", "
                "uri=\"%.*s\", response=\"%s\", algorithm=SHA-256, cnonce=\"%s\", qop=auth, "
                "nc=%08x",
                (int)c->user.n, c->user.p, (int)realm.n, realm.p, (int)nonce.n, nonce.p,
                (int)c->uri.n, c->uri.p, response, cnonce, c->count);
    if (opaque.n) text_printf(t, ", opaque=\"%.*s\"", (int)opaque.n, opaque.p);
    text_printf(t, "\r\n");
    return !t->bad;
}
