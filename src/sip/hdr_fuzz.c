/* Any bytes as the value of any header, through every reader. */
#include "sip/check_fuzz.h"
#include "sip/hdr.h"

static char mem[65536];

static void check_params(slice params, slice all) {
    struct hdr_params it = hdr_params_of(params);
    for (struct hdr_param p; hdr_params_next(&it, &p);) {
        slice v;
        inside(p.name, all);
        inside(p.value, all);
        must(p.name.len > 0 && hdr_param(params, p.name, &v));
        struct buf b = buf_over(mem, sizeof(mem));
        (void)(hdr_unquote(p.value, &b) == ERR_OK);
    }
    must(!it.bad);
}

static void check_addresses(slice v) {
    struct hdr_name_addr a;
    struct hdr_contact c;
    struct hdr_history h;
    struct sip_party party;
    if (hdr_name_addr(v, &a) == ERR_OK) {
        inside(a.display, v);
        inside(a.uri_text, v);
        check_params(a.params, v);
        struct buf b = buf_over(mem, sizeof(mem));
        must(hdr_unquote(a.display, &b) == ERR_OK || b.full);
    }
    if (hdr_party(v, &party) == ERR_OK) {
        must(hdr_name_addr(v, &a) == ERR_OK && slice_eq(a.uri_text, party.uri_text));
        slice tag;
        must(hdr_param(party.params, SLICE("tag"), &tag) == (party.tag.ptr != NULL));
    }
    if (hdr_contact(v, &c) == ERR_OK && !c.is_star) {
        must(c.q <= 1000 && hdr_name_addr(v, &a) == ERR_OK);
        inside(c.instance, v);
    }
    if (hdr_history(v, &h) == ERR_OK) must(h.index.len > 0);
}

static void check_fields(slice v) {
    uint32_t n;
    slice s;
    wall_t t;
    struct hdr_rack rack;
    struct hdr_seconds seconds;
    struct hdr_token token;
    struct hdr_media media;
    struct hdr_reason reason;
    struct hdr_disposition disposition;
    struct hdr_replaces replaces;
    struct hdr_auth auth;
    struct hdr_identity identity;
    struct sip_via via;
    (void)(hdr_u32(v, &n) == ERR_OK);
    if (hdr_cseq(v, &n, &s) == ERR_OK) must(n <= 0x7fffffff && s.len > 0);
    if (hdr_rack(v, &rack) == ERR_OK) inside(rack.method, v);
    if (hdr_seconds(v, &seconds) == ERR_OK) check_params(seconds.params, v);
    if (hdr_token(v, &token) == ERR_OK) check_params(token.params, v);
    if (hdr_media(v, &media) == ERR_OK) check_params(media.params, v);
    if (hdr_reason(v, &reason) == ERR_OK) inside(reason.text, v);
    if (hdr_disposition(v, &disposition) == ERR_OK) check_params(disposition.params, v);
    if (hdr_replaces(v, &replaces) == ERR_OK) must(replaces.to_tag.len && replaces.from_tag.len);
    if (hdr_auth(v, &auth) == ERR_OK) {
        inside(auth.scheme, v);
        inside(auth.realm, v);
        inside(auth.response, v);
    }
    if (hdr_identity(v, &identity) == ERR_OK) inside(identity.info_uri, v);
    if (sip_via_read(v, &via) == ERR_OK) {
        inside(via.host, v);
        check_params(via.params, v);
    }
    if (hdr_date(v, &t) == ERR_OK) {
        struct buf b = buf_over(mem, sizeof(mem));
        wall_t back;
        hdr_date_put(&b, t);
        must(hdr_date(buf_slice(&b), &back) == ERR_OK && back == t);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slice v = slice_of(data, size);
    struct hdr_values it = hdr_values_in(v);
    size_t last = 0;
    for (slice one; hdr_values_next(&it, &one);) {
        inside(one, v);
        must(one.len > 0 && (size_t)(one.ptr - v.ptr) >= last);
        last = (size_t)(one.ptr - v.ptr) + one.len;
        check_addresses(one);
    }
    check_addresses(v);
    check_fields(v);
    struct hdr_params params = hdr_params_of(v);
    for (struct hdr_param p; hdr_params_next(&params, &p);) inside(p.value, v);
    /* quoting and back */
    struct buf b = buf_over(mem, sizeof(mem) / 2);
    hdr_quote(&b, v);
    struct buf c = buf_over(mem + sizeof(mem) / 2, sizeof(mem) / 2);
    if (!b.full) {
        must(hdr_unquote(buf_slice(&b), &c) == ERR_OK && c.len == size);
    }
    return 0;
}
