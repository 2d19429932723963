/* Words, variables, globs and bodies. */
#include "replay.h"

#include <stdarg.h>
#include <stdio.h>

bool complain(struct world *w, const char *fmt, ...) {
    va_list args;
    if (w->is_quiet) {
        w->is_failed = true;
        return false;
    }
    va_start(args, fmt);
    if (!w->is_failed) (void)fprintf(stderr, "%s:%u: ", w->file, w->line);
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
    va_end(args);
    w->is_failed = true;
    return false;
}

slice text_keep(struct world *w, slice s) {
    slice out;
    if (arena_copy(&w->arena, s, &out) != ERR_OK) {
        (void)complain(w, "the scenario is too long for its memory");
        return SLICE_NONE;
    }
    return out;
}

slice text_make(struct world *w, const char *fmt, ...) {
    char mem[4096];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(mem, sizeof mem, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof mem) {
        (void)complain(w, "a text is too long");
        return SLICE_NONE;
    }
    return text_keep(w, slice_of(mem, (size_t)n));
}

slice text_fresh(struct world *w, const char *prefix) {
    return text_make(w, "%s%llu", prefix, (unsigned long long)++w->serial);
}

void text_set(struct world *w, slice name, slice value) {
    for (unsigned i = 0; i < w->var_count; i++)
        if (slice_eq(w->vars[i].name, name)) {
            w->vars[i].value = value;
            return;
        }
    if (w->var_count == VARS_MAX) {
        (void)complain(w, "too many variables");
        return;
    }
    w->vars[w->var_count++] = (struct field){ text_keep(w, name), value };
}

/* {A.contact}: what an agent knows of itself. */
static bool agent_value(struct world *w, struct agent *a, slice what, slice *out) {
    const struct dialog *d = a->now;
    static const struct dialog none;
    if (!d) d = &none;
    if (slice_eq(what, SLICE("contact")))
        *out = a->contact;
    else if (slice_eq(what, SLICE("instance")))
        *out = a->instance;
    else if (slice_eq(what, SLICE("user")))
        *out = a->user;
    else if (slice_eq(what, SLICE("tag")))
        *out = d->local_tag;
    else if (slice_eq(what, SLICE("remote-tag")))
        *out = d->remote_tag;
    else if (slice_eq(what, SLICE("target")))
        *out = d->target;
    else if (slice_eq(what, SLICE("callid")))
        *out = d->call_id;
    else if (slice_eq(what, SLICE("cseq")))
        *out = text_make(w, "%u", d->cseq);
    else if (slice_eq(what, SLICE("route")) && d->route_count)
        *out = d->routes[0];
    else if (slice_eq(what, SLICE("route-uri")) && d->route_count)
        *out = slice_from(slice_head(d->routes[0], slice_find(d->routes[0], '>')), 1);
    else if (slice_eq(what, SLICE("addr")) || slice_eq(what, SLICE("server"))) {
        char mem[64];
        struct buf b = buf_over(mem, sizeof mem);
        addr_put(&b, slice_eq(what, SLICE("addr")) ? &a->info.peer : &a->info.local);
        *out = text_keep(w, buf_slice(&b));
    } else
        return false;
    return true;
}

static bool value_of(struct world *w, slice name, slice *out) {
    for (unsigned i = 0; i < w->var_count; i++)
        if (slice_eq(w->vars[i].name, name)) {
            *out = w->vars[i].value;
            return true;
        }
    if (slice_eq(name, SLICE("domain")))
        *out = world_domain(w);
    else if (slice_eq(name, SLICE("new")))
        *out = text_fresh(w, "n");
    else if (slice_eq(name, SLICE("branch")))
        *out = text_fresh(w, "z9hG4bKx");
    else {
        size_t dot = slice_find(name, '.');
        struct agent *a = world_agent(w, slice_head(name, dot));
        return a && agent_value(w, a, slice_from(name, dot + 1), out);
    }
    return true;
}

bool text_fill(struct world *w, slice s, slice *out) {
    if (slice_find(s, '{') == s.len) {
        *out = s;
        return true;
    }
    char mem[70000];
    struct buf b = buf_over(mem, sizeof mem);
    while (s.len) {
        size_t open = slice_find(s, '{');
        buf_put(&b, slice_head(s, open));
        if (open == s.len) break;
        s = slice_from(s, open + 1);
        size_t close = slice_find(s, '}');
        slice name = slice_head(s, close), value;
        if (close == s.len || !value_of(w, name, &value))
            return complain(w, "nothing is known of {" SLICE_FMT "}", SLICE_ARG(name));
        buf_put(&b, value);
        s = slice_from(s, close + 1);
    }
    if (b.full) return complain(w, "a text is too long");
    *out = text_keep(w, buf_slice(&b));
    return !w->is_failed;
}

