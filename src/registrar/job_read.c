/* What a REGISTER wants: contacts, expiry, Path, flows. Nothing here looks at the table. */
#include "registrar/job.h"

#include "sip/token.h"

#define EXPIRES_BRIEF_S 3600u /* RFC 3261 10.3 step 7: only below one hour may be too brief */

enum err job_refuse(struct job *j, unsigned status, const char *reason) {
    j->out->status = status;
    j->out->reason = reason;
    return ERR_DENIED;
}

static bool is_own_param(slice name) {
    const slice own[] = { SLICE("expires"), SLICE("q"),        SLICE("+sip.instance"),
                          SLICE("reg-id"),  SLICE("pub-gruu"), SLICE("temp-gruu") };
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (slice_ieq(name, own[i])) return true;
    return false;
}

/* What we do not write ourselves is kept as the phone wrote it. RFC 5627 5.1: gruu parameters of
 * the phone are ignored. */
static enum err read_params(struct job *j, struct want *w) {
    slice params = w->contact.addr.params;
    w->params = SLICE_NONE;
    if (!params.len) return ERR_OK;
    char *mem = arena_alloc(j->arena, params.len + 1);
    if (!mem) return ERR_MEMORY;
    struct buf b = buf_over(mem, params.len + 1);
    struct hdr_params it = hdr_params_of(params);
    for (struct hdr_param p; hdr_params_next(&it, &p);) {
        if (is_own_param(p.name)) continue;
        buf_byte(&b, ';');
        buf_put(&b, p.name);
        if (!p.value.ptr) continue;
        buf_byte(&b, '=');
        buf_put(&b, p.value);
    }
    if (it.bad || b.full) return job_refuse(j, 400, "a Contact has a malformed parameter");
    w->params = buf_slice(&b);
    return ERR_OK;
}

/* RFC 5626 6: without an instance a reg-id is ignored; so is one that came through a first hop
 * which does not keep flows (no "ob" in the first Path value). */
static bool outbound_applies(const struct job *j) {
    if (j->is_first_hop) return true;
    slice first;
    struct hdr_name_addr addr;
    struct sip_uri uri;
    return hdr_value_first(j->msg, HDR_PATH, &first) == ERR_OK &&
           hdr_name_addr(first, &addr) == ERR_OK && sip_uri_read(addr.uri_text, &uri) == ERR_OK &&
           uri.has_ob;
}

/* RFC 3261 10.3 step 7: the parameter, else the header, else our default; never beyond the
 * maximum or the end of the device's permission. */
static enum err read_expiry(struct job *j, struct want *w) {
    const struct registrar_limits *lim = j->limits;
    uint32_t s = lim->expires_default_s, header;
    if (w->contact.has_expires) {
        s = w->contact.expires;
    } else if (sip_first(j->msg, HDR_EXPIRES)) {
        if (hdr_u32_of(j->msg, HDR_EXPIRES, &header) != ERR_OK)
            return job_refuse(j, 400, "Expires is not a number");
        s = header;
    }
    /* Step 7: if and only if above zero, below one hour and below the minimum. */
    if (s > 0 && s < EXPIRES_BRIEF_S && s < lim->expires_min_s)
        return job_refuse(j, 423, "the registration would expire too soon");
    if (s > lim->expires_max_s) s = lim->expires_max_s;
    if (s > 0 && j->req->until) {
        int64_t left_s = (j->req->until - j->now) / 1000;
        if (left_s <= 0) return job_refuse(j, 403, "the permission of this device has ended");
        if (left_s < s) s = (uint32_t)left_s;
    }
    w->expires_s = s;
    return ERR_OK;
}

static enum err read_uri(struct job *j, struct want *w) {
    slice text = w->contact.addr.uri_text;
    if (text.len > REGISTRAR_CONTACT_MAX || w->contact.addr.params.len > REGISTRAR_PARAMS_MAX ||
        w->contact.instance.len > REGISTRAR_INSTANCE_MAX)
        return job_refuse(j, 400, "a Contact is longer than we keep");
    if (sip_uri_read(text, &w->uri) != ERR_OK) return job_refuse(j, 400, "a Contact is not a URI");
    if (!w->contact.instance.len || w->expires_s == 0) return ERR_OK;
    /* RFC 5627 5.1: with an instance, a contact that is not SIP, or is the address-of-record itself
     * (or a GRUU of it, which is equal to it by comparison), would loop: 403. */
    struct sip_uri aor;
    if (w->uri.scheme != URI_SIP && w->uri.scheme != URI_SIPS)
        return job_refuse(j, 403, "a Contact with an instance must be a sip or sips URI");
    if (sip_uri_read(j->msg->to.uri_text, &aor) == ERR_OK && sip_uri_eq(&w->uri, &aor))
        return job_refuse(j, 403, "a Contact must not be the address that is registered");
    struct gruu gruu;
    if (w->uri.has_gr && j->req->gruu_key &&
        gruu_temp_read(j->req->gruu_key, w->uri.user, &gruu) == ERR_OK &&
        gruu.account_id == j->req->account_id)
        return job_refuse(j, 403, "a Contact must not be a GRUU of the address that is registered");
    return ERR_OK;
}

