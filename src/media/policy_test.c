#include "unit.h"

#include "media/policy.h"
#include "sip/sdp.h"
#include <string.h>

/* Shapes of descriptions after RFC 8866, 5763, 4568, 8829, with the habits of known programs. */
#define HEAD   "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
#define HEX4   "4A:AD:B9:B1"
#define HEX16  HEX4 ":" HEX4 ":" HEX4 ":" HEX4
#define SHA256 "a=fingerprint:sha-256 " HEX16 ":" HEX16 "\r\n"
#define SHA1   "a=fingerprint:sha-1 " HEX16 ":" HEX4 "\r\n"
#define KEY30  "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
#define KEY46  "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSojd0RmdmcmVCspeEc3QGZiNQ=="
#define CM80   "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "\r\n"
#define AVP    "m=audio 5004 RTP/AVP 0 8\r\n"
#define SAVP   "m=audio 5004 RTP/SAVP 0 8\r\n"
#define DTLS   "m=audio 5004 UDP/TLS/RTP/SAVP 0 8\r\n"

static struct media_verdict judge(const char *text) {
    return media_judge_sdp(unit_guard(text, strlen(text)));
}

#define assert_keys(text, wanted)                                                                  \
    do {                                                                                           \
        struct media_verdict v_ = judge(text);                                                     \
        if (v_.keys != (wanted)) print_error("%s\n-> %s\n", text, v_.why ? v_.why : "keyed");      \
        assert_int_equal(v_.keys, wanted);                                                         \
    } while (0)
#define assert_unkeyed(text, at, words)                                                            \
    do {                                                                                           \
        assert_keys(text, MEDIA_UNKEYED);                                                          \
        assert_int_equal(judge(text).line, at);                                                    \
        if (!strstr(judge(text).why, words)) print_error("%s\n", judge(text).why);                 \
        assert_non_null(strstr(judge(text).why, words));                                           \
    } while (0)

/* A soft phone in its DTLS-SRTP setting: the fingerprint per media. */
#define BARESIP_DTLS                                                                               \
    "v=0\r\no=- 3829 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\na=tool:x\r\n"     \
    "m=audio 11784 UDP/TLS/RTP/SAVP 96 8 0 101\r\na=rtpmap:96 opus/48000/2\r\n"                    \
    "a=fmtp:96 stereo=1;sprop-stereo=1\r\na=rtcp:11785\r\na=sendrecv\r\n" SHA256                   \
    "a=setup:actpass\r\na=rtcp-mux\r\na=ssrc:1 cname:x\r\na=ptime:20\r\n"                          \
    "m=video 26282 UDP/TLS/RTP/SAVP 97\r\na=rtpmap:97 H264/90000\r\n" SHA256 "a=setup:actpass\r\n"
/* Another with SDES, the key in several suites, in RTP/SAVP and in RTP/AVP (RFC 8643). */
#define LINPHONE_SDES(profile)                                                                     \
    "v=0\r\no=alice 3029 2541 IN IP4 192.0.2.8\r\ns=Talk\r\nc=IN IP4 192.0.2.8\r\nt=0 0\r\n"       \
    "a=rtcp-xr:rcvr-rtt=all:10000\r\nm=audio 7078 " profile " 96 101\r\n"                          \
    "a=rtpmap:96 opus/48000/2\r\n"                                                                 \
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "\r\n"                                      \
    "a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:" KEY30 "\r\n"                                      \
    "a=crypto:3 AES_256_CM_HMAC_SHA1_80 inline:" KEY46 "\r\n"                                      \
    "a=crypto:4 AES_256_CM_HMAC_SHA1_32 inline:" KEY46 "\r\n"                                      \
    "m=video 0 " profile " 0\r\n"
/* A browser: BUNDLE, trickle addresses, a data channel. */
#define CHROMIUM_SECTION(kind, mid)                                                                \
    "m=" kind "\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:x\r\n"               \
    "a=ice-pwd:yyyyyyyyyyyyyyyyyyyyyyyy\r\na=ice-options:trickle\r\n" SHA256                       \
    "a=setup:actpass\r\na=mid:" mid "\r\na=sendrecv\r\na=rtcp-mux\r\n"
