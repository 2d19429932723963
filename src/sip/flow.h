/* sip/flow.h - a flow: one transport association to a peer (RFC 5626 2), known by id.
 *
 * id = worker (8 bits) : slot (24) : generation (32). Made by core when io opens a connection or
 * meets a new datagram peer; stale ids are refused, never followed. 0 is never a flow. */
#ifndef SIP_FLOW_H
#define SIP_FLOW_H

#include "base/addr.h"
#include "base/cert.h"
#include "base/defs.h"

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

struct flow_info {
    uint8_t transport; /* enum flow_transport */
    uint8_t lane;      /* enum flow_lane */
    struct addr local, peer;
    bool has_device_key;    /* the peer proved a key certified by our device CA; WSS: has a token */
    uint8_t device_key[32]; /* SHA-256 of its SubjectPublicKeyInfo; WSS: of the session's token */
    const struct peer_cert *cert; /* NULL: none. Borrowed for the call that opens the flow */
};
static inline bool flow_is_reliable(const struct flow_info *f) {
    return f->transport != FLOW_UDP;
}
/* A stream of messages whose ends only Content-Length tells; a WebSocket has ends of its own. */
static inline bool flow_is_stream(const struct flow_info *f) {
    return f->transport == FLOW_TCP || f->transport == FLOW_TLS;
}
static inline bool flow_is_secure(const struct flow_info *f) {
    return f->transport >= FLOW_TLS;
}

#endif
