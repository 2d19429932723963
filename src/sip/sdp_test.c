#include "unit.h"

#include "sip/sdp.h"
#include <string.h>

#define HEAD "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\n"

static struct sdp sdp;
static enum err read_sdp(const char *text) {
    memset(&sdp, 0x5a, sizeof(sdp));
    return sdp_read(unit_guard(text, strlen(text)), &sdp);
}

static void a_description_is_indexed(void **state) {
    (void)state;
    assert_ok(read_sdp("v=0\r\no=alice 2890844526 2890844526 IN IP4 host.example.com\r\n"
                       "s=call\r\ni=info\r\nu=http://x\r\ne=a@b\r\np=+1\r\nc=IN IP4 192.0.2.1\r\n"
                       "b=AS:100\r\nt=0 0\r\nr=7d 1h 0 25h\r\nz=0 0\r\nk=prompt\r\na=sendonly\r\n"
                       "m=audio 49170/2 RTP/AVP 0 8 97 \r\ni=x\r\nc=IN IP6 2001:db8::1\r\n"
                       "c=IN IP4 224.2.1.2/127\r\nb=AS:1\r\na=rtpmap:0 PCMU/8000\r\na=recvonly\r\n"
                       "m=video 0 UDP/TLS/RTP/SAVPF 31\r\n"
                       "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000\r\n"));
    assert_slice(sdp.origin, "alice 2890844526 2890844526 IN IP4 host.example.com");
    assert_slice(sdp.name, "call");
    assert_slice(sdp.connection, "IN IP4 192.0.2.1");
    assert_slice(sdp.timing, "0 0");
    assert_int_equal(sdp.media_count, 3);
    assert_slice(sdp.media[0].media, "audio");
    assert_int_equal(sdp.media[0].port, 49170);
    assert_int_equal(sdp.media[0].port_count, 2);
    assert_slice(sdp.media[0].proto, "RTP/AVP");
    assert_slice(sdp.media[0].formats, "0 8 97");
    assert_slice(sdp.media[0].connection, "IN IP6 2001:db8::1");
    assert_int_equal(sdp.media[1].port, 0);
    assert_int_equal(sdp.media[1].port_count, 1);
    assert_null(sdp.media[1].connection.ptr);
    assert_int_equal(sdp.media[1].lines.len, 0);
    assert_slice(sdp.media[2].lines, "a=sctp-port:5000\r\n");
    assert_int_equal(sdp_direction_of(&sdp, 0), SDP_RECVONLY);
    assert_int_equal(sdp_direction_of(&sdp, 1), SDP_SENDONLY);
}

static void what_phones_write_is_taken(void **state) {
    (void)state;
    static const char *const good[] = {
        HEAD,
        "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\nm=audio 1 RTP/AVP 0\na=x\n", /* LF alone */
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\ns=\r\n",                               /* mixed, empty s= */
        "v=0\r\no=x\r\na=tool:x\r\nt=0 0\r\ns=late\r\n",                       /* another order */
        HEAD "m=audio 1 RTP/AVP 0\r\n\r\n\r\n", /* blank at the end */
        HEAD "m=audio 1 RTP/AVP 0",             /* no last CRLF */
        HEAD "m=video 0 RTP/AVP\r\n",           /* no formats */
        HEAD "m=audio 1 RTP/AVP 0  8\t9\r\n",
        HEAD "m=audio 65535 RTP/AVP 0\r\n",
        "v=0 \r\no=x\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (read_sdp(good[i]) != ERR_OK) print_error("refused: %s\n", good[i]);
        assert_ok(read_sdp(good[i]));
    }
}

