#include "auth/peer_name.h"

#include "sip/target.h"
#include "sip/uri.h"

const char *peer_cert_trouble(const struct peer_cert *cert) {
    if (!cert->is_verified) return cert->why_not ? cert->why_not : "could not be verified";
    /* Names beyond those we read could be sip: URIs, which would make the DNS names count for
     * nothing. */
    if (cert->is_cut) return "has more names than we read";
    /* RFC 5924 5 wants id-kp-sipDomain or any; public authorities issue neither, so serverAuth
     * counts as well, for both directions (docs/conformance.md). */
    if (cert->has_eku && !cert->eku_any && !cert->eku_sip && !cert->eku_server)
        return "is not meant for servers";
    return NULL;
}

/* RFC 5922 7.1: scheme "sip", no userinfo. */
static bool uri_domain(slice text, slice *out) {
    struct sip_uri uri;
    if (slice_find(text, '@') != text.len || sip_uri_read(text, &uri) != ERR_OK ||
        uri.scheme != URI_SIP || !target_is_name(uri.host))
        return false;
    *out = uri.host;
    return true;
}

unsigned peer_cert_domains(const struct peer_cert *cert, slice *out, unsigned max) {
    unsigned n = 0, uris = 0;
    for (unsigned i = 0; i < cert->uri_count; i++) {
        slice host;
        if (!uri_domain(cert->uris[i], &host)) continue;
        uris++;
        if (n < max) out[n++] = host;
    }
    for (unsigned i = 0; uris == 0 && i < cert->dns_count && n < max; i++)
        if (target_is_name(cert->dns[i])) out[n++] = cert->dns[i];
    return n;
}

bool peer_cert_names(const struct peer_cert *cert, slice domain) {
    slice names[2 * LIMIT_CERT_NAMES];
    unsigned n = peer_cert_domains(cert, names, ARRAY_LEN(names));
    for (unsigned i = 0; i < n; i++)
        if (slice_ieq(names[i], domain)) return true;
    return false;
}
