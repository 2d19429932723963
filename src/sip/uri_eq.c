/* When two URIs are the same: RFC 3261 19.1.4, RFC 3966 4, RFC 5954 4.2. */
#include "base/addr.h"
#include "base/scan.h"
#include "sip/uri.h"
#include "sip/uri_inside.h"

/* RFC 2396 2.2: those whose escaped form means something else than the bare one. */
static bool is_reserved(unsigned c) {
    return c != 0 && strchr(";/?:@&=+$,", (int)c) != NULL;
}

/* One character to compare: an escaped reserved one stays apart from the bare one. */
static unsigned char_next(const char **at, const char *end, enum uri_fold fold) {
    unsigned c = uri_unescape_char(at, end);
    if (c & URI_WAS_ESCAPED && !is_reserved(c & 255u)) c &= 255u;
    if (fold == URI_FOLD && c >= 'A' && c <= 'Z') c |= 0x20u;
    return c;
}

bool uri_text_eq(slice a, slice b, enum uri_fold fold) {
    if (a.len == 0 || b.len == 0) return a.len == b.len;
    const char *p = a.ptr, *p_end = p + a.len, *q = b.ptr, *q_end = q + b.len;
    while (p < p_end && q < q_end) {
        if (char_next(&p, p_end, fold) != char_next(&q, q_end, fold)) return false;
    }
    return p == p_end && q == q_end;
}

/* RFC 5954 4.2: IPv6 addresses are compared as addresses, not as text. */
static bool host_eq(slice a, slice b) {
    if (slice_ieq(a, b)) return true;
    struct addr x, y;
    return a.len && b.len && a.ptr[0] == '[' && b.ptr[0] == '[' && sip_host_addr(a, &x) == ERR_OK &&
           sip_host_addr(b, &y) == ERR_OK && addr_ip_eq(&x, &y);
}

enum err sip_host_addr(slice host, struct addr *out) {
    char fixed[64];
    size_t at = slice_find_slice(host, SLICE(":::"));
    if (LIKELY(at == host.len)) return addr_read_ip(host, out);
    /* RFC 5118 4.10: one colon too many before an IPv4 tail */
    slice tail = slice_from(host, at + 3);
    if (slice_find(tail, '.') == tail.len || host.len > sizeof(fixed)) return ERR_BAD;
    struct buf b = buf_over(fixed, sizeof(fixed));
    buf_put(&b, slice_head(host, at + 2));
    buf_put(&b, tail);
    return addr_read_ip(buf_slice(&b), out);
}

/* A flag has a value with ptr NULL here, so it does not equal "name=". */
static bool param_find(slice params, slice name, slice *out) {
    for (struct hdr_param p; uri_param_next(&params, &p);) {
        if (!uri_text_eq(p.name, name, URI_FOLD)) continue;
        *out = p.value;
        return true;
    }
    return false;
}

/* RFC 3261 19.1.4: these never match when only one URI has them; others are then ignored. */
static bool must_be_in_both(slice name) {
    return uri_name_is(name, SLICE("user")) || uri_name_is(name, SLICE("ttl")) ||
           uri_name_is(name, SLICE("method")) || uri_name_is(name, SLICE("maddr")) ||
           uri_name_is(name, SLICE("transport"));
}

static bool params_fit(slice a, slice b) {
    for (struct hdr_param p; uri_param_next(&a, &p);) {
        slice other;
        if (!param_find(b, p.name, &other)) {
            if (must_be_in_both(p.name)) return false;
            continue;
        }
        /* methods have case: RFC 3261 7.1 */
        enum uri_fold fold = uri_name_is(p.name, SLICE("method")) ? URI_EXACT : URI_FOLD;
        if (!p.value.ptr != !other.ptr || !uri_text_eq(p.value, other, fold)) return false;
    }
    return true;
}

static bool header_next(slice *rest, slice *name, slice *value) {
    slice one;
    if (!slice_split(rest, '&', &one)) return false;
    size_t eq = slice_find(one, '=');
    *name = slice_head(one, eq);
    *value = slice_from(one, eq + 1);
    return true;
}

static unsigned headers_count(slice headers, slice name, slice value) {
    unsigned count = 0;
    for (slice n, v; header_next(&headers, &n, &v);) {
        if (uri_text_eq(n, name, URI_FOLD) && uri_text_eq(v, value, URI_EXACT)) count++;
    }
    return count;
}

/* Every header of `a` stands in `b` as often. Values are compared with their case: no header that
 * a URI may carry is known here to ignore it, and a false "equal" could drop somebody's binding. */
static bool headers_fit(slice a, slice b) {
    slice rest = a;
    for (slice n, v; header_next(&rest, &n, &v);) {
        if (headers_count(a, n, v) != headers_count(b, n, v)) return false;
    }
    return true;
}

static bool sip_eq(const struct sip_uri *a, const struct sip_uri *b) {
    return a->has_user == b->has_user && a->has_password == b->has_password && a->port == b->port &&
           uri_text_eq(a->user, b->user, URI_EXACT) &&
           uri_text_eq(a->password, b->password, URI_EXACT) && host_eq(a->host, b->host) &&
           params_fit(a->params, b->params) && params_fit(b->params, a->params) &&
           headers_fit(a->headers, b->headers) && headers_fit(b->headers, a->headers);
}

/* RFC 3966 4: visual separators do not count. */
static int digit_next(const char **at, const char *end) {
    while (*at < end && memchr("-.()", **at, 4)) ++*at;
    if (*at == end) return -1;
    char c = *(*at)++;
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static bool number_eq(slice a, slice b) {
    if (a.len == 0 || b.len == 0) return a.len == b.len;
    const char *p = a.ptr, *p_end = p + a.len, *q = b.ptr, *q_end = q + b.len;
    for (;;) {
        int x = digit_next(&p, p_end), y = digit_next(&q, q_end);
        if (x != y) return false;
        if (x < 0) return true;
    }
}

/* Every parameter of `a` is in `b` with the same value; in any order. */
static bool tel_params_fit(slice a, slice b) {
    for (struct hdr_param p; uri_param_next(&a, &p);) {
        slice other;
        if (!param_find(b, p.name, &other) || !p.value.ptr != !other.ptr) return false;
        bool is_number =
            uri_name_is(p.name, SLICE("ext")) ||
            (uri_name_is(p.name, SLICE("phone-context")) && slice_starts(p.value, SLICE("+")));
        if (is_number ? !number_eq(p.value, other) : !uri_text_eq(p.value, other, URI_FOLD))
            return false;
    }
    return true;
}

bool sip_uri_eq(const struct sip_uri *a, const struct sip_uri *b) {
    if (a->scheme != b->scheme) return false;
    switch ((enum uri_scheme)a->scheme) {
    case URI_SIP:
    case URI_SIPS:
        return sip_eq(a, b);
    case URI_TEL:
        return number_eq(a->user, b->user) && tel_params_fit(a->params, b->params) &&
               tel_params_fit(b->params, a->params);
    case URI_OTHER:
        break;
    }
    return slice_eq(a->text, b->text);
}
