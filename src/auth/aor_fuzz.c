/* An address that is taken must come out canonical: read again it is the same, and its user part
 * survives the way into a SIP URI and back. */
#include "auth/aor.h"
#include "sip/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char why_text[256], text[1024], back[ACCOUNT_USER_MAX];
    struct buf why = buf_over(why_text, sizeof why_text);
    struct aor a, again;
    if (aor_read(slice_of(data, size), &a, &why)) {
        ASSERT(why.len > 0 && !why.full);
        return 0;
    }
    struct buf b = buf_over(text, sizeof text);
    buf_put(&b, aor_user(&a));
    buf_byte(&b, '@');
    buf_put(&b, aor_domain(&a));
    enum err e = aor_read(buf_slice(&b), &again, &why);
    ASSERT(e == ERR_OK && slice_eq(aor_user(&a), aor_user(&again)));
    ASSERT(slice_eq(aor_domain(&a), aor_domain(&again)));
    buf_clear(&b);
    buf_lit(&b, "sip:");
    sip_escape_user(&b, aor_user(&a));
    buf_lit(&b, "@h");
    struct sip_uri uri;
    struct buf user = buf_over(back, sizeof back);
    e = sip_uri_read(buf_slice(&b), &uri);
    ASSERT(e == ERR_OK);
    e = sip_unescape(uri.user, &user);
    ASSERT(e == ERR_OK && slice_eq(buf_slice(&user), aor_user(&a)));
    return 0;
}
