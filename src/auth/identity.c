#include "auth/identity.h"
#include "base/mem.h"
#include "sip/hdr.h"

static struct flow_identity *at(struct flow_identities *ids, unsigned i) {
    return i == 0 ? &ids->first : &ids->more[i - 1];
}

void identities_fini(struct flow_identities *ids) {
    mem_free(ids->more);
    mem_free(ids->domains);
    memset(ids, 0, sizeof(*ids));
}

enum err identities_add(struct flow_identities *ids, const struct account *account,
                        uint32_t device_id) {
    unsigned i = 0;
    while (i < ids->count && at(ids, i)->account_id != account->id) i++;
    if (i == LIMIT_IDENTITIES) return ERR_FULL;
    if (i > 0 && !ids->more) {
        ids->more = mem_array(LIMIT_IDENTITIES - 1, sizeof(*ids->more));
        if (!ids->more) return ERR_MEMORY;
    }
    *at(ids, i) = (struct flow_identity){ account->id, account->stamp, device_id };
    if (i == ids->count) ids->count++;
    return ERR_OK;
}

static bool still_holds(struct accounts *accounts, const struct flow_identity *id, wall_t now) {
    struct account account;
    if (accounts_by_id(accounts, id->account_id, &account)) return false;
    if (account.stamp != id->stamp || (account.flags & ACCOUNT_DISABLED) != 0) return false;
    if (id->device_id == 0) return true;
    struct device device;
    if (accounts_device(accounts, id->device_id, &device)) return false;
    if (device.account_id != id->account_id || device.revoked) return false;
    return device.until == 0 || now < device.until;
}

unsigned identities_refresh(struct flow_identities *ids, struct accounts *accounts, wall_t now) {
    unsigned kept = 0;
    for (unsigned i = 0; i < ids->count; i++) {
        if (!still_holds(accounts, at(ids, i), now)) continue;
        if (kept != i) *at(ids, kept) = *at(ids, i);
        kept++;
    }
    ids->count = (uint8_t)kept;
    if (kept <= 1) {
        mem_free(ids->more);
        ids->more = NULL;
    }
    return kept;
}

enum err identities_find(struct flow_identities *ids, struct accounts *accounts,
                         uint32_t account_id, wall_t now, struct flow_identity *out) {
    unsigned count = identities_refresh(ids, accounts, now);
    for (unsigned i = 0; i < count; i++) {
        if (at(ids, i)->account_id != account_id) continue;
        *out = *at(ids, i);
        return ERR_OK;
    }
    return ERR_MISSING;
}

/* ---- domains ---- */

enum err identities_set_domains(struct flow_identities *ids, const slice *names, unsigned count,
                                const char *trouble) {
    size_t text = 0;
    ASSERT(!ids->domains);
    if (count > LIMIT_IDENTITIES) count = LIMIT_IDENTITIES;
    for (unsigned i = 0; i < count; i++) text += names[i].len;
    struct flow_domains *d = mem_alloc(sizeof(*d) + count * sizeof(d->names[0]) + text);
    if (!d) return ERR_MEMORY;
    char *to = (char *)&d->names[count];
    for (unsigned i = 0; i < count; i++) {
        d->names[i] = slice_of(to, names[i].len);
        for (size_t k = 0; k < names[i].len; k++) {
            char ch = names[i].ptr[k];
            *to++ = ch >= 'A' && ch <= 'Z' ? (char)(ch + ('a' - 'A')) : ch;
        }
    }
    d->trouble = trouble;
    d->count = (uint8_t)count;
    ids->domains = d;
    return ERR_OK;
}

bool identities_hold_domain(const struct flow_identities *ids, slice domain) {
    for (unsigned i = 0; ids->domains && i < ids->domains->count; i++)
        if (slice_ieq(ids->domains->names[i], domain)) return true;
    return false;
}

/* ---- names ---- */

/* "+49-30-1234" is "+49301234". Parameters of a tel URI stand in uri->params. */
static void number_put(struct buf *b, slice number) {
    for (size_t i = 0; i < number.len; i++)
        if (slice_find(SLICE("-.()"), number.ptr[i]) == 4) buf_byte(b, number.ptr[i]);
}

