#include "auth/identity.h"

#include "base/mem.h"
#include "sip/hdr.h"

#define USER_BYTES_MAX 256u /* longer users are nobody's */

static struct identity *identity_at(struct flow_identities *ids, unsigned i) {
    return i == 0 ? &ids->one : &ids->more[i - 1];
}
static const struct identity *identity_read(const struct flow_identities *ids, unsigned i) {
    return i == 0 ? &ids->one : &ids->more[i - 1];
}

void identities_fini(struct flow_identities *ids) {
    mem_free(ids->more);
    ids->more = NULL;
    ids->count = 0;
}

enum err identities_add(struct flow_identities *ids, const struct account *account,
                        uint32_t device_id) {
    unsigned i = 0;
    while (i < ids->count && identity_read(ids, i)->account_id != account->id) i++;
    if (i == ids->count) {
        if (i == LIMIT_IDENTITIES) return ERR_FULL;
        if (i > 0 && !ids->more) {
            ids->more = mem_array(LIMIT_IDENTITIES - 1, sizeof *ids->more);
            if (!ids->more) return ERR_MEMORY;
        }
        ids->count++;
    }
    *identity_at(ids, i) = (struct identity){ account->id, account->stamp, device_id };
    return ERR_OK;
}

static bool identity_holds(const struct identity *id, struct accounts *accounts, wall_t now) {
    struct account account;
    if (accounts_by_id(accounts, id->account_id, &account) != ERR_OK) return false;
    if (account.stamp != id->stamp || (account.flags & ACCOUNT_DISABLED)) return false;
    if (id->device_id == 0) return true;
    struct device device;
    if (accounts_device(accounts, id->device_id, &device) != ERR_OK) return false;
    return !device.revoked && (device.until == 0 || now < device.until);
}

unsigned identities_prune(struct flow_identities *ids, struct accounts *accounts, wall_t now) {
    unsigned kept = 0, before = ids->count;
    for (unsigned i = 0; i < before; i++) {
        struct identity id = *identity_read(ids, i);
        if (identity_holds(&id, accounts, now)) *identity_at(ids, kept++) = id;
    }
    ids->count = (uint8_t)kept;
    return before - kept;
}

const struct identity *identities_get(const struct flow_identities *ids, uint32_t account_id) {
    for (unsigned i = 0; i < ids->count; i++)
        if (identity_read(ids, i)->account_id == account_id) return identity_read(ids, i);
    return NULL;
}

bool identities_hold(const struct flow_identities *ids, uint32_t account_id) {
    return identities_get(ids, account_id) != NULL;
}

bool identity_is_anonymous(const struct sip_uri *from) {
    return slice_ieq(from->host, SLICE("anonymous.invalid")) ||
           slice_ieq(from->user, SLICE("anonymous"));
}

/* The identity on this flow that owns the URI; 0: none. */
static uint32_t identity_owner(const struct flow_identities *ids, struct accounts *accounts,
                               const struct sip_uri *uri) {
    char mem[USER_BYTES_MAX];
    struct buf user = buf_over(mem, sizeof mem);
    if (uri->scheme != URI_SIP && uri->scheme != URI_SIPS) return 0;
    if (sip_unescape(uri->user, &user) != ERR_OK) return 0;
    for (unsigned i = 0; i < ids->count; i++) {
        uint32_t id = identity_read(ids, i)->account_id;
        if (accounts_owns(accounts, id, buf_slice(&user), uri->host)) return id;
    }
    return 0;
}

static uint32_t identity_preferred(const struct flow_identities *ids, struct accounts *accounts,
                                   const struct sip_msg *req) {
    slice value;
    struct hdr_name_addr addr;
    struct sip_uri uri;
    if (hdr_value_first(req, HDR_P_PREFERRED_IDENTITY, &value) != ERR_OK ||
        hdr_name_addr(value, &addr) != ERR_OK || sip_uri_read(addr.uri_text, &uri) != ERR_OK)
        return 0;
    return identity_owner(ids, accounts, &uri);
}

enum err identities_judge(const struct flow_identities *ids, struct accounts *accounts,
                          const struct sip_msg *req, uint32_t *out_account) {
    struct sip_uri from;
    if (ids->count == 0) return ERR_MISSING;
    if (sip_uri_read(req->from.uri_text, &from) != ERR_OK) return ERR_DENIED;
    uint32_t account = 0;
    if (identity_is_anonymous(&from)) {
        account = identity_preferred(ids, accounts, req);
        if (!account && ids->count == 1) account = ids->one.account_id;
    } else {
        account = identity_owner(ids, accounts, &from);
    }
    if (!account) return ERR_DENIED;
    *out_account = account;
    return ERR_OK;
}
