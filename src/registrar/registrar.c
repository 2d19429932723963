/* How a REGISTER is worked through (RFC 3261 10.3 steps 6 to 8):
 *
 *   job_read        without the lock: contacts, Path, what can be refused at once
 *   decide          under the shard's lock: which binding each contact means, order, limits
 *   prepare         everything that needs memory: new entries, changes, room for the answer
 *   apply           cannot fail: the table changes, the answer is written
 *
 * So a request is done completely or not at all, and nobody sees a half of it. */
#include "registrar/registrar.h"

#include "base/limits.h"
#include "base/mem.h"
#include "registrar/job.h"
#include "registrar/table.h"
#include "sip/token.h"

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
    return job_refuse(j, 500, "CSeq is not above that of the last REGISTER with this Call-ID");
}

/* A removal that did not reach the disk is asked for again. */
static bool is_lost_removal(const struct entry *e) {
    return e->stone && e->failed;
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
            return job_refuse(
                j, 403, "too many devices are registered for this address: sign one out first");
        let_go(j, dead);
        standing--;
    }
    return ERR_OK;
}

/* RFC 5627 5.1: the last registration of this device (of this flow of it, when it uses flows) had
 * another Call-ID. */
static bool is_new_call(const struct job *j, const struct want *w) {
    const struct entry *last = NULL;
    uint32_t account = j->req->account_id;
    for (const struct entry *e = account_first(j->shard, account); e; e = e->next) {
        if (!entry_lives(e, j->now) || e->instance_hash != w->instance_hash) continue;
        if (w->reg_id && e->reg_id != w->reg_id) continue;
        if (!last || e->change > last->change) last = e;
    }
    return last && !slice_eq(entry_text(last, TEXT_CALL_ID), j->msg->call_id);
}

/* The device's other bindings change too, so that its old epoch cannot come back when the new one's
 * binding ends before them. */
static void match_kin(struct job *j) {
    for (unsigned i = 0; i < j->want_count; i++) {
        struct want *w = &j->wants[i];
        if (w->skip || !w->expires_s || !w->instance_hash) continue;
        w->is_new_call = is_new_call(j, w);
        if (!w->is_new_call) continue;
        uint32_t account = j->req->account_id;
        for (struct entry *e = account_first(j->shard, account); e; e = e->next)
            if (entry_lives(e, j->now) && e->instance_hash == w->instance_hash && !is_touched(j, e))
                j->kin[j->kin_count++] = (struct kin){ e, w };
    }
}

