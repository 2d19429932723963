/* sip/hdr.h - typed readers over header values, on demand.
 *
 * Purpose:  sip_msg_read finds the headers; what stands in them is read here when somebody asks.
 * Lifetime: nothing is copied; every slice points into the message.
 * Absence:  a slice that was not there has ptr NULL; one that was there but empty has ptr set.
 *           Numbers have a has_ flag beside them.
 * Quotes:   display names and parameter values come as written, quotes included: hdr_inner() takes
 *           the quotes off, hdr_unquote() undoes \ too.
 * Errors:   BAD: malformed; MISSING: the header is not there; LIMIT: a number is too large.
 *           Folded lines (CRLF and white space) are white space to all readers.
 *
 *   struct hdr_values it = hdr_values_of(msg, HDR_ROUTE);
 *   for (slice v; hdr_values_next(&it, &v);) { struct hdr_name_addr a; ... hdr_name_addr(v, &a) }
 *   if (it.bad) ... answer 400                                                              */
#ifndef SIP_HDR_H
#define SIP_HDR_H

#include "base/buf.h"
#include "base/clock.h"
#include "sip/msg.h"

/* ---- lists ---- */

/* The comma-separated values of all lines of one kind, in order; commas inside quotes and
 * angle brackets do not count. An empty line gives no value; an empty element is malformed.
 * Not for headers whose grammar uses commas otherwise (Date, Authorization and its kin). */
struct hdr_values {
    const struct sip_msg *msg;
    const struct sip_header *line; /* the line that the last value came from */
    slice rest;
    bool must; /* a comma was read: a value has to follow */
    bool bad;  /* malformed: next() is false from there on */
};
struct hdr_values hdr_values_of(const struct sip_msg *msg, enum sip_header_id id);
struct hdr_values hdr_values_in(slice value); /* of one line's value */
bool hdr_values_next(struct hdr_values *it, slice *out);
/* How many values there are; false: malformed. */
bool hdr_values_count(const struct sip_msg *msg, enum sip_header_id id, unsigned *out);
/* The first value; MISSING, BAD. */
NODISCARD enum err hdr_value_first(const struct sip_msg *msg, enum sip_header_id id, slice *out);

/* Lists of tokens (Require, Supported, Allow, Allow-Events, ...). hdr_has_token ignores case (an
 * option tag), hdr_has_method does not. A malformed list holds only what stands before the flaw. */
bool hdr_has_token(const struct sip_msg *msg, enum sip_header_id id, slice token);
bool hdr_has_method(const struct sip_msg *msg, enum sip_header_id id, slice method);

/* ---- parameters ---- */

struct hdr_param {
    slice name, value; /* value as written; ptr NULL: a flag */
};
struct hdr_params {
    slice rest;
    bool bad;
};
/* `params` may begin with ';' or with the first name. */
struct hdr_params hdr_params_of(slice params);
bool hdr_params_next(struct hdr_params *it, struct hdr_param *out);
/* The first one of that name (any case); *out as written, or empty for a flag. */
bool hdr_param(slice params, slice name, slice *out);
slice hdr_inner(slice value); /* without the quotes at both ends, if it has them */
/* Without quotes and escapes; folded lines become a space. LIMIT: does not fit, BAD: broken. */
NODISCARD enum err hdr_unquote(slice value, struct buf *dst);
void hdr_quote(struct buf *b, slice text); /* the other way: "text" with \" and \\ */

/* ---- addresses ---- */

/* name-addr or addr-spec, RFC 3261 20.10: without <> every parameter belongs to the header. Route,
 * Record-Route, Path, Service-Route, From, To, Contact, Refer-To, P-Asserted-Identity, ... */
struct hdr_name_addr {
    slice display;  /* as written */
    slice uri_text; /* not judged: sip_uri_read does */
    slice params;   /* from the first ';' on; checked to be well formed */
    bool has_brackets;
};
NODISCARD enum err hdr_name_addr(slice value, struct hdr_name_addr *out);
NODISCARD enum err hdr_party(slice value, struct sip_party *out); /* From, To: one tag at most */

/* A value of Contact. RFC 3261 20.10, 5626, 5627. */
struct hdr_contact {
    bool is_star; /* "*": nothing else is set */
    struct hdr_name_addr addr;
    uint16_t q;       /* thousandths; 1000 when absent */
    uint32_t expires; /* seconds; a malformed one is 3600 (20.10), a huge one 2^32-1 */
    uint32_t reg_id;  /* 1 to 2^31-1 */
    slice instance;   /* of +sip.instance: without quotes and <> ("urn:uuid:...") */
    bool has_q, has_expires, has_reg_id;
};
NODISCARD enum err hdr_contact(slice value, struct hdr_contact *out);

NODISCARD enum err sip_via_read(slice value, struct sip_via *out); /* one value of Via */

