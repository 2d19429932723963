/* How a REGISTER is worked through (RFC 3261 10.3 steps 6 to 8):
 *
 *   read_request    without the lock: contacts, Path, what can be refused at once
 *   decide          under the shard's lock: which binding each contact means, order, limits
 *   prepare         everything that needs memory: new entries, changes, room for the answer
 *   apply           cannot fail: the table changes, the answer is written
 *
 * So a request is done completely or not at all, and nobody sees a half of it. */
#include "registrar/registrar.h"

#include "base/mem.h"
#include "registrar/table.h"
#include "sip/hdr.h"

#define EXPIRES_BRIEF_S 3600u /* RFC 3261 10.3 step 7: only below one hour may be too brief */

/* One contact of the request. */
struct want {
    struct hdr_contact contact;
    struct sip_uri uri;
    slice params; /* to keep and to give back */
    uint32_t reg_id, expires_s;
    bool skip;          /* a later contact of the request speaks for the same device */
    struct entry *old;  /* the live binding it means */
    struct entry *over; /* an expired one or a stone whose id it takes */
    struct entry *made;
    uint32_t bid, gruu_epoch;
    bool lazy; /* a mere refresh */
};

struct job {
    struct location *l;
    const struct registrar_limits *limits;
    const struct registrar_request *req;
    const struct sip_msg *msg;
    wall_t now;
    struct arena *arena;
    struct registrar_answer *out;
    struct shard *shard;
    struct want *wants;
    unsigned want_count, want_max, gone_count;
    struct entry **gone; /* bindings to remove */
    bool is_star, has_contact;
    slice path; /* all values, comma-separated */
    struct buf answer;
};

static enum err refuse(struct job *j, unsigned status, const char *reason) {
    j->out->status = status;
    j->out->reason = reason;
    return ERR_DENIED;
}

/* ---- reading the request ---- */

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
    if (it.bad || b.full) return refuse(j, 400, "a Contact has a malformed parameter");
    w->params = buf_slice(&b);
    return ERR_OK;
}

/* RFC 5626 6: without an instance a reg-id is ignored; so is one that came through a first hop
 * which does not keep flows (no "ob" in the first Path value). */
static bool outbound_applies(const struct job *j) {
    unsigned vias;
    if (!hdr_values_count(j->msg, HDR_VIA, &vias)) return false;
    if (vias <= 1) return true;
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
            return refuse(j, 400, "Expires is not a number");
        s = header;
    }
    /* Step 7: if and only if above zero, below one hour and below the minimum. */
    if (s > 0 && s < EXPIRES_BRIEF_S && s < lim->expires_min_s)
        return refuse(j, 423, "the registration would expire too soon");
    if (s > lim->expires_max_s) s = lim->expires_max_s;
    if (s > 0 && j->req->until) {
        int64_t left_s = (j->req->until - j->now) / 1000;
        if (left_s <= 0) return refuse(j, 403, "the permission of this device has ended");
        if (left_s < s) s = (uint32_t)left_s;
    }
    w->expires_s = s;
    return ERR_OK;
}

static enum err read_uri(struct job *j, struct want *w) {
    slice text = w->contact.addr.uri_text;
    if (text.len > REGISTRAR_CONTACT_MAX || w->contact.addr.params.len > REGISTRAR_PARAMS_MAX ||
        w->contact.instance.len > REGISTRAR_INSTANCE_MAX)
        return refuse(j, 400, "a Contact is longer than we keep");
    if (sip_uri_read(text, &w->uri) != ERR_OK) return refuse(j, 400, "a Contact is not a URI");
    if (!w->contact.instance.len || w->expires_s == 0) return ERR_OK;
    /* RFC 5627 5.1: with an instance, a contact that is not SIP, or is the address-of-record itself
     * (or a GRUU of it, which is equal to it by comparison), would loop: 403. */
    struct sip_uri aor;
    if (w->uri.scheme != URI_SIP && w->uri.scheme != URI_SIPS)
        return refuse(j, 403, "a Contact with an instance must be a sip or sips URI");
    if (sip_uri_read(j->msg->to.uri_text, &aor) == ERR_OK && sip_uri_eq(&w->uri, &aor))
        return refuse(j, 403, "a Contact must not be the address that is registered");
    return ERR_OK;
}

