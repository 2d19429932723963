/* sip/msg.h - a SIP message as an index over the bytes it came in. RFC 3261 7 and 25.
 *
 * Purpose:  one pass over the bytes finds the start line, every header (name, id, value) and the
 *           body, and reads the few headers that every element needs (top Via, From, To, Call-ID,
 *           CSeq, Max-Forwards, Content-Length). Everything else is read on demand by hdr.h.
 * Lifetime: nothing is copied. A sip_msg is valid as long as the bytes given to sip_msg_read.
 * Memory:   fixed size, about 6 kB; use one per worker and read into it again and again.
 *           sip_msg_read does not clear what it does not use.
 * Threads:  none of its own.
 *
 *   struct sip_msg m;
 *   struct sip_read r = sip_msg_read(&m, bytes, SIP_STREAM);
 *   if (r.err == ERR_OK) { ... m.method, m.uri ... ; bytes = slice_from(bytes, r.used); }      */
#ifndef SIP_MSG_H
#define SIP_MSG_H

#include "base/limits.h"
#include "base/slice.h"
#include "sip/uri.h"

enum sip_method {
    SIP_OTHER, /* a token we do not know: method_name tells */
    SIP_INVITE,
    SIP_ACK,
    SIP_CANCEL,
    SIP_BYE,
    SIP_REGISTER,
    SIP_OPTIONS,
    SIP_INFO,
    SIP_PRACK,
    SIP_UPDATE,
    SIP_MESSAGE,
    SIP_SUBSCRIBE,
    SIP_NOTIFY,
    SIP_REFER,
    SIP_PUBLISH,
    SIP_METHOD_COUNT
};

/* X(ID, "Name", 'compact letter or 0', may stand more than once) */
#define SIP_HEADER_TABLE(X)                                                                        \
    X(OTHER, "", 0, 1)                                                                             \
    X(VIA, "Via", 'v', 1)                                                                          \
    X(FROM, "From", 'f', 0)                                                                        \
    X(TO, "To", 't', 0)                                                                            \
    X(CALL_ID, "Call-ID", 'i', 0)                                                                  \
    X(CSEQ, "CSeq", 0, 0)                                                                          \
    X(CONTACT, "Contact", 'm', 1)                                                                  \
    X(MAX_FORWARDS, "Max-Forwards", 0, 0)                                                          \
    X(MAX_BREADTH, "Max-Breadth", 0, 0)                                                            \
    X(ROUTE, "Route", 0, 1)                                                                        \
    X(RECORD_ROUTE, "Record-Route", 0, 1)                                                          \
    X(PATH, "Path", 0, 1)                                                                          \
    X(SERVICE_ROUTE, "Service-Route", 0, 1)                                                        \
    X(CONTENT_LENGTH, "Content-Length", 'l', 0)                                                    \
    X(CONTENT_TYPE, "Content-Type", 'c', 0)                                                        \
    X(CONTENT_ENCODING, "Content-Encoding", 'e', 1)                                                \
    X(CONTENT_DISPOSITION, "Content-Disposition", 0, 0)                                            \
    X(CONTENT_LANGUAGE, "Content-Language", 0, 1)                                                  \
    X(CONTENT_ID, "Content-ID", 0, 0)                                                              \
    X(MIME_VERSION, "MIME-Version", 0, 0)                                                          \
    X(REQUIRE, "Require", 0, 1)                                                                    \
    X(PROXY_REQUIRE, "Proxy-Require", 0, 1)                                                        \
    X(SUPPORTED, "Supported", 'k', 1)                                                              \
    X(UNSUPPORTED, "Unsupported", 0, 1)                                                            \
    X(ALLOW, "Allow", 0, 1)                                                                        \
    X(ACCEPT, "Accept", 0, 1)                                                                      \
    X(ACCEPT_ENCODING, "Accept-Encoding", 0, 1)                                                    \
    X(ACCEPT_LANGUAGE, "Accept-Language", 0, 1)                                                    \
    X(AUTHORIZATION, "Authorization", 0, 1)                                                        \
    X(PROXY_AUTHORIZATION, "Proxy-Authorization", 0, 1)                                            \
    X(WWW_AUTHENTICATE, "WWW-Authenticate", 0, 1)                                                  \
    X(PROXY_AUTHENTICATE, "Proxy-Authenticate", 0, 1)                                              \
    X(AUTHENTICATION_INFO, "Authentication-Info", 0, 0)                                            \
    X(EXPIRES, "Expires", 0, 0)                                                                    \
    X(MIN_EXPIRES, "Min-Expires", 0, 0)                                                            \
    X(EVENT, "Event", 'o', 0)                                                                      \
    X(ALLOW_EVENTS, "Allow-Events", 'u', 1)                                                        \
    X(SUBSCRIPTION_STATE, "Subscription-State", 0, 0)                                              \
    X(RACK, "RAck", 0, 0)                                                                          \
    X(RSEQ, "RSeq", 0, 0)                                                                          \
    X(SESSION_EXPIRES, "Session-Expires", 'x', 0)                                                  \
    X(MIN_SE, "Min-SE", 0, 0)                                                                      \
    X(REASON, "Reason", 0, 1)                                                                      \
    X(REPLACES, "Replaces", 0, 0)                                                                  \
    X(JOIN, "Join", 0, 0)                                                                          \
    X(REFER_TO, "Refer-To", 'r', 0)                                                                \
    X(REFERRED_BY, "Referred-By", 'b', 0)                                                          \
    X(IDENTITY, "Identity", 'y', 1)                                                                \
    X(P_ASSERTED_IDENTITY, "P-Asserted-Identity", 0, 1)                                            \
    X(P_PREFERRED_IDENTITY, "P-Preferred-Identity", 0, 1)                                          \
    X(PRIVACY, "Privacy", 0, 1)                                                                    \
    X(HISTORY_INFO, "History-Info", 0, 1)                                                          \
    X(DIVERSION, "Diversion", 0, 1)                                                                \
    X(WARNING, "Warning", 0, 1)                                                                    \
    X(RETRY_AFTER, "Retry-After", 0, 0)                                                            \
    X(SUBJECT, "Subject", 's', 0)                                                                  \
    X(DATE, "Date", 0, 0)                                                                          \
    X(USER_AGENT, "User-Agent", 0, 0)                                                              \
    X(SERVER, "Server", 0, 0)                                                                      \
    X(REQUEST_DISPOSITION, "Request-Disposition", 'd', 1)                                          \
    X(ACCEPT_CONTACT, "Accept-Contact", 'a', 1)                                                    \
    X(REJECT_CONTACT, "Reject-Contact", 'j', 1)                                                    \
    X(FLOW_TIMER, "Flow-Timer", 0, 0)                                                              \
    X(TIMESTAMP, "Timestamp", 0, 0)