static void what_two_readers_could_see_is_bad(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "\r\n",
        "v=0",
        "v=1\r\no=x\r\n",
        " v=0\r\no=x\r\n",
        "o=x\r\nv=0\r\n",
        HEAD "v=0\r\n",
        HEAD "o=again\r\n",
        HEAD "s=again\r\n",
        HEAD "x=unknown letter\r\n", /* RFC 8866 5 */
        HEAD "A=x\r\n",
        HEAD "a\r\n",
        HEAD " a=x\r\n",
        HEAD "a =x\r\n",
        HEAD "\r\na=x\r\n", /* a blank line, and something behind it */
        HEAD "a=x\rm=audio 1 RTP/AVP 0\r\n",
        HEAD "a=x\r\r\n",
        HEAD "m=audio 1 RTP/AVP 0\r\ns=x\r\n",
        HEAD "m=audio 1 RTP/AVP 0\r\nt=0 0\r\n",
        HEAD "m=audio 1 RTP/AVP 0\r\nv=0\r\no=x\r\n",
        HEAD "m=audio\r\n",
        HEAD "m=audio 1\r\n",
        HEAD "m=audio  1 RTP/AVP 0\r\n",
        HEAD "m= audio 1 RTP/AVP 0\r\n",
        HEAD "m=audio\t1 RTP/AVP 0\r\n",
        HEAD "m=audio 1  RTP/AVP 0\r\n",
        HEAD "m=audio -1 RTP/AVP 0\r\n",
        HEAD "m=audio +0 RTP/AVP 0\r\n",
        HEAD "m=audio 0x1 RTP/AVP 0\r\n",
        HEAD "m=audio 65536 RTP/AVP 0\r\n",
        HEAD "m=audio 4294967296 RTP/AVP 0\r\n",
        HEAD "m=audio 1/ RTP/AVP 0\r\n",
        HEAD "m=audio 1/0 RTP/AVP 0\r\n",
        HEAD "m=audio /2 RTP/AVP 0\r\n",
        HEAD "m=audio 1 RTP//AVP 0\r\n",
        HEAD "m=audio 1 RTP/ 0\r\n",
        HEAD "m=audio 1 /RTP 0\r\n",
        HEAD "m=aud:io 1 RTP/AVP 0\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (read_sdp(bad[i]) != ERR_BAD) print_error("taken: %s\n", bad[i]);
        assert_err(read_sdp(bad[i]), ERR_BAD);
    }
    struct sdp s;
    assert_err(sdp_read(UNIT_GUARD(HEAD "a=x\0y\r\n"), &s), ERR_BAD);
    assert_err(sdp_read(SLICE_NONE, &s), ERR_BAD);
}

static void the_number_of_media_is_bounded(void **state) {
    (void)state;
    char text[4096] = HEAD;
    size_t len = strlen(text);
    for (unsigned i = 0; i <= LIMIT_SDP_MEDIA; i++) {
        if (i == LIMIT_SDP_MEDIA) assert_ok(sdp_read(slice_of(text, len), &sdp));
        int n = snprintf(text + len, sizeof(text) - len, "m=audio %u RTP/AVP 0\r\n", i);
        len += (size_t)n;
    }
    assert_int_equal(sdp.media_count, LIMIT_SDP_MEDIA);
    assert_int_equal(sdp.media[LIMIT_SDP_MEDIA - 1].port, LIMIT_SDP_MEDIA - 1);
    assert_err(sdp_read(slice_of(text, len), &sdp), ERR_LIMIT);
}

