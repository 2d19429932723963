#include "sip/sdp.h"
#include "base/scan.h"

/* ---- lines ---- */

/* The next line without its end. False: the text is over. BAD lines are found by sdp_read once;
 * after that only good ones are left. */
static bool line_take(slice *rest, slice *out) {
    if (rest->len == 0) return false;
    size_t nl = slice_find(*rest, '\n');
    *out = slice_head(*rest, nl);
    *rest = slice_from(*rest, nl + 1);
    if (out->len && out->ptr[out->len - 1] == '\r') out->len--;
    return true;
}

static bool is_blank(slice text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '\r' && text.ptr[i] != '\n') return false;
    }
    return true;
}

static bool is_line(slice line) {
    /* RFC 8866 5: a letter and '='. An empty value is taken: many write "s=". No CR inside: a
     * reader that ends lines there would see lines that we do not. */
    return line.len >= 2 && line.ptr[1] == '=' && !memchr(line.ptr, '\r', line.len);
}

static slice trim_end(slice s) {
    while (s.len && scan_is(s.ptr[s.len - 1], SCAN_WS)) s.len--;
    return s;
}

bool sdp_word(slice *rest, slice *out) {
    struct cursor c = cursor_of(*rest);
    cursor_while(&c, SCAN_WS);
    const char *from = c.at;
    while (!cursor_done(&c) && !scan_is(*c.at, SCAN_WS)) c.at++;
    *out = slice_span(from, c.at);
    *rest = cursor_rest(&c);
    return out->len > 0;
}

/* ---- m= : RFC 8866 5.14 ---- */

static bool all_are(slice s, unsigned classes) {
    for (size_t i = 0; i < s.len; i++) {
        if (!scan_is(s.ptr[i], classes)) return false;
    }
    return s.len > 0;
}

static bool is_proto(slice proto) { /* token *("/" token) */
    slice rest = proto, word;
    if (proto.len == 0 || proto.ptr[proto.len - 1] == '/') return false;
    while (slice_split(&rest, '/', &word)) {
        if (!all_are(word, SCAN_TOKEN)) return false;
    }
    return true;
}

/* One SP and no more: a second one would be an empty field to one reader and nothing to the next.
 */
static slice field_take(slice *rest) {
    size_t sp = slice_find(*rest, ' ');
    slice field = slice_head(*rest, sp);
    *rest = slice_from(*rest, sp + 1);
    return field;
}

static enum err media_read(slice value, struct sdp_media *out) {
    slice rest = value;
    out->media = field_take(&rest);
    slice port = field_take(&rest), count = SLICE_NONE;
    out->proto = field_take(&rest);
    out->formats = trim_end(rest);
    out->connection = SLICE_NONE;
    size_t slash = slice_find(port, '/');
    if (slash < port.len) {
        count = slice_from(port, slash + 1);
        port = slice_head(port, slash);
    }
    uint32_t n = 1, number;
    if (!all_are(out->media, SCAN_TOKEN) || !is_proto(out->proto)) return ERR_BAD;
    if (slice_u32(port, 65535, &number) != ERR_OK) return ERR_BAD;
    if (count.ptr && (slice_u32(count, 65535, &n) != ERR_OK || n == 0)) return ERR_BAD;
    for (size_t i = 0; i < out->formats.len; i++) {
        if (!scan_is(out->formats.ptr[i], SCAN_TOKEN | SCAN_WS) && out->formats.ptr[i] != '/')
            return ERR_BAD;
    }
    out->port = (uint16_t)number;
    out->port_count = (uint16_t)n;
    return ERR_OK;
}

/* ---- the whole ---- */

static enum err once(slice *to, slice value) {
    if (to->ptr) return ERR_BAD;
    *to = value;
    return ERR_OK;
}

static void first(slice *to, slice value) {
    if (!to->ptr) *to = value;
}

static enum err session_line(struct sdp *s, char type, slice value) {
    switch (type) {
    case 'o':
        return once(&s->origin, value);
    case 's':
        return once(&s->name, value);
    case 'c':
        first(&s->connection, value);
        return ERR_OK;
    case 't':
        first(&s->timing, value);
        return ERR_OK;
    case 'i':
    case 'u':
    case 'e':
    case 'p':
    case 'b':
    case 'r':
    case 'z':
    case 'k':
    case 'a':
        return ERR_OK;
    /* RFC 8866 5: a letter we do not know is reason to reject the whole. 'v' came before. */
    default:
        return ERR_BAD;
    }
}

