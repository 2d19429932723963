/* nat/stun.h - STUN messages (RFC 8489): reader, writer, integrity. ICE, TURN and keep-alives use
 * it.
 *
 * Purpose:  find out whether bytes are STUN, index their attributes, check FINGERPRINT and the two
 *           message integrities; write answers.
 * Memory:   none; a read message borrows its bytes.
 * Threads:  any. No state.
 * Limits:   a message is at most STUN_BYTES_MAX; attributes beyond STUN_ATTRS_MAX are an error.
 *
 *   struct stun_msg m;
 *   if (stun_is(bytes) && stun_read(bytes, &m) == ERR_OK && m.method == STUN_BINDING &&
 *       m.class == STUN_REQUEST) {
 *       struct stun_writer w = stun_begin(mem, sizeof mem, STUN_BINDING, STUN_SUCCESS, m.id);
 *       stun_put_xor_addr(&w, STUN_XOR_MAPPED_ADDRESS, &peer);
 *       send(stun_end(&w));
 *   }                                                                                            */
#ifndef NAT_STUN_H
#define NAT_STUN_H

#include "base/addr.h"
#include "base/slice.h"

#define STUN_COOKIE       0x2112A442u
#define STUN_HEAD_BYTES   20u
#define STUN_ID_BYTES     12u
#define STUN_BYTES_MAX    2048u /* a DATA of a full Ethernet frame and its head; TURN cuts at that */
#define STUN_ATTRS_MAX    32u
#define STUN_SHA1_BYTES   20u
#define STUN_SHA256_BYTES 32u

enum stun_class { STUN_REQUEST, STUN_INDICATION, STUN_SUCCESS, STUN_ERROR };

enum stun_method { /* RFC 8489 18.2, RFC 8656 18, RFC 6062 6.1 */
                   STUN_BINDING = 0x001,
                   TURN_ALLOCATE = 0x003,
                   TURN_REFRESH = 0x004,
                   TURN_SEND = 0x006,
                   TURN_DATA = 0x007,
                   TURN_CREATE_PERMISSION = 0x008,
                   TURN_CHANNEL_BIND = 0x009,
                   TURN_CONNECT = 0x00a,
                   TURN_CONNECTION_BIND = 0x00b,
                   TURN_CONNECTION_ATTEMPT = 0x00c
};

enum stun_attr { /* RFC 8489 18.3, RFC 8656 18, RFC 6062 6.2, RFC 8445 16.1, RFC 5780 7 */
                 STUN_MAPPED_ADDRESS = 0x0001,
                 STUN_USERNAME = 0x0006,
                 STUN_MESSAGE_INTEGRITY = 0x0008,
                 STUN_ERROR_CODE = 0x0009,
                 STUN_UNKNOWN_ATTRIBUTES = 0x000a,
                 TURN_CHANNEL_NUMBER = 0x000c,
                 TURN_LIFETIME = 0x000d,
                 TURN_XOR_PEER_ADDRESS = 0x0012,
                 TURN_DATA_ATTR = 0x0013,
                 STUN_REALM = 0x0014,
                 STUN_NONCE = 0x0015,
                 TURN_XOR_RELAYED_ADDRESS = 0x0016,
                 TURN_REQUESTED_FAMILY = 0x0017,
                 TURN_EVEN_PORT = 0x0018,
                 TURN_REQUESTED_TRANSPORT = 0x0019,
                 TURN_DONT_FRAGMENT = 0x001a,
                 STUN_MESSAGE_INTEGRITY_SHA256 = 0x001c,
                 STUN_PASSWORD_ALGORITHM = 0x001d,
                 STUN_USERHASH = 0x001e,
                 STUN_XOR_MAPPED_ADDRESS = 0x0020,
                 TURN_RESERVATION_TOKEN = 0x0022,
                 ICE_PRIORITY = 0x0024,
                 ICE_USE_CANDIDATE = 0x0025,
                 TURN_CONNECTION_ID = 0x002a,
                 TURN_ADDITIONAL_FAMILY = 0x8000,
                 TURN_ADDRESS_ERROR_CODE = 0x8001,
                 STUN_PASSWORD_ALGORITHMS = 0x8002,
                 STUN_ALTERNATE_DOMAIN = 0x8003,
                 TURN_ICMP = 0x8004,
                 STUN_SOFTWARE = 0x8022,
                 STUN_ALTERNATE_SERVER = 0x8023,
                 STUN_FINGERPRINT = 0x8028,
                 ICE_CONTROLLED = 0x8029,
                 ICE_CONTROLLING = 0x802a
};

