/* sip/flow.h - a flow: one transport association to a peer (RFC 5626 2), known by id.
 *
 * id = worker (8 bits) : slot (24) : generation (32). Made by core when io opens a connection or
 * meets a new datagram peer; stale ids are refused, never followed. 0 is never a flow. */
#ifndef SIP_FLOW_H
#define SIP_FLOW_H

#include "base/addr.h"
#include "base/defs.h"
#include "base/limits.h"
#include "base/slice.h"

typedef uint64_t flow_id;
#define FLOW_NONE ((flow_id)0)

static inline flow_id flow_id_make(unsigned worker, uint32_t slot, uint32_t gen) {
    return (flow_id)(worker & 0xffu) << 56 | (flow_id)(slot & 0xffffffu) << 32 | gen;
}
static inline unsigned flow_worker(flow_id f) {
    return (unsigned)(f >> 56);
}
static inline uint32_t flow_slot(flow_id f) {
    return (uint32_t)(f >> 32) & 0xffffffu;
}
static inline uint32_t flow_gen(flow_id f) {
    return (uint32_t)f;
}

enum flow_transport { FLOW_UDP, FLOW_TCP, FLOW_TLS, FLOW_WSS };
enum flow_lane {
    LANE_MAIN,  /* secured, SHA-256, the rule */
    LANE_LEGACY /* a listener of its own for named devices: architecture.md section 5 */
};

/* What the other side's certificate says, as read after the handshake (RFC 5922 7.1). Facts only:
 * which domain it may speak for is judged by auth/peer_name.h. */
struct peer_cert {
    bool is_verified;    /* valid at this time, and its chain ends at a root of the system's or of
                          * client_ca, whatever its purposes; the local and device CAs never count */
    const char *why_not; /* when not verified: static words, "has expired", "was issued by an
                          * unknown authority"; they follow "the certificate of NAME" */
    bool has_eku;        /* an extendedKeyUsage is there; the next ones tell what it names */
    bool eku_any, eku_server, eku_client, eku_sip; /* eku_sip: id-kp-sipDomain of RFC 5924 */
    bool is_cut;                                   /* it had more names than fit below */
    uint8_t uri_count, dns_count;
    slice uris[LIMIT_CERT_NAMES]; /* subjectAltName, URIs of any scheme, as they stand */
    slice dns[LIMIT_CERT_NAMES];  /* subjectAltName, DNS names, as they stand */
};

struct flow_info {
    uint8_t transport; /* enum flow_transport */
    uint8_t lane;      /* enum flow_lane */
    struct addr local, peer;
    bool has_device_key;          /* the peer proved a key certified by our device CA */
    uint8_t device_key[32];       /* SHA-256 of its SubjectPublicKeyInfo */
    const struct peer_cert *cert; /* NULL: none. Borrowed for the call that opens the flow */
};
static inline bool flow_is_reliable(const struct flow_info *f) {
    return f->transport != FLOW_UDP;
}
static inline bool flow_is_secure(const struct flow_info *f) {
    return f->transport >= FLOW_TLS;
}

#endif
