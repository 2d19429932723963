/* The words of SIP: methods, header names, reason phrases, and why a message was refused. */
#include "sip/inside.h"

#define METHOD_TABLE(X)                                                                            \
    X(INVITE)                                                                                      \
    X(ACK)                                                                                         \
    X(CANCEL)                                                                                      \
    X(BYE)                                                                                         \
    X(REGISTER)                                                                                    \
    X(OPTIONS)                                                                                     \
    X(INFO)                                                                                        \
    X(PRACK)                                                                                       \
    X(UPDATE)                                                                                      \
    X(MESSAGE)                                                                                     \
    X(SUBSCRIBE)                                                                                   \
    X(NOTIFY)                                                                                      \
    X(REFER)                                                                                       \
    X(PUBLISH)

#define METHOD_TEXT(name) [SIP_##name] = { #name, sizeof(#name) - 1 },
static const slice method_texts[SIP_METHOD_COUNT] = { METHOD_TABLE(METHOD_TEXT) };

enum sip_method sip_method_of(slice name) {
    /* The first letter leaves at most two candidates. */
    enum sip_method a = SIP_OTHER, b = SIP_OTHER;
    switch (name.len ? name.ptr[0] : 0) {
    case 'I':
        a = SIP_INVITE, b = SIP_INFO;
        break;
    case 'A':
        a = SIP_ACK;
        break;
    case 'C':
        a = SIP_CANCEL;
        break;
    case 'B':
        a = SIP_BYE;
        break;
    case 'R':
        a = SIP_REGISTER, b = SIP_REFER;
        break;
    case 'O':
        a = SIP_OPTIONS;
        break;
    case 'P':
        a = SIP_PRACK, b = SIP_PUBLISH;
        break;
    case 'U':
        a = SIP_UPDATE;
        break;
    case 'M':
        a = SIP_MESSAGE;
        break;
    case 'S':
        a = SIP_SUBSCRIBE;
        break;
    case 'N':
        a = SIP_NOTIFY;
        break;
    default:
        return SIP_OTHER;
    }
    if (slice_eq(name, method_texts[a])) return a;
    if (b != SIP_OTHER && slice_eq(name, method_texts[b])) return b;
    return SIP_OTHER;
}

slice sip_method_text(enum sip_method method) {
    return method < SIP_METHOD_COUNT ? method_texts[method] : SLICE_NONE;
}

#define HEADER_TEXT(id, name, compact, many)  [HDR_##id] = { name, sizeof(name) - 1 },
#define HEADER_MANY(id, name, compact, many)  [HDR_##id] = (many) != 0,
#define HEADER_SHORT(id, name, compact, many) [(compact) ? (compact) - 'a' + 1 : 0] = HDR_##id,

static const slice header_texts[HDR_COUNT] = { SIP_HEADER_TABLE(HEADER_TEXT) };
const bool sip_header_many[HDR_COUNT] = { SIP_HEADER_TABLE(HEADER_MANY) };

/* Slot 0 collects the headers without a compact form and is never asked for. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#endif
static const uint8_t compact_ids[27] = { SIP_HEADER_TABLE(HEADER_SHORT) };
#pragma GCC diagnostic pop

/* A perfect hash over first letter, last letter and length; made by words.py. */
#define HASH_FIRST 3u
#define HASH_LAST  58u
#define HASH_LEN   24u
static const uint8_t name_slots[256] = {
    [4] = HDR_PROXY_AUTHORIZATION,
    [9] = HDR_CONTENT_LENGTH,
    [10] = HDR_REQUEST_DISPOSITION,
    [15] = HDR_UNSUPPORTED,
    [17] = HDR_AUTHENTICATION_INFO,
    [25] = HDR_CONTACT,
    [35] = HDR_CSEQ,
    [36] = HDR_REPLACES,
    [43] = HDR_CONTENT_TYPE,
    [50] = HDR_RETRY_AFTER,
    [60] = HDR_REFER_TO,
    [64] = HDR_PATH,
    [68] = HDR_FROM,
    [71] = HDR_AUTHORIZATION,
    [73] = HDR_SUBJECT,
    [80] = HDR_RSEQ,
    [81] = HDR_ALLOW_EVENTS,
    [83] = HDR_MIME_VERSION,
    [88] = HDR_RECORD_ROUTE,
    [93] = HDR_MIN_EXPIRES,
    [98] = HDR_PRIVACY,
    [99] = HDR_WARNING,
    [101] = HDR_IDENTITY,
    [106] = HDR_PROXY_REQUIRE,
    [109] = HDR_ACCEPT_LANGUAGE,
    [110] = HDR_DATE,
    [115] = HDR_SERVICE_ROUTE,
    [117] = HDR_MAX_FORWARDS,
    [121] = HDR_CALL_ID,
    [126] = HDR_HISTORY_INFO,
    [130] = HDR_P_ASSERTED_IDENTITY,
    [138] = HDR_JOIN,
    [139] = HDR_CONTENT_LANGUAGE,
    [145] = HDR_ALLOW,
    [148] = HDR_TIMESTAMP,
    [151] = HDR_USER_AGENT,
    [154] = HDR_P_PREFERRED_IDENTITY,
    [164] = HDR_VIA,
    [176] = HDR_ROUTE,
    [178] = HDR_TO,
    [185] = HDR_MIN_SE,
    [187] = HDR_ACCEPT_CONTACT,
    [189] = HDR_SERVER,
    [193] = HDR_CONTENT_ID,
    [199] = HDR_WWW_AUTHENTICATE,
    [200] = HDR_REFERRED_BY,
    [207] = HDR_SESSION_EXPIRES,
    [210] = HDR_REASON,
    [217] = HDR_SUPPORTED,
    [221] = HDR_CONTENT_DISPOSITION,
    [223] = HDR_MAX_BREADTH,
    [224] = HDR_REQUIRE,
    [225] = HDR_ACCEPT_ENCODING,
    [226] = HDR_PROXY_AUTHENTICATE,
    [229] = HDR_EXPIRES,
    [235] = HDR_SUBSCRIPTION_STATE,
    [238] = HDR_REJECT_CONTACT,
    [239] = HDR_EVENT,
    [240] = HDR_DIVERSION,
    [244] = HDR_RACK,
    [246] = HDR_FLOW_TIMER,
    [251] = HDR_ACCEPT,
    [255] = HDR_CONTENT_ENCODING,
};