static enum err media_line(struct sdp_media *m, char type, slice value) {
    switch (type) {
    case 'c':
        first(&m->connection, value);
        return ERR_OK;
    case 'i':
    case 'b':
    case 'k':
    case 'a':
        return ERR_OK;
    default:
        return ERR_BAD; /* session lines behind m=: a second description, or a trick */
    }
}

static enum err line_read(struct sdp *s, slice line) {
    char type = line.ptr[0];
    slice value = slice_from(line, 2);
    if (type == 'm') {
        if (s->media_count == LIMIT_SDP_MEDIA) return ERR_LIMIT;
        return media_read(value, &s->media[s->media_count++]);
    }
    if (s->media_count) return media_line(&s->media[s->media_count - 1], type, value);
    return session_line(s, type, value);
}

enum err sdp_read(slice text, struct sdp *out) {
    slice rest = text, line;
    out->text = text;
    out->origin = out->name = out->connection = out->timing = SLICE_NONE;
    out->media_count = 0;
    /* RFC 8866 5.1: the version comes first, and there is only one. */
    if (!line_take(&rest, &line) || !slice_eq(trim_end(line), SLICE("v=0"))) return ERR_BAD;
    /* RFC 8866 9: no NUL anywhere: to a reader in C the text would end there. */
    if (memchr(text.ptr, '\0', text.len)) return ERR_BAD;
    out->lines = rest;
    while (!is_blank(rest)) {
        const char *from = rest.ptr;
        if (!line_take(&rest, &line) || !is_line(line)) return ERR_BAD;
        if (line.ptr[0] == 'm') { /* what stands before it belongs to the one before */
            slice *open = out->media_count ? &out->media[out->media_count - 1].lines : &out->lines;
            *open = slice_span(open->ptr, from);
        }
        enum err err = line_read(out, line);
        if (err) return err;
        if (line.ptr[0] == 'm') out->media[out->media_count - 1].lines = rest;
    }
    return out->origin.ptr ? ERR_OK : ERR_BAD;
}

/* ---- attributes ---- */

struct sdp_attrs sdp_attrs_of(slice lines, slice name) {
    return (struct sdp_attrs){ .rest = lines, .only = name };
}

struct sdp_attrs sdp_attrs_inherited(const struct sdp *s, unsigned media, slice name) {
    ASSERT(media < s->media_count);
    slice lines = s->media[media].lines;
    return sdp_attrs_of(sdp_has_attr(lines, name) ? lines : s->lines, name);
}

bool sdp_attrs_next(struct sdp_attrs *it, struct sdp_attr *out) {
    slice line;
    while (line_take(&it->rest, &line)) {
        if (line.len < 2 || line.ptr[0] != 'a' || line.ptr[1] != '=') continue;
        slice text = trim_end(slice_from(line, 2));
        size_t colon = slice_find(text, ':');
        out->name = slice_head(text, colon);
        out->value = colon < text.len ? slice_from(text, colon + 1) : SLICE_NONE;
        if (it->only.len == 0 || slice_eq(it->only, out->name)) return true;
    }
    return false;
}

bool sdp_attr_first(slice lines, slice name, slice *out_value) {
    struct sdp_attrs it = sdp_attrs_of(lines, name);
    struct sdp_attr a;
    if (!sdp_attrs_next(&it, &a)) return false;
    *out_value = a.value;
    return true;
}

bool sdp_has_attr(slice lines, slice name) {
    slice value;
    return sdp_attr_first(lines, name, &value);
}

/* ---- a=fingerprint ---- */

