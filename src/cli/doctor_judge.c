/* cli/doctor_judge.c - what facts mean, in words that a person can act on. See doctor.h. */
#include "auth/peer_name.h"
#include "cli/doctor.h"
#include "nat/address.h"

#define CERT_WARN_DAYS 14

void doctor_finding_begin(struct doctor_finding *f, enum doctor_level level, const char *area) {
    f->level = level;
    f->area = area;
    f->words = buf_over(f->words_mem, sizeof f->words_mem);
    f->mend = buf_over(f->mend_mem, sizeof f->mend_mem);
}

/* ---- names ---- */

static bool is_private(const struct addr *a) {
    struct addr real = address_canonical(a, NULL, 0);
    return address_scope(&real) == SCOPE_PRIVATE || address_scope(&real) == SCOPE_LOOPBACK;
}

void doctor_put_zone(struct buf *b, const struct doctor_dns *d) {
    slice n = d->domain;
    buf_fmt(b, SLICE_FMT ". IN NAPTR 10 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp." SLICE_FMT ".\n",
            SLICE_ARG(n), SLICE_ARG(n));
    buf_fmt(b, "_sips._tcp." SLICE_FMT ". IN SRV 10 10 %u " SLICE_FMT ".\n", SLICE_ARG(n), d->port,
            SLICE_ARG(d->name));
    for (unsigned i = 0; i < d->place_count; i++) {
        const struct addr *a = &d->places[i];
        buf_fmt(b, SLICE_FMT ". IN %s ", SLICE_ARG(d->name), a->family == ADDR_V4 ? "A" : "AAAA");
        addr_put_ip(b, a);
        if (is_private(a))
            buf_lit(b, "   ; a private address: write the public one that leads here");
        buf_byte(b, '\n');
    }
}

static void put_into_zone(const struct doctor_dns *d, struct doctor_finding *out) {
    buf_fmt(&out->mend, "Put into the zone of " SLICE_FMT ":\n", SLICE_ARG(d->domain));
    doctor_put_zone(&out->mend, d);
}

/* "localhost", "pbx": no DNS knows them, and nobody expects it. */
static bool is_local_name(slice domain) {
    slice rest = domain, label, last = domain;
    while (slice_split(&rest, '.', &label)) last = label;
    return last.len == domain.len || slice_ieq(last, SLICE("local")) ||
           slice_ieq(last, SLICE("localhost"));
}

static void judge_servers(const struct doctor_dns *d, struct doctor_finding *out) {
    for (unsigned i = 0; i < d->server_count; i++) {
        const struct doctor_server *s = &d->servers[i];
        if (s->addresses && s->is_ours) continue;
        doctor_finding_begin(out, DOCTOR_MEND, "dns");
        buf_fmt(&out->words, "_sips._tcp." SLICE_FMT " leads to " SLICE_FMT ":%u, ",
                SLICE_ARG(d->domain), SLICE_ARG(s->host), s->port);
        buf_put(&out->words, s->addresses ? SLICE("where this server does not listen")
                                          : SLICE("a name without any address"));
        put_into_zone(d, out);
        return;
    }
    bool has_naptr = d->naptr == DNS_OK && d->naptr_leads;
    doctor_finding_begin(out, has_naptr ? DOCTOR_OK : DOCTOR_WARN, "dns");
    buf_fmt(&out->words, "_sips._tcp." SLICE_FMT " leads to " SLICE_FMT ":%u", SLICE_ARG(d->domain),
            SLICE_ARG(d->servers[0].host), d->servers[0].port);
    if (has_naptr) return;
    buf_lit(&out->words, "; there is no NAPTR record for it");
    buf_fmt(&out->mend, "Phones that ask for NAPTR first may take a worse way. ");
    put_into_zone(d, out);
}

void doctor_judge_dns(const struct doctor_dns *d, struct doctor_finding *out) {
    if (d->srv == DNS_OK && d->server_count) {
        judge_servers(d, out);
    } else if (is_local_name(d->domain)) {
        doctor_finding_begin(out, DOCTOR_UNSEEN, "dns");
        buf_fmt(&out->words, SLICE_FMT " is no name for the DNS: phones need this host's address",
                SLICE_ARG(d->domain));
    } else if (d->srv == DNS_FAIL) {
        doctor_finding_begin(out, DOCTOR_MEND, "dns");
        buf_fmt(&out->words, "no DNS server answers for _sips._tcp." SLICE_FMT,
                SLICE_ARG(d->domain));
        buf_lit(&out->mend, "Look at /etc/resolv.conf, and at the name servers of the domain; "
                            "--dns ADDRESS asks another one.\n");
    } else if (d->host == DNS_OK && d->port == 5061) {
        /* RFC 3263 4.2: without SRV the addresses of the domain count, at the default port. */
        doctor_finding_begin(out, DOCTOR_WARN, "dns");
        buf_fmt(&out->words,
                SLICE_FMT
                " has no _sips._tcp SRV record; only its addresses at port 5061 lead here",
                SLICE_ARG(d->domain));
        put_into_zone(d, out);
    } else {
        doctor_finding_begin(out, DOCTOR_MEND, "dns");
        buf_fmt(&out->words, "nothing in the DNS leads to the SIP server of " SLICE_FMT ": %s",
                SLICE_ARG(d->domain),
                d->srv == DNS_NXDOMAIN ? "there is no _sips._tcp SRV record"
                                       : "its _sips._tcp SRV record is empty");
        put_into_zone(d, out);
    }
}