/* The user part as accounts know it; false: nobody's. */
static bool user_of(const struct sip_uri *uri, struct buf *out) {
    if (uri->user.len == 0) return false;
    if (uri->scheme == URI_TEL) {
        number_put(out, uri->user);
        return !out->full;
    }
    if (uri->scheme != URI_SIP && uri->scheme != URI_SIPS) return false;
    return sip_unescape(uri->user, out) == ERR_OK;
}

bool identity_names(struct accounts *accounts, uint32_t account_id, const struct sip_uri *uri) {
    char text[ACCOUNT_USER_MAX];
    struct buf user = buf_over(text, sizeof text);
    if (!user_of(uri, &user)) return false;
    slice domain = uri->scheme == URI_TEL ? SLICE_NONE : uri->host;
    if (uri->scheme != URI_TEL && domain.len == 0) return false;
    return accounts_owns(accounts, account_id, buf_slice(&user), domain);
}

bool identity_is_anonymous(const struct sip_uri *from, const slice *domains,
                           unsigned domain_count) {
    if (from->scheme != URI_SIP && from->scheme != URI_SIPS) return false;
    if (!slice_ieq(from->user, SLICE("anonymous"))) return false;
    if (slice_ieq(from->host, SLICE("anonymous.invalid"))) return true;
    for (unsigned i = 0; i < domain_count; i++)
        if (slice_ieq(from->host, domains[i])) return true;
    return false;
}

/* ---- who speaks ---- */

static const struct flow_identity *named(struct flow_identities *ids, struct accounts *accounts,
                                         const struct sip_uri *uri) {
    for (unsigned i = 0; i < ids->count; i++)
        if (identity_names(accounts, at(ids, i)->account_id, uri)) return at(ids, i);
    return NULL;
}

enum err identities_for_register(struct flow_identities *ids, struct accounts *accounts,
                                 const struct sip_uri *to, wall_t now, struct flow_identity *out) {
    (void)identities_refresh(ids, accounts, now);
    const struct flow_identity *id = named(ids, accounts, to);
    if (!id) return ERR_MISSING;
    *out = *id;
    return ERR_OK;
}

enum err identities_for_from(struct flow_identities *ids, struct accounts *accounts,
                             const struct identity_claim *claim, wall_t now,
                             struct flow_identity *out) {
    unsigned count = identities_refresh(ids, accounts, now);
    if (count == 0) return ERR_MISSING;
    const struct flow_identity *id = named(ids, accounts, claim->from);
    if (!id && identity_is_anonymous(claim->from, claim->domains, claim->domain_count)) {
        /* RFC 3325 6: the preferred identity is a hint; one that is not on the flow is ignored. */
        if (claim->preferred) id = named(ids, accounts, claim->preferred);
        if (!id && count == 1) id = at(ids, 0);
    }
    if (!id) return ERR_DENIED;
    *out = *id;
    return ERR_OK;
}

/* The first value of P-Preferred-Identity that names somebody on this flow. */
static bool preferred_of(struct flow_identities *ids, struct accounts *accounts,
                         const struct sip_msg *req, struct sip_uri *out) {
    struct hdr_values it = hdr_values_of(req, HDR_P_PREFERRED_IDENTITY);
    for (slice v; hdr_values_next(&it, &v);) {
        struct hdr_name_addr addr;
        if (hdr_name_addr(v, &addr) || sip_uri_read(addr.uri_text, out)) continue;
        if (named(ids, accounts, out)) return true;
    }
    return false;
}

enum err identities_for_message(struct flow_identities *ids, struct accounts *accounts,
                                const struct sip_msg *req, const slice *domains,
                                unsigned domain_count, wall_t now, struct flow_identity *out) {
    if (identities_refresh(ids, accounts, now) == 0) return ERR_MISSING;
    struct sip_uri from, preferred;
    if (sip_uri_read(req->from.uri_text, &from)) return ERR_DENIED;
    const struct identity_claim claim = {
        .from = &from,
        .preferred = preferred_of(ids, accounts, req, &preferred) ? &preferred : NULL,
        .domains = domains,
        .domain_count = domain_count,
    };
    return identities_for_from(ids, accounts, &claim, now, out);
}
