/* cli/cmd_doctor.c - kith doctor: chooses what to look at, and tells what was found. See doctor.h.
 *
 * With a server on this data directory it knows what to expect (listeners, domains, a credential
 * for the relay). With a domain's name alone it is the outsider that it plays. */
#include "base/mem.h"
#include "cli/ask.h"
#include "cli/doctor.h"
#include "crypto/crypto.h"
#include "daemon/certs.h"
#include "os/loop.h"
#include "sip/dns_reply.h"
#include <stdio.h>
#include <unistd.h>

#define LISTEN_MAX 32u
#define OWN_MAX    64u

enum door { DOOR_TLS, DOOR_TURN_UDP, DOOR_TURN_TCP, DOOR_LEGACY_UDP, DOOR_LEGACY_TCP };
struct listener {
    struct addr at; /* may be "any" */
    enum door door;
};
struct visit { /* one run */
    const struct cli *c;
    struct doctor_eyes *eyes;
    bool is_inside; /* a server told what it has */
    char domains[DOCTOR_DOMAINS_MAX][256];
    unsigned domain_count;
    char name[256]; /* what the server calls itself; may be empty */
    struct listener listen[LISTEN_MAX];
    unsigned listen_count;
    bool cert_is_local, turn_is_on;
    int64_t cert_days; /* -1: not known */
    char aor[512], user[64], password[64];
    struct addr own[OWN_MAX], places[DOCTOR_PLACES_MAX];
    unsigned own_count, place_count;
    unsigned mend, warnings, unseen;
    struct doctor_finding finding;
    struct dns_reply reply;
};

/* ---- telling ---- */

static void tell_json(const struct doctor_finding *f) {
    static const char *const levels[] = { "ok", "unseen", "warning", "mend" };
    char mem[8192];
    struct buf b = buf_over(mem, sizeof mem);
    struct json_writer w = json_over(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "level", levels[f->level]);
    json_put_str(&w, "area", f->area);
    json_put_text(&w, "words", buf_slice(&f->words));
    if (f->mend.len) json_put_text(&w, "mend", buf_slice(&f->mend));
    json_end(&w);
    if (!b.full) (void)printf(SLICE_FMT "\n", SLICE_ARG(buf_slice(&b)));
}

static void tell(struct visit *v) {
    static const char *const levels[] = { "ok", "-", "warning", "MEND" };
    const struct doctor_finding *f = &v->finding;
    v->mend += f->level == DOCTOR_MEND;
    v->warnings += f->level == DOCTOR_WARN;
    v->unseen += f->level == DOCTOR_UNSEEN;
    if (v->c->json) {
        tell_json(f);
    } else {
        (void)printf("%-8s %-12s " SLICE_FMT "\n", levels[f->level], f->area,
                     SLICE_ARG(buf_slice(&f->words)));
        slice rest = buf_slice(&f->mend), line;
        while (slice_split(&rest, '\n', &line))
            (void)printf("%22s" SLICE_FMT "\n", "", SLICE_ARG(line));
    }
    (void)fflush(stdout); /* the next one may take seconds */
}

static void tell_unseen(struct visit *v, const char *area, const char *words) {
    doctor_finding_begin(&v->finding, DOCTOR_UNSEEN, area);
    buf_fmt(&v->finding.words, "%s", words);
    tell(v);
}

/* ---- what to expect ---- */

static void take_listener(struct visit *v, const struct json *row) {
    struct listener *l = &v->listen[v->listen_count];
    slice transport = json_text(json_member(row, "transport"));
    bool is_udp = slice_eq(transport, SLICE("udp")), is_tls = slice_eq(transport, SLICE("tls"));
    if (v->listen_count == LISTEN_MAX ||
        addr_read(json_text(json_member(row, "at")), &l->at) != ERR_OK)
        return;
    if (json_bool(json_member(row, "turn")))
        l->door = is_udp ? DOOR_TURN_UDP : DOOR_TURN_TCP;
    else if (json_bool(json_member(row, "legacy")) || !is_tls)
        l->door = is_udp ? DOOR_LEGACY_UDP : DOOR_LEGACY_TCP;
    else
        l->door = DOOR_TLS;
    v->listen_count++;
}

static bool take_person(void *ctx, const struct json *row, slice raw) {
    struct visit *v = ctx;
    (void)raw;
    if (!v->aor[0] && !json_bool(json_member(row, "disabled")) &&
        !slice_cstr(json_text(json_member(row, "aor")), v->aor, sizeof v->aor))
        v->aor[0] = 0;
    return true; /* the rest must be read: another call follows */
}