/* ---- ports ---- */

static void put_silence(const struct doctor_port *p, struct doctor_finding *out) {
    const char *kind = p->is_udp ? "UDP" : "TCP";
    buf_fmt(&out->mend,
            "Silence is a firewall that drops: open %s port %u in this host's and in the "
            "provider's,\nfor instance: nft add rule inet filter input %s dport %u accept\n",
            kind, p->at.port, p->is_udp ? "udp" : "tcp", p->at.port);
    if (!p->is_own)
        buf_lit(&out->mend, "Or that address is not this server's: then the DNS or the router's "
                            "forwarding is wrong. (Some routers do not turn\nback what comes from "
                            "inside: try from another network before you change anything.)\n");
}

static void put_refusal(const struct doctor_port *p, struct doctor_finding *out) {
    buf_fmt(&out->mend, "Refused means that packets arrive and nobody listens there%s.\n",
            p->is_udp ? "" : ", or that a firewall rejects them");
    if (p->is_own)
        buf_fmt(&out->mend, "Does %s name this address, and does `kith status` show it?\n",
                p->setting);
    else
        buf_fmt(&out->mend,
                "Is that address this server's, and does the router forward %s port %u to it?\n",
                p->is_udp ? "UDP" : "TCP", p->at.port);
}

void doctor_judge_port(const struct doctor_port *p, struct doctor_finding *out) {
    bool no_way = p->reached == ERR_MISSING || p->reached == ERR_UNSUPPORTED;
    doctor_finding_begin(out,
                         p->reached == ERR_OK ? DOCTOR_OK
                         : no_way             ? DOCTOR_UNSEEN
                                              : DOCTOR_MEND,
                         "port");
    buf_fmt(&out->words, "%s at ", p->what);
    addr_put(&out->words, &p->at);
    if (p->reached == ERR_OK) {
        buf_lit(&out->words, " answers");
    } else if (no_way) {
        buf_fmt(&out->words, ": this host has no way to %s addresses",
                p->at.family == ADDR_V6 ? "IPv6" : "IPv4");
    } else if (p->reached == ERR_TIMEOUT) {
        buf_lit(&out->words, " is silent");
        put_silence(p, out);
    } else {
        buf_fmt(&out->words, " refuses");
        put_refusal(p, out);
    }
}

/* ---- certificates ---- */

static void put_names(const struct doctor_cert *c, struct buf *b) {
    slice names[4];
    unsigned n = peer_cert_domains(c->cert, names, ARRAY_LEN(names));
    if (!n) buf_lit(b, "nothing that counts");
    for (unsigned i = 0; i < n; i++)
        buf_fmt(b, "%s" SLICE_FMT, i ? ", " : "", SLICE_ARG(slice_head(names[i], 64)));
}