static enum err read_contact(struct job *j, slice value, bool outbound) {
    if (j->want_count == j->want_max)
        return refuse(j, 403, "more contacts in one request than this address may have");
    struct want *w = &j->wants[j->want_count];
    *w = (struct want){ .skip = false };
    if (hdr_contact(value, &w->contact) != ERR_OK) return refuse(j, 400, "a Contact is malformed");
    if (w->contact.is_star) {
        j->is_star = true;
        return ERR_OK;
    }
    if (outbound && w->contact.has_reg_id && w->contact.instance.len) w->reg_id = w->contact.reg_id;
    enum err err = read_expiry(j, w);
    if (err == ERR_OK) err = read_uri(j, w);
    if (err == ERR_OK) err = read_params(j, w);
    if (err == ERR_OK) j->want_count++;
    return err;
}

/* RFC 3261 10.3 step 6: "*" stands alone and comes with Expires: 0. */
static enum err check_star(struct job *j, unsigned values) {
    uint32_t expires = 1;
    if (values != 1) return refuse(j, 400, "Contact: * must stand alone");
    if (hdr_u32_of(j->msg, HDR_EXPIRES, &expires) != ERR_OK || expires != 0)
        return refuse(j, 400, "Contact: * needs Expires: 0");
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
    if (flows && lasting > 1) return refuse(j, 400, "a reg-id allows one contact only");
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
    if (!j->req->secure) return refuse(j, 400, "a sips Contact needs TLS");
    if (sips != lasting || j->msg->uri.scheme != URI_SIPS)
        return refuse(j, 400, "a sips Contact needs a sips Request-URI and no sip Contact");
    struct hdr_values it = hdr_values_of(j->msg, HDR_PATH);
    for (slice v; hdr_values_next(&it, &v);)
        if (!is_sips(v)) return refuse(j, 400, "a sips Contact needs sips in every Path");
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
        return refuse(j, 420, "a Path was added for a phone that does not support it");
    if (room > REGISTRAR_PATH_MAX) return refuse(j, 400, "the Path is longer than we keep");
    char *mem = arena_alloc(j->arena, room);
    if (!mem) return ERR_MEMORY;
    struct buf b = buf_over(mem, room);
    struct hdr_values it = hdr_values_of(j->msg, HDR_PATH);
    struct hdr_name_addr addr;
    for (slice v; hdr_values_next(&it, &v);) {
        if (hdr_name_addr(v, &addr) != ERR_OK) return refuse(j, 400, "Path is malformed");
        if (b.len) buf_lit(&b, ", ");
        buf_put(&b, v);
    }
    if (it.bad || b.full) return refuse(j, 400, "Path is malformed");
    j->path = buf_slice(&b);
    return ERR_OK;
}