static enum err decide(struct job *j) {
    unsigned entries = 0;
    uint32_t account = j->req->account_id;
    for (struct entry *e = account_first(j->shard, account); e; e = e->next) entries++;
    j->gone = arena_alloc(j->arena, (entries + 1) * sizeof(struct entry *));
    /* One contact of a request at most keeps a device's other bindings (check_one_flow). */
    j->kin = arena_alloc(j->arena, (entries + 1) * sizeof *j->kin);
    if (!j->gone || !j->kin) return ERR_MEMORY;
    if (j->is_star) return match_star(j);
    enum err err = match_wants(j);
    if (err == ERR_OK) err = check_limit(j);
    if (err == ERR_OK) match_kin(j);
    return err;
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

/* A device that was gone for a while starts a new epoch as well: numbers of changes never return.
 */
static uint64_t gruu_epoch(const struct job *j, const struct want *w) {
    if (!w->instance_hash) return 0;
    struct entry *first = account_first(j->shard, j->req->account_id);
    uint64_t epoch = w->is_new_call ? 0 : device_epoch(first, w->instance_hash, j->now);
    return epoch ? epoch : w->change;
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
    w->change = location_next_change(j->l);
    const struct binding_row row = {
        .account_id = j->req->account_id,
        .bid = w->bid,
        .flow = j->req->flow,
        .run = j->req->run,
        .device_id = j->req->device_id,
        .reg_id = w->reg_id,
        .cseq = j->msg->cseq,
        .change = w->change,
        .q = w->contact.q,
        .gruu_epoch = gruu_epoch(j, w),
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
    if (!w->made) return err == ERR_FULL ? job_refuse(j, 503, "no room for another device") : err;
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

static enum err make_kin_changes(struct job *j) {
    struct registrar_answer *out = j->out;
    for (unsigned i = 0; i < j->kin_count; i++) {
        struct store_change *c = &out->changes[out->change_count++];
        c->op = STORE_BINDING_PUT;
        c->durability = STORE_NORMAL;
        out->must_commit = true;
        enum err err = make_row(j, j->kin[i].entry, &c->binding);
        if (err != ERR_OK) return err;
        c->binding.gruu_epoch = j->kin[i].by->made->gruu_epoch;
        c->binding.change = location_next_change(j->l);
    }
    return ERR_OK;
}

static enum err make_changes(struct job *j) {
    struct registrar_answer *out = j->out;
    out->changes = arena_zalloc(j->arena, (j->want_count + j->gone_count + j->kin_count + 1) *
                                              sizeof *out->changes);
    if (!out->changes) return ERR_MEMORY;
    for (unsigned i = 0; i < j->gone_count; i++)
        out->changes[out->change_count++] = (struct store_change){
            .op = STORE_BINDING_REMOVE,
            .durability = STORE_NORMAL,
            .binding = { .account_id = j->gone[i]->account_id,
                         .bid = j->gone[i]->bid,
                         .change = location_next_change(j->l) },
        };
    out->must_commit = j->gone_count > 0;
    enum err err = make_kin_changes(j);
    if (err != ERR_OK) return err;
    for (unsigned i = 0; i < j->want_count; i++) {
        const struct want *w = &j->wants[i];
        if (!w->made) continue;
        struct store_change *c = &out->changes[out->change_count++];
        c->op = w->lazy ? STORE_BINDING_REFRESH : STORE_BINDING_PUT;
        c->durability = w->lazy ? STORE_LAZY : STORE_NORMAL;
        if (!w->lazy) out->must_commit = true;
        err = make_row(j, w->made, &c->binding);
        if (err != ERR_OK) return err;
    }
    return ERR_OK;
}

#define CONTACT_LINE_EXTRA 96u /* the words around the strings of one Contact line, and numbers */
#define GRUUS_EXTRA        (64u + GRUU_CHARS + GRUU_TEMP_CHARS)

static size_t contact_line_max(const struct job *j, const struct entry *e) {
    return CONTACT_LINE_EXTRA + e->len[TEXT_CONTACT] + e->len[TEXT_PARAMS] + e->len[TEXT_INSTANCE] +
           GRUUS_EXTRA + 2 * j->req->aor.len;
}

static enum err make_room_for_answer(struct job *j) {
    size_t room = 256 + j->path.len;
    uint32_t account = j->req->account_id;
    for (struct entry *e = account_first(j->shard, account); e; e = e->next)
        room += contact_line_max(j, e);
    for (unsigned i = 0; i < j->want_count; i++)
        if (j->wants[i].made) room += contact_line_max(j, j->wants[i].made);
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
    if (err == ERR_OK && j->limits->store_fails && j->out->must_commit)
        err = job_refuse(j, 503, "registrations cannot be stored at present");
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
static void put_gruus(const struct job *j, const struct entry *e, struct buf *b) {
    struct gruu gruu = { .account_id = e->account_id, .instance = e->instance_hash };
    struct entry *first = account_first(j->shard, e->account_id);
    slice aor = j->req->aor, host = slice_from(aor, slice_find(aor, '@'));
    /* RFC 5630 5.2.1: with the scheme of the contact. */
    slice scheme =
        slice_istarts(entry_text(e, TEXT_CONTACT), SLICE("sips:")) ? SLICE("sips:") : SLICE("sip:");
    gruu.epoch = device_epoch(first, e->instance_hash, j->now);
    for (const struct entry *o = first; o; o = o->next)
        if (entry_lives(o, j->now) && o->instance_hash == e->instance_hash &&
            o->change > gruu.serial)
            gruu.serial = o->change;
    buf_lit(b, ";pub-gruu=\"");
    buf_put(b, scheme);
    buf_put(b, aor);
    buf_lit(b, ";gr=");
    gruu_write(j->req->gruu_key, gruu.account_id, gruu.instance, b);
    buf_lit(b, "\";temp-gruu=\"");
    buf_put(b, scheme);
    gruu_temp_write(j->req->gruu_key, &gruu, b);
    buf_put(b, host);
    buf_lit(b, ";gr\"");
}

static void put_contact(const struct job *j, const struct entry *e, struct buf *b) {
    wall_t now = j->now;
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
    if (j->has_gruu && e->instance_hash) put_gruus(j, e, b);
    buf_put(b, entry_text(e, TEXT_PARAMS));
    buf_lit(b, "\r\n");
}

static void write_answer(struct job *j) {
    struct buf *b = &j->answer;
    uint32_t account = j->req->account_id;
    for (struct entry *e = account_first(j->shard, account); e; e = e->next)
        if (entry_lives(e, j->now)) put_contact(j, e, b);
    if (j->path.len) {
        buf_lit(b, "Path: "); /* RFC 3327 5.3 */
        buf_put(b, j->path);
        buf_lit(b, "\r\n");
    }
    /* RFC 5626 6: required when it was used and the phone supports it; 5.4: only the first hop says
     * how often it wants to be pinged. */
    if (j->is_outbound && hdr_has_token(j->msg, HDR_SUPPORTED, SLICE("outbound"))) {
        buf_lit(b, "Require: outbound\r\n");
        j->out->keeps_flow = j->is_first_hop;
        if (j->is_first_hop) buf_fmt(b, "Flow-Timer: %u\r\n", LIMIT_FLOW_TIMER_S);
    }
    buf_lit(b, "Supported: path, outbound\r\nDate: ");
    hdr_date_put(b, j->now);
    buf_lit(b, "\r\n");
    ASSERT(!b->full); /* make_room_for_answer counted it */
    j->out->headers = buf_slice(b);
}

static void apply_kin(struct job *j) {
    for (unsigned i = 0; i < j->kin_count; i++) {
        const struct binding_row *row = &j->out->changes[j->gone_count + i].binding;
        struct entry *e = j->kin[i].entry;
        e->gruu_epoch = row->gruu_epoch;
        e->change = row->change;
        e->unsaved = true;
    }
}

static void apply(struct job *j) {
    for (unsigned i = 0; i < j->gone_count; i++) {
        struct entry *e = j->gone[i];
        if (!e->stone) entry_to_stone(j->l, e, j->now);
        e->change = j->out->changes[i].binding.change;
        e->failed = false;
    }
    for (unsigned i = 0; i < j->want_count; i++) {
        struct want *w = &j->wants[i];
        if (!w->made) continue;
        struct entry *before = w->old ? w->old : w->over;
        if (before) {
            entry_unlink(j->l, j->shard, before);
            entry_free(j->l, before);
        }
        if (!w->lazy) w->made->unsaved = true;
        entry_link(j->l, j->shard, w->made);
    }
    apply_kin(j);
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
                     .has_gruu =
                         req->aor.len && hdr_has_token(req->msg, HDR_SUPPORTED, SLICE("gruu")),
                     .shard = location_shard(l, req->account_id) };
    enum err err = job_read(&j);
    if (err == ERR_OK) {
        lock_take(&j.shard->lock);
        err = decide(&j);
        if (err == ERR_OK) err = prepare(&j);
        if (err == ERR_OK) apply(&j);
        lock_give(&j.shard->lock);
    }
    return err == ERR_DENIED ? write_refusal(&j) : err;
}

void registrar_committed(struct location *l, uint32_t account_id, uint32_t bid, uint64_t change,
                         enum err result) {
    struct shard *s = location_shard(l, account_id);
    lock_take(&s->lock);
    for (struct entry *e = account_first(s, account_id); e; e = e->next) {
        if (e->bid != bid || e->change != change) continue;
        e->failed = result != ERR_OK;
        e->unsaved = e->failed;
        if (e->stone && !e->failed) {
            entry_unlink(l, s, e);
            entry_free(l, e);
        }
        break;
    }
    lock_give(&s->lock);
}