static void attributes_are_walked(void **state) {
    (void)state;
    assert_ok(read_sdp(HEAD "a=fingerprint:one\r\na=x\r\na=group:BUNDLE 0\r\nb=a=no:1\r\n"
                            "m=audio 1 RTP/AVP 0\r\nc=a=no:1\r\na=fingerprint:two \t\r\n"
                            "a=fingerprint:three\r\na=Fingerprint:no\r\na=fingerprints:no\r\n"
                            "a=empty:\r\na=bundle-only\r\n"
                            "m=video 1 RTP/AVP 0\r\na=y:1:2\r\n"));
    struct sdp_attr a;
    struct sdp_attrs it = sdp_attrs_inherited(&sdp, 0, SLICE("fingerprint"));
    assert_true(sdp_attrs_next(&it, &a));
    assert_slice(a.value, "two");
    assert_true(sdp_attrs_next(&it, &a));
    assert_slice(a.value, "three");
    assert_false(sdp_attrs_next(&it, &a));
    it = sdp_attrs_inherited(&sdp, 1, SLICE("fingerprint"));
    assert_true(sdp_attrs_next(&it, &a));
    assert_slice(a.value, "one");
    assert_false(sdp_attrs_next(&it, &a));
    it = sdp_attrs_of(sdp.media[1].lines, SLICE_NONE);
    assert_true(sdp_attrs_next(&it, &a));
    assert_slice(a.name, "y");
    assert_slice(a.value, "1:2");
    assert_false(sdp_attrs_next(&it, &a));
    slice value;
    assert_true(sdp_attr_first(sdp.media[0].lines, SLICE("empty"), &value));
    assert_non_null(value.ptr);
    assert_int_equal(value.len, 0);
    assert_true(sdp_attr_first(sdp.media[0].lines, SLICE("bundle-only"), &value));
    assert_null(value.ptr);
    assert_false(sdp_has_attr(sdp.media[0].lines, SLICE("x")));
    assert_false(sdp_has_attr(sdp.lines, SLICE("no")));
    assert_false(sdp_has_attr(sdp.media[0].lines, SLICE("no")));
    assert_true(sdp_has_attr(sdp.lines, SLICE("x")));
}

static enum err fingerprint(const char *text, struct sdp_fingerprint *f) {
    return sdp_fingerprint_read(unit_guard(text, strlen(text)), f);
}
#define HEX4  "4A:AD:B9:B1"
#define HEX16 HEX4 ":" HEX4 ":" HEX4 ":" HEX4
#define HEX20 HEX16 ":" HEX4
#define HEX32 HEX16 ":" HEX16
#define HEX64 HEX32 ":" HEX32

static void fingerprints_are_read(void **state) {
    (void)state;
    struct sdp_fingerprint f;
    /* RFC 8122 5. */
    assert_ok(fingerprint("sha-256 " HEX32, &f));
    assert_int_equal(f.hash, SDP_HASH_SHA256);
    assert_int_equal(f.len, 32);
    assert_memory_equal(f.bytes, "\x4a\xad\xb9\xb1\x4a", 5);
    assert_ok(fingerprint("SHA-256 4a:ad:b9:b1:" HEX16 ":" HEX4 ":" HEX4 ":" HEX4, &f));
    assert_ok(fingerprint("sha-1 " HEX20, &f));
    assert_int_equal(f.hash, SDP_HASH_SHA1);
    assert_ok(fingerprint("sha-384 " HEX32 ":" HEX16, &f));
    assert_int_equal(f.hash, SDP_HASH_SHA384);
    assert_ok(fingerprint("sha-512 " HEX64, &f));
    assert_int_equal(f.hash, SDP_HASH_SHA512);
    assert_ok(fingerprint("md5 " HEX16, &f));
    assert_ok(fingerprint("sha3-256 " HEX32, &f));
    assert_int_equal(f.hash, SDP_HASH_OTHER);
    static const char *const bad[] = {
        "",
        "sha-256",
        "sha-256 ",
        " sha-256 " HEX32,
        "sha-256  " HEX32,
        "sha-256\t" HEX32,
        "sha-256 " HEX32 ":",
        "sha-256 :" HEX32,
        "sha-256 " HEX32 " ",
        "sha-256 " HEX20,
        "sha-1 " HEX32,
        "sha-512 " HEX32,
        "sha-256 " HEX16 ":" HEX4 ":" HEX4 ":" HEX4 ":4G:AD:B9:B1",
        "sha-256 " HEX16 "-" HEX16,
        "sha-256 4AADB9B1",
        "sha-512 " HEX64 ":" HEX4,
        "x " HEX64 ":" HEX64,
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (fingerprint(bad[i], &f) != ERR_BAD) print_error("taken: %s\n", bad[i]);
        assert_err(fingerprint(bad[i], &f), ERR_BAD);
    }
}

