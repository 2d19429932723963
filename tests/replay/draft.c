/* Messages that phones send: what RFC 3261 8.1.1 asks for, unless the scenario says otherwise. */
#include "replay.h"

#include "auth/digest.h"
#include "crypto/crypto.h"

/* ---- fields ---- */

void draft_add(struct draft *d, slice name, slice value) {
    if (d->count < FIELDS_MAX) d->fields[d->count++] = (struct field){ name, value };
}

void draft_drop(struct draft *d, slice name) {
    unsigned kept = 0;
    for (unsigned i = 0; i < d->count; i++)
        if (!slice_ieq(d->fields[i].name, name)) d->fields[kept++] = d->fields[i];
    d->count = kept;
}

void draft_set(struct draft *d, slice name, slice value) {
    for (unsigned i = 0; i < d->count; i++)
        if (slice_ieq(d->fields[i].name, name)) {
            d->fields[i].value = value;
            for (unsigned k = d->count; k > i + 1; k--)
                if (slice_ieq(d->fields[k - 1].name, name)) {
                    memmove(&d->fields[k - 1], &d->fields[k], (d->count - k) * sizeof d->fields[0]);
                    d->count--;
                }
            return;
        }
    draft_add(d, name, value);
}

slice draft_get(const struct draft *d, slice name) {
    for (unsigned i = 0; i < d->count; i++)
        if (slice_ieq(d->fields[i].name, name)) return d->fields[i].value;
    return SLICE_NONE;
}

/* ---- requests ---- */

static slice via_of(struct world *w, const struct agent *a) {
    static const char *const names[] = { "UDP", "TCP", "TLS", "WSS" };
    char mem[64];
    struct buf host = buf_over(mem, sizeof mem);
    addr_put(&host, &a->info.peer);
    slice branch = text_fresh(w, "z9hG4bKp");
    return text_make(w, "SIP/2.0/%s " SLICE_FMT ";branch=" SLICE_FMT "%s", names[a->info.transport],
                     SLICE_ARG(buf_slice(&host)), SLICE_ARG(branch),
                     a->info.transport == FLOW_UDP ? ";rport" : "");
}

static bool takes_contact(slice method) {
    static const char *const methods[] = { "INVITE", "REGISTER", "SUBSCRIBE",
                                           "NOTIFY", "REFER",    "UPDATE" };
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (slice_eq(method, slice_str(methods[i]))) return true;
    return false;
}

static slice contact_value(struct world *w, const struct agent *a, slice method) {
    if (slice_eq(method, SLICE("REGISTER")) && a->instance.len)
        return text_make(w, "<" SLICE_FMT ">;+sip.instance=\"<" SLICE_FMT ">\"" SLICE_FMT,
                         SLICE_ARG(a->contact), SLICE_ARG(a->instance),
                         SLICE_ARG(a->reg_id ? text_make(w, ";reg-id=%u", a->reg_id) : SLICE_NONE));
    return text_make(w, "<" SLICE_FMT ">", SLICE_ARG(a->contact));
}

static slice address(struct world *w, slice user) {
    if (slice_find(user, '@') < user.len)
        return text_make(w, "<sip:" SLICE_FMT ">", SLICE_ARG(user));
    return text_make(w, "<sip:" SLICE_FMT "@" SLICE_FMT ">", SLICE_ARG(user),
                     SLICE_ARG(world_domain(w)));
}

/* The fields that every request has. */
static void common(struct world *w, struct agent *a, const struct dialog *d, uint32_t cseq,
                   struct draft *out) {
    draft_add(out, SLICE("Via"), via_of(w, a));
    draft_add(out, SLICE("Max-Forwards"), SLICE("70"));
    for (unsigned i = 0; i < d->route_count; i++) draft_add(out, SLICE("Route"), d->routes[i]);
    draft_add(out, SLICE("From"), d->local);
    draft_add(out, SLICE("To"), d->remote);
    draft_add(out, SLICE("Call-ID"), d->call_id);
    draft_add(out, SLICE("CSeq"), text_make(w, "%u " SLICE_FMT, cseq, SLICE_ARG(out->method)));
    if (takes_contact(out->method))
        draft_add(out, SLICE("Contact"), contact_value(w, a, out->method));
    if (a->reg_id && slice_eq(out->method, SLICE("REGISTER")))
        draft_add(out, SLICE("Supported"), SLICE("path, outbound, gruu"));
}