#define SIP_HEADER_ENUM(id, name, compact, many) HDR_##id,
enum sip_header_id { SIP_HEADER_TABLE(SIP_HEADER_ENUM) HDR_COUNT };
#undef SIP_HEADER_ENUM
#define SIP_HEADER_NONE 0xffu /* in first[] and next: no such header */

struct sip_header {
    uint8_t id;   /* enum sip_header_id */
    uint8_t next; /* index of the next header of the same id, or SIP_HEADER_NONE (0xff) */
    slice line;   /* the whole field with its CRLF: what a writer copies or leaves out */
    slice name;   /* as written */
    slice value;  /* without white space at both ends; may hold folded lines (LWS) */
};

/* A value of Via, as far as transactions need it. RFC 3261 20.42, 18.2.1, 3581. */
struct sip_via {
    slice value;     /* this one value, without the comma */
    slice transport; /* "TLS" */
    slice host;      /* IPv6 with its brackets */
    uint16_t port;   /* 0: none written */
    slice branch;    /* empty: none (RFC 2543) */
    slice received;
    slice rport; /* the digits; has_rport with empty digits is a request for it */
    bool has_rport;
    bool has_oc;  /* RFC 7339 4.1: the sender controls its load by what we answer */
    slice params; /* all of them, from the first ';' on: hdr_param() */
};

/* From and To (name-addr or addr-spec with parameters). */
struct sip_party {
    slice value, display, uri_text, tag, params; /* params: after the URI, from the first ';' on */
};

enum sip_framing { SIP_DATAGRAM, SIP_STREAM };