static enum err crypto(const char *text, struct sdp_crypto *c) {
    return sdp_crypto_read(unit_guard(text, strlen(text)), c);
}

static void crypto_lines_are_read(void **state) {
    (void)state;
    struct sdp_crypto c;
    struct sdp_crypto_key k;
    /* The example of RFC 4568 6.1, with two keys. */
    assert_ok(crypto("1 AES_CM_128_HMAC_SHA1_80 "
                     "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4;"
                     "inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj|2:4  KDR=1\t"
                     "UNENCRYPTED_SRTCP",
                     &c));
    assert_int_equal(c.tag, 1);
    assert_slice(c.suite, "AES_CM_128_HMAC_SHA1_80");
    assert_slice(c.session_params, "KDR=1\tUNENCRYPTED_SRTCP");
    slice rest = c.key_params;
    assert_ok(sdp_crypto_key_next(&rest, &k));
    assert_slice(k.method, "inline");
    assert_slice(k.key_salt, "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj");
    assert_int_equal(sdp_base64_bytes(k.key_salt), 30);
    assert_slice(k.lifetime, "2^20");
    assert_slice(k.mki, "1:4");
    assert_ok(sdp_crypto_key_next(&rest, &k));
    assert_slice(k.lifetime, "");
    assert_slice(k.mki, "2:4");
    assert_err(sdp_crypto_key_next(&rest, &k), ERR_MISSING);
    assert_ok(crypto("999999999  F8_128_HMAC_SHA1_80\tinline:QUJD", &c));
    assert_slice(c.session_params, "");
    static const char *const bad[] = {
        "",
        "1",
        "1 AES",
        "1 AES ",
        " 1 AES inline:QUJD",
        "x AES inline:QUJD",
        "-1 AES inline:QUJD",
        "1000000000 AES inline:QUJD",
        "1 AES-CM inline:QUJD",
        "1 AES inline",
        "1 AES inline:",
        "1 AES inline:QUJD;",
        "1 AES ;inline:QUJD",
        "1 AES in-line:QUJD",
        "1 AES inline:QUJD|1|2|3",
        "1 AES inline:QUJD|1|2:3|4",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (crypto(bad[i], &c) != ERR_BAD) print_error("taken: %s\n", bad[i]);
        assert_err(crypto(bad[i], &c), ERR_BAD);
    }
}

static void base64_is_measured(void **state) {
    (void)state;
    assert_int_equal(sdp_base64_bytes(SLICE("QUJD")), 3);
    assert_int_equal(sdp_base64_bytes(SLICE("QUI=")), 2);
    assert_int_equal(sdp_base64_bytes(SLICE("QQ==")), 1);
    assert_int_equal(sdp_base64_bytes(SLICE("QUI")), 2);
    assert_int_equal(sdp_base64_bytes(SLICE("QQ")), 1);
    assert_int_equal(sdp_base64_bytes(SLICE("Q")), 0);
    assert_int_equal(sdp_base64_bytes(SLICE("QUJD=")), 0);
    assert_int_equal(sdp_base64_bytes(SLICE("QQ=")), 0);
    assert_int_equal(sdp_base64_bytes(SLICE("Q===")), 0);
    assert_int_equal(sdp_base64_bytes(SLICE("QU-_")), 0);
    assert_int_equal(sdp_base64_bytes(SLICE("Q UD")), 0);
    assert_int_equal(sdp_base64_bytes(SLICE_NONE), 0);
}

