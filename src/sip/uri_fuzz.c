/* Two lines, each a URI or not: reading, comparing both ways, the canonical form. */
#include "sip/check_fuzz.h"
#include "sip/uri.h"

static char mem[16384], again[16384];

static void check(const struct sip_uri *u, slice text) {
    slice v;
    inside(u->user, text);
    inside(u->password, text);
    inside(u->host, text);
    inside(u->params, text);
    inside(u->headers, text);
    inside(u->transport, text);
    inside(u->gr, text);
    must(sip_uri_eq(u, u));
    if (sip_uri_param(u, SLICE("maddr"), &v)) must(slice_eq(v, u->maddr));
    struct buf b = buf_over(mem, sizeof(mem));
    must(sip_unescape(u->user, &b) == ERR_OK);
    b = buf_over(mem, sizeof(mem));
    if (sip_uri_put_aor(&b, u) != ERR_OK) return;
    struct sip_uri aor;
    must(sip_uri_read(buf_slice(&b), &aor) == ERR_OK);
    must(aor.scheme == URI_SIP && aor.has_user == u->has_user && !aor.port && !aor.params.len);
    struct buf c = buf_over(again, sizeof(again));
    must(sip_uri_put_aor(&c, &aor) == ERR_OK && slice_eq(buf_slice(&b), buf_slice(&c)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slice all = slice_of(data, size);
    size_t at = slice_find(all, '\n');
    slice one = exact(slice_head(all, at)), two = exact(slice_from(all, at + 1));
    struct sip_uri a, b;
    enum err ea = sip_uri_read(one, &a), eb = sip_uri_read(two, &b);
    if (ea == ERR_OK) check(&a, one);
    if (eb == ERR_OK) check(&b, two);
    if (ea == ERR_OK && eb == ERR_OK) must(sip_uri_eq(&a, &b) == sip_uri_eq(&b, &a));
    struct buf dst = buf_over(mem, sizeof(mem));
    if (sip_unescape(one, &dst) == ERR_BAD) must(slice_find(one, '%') < one.len);
    free((void *)(uintptr_t)one.ptr);
    free((void *)(uintptr_t)two.ptr);
    return 0;
}