struct stun_msg {
    slice bytes;
    uint16_t method; /* 12 bits */
    uint8_t class;   /* enum stun_class */
    uint8_t id[STUN_ID_BYTES];
    uint16_t attrs_end;          /* attributes that count end here: RFC 8489 9: what follows an
                                    integrity (but another one and FINGERPRINT) is not to be read */
    uint16_t sha1_at, sha256_at; /* where those attributes begin; 0: none */
    bool has_fingerprint;
};

/* Do these bytes (a datagram, or the begin of a stream) look like STUN? Two zero bits, the cookie,
 * a length that is a multiple of 4 (RFC 8489 5). At least 8 bytes are needed to say yes. */
bool stun_is(slice bytes);
/* How long the message at the begin of a stream is, head included; 0: fewer than 4 bytes. The
 * caller has asked stun_is(). */
size_t stun_length(slice bytes);

/* Exactly one message. BAD: broken, or a FINGERPRINT that does not match (then it may be something
 * else: RFC 8489 7); LIMIT: too large, or too many attributes. Duplicates: the first one counts. */
NODISCARD enum err stun_read(slice bytes, struct stun_msg *out);

/* The value of the first attribute of this type among those that count; false: none. */
bool stun_find(const struct stun_msg *m, enum stun_attr type, slice *out);
/* A 32-bit value. BAD: other length; MISSING. */
NODISCARD enum err stun_find_u32(const struct stun_msg *m, enum stun_attr type, uint32_t *out);
/* An XORed (or plain, for MAPPED-ADDRESS) address. BAD, MISSING. */
NODISCARD enum err stun_find_addr(const struct stun_msg *m, enum stun_attr type, struct addr *out);
/* All of one type, in their order: start with *at = 0; false: no more. */
bool stun_next(const struct stun_msg *m, enum stun_attr type, uint16_t *at, slice *out);
/* Reads one XORed address value of message m. BAD. */
NODISCARD enum err stun_addr(const struct stun_msg *m, slice value, struct addr *out);
/* RFC 8489 6.3.1: comprehension-required types that are not in `known`; returns how many went into
 * out[max]. */
unsigned stun_unknown(const struct stun_msg *m, const uint16_t *known, unsigned known_count,
                      uint16_t *out, unsigned max);
/* The status of ERROR-CODE, 300 to 699; 0: none or broken. */
unsigned stun_error(const struct stun_msg *m);

/* Does the integrity attribute match under this key? SHA-256 when it is there, else SHA-1 (RFC 8489
 * 9.1.3, 9.2.4). MISSING: neither is; DENIED: it does not match, or is cut short (8489 14.6). */
NODISCARD enum err stun_check(const struct stun_msg *m, slice key, bool *out_is_sha256);

/* RFC 8489 9.2.2, 18.5.1: the key of the long-term mechanism: MD5 (16 bytes) or SHA-256 (32) over
 * username ":" realm ":" password. Returns its length. */
size_t stun_long_term_key(slice username, slice realm, slice password, bool is_sha256,
                          uint8_t out[static 32]);

struct stun_writer {
    struct buf out;
    uint8_t id[STUN_ID_BYTES];
};
struct stun_writer stun_begin(void *mem, size_t cap, enum stun_method method, enum stun_class class,
                              const uint8_t id[static STUN_ID_BYTES]);
void stun_put(struct stun_writer *w, enum stun_attr type, slice value);
void stun_put_u32(struct stun_writer *w, enum stun_attr type, uint32_t value);
void stun_put_addr(struct stun_writer *w, enum stun_attr type, const struct addr *a);
void stun_put_xor_addr(struct stun_writer *w, enum stun_attr type, const struct addr *a);
/* ERROR-CODE, or ADDRESS-ERROR-CODE with its family (RFC 8656 18.13). reason: at most 127 bytes. */
void stun_put_error(struct stun_writer *w, unsigned status, slice reason);
void stun_put_integrity(struct stun_writer *w, slice key, bool is_sha256);
void stun_put_fingerprint(struct stun_writer *w);
/* The message; empty when it did not fit. */
slice stun_end(struct stun_writer *w);

/* The whole answer to a Binding request of a plain STUN server or of a keep-alive (RFC 8489 12, RFC
 * 5626 3.5.2): XOR-MAPPED-ADDRESS, or 420 for attributes that must be understood and are not.
 * Empty: not a Binding request, to be dropped. */
slice stun_answer_binding(const struct stun_msg *m, const struct addr *source, void *mem,
                          size_t cap);

#endif