#define CHROMIUM                                                                                   \
    "v=0\r\no=- 46 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\n"                 \
    "a=extmap-allow-mixed\r\na=msid-semantic: WMS x\r\n" CHROMIUM_SECTION(                         \
        "audio 9 UDP/TLS/RTP/SAVPF 111 63", "0")                                                   \
        CHROMIUM_SECTION("video 9 UDP/TLS/RTP/SAVPF 96 97", "1") CHROMIUM_SECTION(                 \
            "application 9 UDP/DTLS/SCTP webrtc-datachannel", "2") "a=sctp-port:5000\r\n"

static void secured_phones_pass(void **state) {
    (void)state;
    assert_keys(BARESIP_DTLS, MEDIA_KEYED);
    assert_keys(LINPHONE_SDES("RTP/SAVP"), MEDIA_KEYED_SDES);
    assert_keys(LINPHONE_SDES("RTP/SAVPF"), MEDIA_KEYED_SDES);
    assert_keys(LINPHONE_SDES("RTP/AVP"), MEDIA_KEYED_SDES); /* RFC 8643 */
    assert_keys(CHROMIUM, MEDIA_KEYED);
    assert_keys(HEAD SHA256 AVP, MEDIA_KEYED);       /* RFC 8643, fingerprint of the session */
    assert_keys(HEAD DTLS SHA1 SHA256, MEDIA_KEYED); /* RFC 8122 5.1: one strong is enough */
    assert_keys(HEAD, MEDIA_KEYED);                  /* no media: nothing is open */
    assert_keys(HEAD "m=audio 0 RTP/AVP 0\r\n", MEDIA_KEYED);
    assert_keys(HEAD SAVP SHA256 CM80, MEDIA_KEYED_SDES); /* the key must not leave in clear */
    assert_keys(HEAD SAVP SHA256 "m=video 0 RTP/SAVP 9\r\n" CM80, MEDIA_KEYED_SDES);
}

static void plain_media_are_refused(void **state) {
    (void)state;
    assert_unkeyed(HEAD AVP, 1,
                   "This phone offers audio without encryption. Switch on SRTP (DTLS-SRTP or "
                   "SDES) in its account settings.");
    assert_unkeyed(HEAD AVP CM80 "m=video 5006 RTP/AVP 31\r\n", 2, "video without encryption");
    assert_unkeyed(HEAD SAVP, 1, "audio without encryption");
    assert_unkeyed(HEAD "m=text 5006 RTP/AVPF 98\r\n", 1, "text without encryption");
    assert_unkeyed(HEAD "m=audio 0 RTP/AVP 0\r\nm=audio 5 RTP/AVP 0\r\n", 2, "audio without");
    assert_unkeyed(HEAD DTLS, 1, "without a certificate fingerprint");
    /* SDES under DTLS is not what RFC 5764 says: the phone would wait for a handshake. */
    assert_unkeyed(HEAD DTLS CM80, 1, "without a certificate fingerprint");
    /* Keys that other methods would bring cannot be seen: RFC 4567, RFC 6189, k=. */
    assert_unkeyed(HEAD SAVP "a=key-mgmt:mikey AQAFgM0X\r\n", 1, "audio without");
    assert_unkeyed(HEAD AVP "a=zrtp-hash:1.10 fe30\r\n", 1, "audio without");
    assert_unkeyed(HEAD AVP "k=clear:secret\r\n", 1, "audio without");
    assert_unkeyed(HEAD AVP "a=acap:1 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "\r\n"
                            "a=tcap:1 RTP/SAVP\r\na=pcfg:1 t=1 a=1\r\n",
                   1, "audio without");
}

