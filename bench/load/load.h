/* load/load.h - many SIP phones over TLS in one thread, and what they cost the server.
 *
 * A phone is one TLS connection, one user, one source address of its own (127.1.x.y). Work is
 * done in jobs: so many operations, so many at a time; before and after a job the CPU time of the
 * server's threads is read from /proc, so the generator's own cost does not count.
 *
 * A whole call is seven messages between the phones of a pair, each step only after the one
 * before has arrived: INVITE, (100,) 180, 200, ACK, BYE, 200. */
#ifndef LOAD_LOAD_H
#define LOAD_LOAD_H

#include "measure.h"
#include "sipmsg.h"

#include <netinet/in.h>
#include <openssl/ssl.h>

#define LOAD_PHONES_MAX 65000
#define LOAD_STALL_MS   10000

enum phone_state {
    PHONE_CLOSED,
    PHONE_CONNECT,
    PHONE_HANDSHAKE,
    PHONE_UPGRADE, /* load.wss: the WebSocket's handshake */
    PHONE_REGISTER,
    PHONE_IDLE,
    PHONE_REFRESH,
    PHONE_CALL
};

enum call_step { CALL_INVITED, CALL_RINGING, CALL_ANSWERED, CALL_UP, CALL_BYE, CALL_ENDING };

struct call {
    uint8_t step; /* enum call_step */
    bool trying;
    bool given_up; /* offer: the caller's patience ended, he has sent CANCEL */
    uint32_t id;
    uint64_t at_ns;             /* offer: of the INVITE, of the answer, of the BYE */
    struct call *older, *newer; /* offer: in the line of those that ring, or of those that talk */
    struct phone *caller, *callee;
    char room_target[256], room_to[256], room_routes[1536], room_answer[4096], room_regret[2048];
    struct text target, to, routes;
    struct text answer; /* the callee's 200, kept till it is due */
    struct text regret; /* its 487, in case the caller gives up */
};

struct phone {
    SSL *ssl;
    struct call *call;
    char *held; /* the start of a message whose rest has not come */
    char *challenge;
    char *gruu; /* the URI that its calls carry as Contact, when load.outbound */
    size_t held_bytes;
    int fd;
    uint32_t user, cseq, nonce_count, key;
    uint16_t port;
    uint8_t state; /* enum phone_state */
    bool answered_challenge;
};

enum job_kind { JOB_OPEN, JOB_REGISTER, JOB_REFRESH, JOB_CALL, JOB_OFFER };

struct job {
    enum job_kind kind;
    uint32_t target, started, done, failed;
    uint32_t challenges; /* 401 seen */
    uint64_t started_ns, moved_ns;
};

struct load {
    struct sockaddr_in server;
    int server_pid;
    struct span domain;
    uint32_t user_base;
    uint32_t width;  /* operations in flight */
    double rate;     /* operations a second; 0: flat out */
    bool bare_renew; /* refresh without Authorization */
    bool outbound;   /* phones register flows (RFC 5626) and speak by their GRUUs (RFC 5627) */
    bool tls12;
    bool wss;   /* SIP in WebSocket messages (RFC 7118) */
    bool moves; /* refresh with another contact each time, which must be stored at once */
    uint32_t acked[LOAD_PHONES_MAX]; /* by user: the CSeq of the last REGISTER that got its 200 */
    bool takes_part;                 /* offer: with ;oc, and by what comes back (RFC 7339) */
    uint32_t patience_ms, hold_ms;   /* offer: how long a caller waits, how long a call lasts */
    SSL_CTX *tls;
    int epoll;
    struct phone *phones; /* LOAD_PHONES_MAX */
    uint32_t phone_count; /* open and registered, from index 0 */
    uint32_t *ready;      /* ring of phones (refresh) or pairs (calls) that may work */
    uint32_t ready_head, ready_count;
    struct job job;
    uint32_t complaints;
};

/* phone.c */
void phone_open(struct load *l, struct phone *p, uint32_t user);
void phone_close(struct load *l, struct phone *p);
void phone_event(struct load *l, struct phone *p, uint32_t events);
bool phone_send(struct load *l, struct phone *p, struct text *t);
void phone_refresh(struct load *l, struct phone *p);
/* Says what went wrong (a few times only), counts it and closes the phone. */
void phone_fail(struct load *l, struct phone *p, const char *what, struct span seen);
struct span phone_secret(uint32_t user, char room[static 40]);
void phone_address(const struct phone *p, char room[static 24]);

/* call.c */
bool call_start(struct load *l, uint32_t pair);
void call_message(struct load *l, struct phone *p, struct span msg);
void call_drop(struct load *l, struct phone *p);

bool call_bye(struct load *l, struct call *c);
/* ACK of a final answer that is none. */
bool call_refused(struct load *l, struct call *c, struct span msg);
bool call_cancel(struct load *l, struct call *c);
void call_free(struct call *c);

/* offer.c: so many calls a second, whatever becomes of them. */
bool offer_run(struct load *l, const char *phases, bool as_json);
bool offer_response(struct load *l, struct phone *p, struct span msg); /* false: not its business */
void offer_answered(struct load *l, struct call *c);
void offer_up(struct load *l, struct call *c);
void offer_done(struct load *l, struct call *c);
void offer_leave(struct call *c);

/* job.c */
void job_ready(struct load *l, uint32_t one);
bool job_take(struct load *l, uint32_t *out);
bool job_prepare(struct load *l, enum job_kind kind, uint32_t count);
void job_events(struct load *l, int wait_ms);
bool job_run(struct load *l, enum job_kind kind, uint32_t count);
void job_one_done(struct load *l, struct phone *p);
uint64_t clock_ns(void);

/* measure.c: of the server process; 0 when it cannot be read. */

#endif