static const struct {
    slice name;
    enum sdp_hash hash;
    size_t len;
} hashes[] = {
    { { "sha-256", 7 }, SDP_HASH_SHA256, 32 }, { { "sha-384", 7 }, SDP_HASH_SHA384, 48 },
    { { "sha-512", 7 }, SDP_HASH_SHA512, 64 }, { { "sha-1", 5 }, SDP_HASH_SHA1, 20 },
    { { "sha-224", 7 }, SDP_HASH_SHA224, 28 }, { { "md5", 3 }, SDP_HASH_MD5, 16 },
    { { "md2", 3 }, SDP_HASH_MD2, 16 },
};

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum err sdp_fingerprint_read(slice value, struct sdp_fingerprint *out) {
    size_t sp = slice_find(value, ' ');
    slice hex = slice_from(value, sp + 1);
    out->hash_name = slice_head(value, sp);
    out->hash = SDP_HASH_OTHER;
    out->len = 0;
    if (!all_are(out->hash_name, SCAN_TOKEN)) return ERR_BAD;
    /* RFC 8122 5: pairs of digits with a colon between any two. */
    if (hex.len % 3 != 2 || (hex.len + 1) / 3 > sizeof(out->bytes)) return ERR_BAD;
    for (size_t i = 0; i < hex.len; i += 3) {
        int high = hex_digit(hex.ptr[i]), low = hex_digit(hex.ptr[i + 1]);
        if (high < 0 || low < 0) return ERR_BAD;
        if (i + 2 < hex.len && hex.ptr[i + 2] != ':') return ERR_BAD;
        out->bytes[out->len++] = (uint8_t)(high << 4 | low);
    }
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        if (!slice_ieq(out->hash_name, hashes[i].name)) continue;
        out->hash = hashes[i].hash;
        return out->len == hashes[i].len ? ERR_OK : ERR_BAD;
    }
    return ERR_OK;
}

/* ---- a=crypto ---- */

static bool is_suite(slice s) {
    if (!s.ptr) return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!scan_is(s.ptr[i], SCAN_ALPHA | SCAN_DIGIT) && s.ptr[i] != '_') return false;
    }
    return s.len > 0;
}

enum err sdp_crypto_read(slice value, struct sdp_crypto *out) {
    slice rest = value, tag;
    /* RFC 4568 9.1: 1*9DIGIT right behind the colon. */
    if (value.len == 0 || !scan_is(value.ptr[0], SCAN_DIGIT)) return ERR_BAD;
    if (!sdp_word(&rest, &tag) || tag.len > 9 || slice_u32(tag, 999999999, &out->tag) != ERR_OK)
        return ERR_BAD;
    if (!sdp_word(&rest, &out->suite) || !is_suite(out->suite)) return ERR_BAD;
    if (!sdp_word(&rest, &out->key_params)) return ERR_BAD;
    out->session_params = slice_trim(rest);
    slice keys = out->key_params;
    struct sdp_crypto_key key;
    enum err err;
    while ((err = sdp_crypto_key_next(&keys, &key)) == ERR_OK) {}
    return err == ERR_MISSING ? ERR_OK : ERR_BAD;
}

enum err sdp_crypto_key_next(slice *rest, struct sdp_crypto_key *out) {
    if (rest->len == 0) return ERR_MISSING;
    size_t semi = slice_find(*rest, ';');
    slice param = slice_head(*rest, semi);
    if (semi + 1 == rest->len) return ERR_BAD; /* nothing behind the ';' */
    *rest = slice_from(*rest, semi + 1);
    size_t colon = slice_find(param, ':');
    out->method = slice_head(param, colon);
    slice info = slice_from(param, colon + 1), field;
    out->key_salt = out->lifetime = out->mki = SLICE_NONE;
    if (!is_suite(out->method) || info.len == 0) return ERR_BAD;
    (void)slice_split(&info, '|', &out->key_salt);
    /* RFC 4568 9.2: lifetime has no colon, MKI has one. */
    for (int i = 0; i < 2 && slice_split(&info, '|', &field); i++) {
        if (slice_find(field, ':') < field.len)
            out->mki = field;
        else if (i == 0)
            out->lifetime = field;
        else
            return ERR_BAD;
    }
    return info.len ? ERR_BAD : ERR_OK;
}