static void weak_fingerprints_do_not_count(void **state) {
    (void)state;
    assert_unkeyed(HEAD DTLS SHA1, 1, "SHA-256");
    assert_unkeyed(HEAD DTLS "a=fingerprint:md5 " HEX16 "\r\n", 1, "SHA-256");
    assert_unkeyed(HEAD DTLS "a=fingerprint:sha-224 " HEX16 ":" HEX4 ":" HEX4 ":" HEX4 "\r\n", 1,
                   "SHA-256");
    assert_unkeyed(HEAD DTLS "a=fingerprint:sha-256 " HEX16 ":" HEX4 "\r\n", 1, "SHA-256");
    assert_unkeyed(HEAD DTLS "a=fingerprint:sha-512 " HEX16 ":" HEX16 "\r\n", 1, "SHA-256");
    assert_unkeyed(HEAD DTLS "a=fingerprint: sha-256 " HEX16 ":" HEX16 "\r\n", 1, "SHA-256");
    assert_unkeyed(HEAD DTLS "a=fingerprint:sha-256\t" HEX16 ":" HEX16 "\r\n", 1, "SHA-256");
    assert_unkeyed(HEAD DTLS "a=fingerprint\r\n", 1, "SHA-256");
    assert_unkeyed(HEAD DTLS "a=Fingerprint:sha-256 " HEX16 ":" HEX16 "\r\n", 1, "without a cert");
    assert_unkeyed(HEAD DTLS "a=fingerprint:best " HEX16 ":" HEX16 "\r\n", 1, "SHA-256");
    assert_keys(HEAD DTLS "a=fingerprint:SHA-384 " HEX16 ":" HEX16 ":" HEX16 "\r\n", MEDIA_KEYED);
    assert_keys(HEAD DTLS "a=fingerprint:Sha-512 " HEX16 ":" HEX16 ":" HEX16 ":" HEX16 "\r\n",
                MEDIA_KEYED);
    /* RFC 8122 5: the session's holds only where the media have none, good or bad. */
    assert_unkeyed(HEAD SHA256 DTLS SHA1, 1, "SHA-256");
    assert_unkeyed(HEAD SHA256 DTLS "m=video 5006 UDP/TLS/RTP/SAVP 9\r\n" SHA1, 2, "SHA-256");
    assert_keys(HEAD SHA1 DTLS SHA256, MEDIA_KEYED);
    /* On one of two lines only. */
    assert_unkeyed(HEAD DTLS SHA256 "m=video 5006 UDP/TLS/RTP/SAVP 9\r\n", 2, "fingerprint");
    assert_unkeyed(HEAD "m=video 5006 UDP/TLS/RTP/SAVP 9\r\n" DTLS SHA256, 1, "fingerprint");
}

#define CRYPTO(suite, key) HEAD SAVP "a=crypto:1 " suite " inline:" key "\r\n"
#define KEY28              "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJQ"
#define KEY38              "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSojd0RmdmcmVCs"
#define KEY44              "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSojd0RmdmcmVCspeEc3QGY="