static enum err read_contact(struct job *j, slice value, bool outbound) {
    if (j->want_count == j->want_max)
        return job_refuse(j, 403, "more contacts in one request than this address may have");
    struct want *w = &j->wants[j->want_count];
    *w = (struct want){ .skip = false };
    if (hdr_contact(value, &w->contact) != ERR_OK)
        return job_refuse(j, 400, "a Contact is malformed");
    if (w->contact.is_star) {
        j->is_star = true;
        return ERR_OK;
    }
    if (w->contact.has_reg_id && w->contact.instance.len) {
        if (outbound)
            w->reg_id = w->contact.reg_id;
        else if (hdr_has_token(j->msg, HDR_SUPPORTED, SLICE("outbound")))
            return job_refuse(j, 439, "the first server on the way does not keep connections");
    }
    w->instance_hash = location_instance_hash(j->l, w->contact.instance);
    if (w->reg_id) j->is_outbound = true;
    enum err err = read_expiry(j, w);
    if (err == ERR_OK) err = read_uri(j, w);
    if (err == ERR_OK) err = read_params(j, w);
    if (err == ERR_OK) j->want_count++;
    return err;
}

/* RFC 3261 10.3 step 6: "*" stands alone and comes with Expires: 0. */
static enum err check_star(struct job *j, unsigned values) {
    uint32_t expires = 1;
    if (values != 1) return job_refuse(j, 400, "Contact: * must stand alone");
    if (hdr_u32_of(j->msg, HDR_EXPIRES, &expires) != ERR_OK || expires != 0)
        return job_refuse(j, 400, "Contact: * needs Expires: 0");
    return ERR_OK;
}

/* RFC 5626 6: a request with a reg-id registers one flow; more contacts may only be removed. */
static enum err check_one_flow(struct job *j) {
    unsigned lasting = 0, flows = 0;
    for (unsigned i = 0; i < j->want_count; i++) {
        if (j->wants[i].expires_s == 0) continue;
        lasting++;
        if (j->wants[i].reg_id) flows++;
    }
    if (flows && lasting > 1) return job_refuse(j, 400, "a reg-id allows one contact only");
    return ERR_OK;
}

static bool is_sips(slice name_addr) {
    struct hdr_name_addr addr;
    return hdr_name_addr(name_addr, &addr) == ERR_OK &&
           slice_istarts(addr.uri_text, SLICE("sips:"));
}

/* RFC 5630 5.2: a sips contact is taken only when Request-URI, contacts and Path are sips as well;
 * and it would be a lie on a flow that is not secured. */
static enum err check_sips(struct job *j) {
    unsigned lasting = 0, sips = 0;
    for (unsigned i = 0; i < j->want_count; i++) {
        if (j->wants[i].expires_s == 0) continue;
        lasting++;
        if (j->wants[i].uri.scheme == URI_SIPS) sips++;
    }
    if (!sips) return ERR_OK;
    if (!j->req->secure) return job_refuse(j, 400, "a sips Contact needs TLS");
    if (sips != lasting || j->msg->uri.scheme != URI_SIPS)
        return job_refuse(j, 400, "a sips Contact needs a sips Request-URI and no sip Contact");
    struct hdr_values it = hdr_values_of(j->msg, HDR_PATH);
    for (slice v; hdr_values_next(&it, &v);)
        if (!is_sips(v)) return job_refuse(j, 400, "a sips Contact needs sips in every Path");
    return ERR_OK;
}

/* RFC 3327 5.3: the values are kept in their order. A phone that does not know Path would not see
 * that somebody put himself in between: 420, as recommended there. */
static enum err read_path(struct job *j) {
    size_t room = 0;
    j->path = SLICE_NONE;
    for (const struct sip_header *h = sip_first(j->msg, HDR_PATH); h; h = sip_next(j->msg, h))
        room += h->value.len + 2;
    if (room == 0) return ERR_OK;
    if (!hdr_has_token(j->msg, HDR_SUPPORTED, SLICE("path")))
        return job_refuse(j, 420, "a Path was added for a phone that does not support it");
    if (room > REGISTRAR_PATH_MAX) return job_refuse(j, 400, "the Path is longer than we keep");
    char *mem = arena_alloc(j->arena, room);
    if (!mem) return ERR_MEMORY;
    struct buf b = buf_over(mem, room);
    struct hdr_values it = hdr_values_of(j->msg, HDR_PATH);
    struct hdr_name_addr addr;
    for (slice v; hdr_values_next(&it, &v);) {
        if (hdr_name_addr(v, &addr) != ERR_OK) return job_refuse(j, 400, "Path is malformed");
        if (b.len) buf_lit(&b, ", ");
        buf_put(&b, v);
    }
    if (it.bad || b.full) return job_refuse(j, 400, "Path is malformed");
    j->path = buf_slice(&b);
    return ERR_OK;
}

enum err job_read(struct job *j) {
    unsigned values;
    if (!hdr_values_count(j->msg, HDR_CONTACT, &values))
        return job_refuse(j, 400, "Contact is malformed");
    j->has_contact = values > 0;
    if (j->msg->call_id.len > REGISTRAR_CALL_ID_MAX)
        return job_refuse(j, 400, "the Call-ID is longer than we keep");
    enum err err = read_path(j);
    if (err != ERR_OK) return err;
    /* As many again may be removed in the same request. */
    j->want_max = j->limits->contacts_max * 2;
    if (values > j->want_max)
        return job_refuse(j, 403, "more contacts in one request than this address may have");
    j->wants = arena_alloc(j->arena, (values + 1) * sizeof *j->wants);
    if (!j->wants) return ERR_MEMORY;
    j->want_max = values;
    unsigned vias = 0;
    j->is_first_hop = hdr_values_count(j->msg, HDR_VIA, &vias) && vias <= 1;
    bool outbound = outbound_applies(j);
    struct hdr_values it = hdr_values_of(j->msg, HDR_CONTACT);
    for (slice v; hdr_values_next(&it, &v);) {
        err = read_contact(j, v, outbound);
        if (err != ERR_OK) return err;
    }
    if (j->is_star) return check_star(j, values);
    err = check_one_flow(j);
    return err == ERR_OK ? check_sips(j) : err;
}