bool draft_request(struct world *w, struct agent *a, slice method, slice uri, struct draft *out) {
    struct dialog *before = a->now, *d = dialog_new(w, a);
    if (!d) return false;
    *out = (struct draft){
        .is_request = true, .method = text_keep(w, method), .uri = text_keep(w, uri), .dialog = d
    };
    bool is_register = slice_eq(method, SLICE("REGISTER"));
    if (is_register) a->now = before;
    d->local_tag = text_fresh(w, "t");
    d->local = text_make(w, SLICE_FMT ";tag=" SLICE_FMT, SLICE_ARG(address(w, a->user)),
                         SLICE_ARG(d->local_tag));
    d->remote = is_register ? address(w, a->user) : text_make(w, "<" SLICE_FMT ">", SLICE_ARG(uri));
    d->call_id =
        is_register ? text_make(w, "reg-" SLICE_FMT, SLICE_ARG(a->name)) : text_fresh(w, "call-");
    d->cseq = is_register ? ++a->register_cseq : 1;
    common(w, a, d, d->cseq, out);
    return true;
}

static slice cseq_number(const struct draft *d) {
    slice v = draft_get(d, SLICE("CSeq"));
    return slice_head(v, slice_find(v, ' '));
}

/* RFC 3261 9.1 and 17.1.1.3: CANCEL and the ACK of a refusal are made from their INVITE. */
static bool draft_of_invite(struct world *w, struct agent *a, slice method, struct draft *out) {
    const struct dialog *d = a->now;
    if (!d || !d->invite) return complain(w, "no INVITE was sent here");
    const struct draft *inv = d->invite;
    static const slice none = { NULL, 0 };
    *out =
        (struct draft){ .is_request = true, .method = method, .uri = inv->uri, .dialog = a->now };
    for (unsigned i = 0; i < inv->count; i++) {
        const struct field *f = &inv->fields[i];
        slice value = f->value;
        if (slice_ieq(f->name, SLICE("CSeq")))
            value = text_make(w, SLICE_FMT " " SLICE_FMT, SLICE_ARG(cseq_number(inv)),
                              SLICE_ARG(method));
        else if (slice_ieq(f->name, SLICE("To")) && slice_eq(method, SLICE("ACK")))
            value = d->final_to;
        else if (!slice_ieq(f->name, SLICE("Via")) && !slice_ieq(f->name, SLICE("Max-Forwards")) &&
                 !slice_ieq(f->name, SLICE("Route")) && !slice_ieq(f->name, SLICE("From")) &&
                 !slice_ieq(f->name, SLICE("To")) && !slice_ieq(f->name, SLICE("Call-ID")))
            value = none;
        if (value.len) draft_add(out, f->name, value);
    }
    return true;
}

bool draft_in_dialog(struct world *w, struct agent *a, slice method, struct draft *out) {
    struct dialog *d = a->now;
    bool is_ack = slice_eq(method, SLICE("ACK"));
    if (!d) return complain(w, SLICE_FMT " is in no dialog", SLICE_ARG(a->name));
    method = text_keep(w, method);
    if (slice_eq(method, SLICE("CANCEL")) || (is_ack && d->final >= 300))
        return draft_of_invite(w, a, method, out);
    if (is_ack && !d->invite) return complain(w, "no INVITE was sent here");
    *out = (struct draft){ .is_request = true, .method = method, .uri = d->target, .dialog = d };
    uint32_t cseq = d->cseq;
    if (is_ack) {
        if (slice_u32(cseq_number(d->invite), UINT32_MAX, &cseq) != ERR_OK)
            return complain(w, "the INVITE has no CSeq");
    } else {
        cseq = ++d->cseq;
    }
    common(w, a, d, cseq, out);
    return true;
}