static void only_allowed_suites_count(void **state) {
    (void)state;
    /* RFC 4568 6.2, RFC 6188, RFC 7714: key and salt have the suite's length. */
    assert_int_equal(sdp_base64_bytes(SLICE(KEY28)), 28);
    assert_int_equal(sdp_base64_bytes(SLICE(KEY38)), 38);
    assert_int_equal(sdp_base64_bytes(SLICE(KEY44)), 44);
    assert_int_equal(sdp_base64_bytes(SLICE(KEY46)), 46);
    static const struct {
        const char *suite, *key;
    } good[] = { { "AES_CM_128_HMAC_SHA1_80", KEY30 }, { "AES_CM_128_HMAC_SHA1_32", KEY30 },
                 { "AES_192_CM_HMAC_SHA1_80", KEY38 }, { "AES_192_CM_HMAC_SHA1_32", KEY38 },
                 { "AES_256_CM_HMAC_SHA1_80", KEY46 }, { "AES_256_CM_HMAC_SHA1_32", KEY46 },
                 { "AEAD_AES_128_GCM", KEY28 },        { "AEAD_AES_256_GCM", KEY44 } };
    static const char *const keys[] = { KEY28, KEY30, KEY38, KEY44, KEY46, "QUJD", "!" };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            char text[512];
            (void)snprintf(text, sizeof(text), HEAD SAVP "a=crypto:1 %s inline:%s|2^20|1:4\r\n",
                           good[i].suite, keys[k]);
            bool fits = strcmp(keys[k], good[i].key) == 0;
            assert_keys(text, fits ? MEDIA_KEYED_SDES : MEDIA_UNKEYED);
        }
    }
    assert_unkeyed(CRYPTO("F8_128_HMAC_SHA1_80", KEY30), 1, "allowed suite");
    assert_unkeyed(CRYPTO("F8_128_HMAC_SHA1_80", "!"), 1, "allowed suite");
    assert_unkeyed(CRYPTO("NULL_HMAC_SHA1_80", KEY30), 1, "allowed suite");
    assert_unkeyed(CRYPTO("AES_CM_128_NULL_AUTH", KEY30), 1, "allowed suite");
    assert_unkeyed(CRYPTO("AES_CM_128_HMAC_SHA1_8", KEY30), 1, "allowed suite");
    assert_unkeyed(CRYPTO("AES_CM_128_HMAC_SHA1_800", KEY30), 1, "allowed suite");
    /* Every key of a line must fit; the method must be inline. */
    assert_unkeyed(CRYPTO("AES_CM_128_HMAC_SHA1_80", KEY30 "|1:4;inline:QUJD|2:4"), 1, "suite");
    assert_keys(CRYPTO("AES_CM_128_HMAC_SHA1_80", KEY30 "|1:4;inline:" KEY30 "|2:4"),
                MEDIA_KEYED_SDES);
    assert_unkeyed(HEAD SAVP "a=crypto:1 AES_CM_128_HMAC_SHA1_80 uri:" KEY30 "\r\n", 1, "suite");
    assert_unkeyed(HEAD SAVP "a=crypto: 1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "\r\n", 1,
                   "suite");
    assert_unkeyed(HEAD SAVP "a=crypto\r\n", 1, "suite");
    /* A good line beside one of an unknown suite: the answer will show which was taken. */
    assert_keys(HEAD SAVP "a=crypto:1 F8_128_HMAC_SHA1_80 inline:" KEY30 "\r\n"
                          "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "\r\n",
                MEDIA_KEYED_SDES);
    /* RFC 4568 4: not at session level. */
    assert_unkeyed(HEAD CM80 SAVP, 1, "outside the media line");
}

static void switched_off_is_refused(void **state) {
    (void)state;
    static const char *const params[] = { "UNENCRYPTED_SRTP",
                                          "UNENCRYPTED_SRTCP",
                                          "UNAUTHENTICATED_SRTP",
                                          "KDR=1 UNENCRYPTED_SRTP",
                                          "unencrypted_srtp",
                                          "-UNENCRYPTED_SRTCP",
                                          " \t UNAUTHENTICATED_SRTP WSH=64" };
    for (size_t i = 0; i < ARRAY_LEN(params); i++) {
        char text[512];
        (void)snprintf(text, sizeof(text),
                       HEAD SAVP "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 " %s\r\n",
                       params[i]);
        assert_unkeyed(text, 1, "switched off");
        /* Beside a good line, or a fingerprint, it spoils the media line all the same. */
        (void)snprintf(text, sizeof(text),
                       HEAD SAVP CM80 SHA256 "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:" KEY30
                                             " %s\r\n",
                       params[i]);
        assert_unkeyed(text, 1, "switched off");
    }
    assert_keys(CRYPTO("AES_CM_128_HMAC_SHA1_80", KEY30 " KDR=1 WSH=64 FEC_ORDER=FEC_SRTP"),
                MEDIA_KEYED_SDES);
}