/* A credential of whoever is there: the relay asks for one of an account. */
static void take_credential(struct visit *v, struct ask *a) {
    const struct json *answer;
    (void)ask_begin(a, "user.list");
    if (ask_send(a, take_person, v, &answer) != CLI_DONE || !v->aor[0]) return;
    struct json_writer *w = ask_begin(a, "turn.credential");
    json_put_str(w, "aor", v->aor);
    json_put_u64(w, "seconds", 600);
    if (ask_send(a, NULL, NULL, &answer) != CLI_DONE) return;
    if (!slice_cstr(json_text(json_member(answer, "username")), v->user, sizeof v->user) ||
        !slice_cstr(json_text(json_member(answer, "password")), v->password, sizeof v->password))
        v->user[0] = 0;
}

static int ask_the_server(struct visit *v) {
    struct cli quiet = *v->c; /* its rows are for us, not for stdout */
    const struct json *s;
    struct ask *a;
    uint64_t days;
    quiet.json = false;
    int code = ask_open(&quiet, false, &a);
    if (code != CLI_DONE) return code;
    if (!ask_is_live(a)) {
        ask_close(a);
        return cli_fail(v->c, "no server runs on this data directory. Start it, or name a domain "
                              "to look at it from outside: kith doctor example.org");
    }
    (void)ask_begin(a, "status");
    code = ask_send(a, NULL, NULL, &s);
    if (code == CLI_DONE) {
        const struct json *list = json_member(s, "domains");
        for (size_t i = 0; i < json_count(list) && v->domain_count < DOCTOR_DOMAINS_MAX; i++)
            v->domain_count += slice_cstr(json_text(json_item(list, i)),
                                          v->domains[v->domain_count], sizeof v->domains[0]);
        list = json_member(s, "listen");
        for (size_t i = 0; i < json_count(list); i++) take_listener(v, json_item(list, i));
        if (!slice_cstr(json_text(json_member(s, "name")), v->name, sizeof v->name)) v->name[0] = 0;
        v->cert_is_local = json_bool(json_member(s, "certificate_is_local"));
        v->turn_is_on = json_bool(json_member(json_member(s, "turn"), "on"));
        if (json_u64(json_member(s, "certificate_days"), 100000, &days) == ERR_OK)
            v->cert_days = (int64_t)days;
        v->is_inside = true;
        if (v->turn_is_on) take_credential(v, a);
    }
    ask_close(a);
    return code;
}

static void expect_the_usual(struct visit *v) {
    static const struct listener usual[] = {
        { { .family = ADDR_V4, .port = 5061 }, DOOR_TLS },
        { { .family = ADDR_V6, .port = 5061 }, DOOR_TLS },
        { { .family = ADDR_V4, .port = 3478 }, DOOR_TURN_UDP },
        { { .family = ADDR_V6, .port = 3478 }, DOOR_TURN_UDP },
        { { .family = ADDR_V4, .port = 3478 }, DOOR_TURN_TCP },
        { { .family = ADDR_V6, .port = 3478 }, DOOR_TURN_TCP },
    };
    memcpy(v->listen, usual, sizeof usual);
    v->listen_count = ARRAY_LEN(usual);
}

/* ---- names ---- */

static bool is_any(const struct addr *a) {
    struct addr any = { .family = a->family };
    return addr_ip_eq(a, &any);
}

static bool is_own(const struct visit *v, const struct addr *a) {
    for (unsigned i = 0; i < v->own_count; i++)
        if (addr_ip_eq(&v->own[i], a)) return true;
    return addr_is_loopback(a);
}

static void add_place(struct visit *v, const struct addr *a) {
    for (unsigned i = 0; i < v->place_count; i++)
        if (addr_ip_eq(&v->places[i], a)) return;
    if (v->place_count == DOCTOR_PLACES_MAX) return;
    v->places[v->place_count] = *a;
    v->places[v->place_count++].port = 0;
}

/* The addresses of a name become places; how many it has, and whether one is of another host. */
static enum dns_result look_up_host(struct visit *v, slice name, unsigned *out_count,
                                    bool *out_foreign) {
    struct dns_answer answer;
    enum dns_result result = DNS_NXDOMAIN;
    *out_count = 0;
    for (unsigned i = 0; i < 2; i++) {
        doctor_ask_dns(v->eyes, name, i ? DNS_AAAA : DNS_A, &v->reply, &answer);
        for (unsigned k = 0; answer.result == DNS_OK && k < answer.count; k++) {
            add_place(v, &answer.records[k].addr);
            if (!is_own(v, &answer.records[k].addr)) *out_foreign = true;
            (*out_count)++;
        }
        if (i == 0 || result != DNS_OK) result = answer.result;
    }
    return *out_count ? DNS_OK : result;
}

static bool listens_on(const struct visit *v, uint16_t port) {
    for (unsigned i = 0; i < v->listen_count; i++)
        if (v->listen[i].door == DOOR_TLS && v->listen[i].at.port == port) return true;
    return false;
}