size_t sdp_base64_bytes(slice text) {
    size_t padding = 0;
    while (padding < 2 && text.len && text.ptr[text.len - 1] == '=') {
        padding++;
        text.len--;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!scan_is(c, SCAN_ALPHA | SCAN_DIGIT) && c != '+' && c != '/') return 0;
    }
    if (text.len % 4 == 1 || (padding && (text.len + padding) % 4 != 0)) return 0;
    return text.len * 3 / 4;
}

/* ---- others ---- */

enum sdp_setup sdp_setup_of(const struct sdp *s, unsigned media) {
    static const slice names[] = {
        { "", 0 }, { "active", 6 }, { "passive", 7 }, { "actpass", 7 }, { "holdconn", 8 }
    };
    struct sdp_attrs it = sdp_attrs_inherited(s, media, SLICE("setup"));
    struct sdp_attr a;
    if (!sdp_attrs_next(&it, &a)) return SDP_SETUP_NONE;
    for (int i = SDP_SETUP_ACTIVE; i < SDP_SETUP_BAD; i++) {
        if (slice_ieq(a.value, names[i])) return (enum sdp_setup)i;
    }
    return SDP_SETUP_BAD;
}

enum sdp_direction sdp_direction_of(const struct sdp *s, unsigned media) {
    static const slice names[] = {
        { "sendrecv", 8 }, { "sendonly", 8 }, { "recvonly", 8 }, { "inactive", 8 }
    };
    ASSERT(media < s->media_count);
    const slice levels[] = { s->media[media].lines, s->lines };
    for (size_t l = 0; l < ARRAY_LEN(levels); l++) {
        struct sdp_attrs it = sdp_attrs_of(levels[l], SLICE_NONE);
        for (struct sdp_attr a; sdp_attrs_next(&it, &a);) {
            for (int i = SDP_SENDRECV; i <= SDP_INACTIVE; i++) {
                if (!a.value.ptr && slice_eq(a.name, names[i])) return (enum sdp_direction)i;
            }
        }
    }
    return SDP_SENDRECV;
}

enum err sdp_candidate_read(slice value, struct sdp_candidate *out) {
    slice rest = value, component, priority, port, typ;
    uint32_t number;
    if (!sdp_word(&rest, &out->foundation) || !sdp_word(&rest, &component) ||
        !sdp_word(&rest, &out->transport) || !sdp_word(&rest, &priority) ||
        !sdp_word(&rest, &out->address) || !sdp_word(&rest, &port) || !sdp_word(&rest, &typ) ||
        !sdp_word(&rest, &out->type))
        return ERR_BAD;
    if (!slice_eq(typ, SLICE("typ")) || slice_u32(component, 256, &out->component) != ERR_OK ||
        slice_u32(priority, UINT32_MAX, &number) != ERR_OK ||
        slice_u32(port, 65535, &number) != ERR_OK)
        return ERR_BAD;
    out->port = (uint16_t)number;
    return ERR_OK;
}

/* The one section with this mid. */
static bool find_mid(const struct sdp *s, slice mid, unsigned *out) {
    unsigned found = 0;
    for (unsigned m = 0; m < s->media_count; m++) {
        slice value;
        if (!sdp_attr_first(s->media[m].lines, SLICE("mid"), &value) || !slice_eq(value, mid))
            continue;
        *out = m;
        found++;
    }
    return found == 1;
}

bool sdp_bundle_tagged(const struct sdp *s, unsigned media, unsigned *out) {
    ASSERT(media < s->media_count);
    slice mid;
    unsigned same;
    if (!sdp_attr_first(s->media[media].lines, SLICE("mid"), &mid) || mid.len == 0) return false;
    if (!find_mid(s, mid, &same)) return false;
    struct sdp_attrs it = sdp_attrs_of(s->lines, SLICE("group"));
    for (struct sdp_attr a; sdp_attrs_next(&it, &a);) {
        slice rest = a.value, word, tag = SLICE_NONE;
        if (!sdp_word(&rest, &word) || !slice_eq(word, SLICE("BUNDLE"))) continue;
        /* RFC 9143 7.2: the first identification-tag names the section whose transport counts. */
        for (bool is_first = true; sdp_word(&rest, &word); is_first = false) {
            if (is_first) tag = word;
            if (slice_eq(word, mid)) return find_mid(s, tag, out);
        }
    }
    return false;
}