static void setup_and_candidates(void **state) {
    (void)state;
    assert_ok(read_sdp(HEAD "a=setup:actpass\r\nm=audio 1 RTP/AVP 0\r\na=setup:active\r\n"
                            "m=video 1 RTP/AVP 0\r\nm=text 1 RTP/AVP 0\r\na=setup:what\r\n"));
    assert_int_equal(sdp_setup_of(&sdp, 0), SDP_SETUP_ACTIVE);
    assert_int_equal(sdp_setup_of(&sdp, 1), SDP_SETUP_ACTPASS);
    assert_int_equal(sdp_setup_of(&sdp, 2), SDP_SETUP_BAD);
    assert_int_equal(sdp_direction_of(&sdp, 1), SDP_SENDRECV);
    assert_ok(read_sdp(HEAD "m=audio 1 RTP/AVP 0\r\na=sendonly:x\r\na=inactive\r\n"));
    assert_int_equal(sdp_setup_of(&sdp, 0), SDP_SETUP_NONE);
    assert_int_equal(sdp_direction_of(&sdp, 0), SDP_INACTIVE);
    struct sdp_candidate c;
    assert_ok(sdp_candidate_read(
        UNIT_GUARD("1 1 UDP 2130706431 2001:db8::1 49203 typ srflx raddr x rport 9"), &c));
    assert_slice(c.address, "2001:db8::1");
    assert_int_equal(c.port, 49203);
    assert_slice(c.type, "srflx");
    assert_err(sdp_candidate_read(UNIT_GUARD("1 1 UDP 1 a 49203 host"), &c), ERR_BAD);
    assert_err(sdp_candidate_read(UNIT_GUARD("1 1 UDP 1 a 65536 typ host"), &c), ERR_BAD);
    assert_err(sdp_candidate_read(UNIT_GUARD("1 257 UDP 1 a 1 typ host"), &c), ERR_BAD);
}

static void bundle_groups(void **state) {
    (void)state;
    unsigned tagged = 99;
#define MID(x) "m=audio 1 RTP/AVP 0\r\na=mid:" x "\r\n"
    assert_ok(read_sdp(HEAD "a=group:LS c d\r\na=group:BUNDLE b a\r\na=group:BUNDLE c\r\n" MID("a")
                           MID("b") MID("c") MID("d") "m=audio 1 RTP/AVP 0\r\n"));
    assert_true(sdp_bundle_tagged(&sdp, 0, &tagged));
    assert_int_equal(tagged, 1);
    assert_true(sdp_bundle_tagged(&sdp, 1, &tagged));
    assert_int_equal(tagged, 1);
    assert_true(sdp_bundle_tagged(&sdp, 2, &tagged));
    assert_int_equal(tagged, 2);
    assert_false(sdp_bundle_tagged(&sdp, 3, &tagged));
    assert_false(sdp_bundle_tagged(&sdp, 4, &tagged));
    assert_ok(read_sdp(HEAD "a=group:BUNDLE x a\r\n" MID("a")));
    assert_false(sdp_bundle_tagged(&sdp, 0, &tagged)); /* nobody is x */
    assert_ok(read_sdp(HEAD "a=group:BUNDLE a b\r\n" MID("a") MID("b") MID("a")));
    assert_false(sdp_bundle_tagged(&sdp, 1, &tagged)); /* two are a */
    assert_false(sdp_bundle_tagged(&sdp, 0, &tagged));
#undef MID
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_description_is_indexed),
        cmocka_unit_test(what_phones_write_is_taken),
        cmocka_unit_test(what_two_readers_could_see_is_bad),
        cmocka_unit_test(the_number_of_media_is_bounded),
        cmocka_unit_test(attributes_are_walked),
        cmocka_unit_test(fingerprints_are_read),
        cmocka_unit_test(crypto_lines_are_read),
        cmocka_unit_test(base64_is_measured),
        cmocka_unit_test(setup_and_candidates),
        cmocka_unit_test(bundle_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