static void look_for_servers(struct visit *v, struct doctor_dns *d, char hosts[][DNS_NAME_BYTES]) {
    char mem[300];
    struct buf service = buf_over(mem, sizeof mem);
    struct dns_answer answer;
    buf_fmt(&service, "_sips._tcp." SLICE_FMT, SLICE_ARG(d->domain));
    doctor_ask_dns(v->eyes, d->domain, DNS_NAPTR, &v->reply, &answer);
    d->naptr = answer.result;
    for (unsigned i = 0; answer.result == DNS_OK && i < answer.count; i++)
        d->naptr_leads =
            d->naptr_leads || (slice_ieq(answer.records[i].naptr.services, SLICE("SIPS+D2T")) &&
                               slice_ieq(answer.records[i].naptr.replacement, buf_slice(&service)));
    doctor_ask_dns(v->eyes, buf_slice(&service), DNS_SRV, &v->reply, &answer);
    d->srv = answer.result;
    for (unsigned i = 0; answer.result == DNS_OK && i < answer.count; i++) {
        const struct dns_srv *srv = &answer.records[i].srv;
        struct doctor_server *s = &d->servers[d->server_count];
        if (d->server_count == DOCTOR_SRV_MAX || !srv->target.len) continue;
        if (!slice_cstr(srv->target, hosts[d->server_count], DNS_NAME_BYTES)) continue;
        *s = (struct doctor_server){ .host = slice_str(hosts[d->server_count]), .port = srv->port };
        d->server_count++;
    }
}

static void look_at_names(struct visit *v, const struct addr *public, unsigned public_count) {
    char hosts[DOCTOR_SRV_MAX][DNS_NAME_BYTES];
    for (unsigned i = 0; i < v->domain_count; i++) {
        unsigned count;
        bool foreign = false;
        struct doctor_dns d = { .domain = slice_str(v->domains[i]),
                                .port = 5061,
                                .places = public,
                                .place_count = public_count };
        d.name = v->name[0] ? slice_str(v->name) : d.domain;
        for (unsigned k = v->listen_count; k-- > 0;)
            if (v->listen[k].door == DOOR_TLS) d.port = v->listen[k].at.port;
        look_for_servers(v, &d, hosts);
        for (unsigned k = 0; k < d.server_count; k++) {
            foreign = false;
            (void)look_up_host(v, d.servers[k].host, &d.servers[k].addresses, &foreign);
            /* Behind a router another port may lead here. */
            d.servers[k].is_ours = foreign || !v->is_inside || listens_on(v, d.servers[k].port);
        }
        if (!d.server_count) d.host = look_up_host(v, d.domain, &count, &foreign);
        doctor_judge_dns(&d, &v->finding);
        tell(v);
    }
}

/* ---- doors ---- */

static bool is_behind(const struct visit *v, const struct listener *l, const struct addr *place) {
    return l->at.family == place->family &&
           (is_any(&l->at) || addr_ip_eq(&l->at, place) || !is_own(v, place));
}

static enum err look_at_tls(struct visit *v, const struct addr *at) {
    struct doctor_port port = { "SIP over TLS", "[listen] tls", *at,
                                false,          is_own(v, at),  doctor_connect(at) };
    doctor_judge_port(&port, &v->finding);
    tell(v);
    for (unsigned i = 0; i < v->domain_count && port.reached == ERR_OK; i++) {
        struct doctor_cert cert = { .is_local = v->cert_is_local,
                                    .days_left = v->cert_is_local ? -1 : v->cert_days };
        if (doctor_look_tls(v->eyes, at, slice_str(v->domains[i]), &cert) != ERR_OK)
            cert.trouble = "it did not accept a second connection";
        doctor_judge_cert(&cert, &v->finding);
        tell(v);
    }
    return port.reached;
}

static void look_at_turn(struct visit *v, const struct addr *at, bool is_tcp) {
    struct addr seen;
    struct doctor_relay relay;
    struct doctor_port port = {
        is_tcp ? "STUN over TCP" : "STUN over UDP", "[turn]", *at, !is_tcp, is_own(v, at), ERR_OK
    };
    port.reached = doctor_binding(at, is_tcp, &seen);
    doctor_judge_port(&port, &v->finding);
    tell(v);
    if (is_tcp || port.reached != ERR_OK || !v->user[0]) return;
    doctor_look_relay(at, slice_str(v->user), slice_str(v->password), &relay);
    doctor_judge_relay(&relay, &v->finding);
    tell(v);
}