/* The last request once more, as a new transaction: RFC 3261 8.1.3.5, 22.2. */
bool draft_again(struct world *w, struct agent *a, struct draft *out) {
    if (!a->last) return complain(w, SLICE_FMT " has sent no request", SLICE_ARG(a->name));
    *out = *a->last;
    uint32_t cseq;
    if (slice_u32(cseq_number(out), UINT32_MAX, &cseq) != ERR_OK)
        return complain(w, "the last request has no CSeq");
    cseq++;
    if (slice_eq(out->method, SLICE("REGISTER"))) a->register_cseq = cseq;
    if (out->dialog) out->dialog->cseq = cseq;
    draft_set(out, SLICE("Via"), via_of(w, a));
    draft_set(out, SLICE("CSeq"), text_make(w, "%u " SLICE_FMT, cseq, SLICE_ARG(out->method)));
    draft_drop(out, SLICE("Authorization"));
    draft_drop(out, SLICE("Proxy-Authorization"));
    return true;
}

/* ---- responses ---- */

static void copy_all(const struct sip_msg *m, enum sip_header_id id, struct draft *out) {
    for (const struct sip_header *h = sip_first(m, id); h; h = sip_next(m, h))
        draft_add(out, h->name, h->value);
}

bool draft_response(struct world *w, struct agent *a, unsigned status, struct heard *to,
                    struct draft *out) {
    const struct sip_msg *m = to->m.msg;
    *out = (struct draft){ .status = status };
    copy_all(m, HDR_VIA, out);
    if (status > 100 && status < 300) copy_all(m, HDR_RECORD_ROUTE, out);
    draft_add(out, SLICE("From"), m->from.value);
    if (status > 100 && !m->to.tag.len && to->dialog)
        draft_add(out, SLICE("To"), to->dialog->local);
    else
        draft_add(out, SLICE("To"), m->to.value);
    draft_add(out, SLICE("Call-ID"), m->call_id);
    draft_add(out, SLICE("CSeq"), sip_value(m, HDR_CSEQ));
    if (status > 100 && status < 300 && takes_contact(m->method_name))
        draft_add(out, SLICE("Contact"), contact_value(w, a, SLICE("")));
    if (status >= 200) to->is_answered = true;
    if (to->dialog) a->now = to->dialog;
    return true;
}

/* ---- credentials ---- */

static size_t digest_of(enum digest_algorithm algorithm, slice text, uint8_t out[static 32]) {
    switch (algorithm) {
    case DIGEST_SHA256:
        crypto_sha256(text.ptr, text.len, out);
        return 32;
    case DIGEST_SHA512_256:
        crypto_sha512_256(text.ptr, text.len, out);
        return 32;
    case DIGEST_MD5:
        crypto_md5(text.ptr, text.len, out);
        return 16;
    }
    return 0;
}

static void put_hashed(enum digest_algorithm algorithm, slice text, struct buf *b) {
    uint8_t hash[32];
    size_t len = digest_of(algorithm, text, hash);
    buf_hex(b, hash, len);
}