static enum err read_request(struct job *j) {
    unsigned values;
    if (!hdr_values_count(j->msg, HDR_CONTACT, &values))
        return refuse(j, 400, "Contact is malformed");
    j->has_contact = values > 0;
    if (j->msg->call_id.len > REGISTRAR_CALL_ID_MAX)
        return refuse(j, 400, "the Call-ID is longer than we keep");
    enum err err = read_path(j);
    if (err != ERR_OK) return err;
    /* As many again may be removed in the same request. */
    j->want_max = j->limits->contacts_max * 2;
    if (values > j->want_max)
        return refuse(j, 403, "more contacts in one request than this address may have");
    j->wants = arena_alloc(j->arena, (values + 1) * sizeof *j->wants);
    if (!j->wants) return ERR_MEMORY;
    j->want_max = values;
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

/* ---- which binding is meant ---- */

enum same { SAME_NOT, SAME_DEVICE, SAME_URI };

/* RFC 5626 6: instance and reg-id together are the device, whatever its contact. We hold it so
 * without a reg-id as well: a phone that comes back on another port replaces itself instead of
 * leaving a dead contact behind. Without an instance RFC 3261 10.3 compares the URIs. */
static enum same compare(const struct want *w, slice instance, uint32_t reg_id,
                         const struct sip_uri *uri) {
    bool eq = sip_uri_eq(&w->uri, uri);
    if (w->contact.instance.len && instance.len) {
        if (w->reg_id != reg_id || !slice_ieq(w->contact.instance, instance)) return SAME_NOT;
        return eq ? SAME_URI : SAME_DEVICE;
    }
    return eq ? SAME_URI : SAME_NOT;
}

/* A removal by instance alone must name the contact in use: phones that moved clean up their former
 * contact in the same breath, and that must not end the new one. */
static bool means(const struct want *w, slice instance, uint32_t reg_id,
                  const struct sip_uri *uri) {
    enum same same = compare(w, instance, reg_id, uri);
    return same == SAME_URI || (same == SAME_DEVICE && (w->expires_s > 0 || w->reg_id));
}

static bool means_entry(const struct want *w, const struct entry *e) {
    struct sip_uri uri;
    return sip_uri_read(entry_text(e, TEXT_CONTACT), &uri) == ERR_OK &&
           means(w, entry_text(e, TEXT_INSTANCE), e->reg_id, &uri);
}

/* RFC 3261 10.3 steps 6 and 7: within one Call-ID a request must be newer than the last one.
 * architecture.md section 4: after a restart an equal one is taken too. */
static bool in_order(const struct job *j, const struct entry *e) {
    if (!slice_eq(entry_text(e, TEXT_CALL_ID), j->msg->call_id)) return true;
    return e->loaded ? j->msg->cseq >= e->cseq : j->msg->cseq > e->cseq;
}

static enum err out_of_order(struct job *j) {
    return refuse(j, 500, "CSeq is not above that of the last REGISTER with this Call-ID");
}

/* A removal that did not reach the disk is asked for again. */
static bool is_lost_removal(const struct entry *e) {
    return e->stone && e->unsaved && e->in_flight == 0;
}

static bool is_gone(const struct job *j, const struct entry *e) {
    for (unsigned i = 0; i < j->gone_count; i++)
        if (j->gone[i] == e) return true;
    return false;
}

static void let_go(struct job *j, struct entry *e) {
    if (!is_gone(j, e)) j->gone[j->gone_count++] = e;
}

/* Contacts of one request that speak for the same device: the last one counts. */
static void settle_doubles(struct job *j, unsigned at) {
    struct want *w = &j->wants[at];
    for (unsigned i = 0; i < at; i++) {
        struct want *before = &j->wants[i];
        if (before->skip) continue;
        if (!means(w, before->contact.instance, before->reg_id, &before->uri)) continue;
        before->skip = true;
        if (!w->old)
            w->old = before->old;
        else if (before->old)
            let_go(j, before->old);
        before->old = NULL;
    }
}

static bool is_touched(const struct job *j, const struct entry *e) {
    for (unsigned i = 0; i < j->want_count; i++)
        if (!j->wants[i].skip && j->wants[i].old == e) return true;
    return is_gone(j, e);
}

/* A binding answers to one contact of the request only. A contact that means several bindings (by
 * its URI one, by its instance another) takes the place of all. */
static enum err match_want(struct job *j, struct want *w) {
    for (struct entry *e = account_first(j->shard, j->req->account_id); e; e = e->next) {
        if (!entry_lives(e, j->now) || !means_entry(w, e)) continue;
        if (!in_order(j, e)) return out_of_order(j);
        if (is_touched(j, e)) continue;
        if (w->old)
            let_go(j, e);
        else
            w->old = e;
    }
    return ERR_OK;
}

static enum err match_wants(struct job *j) {
    for (unsigned i = 0; i < j->want_count; i++) {
        settle_doubles(j, i);
        enum err err = match_want(j, &j->wants[i]);
        if (err != ERR_OK) return err;
    }
    for (unsigned i = 0; i < j->want_count; i++) {
        struct want *w = &j->wants[i];
        if (w->skip || w->expires_s) continue;
        if (w->old) let_go(j, w->old);
        for (struct entry *e = account_first(j->shard, j->req->account_id); e; e = e->next)
            if (is_lost_removal(e) && means_entry(w, e)) let_go(j, e);
    }
    return ERR_OK;
}

/* RFC 3261 10.3 step 6. */
static enum err match_star(struct job *j) {
    uint32_t account = j->req->account_id;
    for (struct entry *e = account_first(j->shard, account); e; e = e->next) {
        if (entry_lives(e, j->now)) {
            if (!in_order(j, e)) return out_of_order(j);
            let_go(j, e);
        } else if (is_lost_removal(e)) {
            let_go(j, e);
        }
    }
    return ERR_OK;
}

/* ---- limits ---- */

static bool is_unreachable(const struct job *j, const struct entry *e) {
    if (!e->flow) return true;
    return j->req->is_flow_alive && !j->req->is_flow_alive(j->req->ctx, e->flow);
}

/* The oldest binding that nobody can be reached by. */
static struct entry *find_dead(const struct job *j) {
    struct entry *oldest = NULL;
    uint32_t account = j->req->account_id;
    for (struct entry *e = account_first(j->shard, account); e; e = e->next) {
        if (!entry_lives(e, j->now) || is_touched(j, e) || !is_unreachable(j, e)) continue;
        if (!oldest || e->registered < oldest->registered) oldest = e;
    }
    return oldest;
}

/* A phone without an instance leaves a contact behind with every new connection. Those make room
 * before a living device is refused. */
static enum err check_limit(struct job *j) {
    unsigned added = 0, standing = 0;
    for (unsigned i = 0; i < j->want_count; i++)
        if (!j->wants[i].skip && j->wants[i].expires_s && !j->wants[i].old) added++;
    if (!added) return ERR_OK;
    uint32_t account = j->req->account_id;
    for (struct entry *e = account_first(j->shard, account); e; e = e->next)
        if (entry_lives(e, j->now) && !is_gone(j, e)) standing++;
    while (standing + added > j->limits->contacts_max) {
        struct entry *dead = find_dead(j);
        if (!dead)
            return refuse(j, 403,
                          "too many devices are registered for this address: sign one out first");
        let_go(j, dead);
        standing--;
    }
    return ERR_OK;
}

static enum err decide(struct job *j) {
    unsigned entries = 0;
    uint32_t account = j->req->account_id;
    for (struct entry *e = account_first(j->shard, account); e; e = e->next) entries++;
    j->gone = arena_alloc(j->arena, (entries + 1) * sizeof(struct entry *));
    if (!j->gone) return ERR_MEMORY;
    if (j->is_star) return match_star(j);
    enum err err = match_wants(j);
    return err == ERR_OK ? check_limit(j) : err;
}

/* ---- what needs memory ---- */

/* An id that no other binding of the account has. Expired ones and stones give theirs up. */
static void take_bid(struct job *j, struct want *w) {
    uint32_t account = j->req->account_id;
    uint32_t bid = location_bid(j->l, account, w->contact.instance, w->reg_id, w->uri.text);
    bool taken = true;
    while (taken) {
        taken = false;
        w->over = NULL;
        for (struct entry *e = account_first(j->shard, account); e; e = e->next) {
            if (e->bid != bid) continue;
            if (entry_lives(e, j->now) || is_gone(j, e))
                taken = true;
            else
                w->over = e;
        }
        for (const struct want *o = j->wants; o < w; o++)
            if (o->made && o->bid == bid) taken = true;
        if (taken) bid = bid == UINT32_MAX ? 1 : bid + 1;
    }
    w->bid = bid;
}

/* RFC 5627 5.1: a new Call-ID ends all temporary GRUUs given out before. Counted from the clock, so
 * that a binding that was gone for a while does not start at an old number again. */
static uint32_t gruu_epoch(const struct job *j, const struct entry *old) {
    uint32_t fresh = (uint32_t)(j->now / 1000);
    if (!old) return fresh;
    if (slice_eq(entry_text(old, TEXT_CALL_ID), j->msg->call_id)) return old->gruu_epoch;
    return fresh > old->gruu_epoch ? fresh : old->gruu_epoch + 1;
}

/* Only CSeq and times differ from what is on disk already. */
static bool is_mere_refresh(const struct entry *old, const struct entry *made) {
    if (!old || old->unsaved || old->flow != made->flow || old->run != made->run ||
        old->device_id != made->device_id || old->reg_id != made->reg_id || old->q != made->q ||
        old->gruu_epoch != made->gruu_epoch)
        return false;
    for (int i = 0; i < TEXT_COUNT; i++)
        if (!slice_eq(entry_text(old, (enum entry_text)i), entry_text(made, (enum entry_text)i)))
            return false;
    return true;
}

static enum err make_entry(struct job *j, struct want *w) {
    if (w->old)
        w->bid = w->old->bid;
    else
        take_bid(j, w);
    const struct binding_row row = {
        .account_id = j->req->account_id,
        .bid = w->bid,
        .flow = j->req->flow,
        .run = j->req->run,
        .device_id = j->req->device_id,
        .reg_id = w->reg_id,
        .cseq = j->msg->cseq,
        .q = w->contact.q,
        .gruu_epoch = gruu_epoch(j, w->old),
        .contact = w->uri.text,
        .params = w->params,
        .instance = w->contact.instance,
        .call_id = j->msg->call_id,
        .path = j->path,
        .user_agent = slice_head(sip_value(j->msg, HDR_USER_AGENT), REGISTRAR_USER_AGENT_MAX),
        .registered = j->now,
        .expires = j->now + (wall_t)w->expires_s * 1000,
    };
    enum err err;
    w->made = entry_new(j->l, &row, &err);
    if (!w->made) return err == ERR_FULL ? refuse(j, 503, "no room for another device") : err;
    w->lazy = is_mere_refresh(w->old, w->made);
    return ERR_OK;
}

/* The row of a new entry, with its strings in the arena. */
static enum err make_row(struct job *j, const struct entry *e, struct binding_row *out) {
    size_t total = 0;
    for (int i = 0; i < TEXT_COUNT; i++) total += e->len[i];
    struct entry *copy = arena_alloc(j->arena, sizeof *e + total);
    if (!copy) return ERR_MEMORY;
    memcpy(copy, e, sizeof *e + total);
    entry_row(copy, out);
    return ERR_OK;
}

static enum err make_changes(struct job *j) {
    struct registrar_answer *out = j->out;
    out->changes =
        arena_zalloc(j->arena, (j->want_count + j->gone_count + 1) * sizeof *out->changes);
    if (!out->changes) return ERR_MEMORY;
    for (unsigned i = 0; i < j->gone_count; i++)
        out->changes[out->change_count++] = (struct store_change){
            .op = STORE_BINDING_REMOVE,
            .durability = STORE_NORMAL,
            .binding = { .account_id = j->gone[i]->account_id, .bid = j->gone[i]->bid },
        };
    out->must_commit = j->gone_count > 0;
    for (unsigned i = 0; i < j->want_count; i++) {
        const struct want *w = &j->wants[i];
        if (!w->made) continue;
        struct store_change *c = &out->changes[out->change_count++];
        c->op = w->lazy ? STORE_BINDING_REFRESH : STORE_BINDING_PUT;
        c->durability = w->lazy ? STORE_LAZY : STORE_NORMAL;
        if (!w->lazy) out->must_commit = true;
        enum err err = make_row(j, w->made, &c->binding);
        if (err != ERR_OK) return err;
    }
    return ERR_OK;
}

#define CONTACT_LINE_EXTRA 96u /* the words around the strings of one Contact line, and numbers */

static size_t contact_line_max(const struct entry *e) {
    return CONTACT_LINE_EXTRA + e->len[TEXT_CONTACT] + e->len[TEXT_PARAMS] + e->len[TEXT_INSTANCE];
}

static enum err make_room_for_answer(struct job *j) {
    size_t room = 256 + j->path.len;
    uint32_t account = j->req->account_id;
    for (struct entry *e = account_first(j->shard, account); e; e = e->next)
        room += contact_line_max(e);
    for (unsigned i = 0; i < j->want_count; i++)
        if (j->wants[i].made) room += contact_line_max(j->wants[i].made);
    char *mem = arena_alloc(j->arena, room);
    if (!mem) return ERR_MEMORY;
    j->answer = buf_over(mem, room);
    return ERR_OK;
}

static enum err prepare(struct job *j) {
    enum err err = ERR_OK;
    for (unsigned i = 0; i < j->want_count && err == ERR_OK; i++)
        if (!j->wants[i].skip && j->wants[i].expires_s) err = make_entry(j, &j->wants[i]);
    if (err == ERR_OK) err = make_changes(j);
    if (err == ERR_OK) err = make_room_for_answer(j);
    if (err == ERR_OK && !shard_reserve(j->shard, j->req->account_id)) err = ERR_MEMORY;
    if (err == ERR_OK) return ERR_OK;
    for (unsigned i = 0; i < j->want_count; i++) entry_free(j->l, j->wants[i].made);
    j->out->change_count = 0;
    j->out->must_commit = false;
    return err;
}

/* ---- what cannot fail ---- */

static void put_q(struct buf *b, uint16_t q) {
    if (q >= 1000) return;
    buf_fmt(b, ";q=0.%03u", q);
    while (b->ptr[b->len - 1] == '0' && b->ptr[b->len - 2] != '.') b->len--;
}

/* RFC 3261 10.3 step 8, RFC 5627 5.2: each binding with its expiry and as it was registered. */
static void put_contact(const struct entry *e, wall_t now, struct buf *b) {
    buf_lit(b, "Contact: <");
    buf_put(b, entry_text(e, TEXT_CONTACT));
    buf_lit(b, ">;expires=");
    buf_u64(b, (uint64_t)((e->expires - now + 999) / 1000));
    put_q(b, e->q);
    if (e->len[TEXT_INSTANCE]) {
        buf_lit(b, ";+sip.instance=\"<");
        buf_put(b, entry_text(e, TEXT_INSTANCE));
        buf_lit(b, ">\"");
    }
    if (e->reg_id) buf_fmt(b, ";reg-id=%u", e->reg_id);
    buf_put(b, entry_text(e, TEXT_PARAMS));
    buf_lit(b, "\r\n");
}

static void write_answer(struct job *j) {
    struct buf *b = &j->answer;
    uint32_t account = j->req->account_id;
    for (struct entry *e = account_first(j->shard, account); e; e = e->next)
        if (entry_lives(e, j->now)) put_contact(e, j->now, b);
    if (j->path.len) {
        buf_lit(b, "Path: "); /* RFC 3327 5.3 */
        buf_put(b, j->path);
        buf_lit(b, "\r\n");
    }
    buf_lit(b, "Supported: path\r\nDate: ");
    hdr_date_put(b, j->now);
    buf_lit(b, "\r\n");
    ASSERT(!b->full); /* make_room_for_answer counted it */
    j->out->headers = buf_slice(b);
}

static void apply(struct job *j) {
    for (unsigned i = 0; i < j->gone_count; i++) {
        struct entry *e = j->gone[i];
        if (!e->stone) entry_to_stone(j->l, e, j->now);
        e->in_flight++;
    }
    for (unsigned i = 0; i < j->want_count; i++) {
        struct want *w = &j->wants[i];
        if (!w->made) continue;
        struct entry *before = w->old ? w->old : w->over;
        if (before) {
            w->made->in_flight = before->in_flight;
            entry_unlink(j->l, j->shard, before);
            entry_free(j->l, before);
        }
        if (!w->lazy) {
            w->made->unsaved = true;
            w->made->in_flight++;
        }
        entry_link(j->l, j->shard, w->made);
    }
    write_answer(j);
    j->out->status = 200;
}

/* ---- the face ---- */

static enum err write_refusal(struct job *j) {
    struct registrar_answer *out = j->out;
    if (out->status != 423 && out->status != 420) return ERR_OK;
    char *mem = arena_alloc(j->arena, 64);
    if (!mem) return ERR_MEMORY;
    struct buf b = buf_over(mem, 64);
    if (out->status == 423)
        buf_fmt(&b, "Min-Expires: %u\r\n", j->limits->expires_min_s);
    else
        buf_lit(&b, "Unsupported: path\r\n");
    out->headers = buf_slice(&b);
    return ERR_OK;
}

enum err registrar_register(struct location *l, const struct registrar_limits *limits,
                            const struct registrar_request *req, wall_t now, struct arena *arena,
                            struct registrar_answer *out) {
    *out = (struct registrar_answer){ .status = 500 };
    struct job j = { .l = l,
                     .limits = limits,
                     .req = req,
                     .msg = req->msg,
                     .now = now,
                     .arena = arena,
                     .out = out,
                     .shard = location_shard(l, req->account_id) };
    enum err err = read_request(&j);
    if (err == ERR_OK) {
        lock_take(&j.shard->lock);
        err = decide(&j);
        if (err == ERR_OK) err = prepare(&j);
        if (err == ERR_OK) apply(&j);
        lock_give(&j.shard->lock);
    }
    return err == ERR_DENIED ? write_refusal(&j) : err;
}

void registrar_committed(struct location *l, uint32_t account_id, uint32_t bid, enum err result) {
    struct shard *s = location_shard(l, account_id);
    lock_take(&s->lock);
    for (struct entry *e = account_first(s, account_id); e; e = e->next) {
        if (e->bid != bid) continue;
        if (e->in_flight > 0) e->in_flight--;
        if (result != ERR_OK) {
            e->unsaved = true;
        } else if (e->in_flight == 0) {
            e->unsaved = false;
            if (e->stone) {
                entry_unlink(l, s, e);
                entry_free(l, e);
            }
        }
        break;
    }
    lock_give(&s->lock);
}
