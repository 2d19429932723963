/* daemon/web_priv.h - the inside of web.c, for the files that answer calls. */
#ifndef DAEMON_WEB_PRIV_H
#define DAEMON_WEB_PRIV_H

#include "daemon/web.h"

struct web_request { /* one that waits; its text stands behind it */
    struct web_request *next;
    unsigned worker;
    uint64_t ticket;
    struct addr peer;
    struct http_request head;
    slice body;
    char bytes[];
};

struct web_guest {
    uint32_t account_id, session_id; /* 0: the place is free */
    uint32_t entry;                  /* hash of the address that may be called */
    unsigned connections;
    wall_t until, away_until;
    char origin[128];
};

struct web {
    struct web_config config;
    pthread_t thread;
    pthread_mutex_t mutex; /* over the queue, places and guests */
    pthread_cond_t wake;
    struct web_request *first, **last;
    unsigned waiting;
    bool stop;
    struct web_call *call; /* the one that is being answered; large */
    char *places;          /* text of both */
    slice hosts[NODE_DOMAINS_MAX + 4], origins[CONFIG_PATHS_MAX];
    unsigned host_count, origin_count;
    uint8_t challenge_key[32];
    struct {
        uint64_t challenge;
        wall_t until;
    } used[WEB_USED_MAX];
    struct web_guest guests[WEB_GUESTS_MAX];
};

struct web_call { /* one that is being answered */
    struct web *web;
    struct world *world;
    const struct web_request *request;
    const struct http_request *head;
    const struct json *body;
    wall_t now;
    struct session session; /* id 0: nobody is signed in */
    unsigned status;
    const char *why; /* of a status >= 400 */
    struct buf lines, out;
    struct json_writer answer; /* members of the body's object */
    char lines_mem[1024], out_mem[WEB_BODY_MAX];
};

/* For the calls: the status, with words for people. */
unsigned web_fail(struct web_call *c, unsigned status, const char *why);
unsigned web_trouble(struct web_call *c, enum err e); /* of the store, memory ... */
slice web_text(const struct web_call *c, const char *name);

/* web_sign.c */
unsigned web_get_session(struct web_call *c);
unsigned web_logout(struct web_call *c);
unsigned web_invite_options(struct web_call *c);
unsigned web_invite_finish(struct web_call *c);
unsigned web_login_options(struct web_call *c);
unsigned web_login_finish(struct web_call *c);
unsigned web_devices(struct web_call *c);
unsigned web_device_delete(struct web_call *c);
/* web_people.c */
unsigned web_people(struct web_call *c);
unsigned web_turn(struct web_call *c);
/* web_guest.c */
unsigned web_guest_call(struct web_call *c);
unsigned web_guest_options(struct web_call *c);
void web_guests_sweep(struct web *w, wall_t now); /* those whose time is over, end */
/* The guest that this session is, for a WebSocket from this origin. 0: none, or not from there. */
uint32_t web_guest_enter(struct web *w, uint32_t session_id, slice origin, wall_t now);

#endif