enum sip_bad { /* why a message was refused; text by sip_bad_text() */
               SIP_BAD_NONE,
               SIP_BAD_START_LINE,
               SIP_BAD_VERSION, /* answer 505 */
               SIP_BAD_URI,     /* Request-URI is not one */
               SIP_BAD_HEADER,  /* a line that is no header */
               SIP_BAD_VIA,
               SIP_BAD_FROM,
               SIP_BAD_TO,
               SIP_BAD_CALL_ID,
               SIP_BAD_CSEQ, /* not a number below 2^31 and a method, or not the request's method */
               SIP_BAD_MAX_FORWARDS,
               SIP_BAD_CONTENT_LENGTH, /* missing on a stream, not a number, twice with different
                                          values */
               SIP_BAD_DUPLICATE,      /* a header that may stand once stands twice */
               SIP_BAD_MISSING,        /* Via, From, To, Call-ID or CSeq is not there */
               SIP_BAD_TOO_LARGE,      /* answer 513 */
               SIP_BAD_TOO_MANY,       /* more header lines than LIMIT_MSG_HEADERS */
};

struct sip_msg {
    bool is_request;
    uint8_t method; /* enum sip_method: of the request, or of CSeq in a response */
    uint16_t status;
    slice method_name, reason;
    slice uri_text;     /* Request-URI as written */
    struct sip_uri uri; /* parsed; uri.scheme == URI_OTHER keeps only text (answer 416) */
    slice start_line;   /* with its CRLF */
    slice body;
    slice all; /* head and body */
    uint32_t cseq;
    uint32_t content_length;
    uint8_t max_forwards; /* 255 with has_max_forwards false: header absent */
    bool has_max_forwards, has_content_length;
    struct sip_via via; /* topmost */
    struct sip_party from, to;
    slice call_id;
    uint8_t header_count;
    uint8_t first[HDR_COUNT]; /* index into headers, or SIP_HEADER_NONE */
    struct sip_header headers[LIMIT_MSG_HEADERS];
};

struct sip_read {
    enum err err;     /* OK, MORE (stream: feed more), BAD, LIMIT */
    enum sip_bad why; /* with BAD and LIMIT */
    size_t used;      /* OK: length of this message. BAD: length to skip if the framing was still
                         readable (a 400 can be answered and the stream goes on), else 0: close.
                         MORE: the length of this message if its head is whole, else 0 */
    size_t at;        /* BAD: offset of what is wrong */
    bool answerable;  /* BAD, LIMIT: a request (but ACK) whose topmost Via is readable and that has
                         From, To, Call-ID and CSeq lines to echo: sip_reply() can answer it.
                         m->method, headers, via are set then; what was unreadable is empty */
};

/* Read one message. A stream's leading CRLFs are the caller's business (sip_stream_skip).
 * DATAGRAM: the message is all of `bytes`; bytes beyond Content-Length are dropped (RFC 3261 18.3),
 * fewer is BAD. STREAM: Content-Length is compulsory.
 * Strict where laxness would let two elements see two messages: lines end in CRLF only; control
 * characters stand only as quoted-pairs (RFC 4475 3.1.1.2 has such a display name); two
 * Content-Lengths are refused even when equal. A stream broken in its lines cannot go on: used 0.
 * A reader that got MORE need not call again before `used` bytes (or one more byte) are there. */
NODISCARD struct sip_read sip_msg_read(struct sip_msg *m, slice bytes, enum sip_framing framing);

/* Keep-alive on streams, RFC 5626 3.5.1: how many bytes of CRLF stand in front, and whether a full
 * CRLFCRLF ping was among them (answer CRLF). A lone CRLF with nothing behind it stays: the other
 * half of a ping may follow (sip_msg_read says MORE to it). */
size_t sip_stream_skip(slice bytes, bool *out_ping);

const char *sip_bad_text(enum sip_bad why); /* "Content-Length is missing or wrong" */
enum sip_method sip_method_of(slice name);  /* exact case: methods are case-sensitive */
slice sip_method_text(enum sip_method method);
enum sip_header_id sip_header_of(slice name); /* any case, compact forms too */
slice sip_header_text(enum sip_header_id id);
slice sip_status_text(unsigned status); /* "Not Found"; a class text when unknown */

static inline const struct sip_header *sip_first(const struct sip_msg *m, enum sip_header_id id) {
    return m->first[id] == SIP_HEADER_NONE ? NULL : &m->headers[m->first[id]];
}
static inline const struct sip_header *sip_next(const struct sip_msg *m,
                                                const struct sip_header *h) {
    return h->next == SIP_HEADER_NONE ? NULL : &m->headers[h->next];
}
/* The value of the first such header, or SLICE_NONE. */
static inline slice sip_value(const struct sip_msg *m, enum sip_header_id id) {
    const struct sip_header *h = sip_first(m, id);
    return h ? h->value : SLICE_NONE;
}

#endif