static void other_transports(void **state) {
    (void)state;
    static const char *const keyed[] = {
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", /* RFC 8841 */
        "m=application 9 TCP/DTLS/SCTP webrtc-datachannel\r\n",
        "m=application 9 DTLS/SCTP 5000\r\n",    /* as drafts of it had */
        "m=message 7394 TCP/TLS/MSRP *\r\n",     /* RFC 4975 */
        "m=application 3479 TCP/TLS/BFCP *\r\n", /* RFC 8856 */
        "m=application 3479 UDP/TLS/BFCP *\r\n",
        "m=image 4000 UDP/TLS/UDPTL t38\r\n", /* RFC 7345 */
        "m=audio 4000 TCP/TLS/RTP/AVP 0\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(keyed); i++) {
        char text[512];
        (void)snprintf(text, sizeof(text), HEAD SHA256 "%s", keyed[i]);
        assert_keys(text, MEDIA_KEYED);
        (void)snprintf(text, sizeof(text), HEAD "%s", keyed[i]);
        assert_unkeyed(text, 1, "without a certificate fingerprint");
        (void)snprintf(text, sizeof(text), HEAD "%s" CM80, keyed[i]);
        assert_unkeyed(text, 1, "without a certificate fingerprint");
    }
    /* A fingerprint is of no use to what has no TLS. */
    assert_unkeyed(HEAD SHA256 "m=image 4000 udptl t38\r\n", 1, "fax");
    assert_unkeyed(HEAD SHA256 "m=image 4000 UDPTL t38\r\n" CM80, 1, "fax");
    assert_unkeyed(HEAD SHA256 "m=message 7394 TCP/MSRP *\r\n", 1, "MSRP over TLS");
    assert_unkeyed(HEAD SHA256 "m=application 3479 UDP/BFCP *\r\n", 1, "media stream without");
    assert_unkeyed(HEAD SHA256 "m=application 9 SCTP x\r\n", 1, "media stream without");
    assert_unkeyed(HEAD SHA256 "m=audio 9 RTP/X 0\r\n" CM80, 1, "audio without");
    assert_unkeyed(HEAD SHA256 "m=audio 9 AVP 0\r\n" CM80, 1, "audio without");
    assert_unkeyed(HEAD SHA256 "m=audio 9 TLSX/RTP/X 0\r\n", 1, "audio without");
    assert_keys(HEAD SAVP CM80 "m=image 0 udptl t38\r\n", MEDIA_KEYED_SDES);
}

#define BUNDLE "a=group:BUNDLE a b\r\n"

static void bundle_shares_keys(void **state) {
    (void)state;
    /* RFC 9143 7.1.3: bundle-only sections of the first offer have no keys of their own. */
    assert_keys(HEAD BUNDLE DTLS "a=mid:a\r\n" SHA256
                                 "m=video 0 UDP/TLS/RTP/SAVPF 9\r\na=mid:b\r\na=bundle-only\r\n",
                MEDIA_KEYED);
    /* 7.3: in an answer the others share the tagged one's port. */
    assert_keys(HEAD BUNDLE DTLS "a=mid:a\r\n" SHA256
                                 "m=video 5004 UDP/TLS/RTP/SAVPF 9\r\na=mid:b\r\n",
                MEDIA_KEYED);
    assert_keys(HEAD BUNDLE SAVP "a=mid:a\r\n" CM80 "m=video 5004 RTP/SAVP 9\r\na=mid:b\r\n",
                MEDIA_KEYED_SDES);
    /* Another port or address is another transport. */
    assert_unkeyed(HEAD BUNDLE DTLS "a=mid:a\r\n" SHA256
                                    "m=video 5006 UDP/TLS/RTP/SAVPF 9\r\na=mid:b\r\n",
                   2, "finger");
    assert_unkeyed(HEAD BUNDLE DTLS "a=mid:a\r\n" SHA256 "m=video 5004 RTP/AVP 9\r\n"
                                    "c=IN IP4 198.51.100.1\r\na=mid:b\r\n",
                   2, "video without");
    /* Not in the group; a group that is none; a tagged section without keys, or rejected. */
    assert_unkeyed(HEAD BUNDLE DTLS "a=mid:a\r\n" SHA256 "m=video 5004 RTP/AVP 9\r\na=mid:c\r\n", 2,
                   "video without");
    assert_unkeyed(HEAD "a=group:LS a b\r\n" DTLS "a=mid:a\r\n" SHA256
                        "m=video 5004 RTP/AVP 9\r\na=mid:b\r\n",
                   2, "video without");
    assert_unkeyed(HEAD BUNDLE AVP "a=mid:a\r\nm=video 5004 RTP/AVP 9\r\na=mid:b\r\n" SHA256, 1,
                   "audio without");
    assert_unkeyed(HEAD BUNDLE "m=audio 0 UDP/TLS/RTP/SAVP 0\r\na=mid:a\r\n" SHA256
                               "m=video 0 RTP/AVP 9\r\na=mid:b\r\na=bundle-only\r\n",
                   2, "video");
    /* Its own weak fingerprint is its own. */
    assert_unkeyed(HEAD BUNDLE DTLS "a=mid:a\r\n" SHA256
                                    "m=video 5004 UDP/TLS/RTP/SAVPF 9\r\na=mid:b\r\n" SHA1,
                   2, "SHA-256");
    /* What the tagged section shares includes that it is switched off. */
    assert_unkeyed(HEAD BUNDLE SAVP "a=mid:a\r\n"
                                    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30
                                    " UNENCRYPTED_SRTP\r\n"
                                    "m=video 5004 RTP/SAVP 9\r\na=mid:b\r\n",
                   1, "switched off");
}