static void look_at_doors(struct visit *v) {
    for (unsigned i = 0; i < v->listen_count; i++)
        for (unsigned k = 0; k < v->place_count; k++) {
            const struct listener *l = &v->listen[i];
            struct addr at = v->places[k];
            at.port = l->at.port;
            if (!is_behind(v, l, &at)) continue;
            if (l->door == DOOR_TLS)
                (void)look_at_tls(v, &at);
            else if (l->door == DOOR_TURN_UDP || l->door == DOOR_TURN_TCP)
                look_at_turn(v, &at, l->door == DOOR_TURN_TCP);
        }
}

/* What cannot be known from here. */
static void tell_the_view(struct visit *v) {
    bool all_own = v->place_count > 0;
    for (unsigned i = 0; i < v->place_count; i++) all_own = all_own && is_own(v, &v->places[i]);
    if (!v->is_inside)
        tell_unseen(v, "relay",
                    "not tried: it wants a credential. Where the server runs, `kith "
                    "doctor` has one");
    else if (v->turn_is_on && !v->user[0])
        tell_unseen(v, "relay",
                    "not tried: there is nobody yet whose credential could be used "
                    "(kith user add)");
    if (all_own)
        tell_unseen(v, "view",
                    "all this was seen from the server's own host: a firewall in front "
                    "of it can still be in the way. Run `kith doctor DOMAIN` elsewhere");
}

static void examine(struct visit *v) {
    struct addr public[DOCTOR_PLACES_MAX];
    unsigned public_count = 0;
    v->own_count = (unsigned)host_addresses(v->own, OWN_MAX);
    for (unsigned i = 0; i < v->listen_count && v->is_inside; i++) {
        const struct listener *l = &v->listen[i];
        if (l->door != DOOR_TLS) continue;
        for (unsigned k = 0; k < v->own_count && public_count < DOCTOR_PLACES_MAX; k++) {
            bool is_new = v->own[k].family == l->at.family &&
                          (is_any(&l->at) || addr_ip_eq(&l->at, &v->own[k]));
            for (unsigned n = 0; n < public_count; n++)
                is_new = is_new && !addr_ip_eq(&public[n], &v -> own[k]);
            if (is_new) public[public_count++] = v->own[k];
        }
    }
    doctor_judge_clock(doctor_look_clock(), &v->finding);
    tell(v);
    look_at_names(v, public, public_count);
    /* Names that lead nowhere: then at least what this host itself can see. */
    for (unsigned i = 0; v->place_count == 0 && i < public_count; i++) add_place(v, &public[i]);
    for (unsigned i = 0; v->place_count == 0 && i < v->listen_count; i++)
        if (addr_is_loopback(&v->listen[i].at)) add_place(v, &v->listen[i].at);
    look_at_doors(v);
    tell_the_view(v);
}

static int tell_the_end(const struct visit *v) {
    if (v->c->json)
        (void)printf("{\"ok\":%s,\"mend\":%u,\"warnings\":%u,\"unseen\":%u}\n",
                     v->mend ? "false" : "true", v->mend, v->warnings, v->unseen);
    else
        (void)printf("\n%u to mend, %u warning%s, %u not seen\n", v->mend, v->warnings,
                     v->warnings == 1 ? "" : "s", v->unseen);
    return v->mend ? CLI_FAILED : CLI_DONE;
}

int cli_doctor(struct cli *c) {
    struct addr dns;
    char ca[4096] = "";
    const char *server = cli_value(c, "dns");
    if (server && addr_read_ip(slice_str(server), &dns) != ERR_OK &&
        addr_read(slice_str(server), &dns) != ERR_OK)
        return cli_wrong(c, "\"%s\" is not the address of a DNS server", server);
    if (c->arg_count && !target_is_name(slice_str(c->args[0])))
        return cli_wrong(c, "\"%s\" is not a domain", c->args[0]);
    struct visit *v = mem_zalloc(sizeof *v);
    if (!v) return cli_fail(c, "memory is short");
    v->c = c;
    v->cert_days = -1;
    int code = CLI_DONE;
    if (c->arg_count) {
        (void)snprintf(v->domains[0], sizeof v->domains[0], "%s", c->args[0]);
        v->domain_count = 1;
        expect_the_usual(v);
    } else {
        code = ask_the_server(v);
    }
    if (v->cert_is_local) (void)snprintf(ca, sizeof ca, "%s/tls/ca.pem", c->data);
    if (code == CLI_DONE &&
        doctor_open(server ? &dns : NULL, ca[0] ? ca : NULL, &v->eyes) != ERR_OK)
        code = cli_fail(c, "no DNS client or no TLS client could be made; is %s readable?",
                        ca[0] ? ca : "/etc/resolv.conf");
    if (code == CLI_DONE) {
        examine(v);
        code = tell_the_end(v);
    }
    doctor_close(v->eyes);
    crypto_wipe(v->password, sizeof v->password);
    mem_free(v);
    return code;
}