/* RFC 7616 3.4: the answer to the agent's last challenge. */
bool draft_auth(struct world *w, struct agent *a, struct draft *d, slice user, slice secret) {
    const struct challenge *c = &a->challenge;
    if (!c->is_there) return complain(w, SLICE_FMT " was never challenged", SLICE_ARG(a->name));
    const struct hdr_auth *h = &c->auth;
    enum digest_algorithm algorithm = slice_ieq(h->algorithm, SLICE("SHA-256")) ? DIGEST_SHA256
                                      : slice_ieq(h->algorithm, SLICE("SHA-512-256"))
                                          ? DIGEST_SHA512_256
                                          : DIGEST_MD5;
    char mem[8192], ha1_mem[64], ha2_mem[64], nc[16];
    uint8_t ha1[32];
    struct buf text = buf_over(mem, sizeof mem), ha1_hex = buf_over(ha1_mem, sizeof ha1_mem);
    struct buf ha2_hex = buf_over(ha2_mem, sizeof ha2_mem), count = buf_over(nc, sizeof nc);
    digest_ha1(algorithm, user, h->realm, secret, ha1);
    buf_hex(&ha1_hex, ha1, algorithm == DIGEST_MD5 ? 16 : 32);
    buf_fmt(&text, SLICE_FMT ":" SLICE_FMT, SLICE_ARG(d->method), SLICE_ARG(d->uri));
    put_hashed(algorithm, buf_slice(&text), &ha2_hex);
    buf_fmt(&count, "%08x", ++a->challenge.nc);
    buf_clear(&text);
    buf_fmt(&text, SLICE_FMT ":" SLICE_FMT ":" SLICE_FMT ":cn:auth:" SLICE_FMT,
            SLICE_ARG(buf_slice(&ha1_hex)), SLICE_ARG(h->nonce), SLICE_ARG(buf_slice(&count)),
            SLICE_ARG(buf_slice(&ha2_hex)));
    char response_mem[64];
    struct buf response = buf_over(response_mem, sizeof response_mem);
    put_hashed(algorithm, buf_slice(&text), &response);
    slice value = text_make(
        w,
        "Digest username=\"" SLICE_FMT "\", realm=\"" SLICE_FMT "\", nonce=\"" SLICE_FMT
        "\", uri=\"" SLICE_FMT "\", response=\"" SLICE_FMT "\", algorithm=" SLICE_FMT
        ", cnonce=\"cn\", qop=auth, nc=" SLICE_FMT,
        SLICE_ARG(user), SLICE_ARG(h->realm), SLICE_ARG(h->nonce), SLICE_ARG(d->uri),
        SLICE_ARG(buf_slice(&response)), SLICE_ARG(h->algorithm), SLICE_ARG(buf_slice(&count)));
    draft_set(d, c->is_proxy ? SLICE("Proxy-Authorization") : SLICE("Authorization"), value);
    return !w->is_failed;
}

/* ---- bytes ---- */

static bool draft_write(struct world *w, struct draft *d, slice *out) {
    char mem[140000];
    struct buf b = buf_over(mem, sizeof mem);
    if (d->is_request)
        buf_fmt(&b, SLICE_FMT " " SLICE_FMT " SIP/2.0\r\n", SLICE_ARG(d->method),
                SLICE_ARG(d->uri));
    else
        buf_fmt(&b, "SIP/2.0 %u " SLICE_FMT "\r\n", d->status,
                SLICE_ARG(sip_status_text(d->status)));
    if (!draft_get(d, SLICE("Content-Length")).ptr)
        draft_add(d, SLICE("Content-Length"), text_make(w, "%zu", d->body.len));
    for (unsigned i = 0; i < d->count; i++) {
        buf_put(&b, d->fields[i].name);
        buf_lit(&b, ": ");
        buf_put(&b, d->fields[i].value);
        buf_lit(&b, "\r\n");
    }
    buf_lit(&b, "\r\n");
    buf_put(&b, d->body);
    draft_drop(d, SLICE("Content-Length")); /* another body may come with `again` */
    if (b.full) return complain(w, "the message is too long");
    *out = text_keep(w, buf_slice(&b));
    return !w->is_failed;
}

/* What was changed by hand counts: a later response must find its dialog. */
static void remember(struct dialog *d, const struct draft *draft) {
    struct sip_party party;
    if (!d || slice_eq(draft->method, SLICE("CANCEL")) || slice_eq(draft->method, SLICE("ACK")))
        return;
    d->call_id = draft_get(draft, SLICE("Call-ID"));
    d->local = draft_get(draft, SLICE("From"));
    if (hdr_party(d->local, &party) == ERR_OK) d->local_tag = party.tag;
    d->remote = draft_get(draft, SLICE("To"));
}

bool draft_send(struct world *w, struct agent *a, struct draft *d) {
    slice bytes = d->raw;
    if (!bytes.ptr && !draft_write(w, d, &bytes)) return false;
    if (d->is_request && !d->raw.ptr) {
        struct draft *kept = arena_alloc(&w->arena, sizeof *kept);
        if (!kept) return complain(w, "the scenario is too long for its memory");
        *kept = *d;
        remember(d->dialog, d);
        if (!slice_eq(d->method, SLICE("ACK")) && !slice_eq(d->method, SLICE("CANCEL"))) {
            a->last = kept;
            if (slice_eq(d->method, SLICE("INVITE")) && d->dialog) {
                d->dialog->invite = kept;
                d->dialog->final = 0;
            }
        }
    }
    a->last_bytes = bytes;
    return agent_send(w, a, bytes);
}