/* ---- numbers ---- */

/* Expires, Min-Expires, RSeq, Max-Breadth, Flow-Timer...: digits, no more. A value over 2^32-1 is
 * 2^32-1 (delta-seconds are clamped, RFC 3261 20.19). */
NODISCARD enum err hdr_u32(slice value, uint32_t *out);
NODISCARD enum err hdr_u32_of(const struct sip_msg *msg, enum sip_header_id id, uint32_t *out);
NODISCARD enum err hdr_cseq(slice value, uint32_t *out_number, slice *out_method); /* < 2^31 */
struct hdr_rack { /* RFC 3262 7.2 */
    uint32_t rseq, cseq;
    slice method;
};
NODISCARD enum err hdr_rack(slice value, struct hdr_rack *out);
/* Seconds and parameters: Session-Expires (refresher), Min-SE, Retry-After (comment is skipped). */
struct hdr_seconds {
    uint32_t seconds;
    slice params;
};
NODISCARD enum err hdr_seconds(slice value, struct hdr_seconds *out);
/* "Sat, 13 Nov 2010 23:29:00 GMT"; only GMT (RFC 3261 20.17), the weekday is not checked. */
NODISCARD enum err hdr_date(slice value, wall_t *out);
void hdr_date_put(struct buf *b, wall_t t);

/* ---- tokens with parameters ---- */

/* Event (token "presence.winfo", parameter id), Subscription-State, Content-Disposition, Reason,
 * Content-Encoding, Privacy is another thing. */
struct hdr_token {
    slice token, params;
};
NODISCARD enum err hdr_token(slice value, struct hdr_token *out);
struct hdr_media { /* Content-Type, a value of Accept ("*" allowed) */
    slice type, subtype, params;
};
NODISCARD enum err hdr_media(slice value, struct hdr_media *out);
bool hdr_media_is(const struct hdr_media *m, slice type, slice subtype); /* any case */
struct hdr_reason {                                                      /* RFC 3326 */
    slice protocol, text; /* text as written, with quotes */
    uint32_t cause;
    bool has_cause;
};
NODISCARD enum err hdr_reason(slice value, struct hdr_reason *out);
/* Content-Disposition: handling is "required" unless it says optional (RFC 3261 20.11). */
struct hdr_disposition {
    slice token, params;
    bool is_optional;
};
NODISCARD enum err hdr_disposition(slice value, struct hdr_disposition *out);

enum hdr_privacy { /* bits; RFC 3323 4.2, 3325 9.3, 7044 (history) */
                   HDR_PRIVACY_USER = 1 << 0,
                   HDR_PRIVACY_HEADER = 1 << 1,
                   HDR_PRIVACY_SESSION = 1 << 2,
                   HDR_PRIVACY_NONE = 1 << 3,
                   HDR_PRIVACY_CRITICAL = 1 << 4,
                   HDR_PRIVACY_ID = 1 << 5,
                   HDR_PRIVACY_HISTORY = 1 << 6,
                   HDR_PRIVACY_OTHER = 1 << 7,
};
NODISCARD enum err hdr_privacy(const struct sip_msg *msg, unsigned *out); /* no header: 0, OK */

/* ---- dialogs ---- */

struct hdr_replaces { /* Replaces (RFC 3891) and Join (RFC 3911) */
    slice call_id, to_tag, from_tag;
    bool is_early_only;
};
NODISCARD enum err hdr_replaces(slice value, struct hdr_replaces *out);
struct hdr_history { /* a value of History-Info, RFC 7044 5; Reason and Privacy are URI headers */
    struct hdr_name_addr addr;
    slice index, rc, mp, np;
};
NODISCARD enum err hdr_history(slice value, struct hdr_history *out);

/* ---- who is asking ---- */

/* Authorization, Proxy-Authorization, WWW-Authenticate, Proxy-Authenticate: RFC 3261 22, 7616,
 * 8760. Values are without their quotes, escapes left as written (RFC 7616's unq). A parameter that
 * stands twice is BAD. Slices not set have ptr NULL. */
struct hdr_auth {
    slice scheme; /* "Digest", "Bearer" */
    slice params; /* all of them, as written; of an unknown scheme whatever stands there */
    slice username, username_ext /* username* as written */, realm, nonce, uri, response, algorithm;
    slice cnonce, nc, qop, opaque, userhash, stale, domain;
};
NODISCARD enum err hdr_auth(slice value, struct hdr_auth *out);
bool hdr_auth_is_digest(const struct hdr_auth *a);

struct hdr_identity { /* RFC 8224 4.1 */
    slice token;      /* base64url parts with dots; compact form: ".." and a signature */
    slice info_uri;   /* without <> */
    slice alg, ppt;   /* without quotes */
};
NODISCARD enum err hdr_identity(slice value, struct hdr_identity *out);

#endif