void doctor_judge_cert(const struct doctor_cert *c, struct doctor_finding *out) {
    const char *trouble = c->cert ? peer_cert_trouble(c->cert) : NULL;
    bool is_his = c->cert && peer_cert_names(c->cert, c->domain);
    doctor_finding_begin(out, DOCTOR_MEND, "certificate");
    struct buf *b = &out->words;
    if (c->trouble || !c->cert) {
        addr_put(b, &c->at);
        buf_fmt(b, " answers, but not with TLS: %s", c->trouble ? c->trouble : "no certificate");
        buf_lit(&out->mend, "Is another program on that port, or one in front of this server?\n");
        return;
    }
    buf_lit(b, "the certificate at ");
    addr_put(b, &c->at);
    if (!is_his) {
        buf_fmt(b, " is not for " SLICE_FMT ": it names ", SLICE_ARG(c->domain));
        put_names(c, b);
        buf_fmt(
            &out->mend,
            "Other domains ask for the name behind the @, whole (RFC 5922 7): get a certificate "
            "whose subjectAltName has\nDNS:" SLICE_FMT " or URI:sip:" SLICE_FMT
            ", and name it in [tls] certificate and key.\n",
            SLICE_ARG(c->domain), SLICE_ARG(c->domain));
    } else if (trouble) {
        buf_fmt(b, " %s", trouble);
        buf_lit(&out->mend, "Get another one (or give its whole chain, the leaf first), name it in "
                            "[tls] certificate and key, and send SIGHUP.\n");
    } else if (c->is_local) {
        out->level = DOCTOR_WARN;
        buf_fmt(b, " is for " SLICE_FMT ", made by this server's own authority",
                SLICE_ARG(c->domain));
        buf_lit(&out->mend, "Phones must be given DATA/tls/ca.pem; browsers and other domains will "
                            "not believe it. For them name a\ncertificate of a public authority in "
                            "[tls] certificate and key.\n");
    } else {
        bool is_late = c->days_left >= 0 && c->days_left < CERT_WARN_DAYS;
        out->level = is_late ? DOCTOR_WARN : DOCTOR_OK;
        buf_fmt(b, " is good for " SLICE_FMT, SLICE_ARG(c->domain));
        if (c->days_left >= 0) buf_fmt(b, ", %lld days more", (long long)c->days_left);
        if (is_late)
            buf_lit(&out->mend, "Renew it now; the server takes the new files at SIGHUP.\n");
    }
}

/* ---- the relay ---- */

static void put_refused_relay(const struct doctor_relay *r, struct doctor_finding *out) {
    buf_fmt(&out->words, " refuses with %u", r->status);
    switch (r->status) {
    case 401:
    case 441:
        buf_lit(&out->mend, "It does not take a credential of this server: another TURN server "
                            "answers there, or the data directory\nis not the one it runs on.\n");
        break;
    case 486:
        buf_lit(&out->mend, "The account has all allocations that [turn] per_account allows.\n");
        break;
    case 440:
        buf_lit(&out->mend, "It has no address of that family to relay from: [turn] relay.\n");
        break;
    default:
        buf_lit(&out->mend, "It has no room or no port left: `kith status --json`, member turn; "
                            "[turn] allocations, first_port, last_port.\n");
    }
}

void doctor_judge_relay(const struct doctor_relay *r, struct doctor_finding *out) {
    doctor_finding_begin(out, DOCTOR_MEND, "relay");
    struct buf *b = &out->words;
    buf_lit(b, "the relay at ");
    addr_put(b, &r->server);
    if (r->allocated == ERR_DENIED) {
        put_refused_relay(r, out);
        return;
    }
    if (r->allocated != ERR_OK) {
        buf_lit(b, " does not answer an Allocate request");
        buf_fmt(&out->mend, "Open UDP port %u; see above.\n", r->server.port);
        return;
    }
    buf_lit(b, " gives");
    bool inner = false;
    for (unsigned i = 0; i < 2; i++) {
        if (!r->relayed[i].family) continue;
        buf_byte(b, ' ');
        addr_put(b, &r->relayed[i]);
        inner = inner || is_private(&r->relayed[i]);
    }
    buf_lit(b, " and sees ");
    addr_put_ip(b, &r->seen);
    if (!r->back) {
        buf_lit(b, ", but what one relayed address sends to another does not arrive");
        buf_lit(&out->mend,
                "Two phones that both need the relay will not hear each other. Where "
                "[turn] public names an address of the\nrouter, it must be the one this "
                "server knows as its own.\n");
    } else if (inner && !addr_is_loopback(&r->server)) {
        out->level = DOCTOR_WARN;
        buf_lit(b, "; that is a private address");
        buf_lit(&out->mend, "Phones outside cannot reach it: name the public address that leads "
                            "here in [turn] public.\n");
    } else {
        out->level = DOCTOR_OK;
        if (!r->relayed[0].family || !r->relayed[1].family)
            buf_fmt(b, " (%s only)", r->relayed[0].family ? "IPv4" : "IPv6");
    }
}

void doctor_judge_clock(enum doctor_clock c, struct doctor_finding *out) {
    if (c == CLOCK_FREE) {
        doctor_finding_begin(out, DOCTOR_WARN, "clock");
        buf_lit(&out->words, "no time service keeps this host's clock");
        buf_lit(&out->mend, "Run one (systemd-timesyncd, chrony): certificates and credentials end "
                            "by the clock.\n");
        return;
    }
    doctor_finding_begin(out, c == CLOCK_KEPT ? DOCTOR_OK : DOCTOR_UNSEEN, "clock");
    buf_put(&out->words, c == CLOCK_KEPT
                             ? SLICE("the clock is kept by a time service")
                             : SLICE("the kernel does not say whether the clock is kept right"));
}
