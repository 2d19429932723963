#include "media/policy.h"
#include "sip/body.h"
#include "sip/sdp.h"

/* ---- words for people ---- */

#define SWITCH_ON "Switch on SRTP (DTLS-SRTP or SDES) in its account settings."

static const char AUDIO_PLAIN[] = "This phone offers audio without encryption. " SWITCH_ON;
static const char VIDEO_PLAIN[] = "This phone offers video without encryption. " SWITCH_ON;
static const char TEXT_PLAIN[] = "This phone offers real-time text without encryption. " SWITCH_ON;
static const char OTHER_PLAIN[] = "This device offers a media stream without encryption. "
                                  "Switch on encryption for it, or switch the stream off.";
static const char FAX_PLAIN[] = "This device offers T.38 fax without encryption. Switch T.38 off, "
                                "so that fax goes through encrypted audio.";
static const char MSRP_PLAIN[] = "This device offers a message session (MSRP) without TLS. Switch "
                                 "on MSRP over TLS in its settings.";
static const char NO_FINGERPRINT[] = "This device offers encryption by DTLS or TLS without a "
                                     "certificate fingerprint. Update it, or use SRTP by SDES.";
static const char WEAK_FINGERPRINT[] =
    "The only certificate fingerprint this device offers is older than SHA-256, or malformed. Set "
    "its DTLS fingerprint to SHA-256 or update it.";
static const char BAD_CRYPTO[] = "None of the SRTP keys this phone offers fits an allowed suite. "
                                 "Choose AES_CM_128_HMAC_SHA1_80 or AEAD_AES_256_GCM in it.";
static const char SESSION_CRYPTO[] =
    "This phone offers its SRTP key outside the media line, where other phones do not see it. "
    "Update it, or use DTLS-SRTP.";
static const char SWITCHED_OFF[] =
    "This phone offers SRTP with its encryption or authentication switched off. Remove "
    "unencrypted and unauthenticated SRTP from its settings.";

static const char UNREADABLE[] =
    "The session description of this call cannot be read, so nobody can tell whether its media "
    "are encrypted. Update the phone.";
static const char AMBIGUOUS[] =
    "This call comes with more than one session description. Set the phone to send exactly one.";
static const char ENCODED[] =
    "The session description of this call is compressed or encoded. Switch that off in the phone.";
static const char SEALED[] =
    "The body of this call is encrypted as a whole (S/MIME), so its media cannot be judged. Switch "
    "S/MIME off; the media must be encrypted, the body need not be.";
static const char MISLABELLED[] =
    "A session description stands in this message under another content type. Set the phone to "
    "label it application/sdp.";

/* ---- a=crypto ---- */

/* RFC 4568 6.2, RFC 6188 4, RFC 7714 14.2: master key and salt, in bytes. F8 is not here: no phone
 * needs it, nobody tests it. */
static const struct {
    slice name;
    size_t key_salt_bytes;
} suites[] = {
#define SUITE(name, key, salt)                                                                     \
    { { "" name, sizeof(name) - 1 }, (key) + (salt) }
    SUITE("AES_CM_128_HMAC_SHA1_80", 16, 14), SUITE("AES_CM_128_HMAC_SHA1_32", 16, 14),
    SUITE("AES_192_CM_HMAC_SHA1_80", 24, 14), SUITE("AES_192_CM_HMAC_SHA1_32", 24, 14),
    SUITE("AES_256_CM_HMAC_SHA1_80", 32, 14), SUITE("AES_256_CM_HMAC_SHA1_32", 32, 14),
    SUITE("AEAD_AES_128_GCM", 16, 12),        SUITE("AEAD_AES_256_GCM", 32, 12),
#undef SUITE
};

static bool crypto_is_good(const struct sdp_crypto *c) {
    size_t want = 0;
    for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
        if (slice_ieq(c->suite, suites[i].name)) want = suites[i].key_salt_bytes;
    }
    if (want == 0) return false;
    slice keys = c->key_params;
    for (struct sdp_crypto_key k; sdp_crypto_key_next(&keys, &k) == ERR_OK;) {
        if (!slice_ieq(k.method, SLICE("inline")) || sdp_base64_bytes(k.key_salt) != want)
            return false;
    }
    return true;
}

