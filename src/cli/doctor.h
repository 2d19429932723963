/* cli/doctor.h - kith doctor: what others can reach of this server, and what to mend.
 *
 * Two halves. doctor_probe.c and doctor_relay.c look: they ask the DNS, connect, send STUN, and
 * fill facts. doctor_judge.c says what the facts mean: pure functions from facts to findings,
 * without I/O, so that every sentence has a test. cmd_doctor.c chooses what to look at and prints.
 * Memory:   findings carry their own text; slices in facts are borrowed.
 * Time:     a probe takes at most DOCTOR_WAIT_MS; everything is bounded by the tables below. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include "base/addr.h"
#include "base/cert.h"
#include "base/clock.h"
#include "base/err.h"
#include "sip/target.h"

#define DOCTOR_WAIT_MS     5000
#define DOCTOR_DOMAINS_MAX 16u
#define DOCTOR_PLACES_MAX  8u /* addresses at which the server is looked for */
#define DOCTOR_SRV_MAX     8u

enum doctor_level { DOCTOR_OK, DOCTOR_UNSEEN, DOCTOR_WARN, DOCTOR_MEND };
struct doctor_finding {
    enum doctor_level level;
    const char *area; /* "dns", "port", "certificate", "relay", "clock", "view" */
    struct buf words; /* what is so */
    struct buf mend;  /* what to do about it, in lines; may be empty */
    char words_mem[512], mend_mem[1536];
};
void doctor_finding_begin(struct doctor_finding *f, enum doctor_level level, const char *area);

/* ---- facts and what they mean ---- */

struct doctor_server { /* one server of a domain, as its SRV record names it */
    slice host;
    uint16_t port;
    unsigned addresses; /* how many its name has */
    bool is_ours;       /* we listen on that port */
};
struct doctor_dns {
    slice domain;
    enum dns_result naptr, srv, host; /* host: A and AAAA of the domain itself */
    bool naptr_leads;                 /* one of the NAPTR records names _sips._tcp.DOMAIN */
    unsigned server_count;
    struct doctor_server servers[DOCTOR_SRV_MAX];
    /* What the zone ought to say. */
    slice name;
    uint16_t port;
    const struct addr *places;
    unsigned place_count;
};
/* NAPTR, SRV and addresses of one domain. RFC 3263 4, as sip/target.h walks them. */
void doctor_judge_dns(const struct doctor_dns *d, struct doctor_finding *out);
/* The lines for the domain's zone file. */
void doctor_put_zone(struct buf *b, const struct doctor_dns *d);

struct doctor_port {
    const char *what;    /* "SIP over TLS" */
    const char *setting; /* "[listen] tls" */
    struct addr at;
    bool is_udp, is_own; /* is_own: an address of this host */
    enum err
        reached; /* OK; CLOSED: refused; TIMEOUT: silence; MISSING, UNSUPPORTED: no way there */
};
void doctor_judge_port(const struct doctor_port *p, struct doctor_finding *out);

struct doctor_cert {
    slice domain;
    struct addr at;
    const char *trouble;          /* of the handshake; NULL: it went well */
    const struct peer_cert *cert; /* NULL: none came */
    bool is_local;                /* of our own authority, which is known here */
    int64_t days_left;            /* negative: not known */
};
/* Chain, name (RFC 5922 7) and end of what a server showed for a domain. */
void doctor_judge_cert(const struct doctor_cert *c, struct doctor_finding *out);

struct doctor_relay {
    struct addr server, seen; /* seen: our own address as the relay saw it */
    enum err allocated;       /* OK; TIMEOUT; DENIED: `status` says why */
    unsigned status;          /* of a STUN error */
    struct addr relayed[2];   /* IPv4, IPv6; family 0: not given */
    bool back;                /* what one relayed address sent to the other arrived (hairpin) */
};
void doctor_judge_relay(const struct doctor_relay *r, struct doctor_finding *out);

enum doctor_clock { CLOCK_KEPT, CLOCK_FREE, CLOCK_UNKNOWN };
void doctor_judge_clock(enum doctor_clock c, struct doctor_finding *out);

/* ---- looking ---- */

struct doctor_eyes; /* the resolver and the TLS client of one run */
/* `dns`: the server to ask, NULL: those of resolv.conf. `ca_file`: believed beside the system's
 * roots, or NULL. MEMORY, IO, CRYPTO, BAD. */
NODISCARD enum err doctor_open(const struct addr *dns, const char *ca_file,
                               struct doctor_eyes **out);
void doctor_close(struct doctor_eyes *e); /* NULL is allowed */

struct dns_reply;
/* FAIL when nobody answers. The answer's records live in `mem`. */
void doctor_ask_dns(struct doctor_eyes *e, slice name, enum dns_type type, struct dns_reply *mem,
                    struct dns_answer *out);
/* OK: somebody accepts a connection there. */
enum err doctor_connect(const struct addr *at);
/* A handshake as a client of `domain`; fills cert, trouble. The names live until the next call.
 * The result is that of the connection. */
enum err doctor_look_tls(struct doctor_eyes *e, const struct addr *at, slice domain,
                         struct doctor_cert *out);
/* A Binding request; OK: answered, *seen is where we come from. */
enum err doctor_binding(const struct addr *at, bool is_tcp, struct addr *seen);
enum doctor_clock doctor_look_clock(void); /* the kernel's word */
/* Two allocations, and a datagram from one to the other. */
void doctor_look_relay(const struct addr *at, slice user, slice password, struct doctor_relay *out);

#endif