#ifdef __SSE2__
#define HEADER_ROW(id, name, compact, many) [HDR_##id] = name,
static const char header_rows[HDR_COUNT][24] = { SIP_HEADER_TABLE(HEADER_ROW) };

/* The first 16 bytes at once; what is longer is looked at again as a word. */
static inline bool row_is(enum sip_header_id id, slice name) {
    vec fold = _mm_set1_epi8(0x20);
    vec a = vec_or(vec_load(name.ptr), fold), b = vec_or(vec_load(header_rows[id]), fold);
    unsigned differ = vec_mask(_mm_cmpeq_epi8(a, b)) ^ 0xffffu;
    unsigned counted = name.len < 16 ? (1u << name.len) - 1 : 0xffffu;
    if (header_texts[id].len != name.len || (differ & counted)) return false;
    return name.len <= 16 || word_is(name, header_texts[id].ptr, name.len);
}
#endif

enum sip_header_id sip_header_of_near(slice name, const char *end) {
#ifdef __SSE2__
    if (LIKELY(end - name.ptr >= 16 && name.len > 1)) {
        unsigned first = (unsigned char)name.ptr[0] | 0x20u;
        unsigned last = (unsigned char)name.ptr[name.len - 1] | 0x20u;
        unsigned h = first * HASH_FIRST + last * HASH_LAST + (unsigned)name.len * HASH_LEN;
        enum sip_header_id id = name_slots[h & 255];
        return row_is(id, name) ? id : HDR_OTHER;
    }
#else
    (void)end;
#endif
    return sip_header_of(name);
}

enum sip_header_id sip_header_of(slice name) {
    if (name.len == 0) return HDR_OTHER;
    unsigned first = (unsigned char)name.ptr[0] | 0x20u;
    if (name.len == 1)
        return first >= 'a' && first <= 'z' ? compact_ids[first - 'a' + 1] : HDR_OTHER;
    unsigned last = (unsigned char)name.ptr[name.len - 1] | 0x20u;
    unsigned h = first * HASH_FIRST + last * HASH_LAST + (unsigned)name.len * HASH_LEN;
    enum sip_header_id id = name_slots[h & 255];
    /* No name holds a CR without an LF behind it, and LF folds into nothing of a known name. */
    return word_is(name, header_texts[id].ptr, header_texts[id].len) ? id : HDR_OTHER;
}

slice sip_header_text(enum sip_header_id id) {
    return id < HDR_COUNT ? header_texts[id] : SLICE_NONE;
}