static void port_zero(void **state) {
    (void)state;
    assert_keys(HEAD SHA256 DTLS "m=video 0 RTP/AVP 9\r\n", MEDIA_KEYED);
    assert_keys(HEAD SHA256 DTLS "m=video 00 RTP/AVP 9\r\n", MEDIA_KEYED);
    assert_keys(HEAD SHA256 DTLS "m=video 0/2 RTP/AVP 9\r\n", MEDIA_KEYED);
    /* bundle-only without a group is a stream like any other. */
    assert_unkeyed(HEAD DTLS SHA256 "m=video 0 RTP/AVP 9\r\na=bundle-only\r\n", 2, "video");
    assert_keys(HEAD DTLS SHA256 "m=video 0 RTP/AVP 9\r\na=bundle-only\r\n" SHA256, MEDIA_KEYED);
    /* What is 0 to one reader and 65536 or a name to the next cannot be read. */
    assert_unkeyed(HEAD SHA256 DTLS "m=video 65536 RTP/AVP 9\r\n", 0, "cannot be read");
    assert_unkeyed(HEAD SHA256 DTLS "m=video -0 RTP/AVP 9\r\n", 0, "cannot be read");
    assert_unkeyed(HEAD SHA256 DTLS "m=video  0 RTP/AVP 9\r\n", 0, "cannot be read");
    assert_unkeyed(HEAD SHA256 DTLS "a=x\rm=video 5 RTP/AVP 9\r\n", 0, "cannot be read");
    assert_unkeyed(HEAD SHA256 DTLS "\r\nm=video 5 RTP/AVP 9\r\n", 0, "cannot be read");
    assert_unkeyed("", 0, "cannot be read");
}

/* ---- bodies ---- */

static struct media_verdict judge_body(const char *type, const char *extra, const char *body) {
    static struct sip_msg m;
    static char text[8192];
    int n = snprintf(text, sizeof(text),
                     "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\n"
                     "Max-Forwards: 70\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: 1\r\n"
                     "CSeq: 1 INVITE\r\n%s%s%s%sContent-Length: %zu\r\n\r\n%s",
                     type[0] ? "Content-Type: " : "", type, type[0] ? "\r\n" : "", extra,
                     strlen(body), body);
    assert_true(n > 0 && (size_t)n < sizeof(text));
    struct sip_read r = sip_msg_read(&m, unit_guard(text, (size_t)n), SIP_STREAM);
    if (r.err != ERR_OK) print_error("%s\n", sip_bad_text(r.why));
    assert_ok(r.err);
    return media_judge(&m);
}
#define assert_body(type, extra, body, wanted, words)                                              \
    do {                                                                                           \
        struct media_verdict v_ = judge_body(type, extra, body);                                   \
        if (v_.why) assert_non_null(strstr(v_.why, words));                                        \
        assert_int_equal(v_.keys, wanted);                                                         \
    } while (0)