/* RFC 4568 6.3: parameters that leave the media open. Looked for in the raw text, so that no
 * unusual spelling of the line hides them from us and not from the phone. */
static bool crypto_switches_off(slice value) {
    slice rest = value;
    for (slice word; sdp_word(&rest, &word);) {
        if (word.ptr[0] == '-') word = slice_from(word, 1);
        if (slice_istarts(word, SLICE("UNENCRYPTED_")) ||
            slice_istarts(word, SLICE("UNAUTHENTICATED_")))
            return true;
    }
    return false;
}

/* ---- what one level (the session, an m= section) says about keys ---- */

struct keys {
    bool has_fingerprint, has_strong, has_crypto, has_good_crypto, is_off, is_bundle_only;
};

static void crypto_note(struct keys *k, slice value) {
    struct sdp_crypto c;
    k->has_crypto = true;
    if (crypto_switches_off(value)) k->is_off = true;
    if (sdp_crypto_read(value, &c) == ERR_OK && crypto_is_good(&c)) k->has_good_crypto = true;
}

static struct keys keys_in(slice lines) {
    struct keys k = { 0 };
    struct sdp_attrs it = sdp_attrs_of(lines, SLICE_NONE);
    for (struct sdp_attr a; sdp_attrs_next(&it, &a);) {
        struct sdp_fingerprint f;
        if (slice_eq(a.name, SLICE("fingerprint"))) {
            k.has_fingerprint = true;
            if (sdp_fingerprint_read(a.value, &f) == ERR_OK && f.hash >= SDP_HASH_SHA256)
                k.has_strong = true;
        } else if (slice_eq(a.name, SLICE("crypto"))) {
            crypto_note(&k, a.value);
        } else if (slice_eq(a.name, SLICE("bundle-only"))) {
            k.is_bundle_only = true;
        }
    }
    return k;
}

/* RFC 8122 5: a fingerprint of the session holds where the media have none. RFC 4568 4: a=crypto
 * of the session is nothing. */
static void inherit(struct keys *media, const struct keys *session) {
    if (media->has_fingerprint) return;
    media->has_fingerprint = session->has_fingerprint;
    media->has_strong = session->has_strong;
}

/* RFC 9143 7.1.3: in an answer, a later offer, and for bundle-only sections in the first, keys
 * stand in the tagged section alone and hold for all that share its address. */
static bool keys_shared(const struct sdp *s, unsigned m, unsigned *out_tagged) {
    const struct sdp_media *line = &s->media[m], *tagged;
    unsigned t;
    if (!sdp_bundle_tagged(s, m, &t) || t == m) return false;
    tagged = &s->media[t];
    if (tagged->port == 0) return false; /* RFC 9143 7.2.1: never a rejected or bundle-only one */
    slice here = line->connection.ptr ? line->connection : s->connection;
    slice there = tagged->connection.ptr ? tagged->connection : s->connection;
    bool is_same = line->port == tagged->port && slice_eq(here, there);
    if (!is_same && line->port != 0) return false;
    *out_tagged = t;
    return true;
}

/* ---- what kind of transport ---- */

enum transport { TRANSPORT_PLAIN, TRANSPORT_RTP, TRANSPORT_TLS };

static enum transport transport_of(slice proto) {
    bool has_rtp = false, has_srtp_profile = false;
    slice rest = proto;
    for (slice word; slice_split(&rest, '/', &word);) {
        /* UDP/TLS/RTP/SAVP, UDP/DTLS/SCTP, TCP/TLS/MSRP, TCP/WSS/BFCP, UDP/TLS/UDPTL, ... */
        if (slice_ieq(word, SLICE("TLS")) || slice_ieq(word, SLICE("DTLS")) ||
            slice_ieq(word, SLICE("WSS")))
            return TRANSPORT_TLS;
        if (slice_ieq(word, SLICE("RTP"))) has_rtp = true;
        if (slice_istarts(word, SLICE("AVP")) || slice_istarts(word, SLICE("SAVP")))
            has_srtp_profile = true;
    }
    return has_rtp && has_srtp_profile ? TRANSPORT_RTP : TRANSPORT_PLAIN;
}

