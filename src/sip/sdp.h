/* sip/sdp.h - a session description as an index over its bytes. RFC 8866.
 *
 * Purpose:  finds the lines of the session and of each m= section; attributes are walked on demand
 *           and the few that decide whether a call is keyed have readers of their own.
 * Reading:  tolerant where phones in the field are: lines may end in LF alone, blank lines may
 *           follow at the end, session lines may come in any order behind v=, s= and t= may be
 *           missing. Strict where two readers could see two different things: a CR or NUL inside a
 *           line, a letter that RFC 8866 does not have, a second v= or o=, session lines behind the
 *           first m=, odd white space before the format list of m=, ports beyond 65535 are BAD.
 * Lifetime: nothing is copied; an index is good as long as the bytes given to sdp_read.
 * Memory:   fixed size, about 4 kB. Threads: none of its own.
 *
 *   struct sdp s;
 *   if (sdp_read(bytes, &s) == ERR_OK)
 *       for (unsigned m = 0; m < s.media_count; m++) {
 *           struct sdp_attrs it = sdp_attrs_inherited(&s, m, SLICE("fingerprint"));
 *           for (struct sdp_attr a; sdp_attrs_next(&it, &a);) ... a.value ...
 *       }                                                                                    */
#ifndef SIP_SDP_H
#define SIP_SDP_H

#include "base/limits.h"
#include "base/slice.h"

struct sdp_media {
    slice media;         /* "audio" */
    uint16_t port;       /* 0: rejected, or bundle-only (RFC 9143 6) */
    uint16_t port_count; /* 1 when none is written */
    slice proto;         /* "RTP/SAVP" */
    slice formats;       /* "0 8 101" */
    slice connection;    /* value of its first c=; ptr NULL: none, that of the session holds */
    slice lines;         /* all lines behind m= up to the next one */
};
struct sdp {
    slice text;
    slice origin, name, connection, timing; /* values of o= s= c= t= (the first); NULL: absent */
    slice lines;                            /* all lines before the first m= */
    unsigned media_count;
    struct sdp_media media[LIMIT_SDP_MEDIA];
};

/* BAD: not a session description, or one that could be read in two ways. LIMIT: more than
 * LIMIT_SDP_MEDIA m= lines. */
NODISCARD enum err sdp_read(slice text, struct sdp *out);

/* ---- attributes: names are case-sensitive (RFC 8866 5.13) ---- */

struct sdp_attr {
    slice name;
    slice value; /* without white space at its end; ptr NULL: a=name without a colon */
};
struct sdp_attrs {
    slice rest;
    slice only; /* empty: every attribute */
};
/* Of one level: sdp.lines, or lines of an m= section. name may be empty: all of them. */
struct sdp_attrs sdp_attrs_of(slice lines, slice name);
/* Of the m= section if it has any of that name, else of the session. */
struct sdp_attrs sdp_attrs_inherited(const struct sdp *s, unsigned media, slice name);
bool sdp_attrs_next(struct sdp_attrs *it, struct sdp_attr *out);
/* The first of that name; false: absent. *out_value ptr NULL: it has no value. */
bool sdp_attr_first(slice lines, slice name, slice *out_value);
bool sdp_has_attr(slice lines, slice name); /* bundle-only, rtcp-mux, ... */

/* ---- a=fingerprint: RFC 8122 5 ---- */

enum sdp_hash {
    SDP_HASH_OTHER,
    SDP_HASH_MD2,
    SDP_HASH_MD5,
    SDP_HASH_SHA1,
    SDP_HASH_SHA224,
    SDP_HASH_SHA256,
    SDP_HASH_SHA384,
    SDP_HASH_SHA512
};
struct sdp_fingerprint {
    enum sdp_hash hash;
    slice hash_name;
    size_t len;
    uint8_t bytes[64];
};
/* BAD: malformed, or not as long as its hash is. Hex digits of either case are taken. */
NODISCARD enum err sdp_fingerprint_read(slice value, struct sdp_fingerprint *out);

/* ---- a=crypto: RFC 4568 9 ---- */

struct sdp_crypto {
    uint32_t tag;
    slice suite;          /* "AES_CM_128_HMAC_SHA1_80" */
    slice key_params;     /* "inline:...;inline:..." */
    slice session_params; /* words between white space; may be empty */
};
struct sdp_crypto_key {
    slice method;   /* "inline" */
    slice key_salt; /* base64 as written */
    slice lifetime; /* "2^20"; empty: none */
    slice mki;      /* "1:4"; empty: none */
};
NODISCARD enum err sdp_crypto_read(slice value, struct sdp_crypto *out);
/* Takes the next of key_params; start with *rest = crypto.key_params. MISSING: no more; BAD. */
NODISCARD enum err sdp_crypto_key_next(slice *rest, struct sdp_crypto_key *out);
/* How many bytes the base64 text stands for, padded or not; 0: it is none. */
size_t sdp_base64_bytes(slice text);

/* ---- others ---- */

enum sdp_setup {
    SDP_SETUP_NONE,
    SDP_SETUP_ACTIVE,
    SDP_SETUP_PASSIVE,
    SDP_SETUP_ACTPASS,
    SDP_SETUP_HOLDCONN,
    SDP_SETUP_BAD
};
enum sdp_setup sdp_setup_of(const struct sdp *s, unsigned media); /* RFC 4145 4, 5763 5 */

enum sdp_direction { SDP_SENDRECV, SDP_SENDONLY, SDP_RECVONLY, SDP_INACTIVE };
/* RFC 8866 6.7: the media's, else the session's, else sendrecv. */
enum sdp_direction sdp_direction_of(const struct sdp *s, unsigned media);

struct sdp_candidate { /* RFC 8839 5.1, as far as it is recognised */
    slice foundation, transport, address, type;
    uint32_t component;
    uint16_t port;
};
NODISCARD enum err sdp_candidate_read(slice value, struct sdp_candidate *out);

/* RFC 9143: the m= section whose transport this one shares: the first of its BUNDLE group. False:
 * it is in no group, or the group names no section, or one twice. */
bool sdp_bundle_tagged(const struct sdp *s, unsigned media, unsigned *out);
/* The words of a value, between SP and HTAB. False: no more. */
bool sdp_word(slice *rest, slice *out);

#endif