#define PART(type, body) "--x\r\nContent-Type: " type "\r\n\r\n" body "\r\n"
#define MIXED            "multipart/mixed;boundary=x"

static void bodies_are_found(void **state) {
    (void)state;
    assert_body("", "", "", MEDIA_NO_SDP, "");
    assert_body("text/plain", "", "hello", MEDIA_NO_SDP, "");
    assert_body("application/sdp", "", HEAD DTLS SHA256, MEDIA_KEYED, "");
    assert_body("Application/SDP ; charset=utf-8", "", HEAD AVP, MEDIA_UNKEYED, "audio without");
    assert_body(MIXED, "",
                PART("text/plain", "hi") PART("application/sdp", HEAD DTLS SHA256) "--x--\r\n",
                MEDIA_KEYED, "");
    assert_body(MIXED, "", PART("application/sdp", HEAD AVP) PART("text/plain", "hi") "--x--\r\n",
                MEDIA_UNKEYED, "audio without");
    assert_body(MIXED, "", PART("text/plain", "hi") "--x--\r\n", MEDIA_NO_SDP, "");
    assert_body("multipart/mixed;boundary=y", "",
                "--y\r\nContent-Type: " MIXED
                "\r\n\r\n" PART("application/sdp", HEAD AVP) "--x--\r\n\r\n--y--\r\n",
                MEDIA_UNKEYED, "audio without");
}

static void bodies_that_cannot_be_judged_are_unkeyed(void **state) {
    (void)state;
    assert_body("application/sdp", "", "nonsense", MEDIA_UNKEYED, "cannot be read");
    assert_body("application/sdp", "Content-Encoding: gzip\r\n", HEAD DTLS SHA256, MEDIA_UNKEYED,
                "compressed or encoded");
    assert_body("multipart/alternative;boundary=x", "",
                PART("application/sdp", HEAD DTLS SHA256)
                    PART("application/sdp", HEAD AVP) "--x--\r\n",
                MEDIA_UNKEYED, "more than one");
    assert_body("application/pkcs7-mime; smime-type=enveloped-data", "", "MIAG", MEDIA_UNKEYED,
                "S/MIME");
    assert_body(MIXED, "", PART("application/pkcs7-mime", "MIAG") "--x--\r\n", MEDIA_UNKEYED,
                "S/MIME");
    assert_body(MIXED, "",
                "--x\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: "
                "base64\r\n\r\ndj0wDQo=\r\n--x--\r\n",
                MEDIA_UNKEYED, "encoded");
    /* Never closed, or without a type: one reader sees a description where the next sees none. */
    assert_body(MIXED, "", PART("text/plain", "hi"), MEDIA_UNKEYED, "cannot be read");
    assert_body("", "", HEAD AVP, MEDIA_UNKEYED, "cannot be read");
    assert_body("multipart/mixed", "", PART("text/plain", "hi") "--x--\r\n", MEDIA_UNKEYED,
                "cannot be read");
    assert_body("text/plain", "", HEAD AVP, MEDIA_UNKEYED, "another content type");
    assert_body(MIXED, "", PART("text/x", "\r\n" HEAD AVP) "--x--\r\n", MEDIA_UNKEYED, "another");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secured_phones_pass),
        cmocka_unit_test(plain_media_are_refused),
        cmocka_unit_test(weak_fingerprints_do_not_count),
        cmocka_unit_test(only_allowed_suites_count),
        cmocka_unit_test(switched_off_is_refused),
        cmocka_unit_test(other_transports),
        cmocka_unit_test(bundle_shares_keys),
        cmocka_unit_test(port_zero),
        cmocka_unit_test(bodies_are_found),
        cmocka_unit_test(bodies_that_cannot_be_judged_are_unkeyed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