static const char *plain_words(const struct sdp_media *m) {
    if (slice_find_slice(m->proto, SLICE("MSRP")) < m->proto.len) return MSRP_PLAIN;
    if (slice_ieq(m->media, SLICE("image"))) return FAX_PLAIN;
    if (slice_ieq(m->media, SLICE("audio"))) return AUDIO_PLAIN;
    if (slice_ieq(m->media, SLICE("video"))) return VIDEO_PLAIN;
    if (slice_ieq(m->media, SLICE("text"))) return TEXT_PLAIN;
    return OTHER_PLAIN;
}

/* NULL: keyed. `k` is what the section has, the session's fingerprints included. */
static const char *line_flaw(const struct sdp *s, unsigned m, struct keys k,
                             const struct keys *session) {
    const struct sdp_media *line = &s->media[m];
    enum transport transport = transport_of(line->proto);
    unsigned tagged;
    if (!k.has_fingerprint && !k.has_crypto && keys_shared(s, m, &tagged))
        k = keys_in(s->media[tagged].lines);
    if (transport == TRANSPORT_PLAIN) return plain_words(line);
    if (k.is_off) return SWITCHED_OFF;
    if (k.has_strong) return NULL;
    if (transport == TRANSPORT_RTP && k.has_good_crypto) return NULL;
    if (k.has_fingerprint) return WEAK_FINGERPRINT;
    if (transport == TRANSPORT_TLS) return NO_FINGERPRINT;
    if (k.has_crypto) return BAD_CRYPTO;
    return session->has_crypto ? SESSION_CRYPTO : plain_words(line);
}

static struct media_verdict unkeyed(const char *why, unsigned line) {
    return (struct media_verdict){ MEDIA_UNKEYED, why, line };
}

struct media_verdict media_judge_sdp(slice text) {
    struct sdp s;
    if (sdp_read(text, &s) != ERR_OK) return unkeyed(UNREADABLE, 0);
    struct keys session = keys_in(s.lines);
    bool has_crypto = session.has_crypto;
    for (unsigned m = 0; m < s.media_count; m++) {
        struct keys k = keys_in(s.media[m].lines);
        /* Even a line that is rejected may carry a key that must not be seen (RFC 4568 8). */
        if (k.has_crypto) has_crypto = true;
        /* RFC 3264 6: port 0 is no stream; RFC 9143 6: unless it waits for its group's. */
        if (s.media[m].port == 0 && !k.is_bundle_only) continue;
        inherit(&k, &session);
        const char *flaw = line_flaw(&s, m, k, &session);
        if (flaw) return unkeyed(flaw, m + 1);
    }
    return (struct media_verdict){ has_crypto ? MEDIA_KEYED_SDES : MEDIA_KEYED, NULL, 0 };
}

/* A phone may take for SDP what looks like it, whatever its label says. */
static bool has_mislabelled(const struct sip_msg *msg) {
    struct sip_parts it;
    sip_parts_of(&it, msg);
    for (struct sip_part p; sip_parts_next(&it, &p);) {
        slice text = p.bytes;
        while (text.len && (text.ptr[0] == '\r' || text.ptr[0] == '\n' || text.ptr[0] == ' '))
            text = slice_from(text, 1);
        if (slice_starts(text, SLICE("v=0\r")) || slice_starts(text, SLICE("v=0\n"))) return true;
    }
    return false;
}

struct media_verdict media_judge(const struct sip_msg *msg) {
    struct sip_part part;
    if (msg->body.len == 0) return (struct media_verdict){ MEDIA_NO_SDP, NULL, 0 };
    switch (sip_body_find(msg, SLICE("application"), SLICE("sdp"), &part)) {
    case SIP_BODY_NONE:
        if (has_mislabelled(msg)) return unkeyed(MISLABELLED, 0);
        return (struct media_verdict){ MEDIA_NO_SDP, NULL, 0 };
    case SIP_BODY_FOUND:
        return media_judge_sdp(part.bytes);
    case SIP_BODY_AMBIGUOUS:
        return unkeyed(AMBIGUOUS, 0);
    case SIP_BODY_ENCODED:
        return unkeyed(ENCODED, 0);
    case SIP_BODY_SEALED:
        return unkeyed(SEALED, 0);
    case SIP_BODY_BAD:
        break;
    }
    return unkeyed(UNREADABLE, 0);
}