#define STATUS_TABLE(X)                                                                            \
    X(100, "Trying")                                                                               \
    X(180, "Ringing")                                                                              \
    X(181, "Call Is Being Forwarded")                                                              \
    X(182, "Queued")                                                                               \
    X(183, "Session Progress")                                                                     \
    X(199, "Early Dialog Terminated")                                                              \
    X(200, "OK")                                                                                   \
    X(202, "Accepted")                                                                             \
    X(204, "No Notification")                                                                      \
    X(300, "Multiple Choices")                                                                     \
    X(301, "Moved Permanently")                                                                    \
    X(302, "Moved Temporarily")                                                                    \
    X(305, "Use Proxy")                                                                            \
    X(380, "Alternative Service")                                                                  \
    X(400, "Bad Request")                                                                          \
    X(401, "Unauthorized")                                                                         \
    X(402, "Payment Required")                                                                     \
    X(403, "Forbidden")                                                                            \
    X(404, "Not Found")                                                                            \
    X(405, "Method Not Allowed")                                                                   \
    X(406, "Not Acceptable")                                                                       \
    X(407, "Proxy Authentication Required")                                                        \
    X(408, "Request Timeout")                                                                      \
    X(410, "Gone")                                                                                 \
    X(412, "Conditional Request Failed")                                                           \
    X(413, "Request Entity Too Large")                                                             \
    X(414, "Request-URI Too Long")                                                                 \
    X(415, "Unsupported Media Type")                                                               \
    X(416, "Unsupported URI Scheme")                                                               \
    X(417, "Unknown Resource-Priority")                                                            \
    X(420, "Bad Extension")                                                                        \
    X(421, "Extension Required")                                                                   \
    X(422, "Session Interval Too Small")                                                           \
    X(423, "Interval Too Brief")                                                                   \
    X(424, "Bad Location Information")                                                             \
    X(428, "Use Identity Header")                                                                  \
    X(429, "Provide Referrer Identity")                                                            \
    X(430, "Flow Failed")                                                                          \
    X(433, "Anonymity Disallowed")                                                                 \
    X(436, "Bad Identity Info")                                                                    \
    X(437, "Unsupported Credential")                                                               \
    X(438, "Invalid Identity Header")                                                              \
    X(439, "First Hop Lacks Outbound Support")                                                     \
    X(440, "Max-Breadth Exceeded")                                                                 \
    X(469, "Bad Info Package")                                                                     \
    X(470, "Consent Needed")                                                                       \
    X(480, "Temporarily Unavailable")                                                              \
    X(481, "Call/Transaction Does Not Exist")                                                      \
    X(482, "Loop Detected")                                                                        \
    X(483, "Too Many Hops")                                                                        \
    X(484, "Address Incomplete")                                                                   \
    X(485, "Ambiguous")                                                                            \
    X(486, "Busy Here")                                                                            \
    X(487, "Request Terminated")                                                                   \
    X(488, "Not Acceptable Here")                                                                  \
    X(489, "Bad Event")                                                                            \
    X(491, "Request Pending")                                                                      \
    X(493, "Undecipherable")                                                                       \
    X(494, "Security Agreement Required")                                                          \
    X(500, "Server Internal Error")                                                                \
    X(501, "Not Implemented")                                                                      \
    X(502, "Bad Gateway")                                                                          \
    X(503, "Service Unavailable")                                                                  \
    X(504, "Server Time-out")                                                                      \
    X(505, "Version Not Supported")                                                                \
    X(513, "Message Too Large")                                                                    \
    X(555, "Push Notification Service Not Supported")                                              \
    X(580, "Precondition Failure")                                                                 \
    X(600, "Busy Everywhere")                                                                      \
    X(603, "Decline")                                                                              \
    X(604, "Does Not Exist Anywhere")                                                              \
    X(606, "Not Acceptable")                                                                       \
    X(607, "Unwanted")                                                                             \
    X(608, "Rejected")

slice sip_status_text(unsigned status) {
#define STATUS_CASE(code, text)                                                                    \
    case code:                                                                                     \
        return SLICE(text);
    switch (status) { STATUS_TABLE(STATUS_CASE) }
#undef STATUS_CASE
    switch (status / 100) {
    case 1:
        return SLICE("In Progress");
    case 2:
        return SLICE("Success");
    case 3:
        return SLICE("Redirection");
    case 4:
        return SLICE("Request Failure");
    case 5:
        return SLICE("Server Failure");
    default:
        return SLICE("Global Failure");
    }
}

const char *sip_bad_text(enum sip_bad why) {
    switch (why) {
    case SIP_BAD_NONE:
        return "nothing is wrong";
    case SIP_BAD_START_LINE:
        return "the first line is neither a request line nor a status line";
    case SIP_BAD_VERSION:
        return "the SIP version is not 2.0";
    case SIP_BAD_URI:
        return "the Request-URI is not a URI, or has headers";
    case SIP_BAD_HEADER:
        return "a line is not a header, or holds a stray control character";
    case SIP_BAD_VIA:
        return "the topmost Via is malformed";
    case SIP_BAD_FROM:
        return "From is malformed";
    case SIP_BAD_TO:
        return "To is malformed";
    case SIP_BAD_CALL_ID:
        return "Call-ID is malformed";
    case SIP_BAD_CSEQ:
        return "CSeq is malformed, or its method is not the request's";
    case SIP_BAD_MAX_FORWARDS:
        return "Max-Forwards is not a number up to 255";
    case SIP_BAD_CONTENT_LENGTH:
        return "Content-Length is missing or wrong";
    case SIP_BAD_DUPLICATE:
        return "a header stands twice that may stand only once";
    case SIP_BAD_MISSING:
        return "Via, From, To, Call-ID or CSeq is missing";
    case SIP_BAD_TOO_LARGE:
        return "the message is too large";
    case SIP_BAD_TOO_MANY:
        return "the message has too many header lines";
    }
    return "unknown";
}
