/* Reads bytes as a session description and walks all of it; what is indexed must lie inside. */
#include "sip/sdp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void inside(slice whole, slice part) {
    if (!part.ptr) return;
    ASSERT(part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void walk(const struct sdp *s, slice lines) {
    struct sdp_attrs it = sdp_attrs_of(lines, SLICE_NONE);
    for (struct sdp_attr a; sdp_attrs_next(&it, &a);) {
        struct sdp_fingerprint f;
        struct sdp_crypto c;
        struct sdp_candidate candidate;
        inside(s->text, a.name);
        inside(s->text, a.value);
        if (sdp_fingerprint_read(a.value, &f) == ERR_OK) ASSERT(f.len > 0 && f.len <= 64);
        if (sdp_candidate_read(a.value, &candidate) == ERR_OK) inside(s->text, candidate.address);
        if (sdp_crypto_read(a.value, &c) != ERR_OK) continue;
        slice keys = c.key_params;
        enum err err;
        for (struct sdp_crypto_key k; (err = sdp_crypto_key_next(&keys, &k)) == ERR_OK;)
            (void)sdp_base64_bytes(k.key_salt);
        ASSERT(err == ERR_MISSING);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct sdp s;
    if (sdp_read(slice_of(data, len), &s) != ERR_OK) return 0;
    ASSERT(s.media_count <= LIMIT_SDP_MEDIA);
    inside(s.text, s.lines);
    walk(&s, s.lines);
    size_t lines = s.lines.len;
    for (unsigned m = 0; m < s.media_count; m++) {
        unsigned tagged;
        inside(s.text, s.media[m].lines);
        inside(s.text, s.media[m].formats);
        inside(s.text, s.media[m].connection);
        lines += s.media[m].lines.len;
        walk(&s, s.media[m].lines);
        ASSERT(sdp_setup_of(&s, m) <= SDP_SETUP_BAD);
        ASSERT(sdp_direction_of(&s, m) <= SDP_INACTIVE);
        if (sdp_bundle_tagged(&s, m, &tagged)) ASSERT(tagged < s.media_count);
    }
    ASSERT(lines <= len);
    return 0;
}