bool text_glob(slice p, slice s) {
    /* Remember the last star and how much it has eaten; on a mismatch it eats one more. */
    size_t i = 0, j = 0, star = SIZE_MAX, eaten = 0;
    while (j < s.len) {
        if (i < p.len && p.ptr[i] == '*') {
            star = i++;
            eaten = j;
        } else if (i < p.len && (p.ptr[i] == '?' || p.ptr[i] == s.ptr[j])) {
            i++;
            j++;
        } else if (star != SIZE_MAX) {
            i = star + 1;
            j = ++eaten;
        } else {
            return false;
        }
    }
    while (i < p.len && p.ptr[i] == '*') i++;
    return i == p.len;
}

slice text_word(slice *rest) {
    *rest = slice_trim(*rest);
    size_t end = 0;
    while (end < rest->len && rest->ptr[end] != ' ') end++;
    slice word = slice_head(*rest, end);
    *rest = slice_trim(slice_from(*rest, end));
    return word;
}

/* ---- session descriptions ---- */

#define SDP_HEAD "v=0\r\no=- 1 1 IN IP4 192.0.2.99\r\ns=-\r\nc=IN IP4 192.0.2.99\r\nt=0 0\r\n"
#define SHA256                                                                                     \
    "a=fingerprint:SHA-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:"  \
    "77:88:99:AA:BB:CC:DD:EE:FF\r\na=setup:actpass\r\n"
#define SHA1                                                                                       \
    "a=fingerprint:SHA-1 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33\r\n"          \
    "a=setup:actpass\r\n"
#define CRYPTO(suite)          "a=crypto:1 " suite " inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"
#define DTLS_LINE(media, port) "m=" media " " port " UDP/TLS/RTP/SAVPF 96\r\n"

static const struct {
    const char *name, *text;
} bodies[] = {
    { "dtls", SDP_HEAD DTLS_LINE("audio", "40000") SHA256 },
    { "dtls2", SDP_HEAD DTLS_LINE("audio", "40002") SHA256 }, /* the same with another port */
    { "dtls-session", SDP_HEAD SHA256 DTLS_LINE("audio", "40000") },
    { "dtls-video", SDP_HEAD SHA256 DTLS_LINE("audio", "40000") DTLS_LINE("video", "40002") },
    { "dtls-avp", SDP_HEAD "m=audio 40000 RTP/AVP 0\r\n" SHA256 }, /* RFC 8643 */
    { "dtls-sha1", SDP_HEAD DTLS_LINE("audio", "40000") SHA1 },
    { "sdes", SDP_HEAD "m=audio 40000 RTP/SAVP 0\r\n" CRYPTO("AES_CM_128_HMAC_SHA1_80") "\r\n" },
    { "sdes-avp", SDP_HEAD "m=audio 40000 RTP/AVP 0\r\n" CRYPTO("AES_CM_128_HMAC_SHA1_80") "\r\n" },
    { "sdes-clear", SDP_HEAD
      "m=audio 40000 RTP/SAVP 0\r\n" CRYPTO("AES_CM_128_HMAC_SHA1_80") " UNENCRYPTED_SRTP\r\n" },
    { "sdes-null", SDP_HEAD "m=audio 40000 RTP/SAVP 0\r\n" CRYPTO("NULL_HMAC_SHA1_80") "\r\n" },
    { "plain", SDP_HEAD "m=audio 40000 RTP/AVP 0\r\n" },
    { "plain-savp", SDP_HEAD "m=audio 40000 RTP/SAVP 0\r\n" },
    { "mixed", SDP_HEAD DTLS_LINE("audio", "40000") SHA256 "m=video 40002 RTP/AVP 96\r\n" },
    { "mixed-rejected", SDP_HEAD DTLS_LINE("audio", "40000") SHA256 "m=video 0 RTP/AVP 96\r\n" },
    { "rejected", SDP_HEAD "m=audio 0 RTP/AVP 0\r\n" },
};

enum err sdp_named(struct world *w, slice name, slice *out_body, slice *out_type) {
    (void)w;
    *out_type = SLICE("application/sdp");
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        if (slice_eq(name, slice_str(bodies[i].name))) {
            *out_body = slice_str(bodies[i].text);
            return ERR_OK;
        }
    return ERR_MISSING;
}
