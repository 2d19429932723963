/* registrar/job.h - one REGISTER under work; only registrar.c and job_read.c include it.
 *
 * The job lives on the stack of registrar_register() and in its arena; registrar.c tells the steps.
 */
#ifndef REGISTRAR_JOB_H
#define REGISTRAR_JOB_H

#include "registrar/registrar.h"
#include "registrar/table.h"
#include "sip/hdr.h"

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
    uint32_t bid;
    uint64_t instance_hash, change;
    bool lazy;        /* a mere refresh */
    bool is_new_call; /* RFC 5627 5.1: all former temporary GRUUs of the device end */
};

/* A further binding of a device whose Call-ID changed. */
struct kin {
    struct entry *entry;
    const struct want *by;
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
    struct kin *kin;     /* those that only move to their device's new epoch */
    unsigned kin_count;
    bool is_star, has_contact, is_outbound, is_first_hop;
    bool has_gruu; /* RFC 5627 5.2: the phone supports them */
    slice path;    /* all values, comma-separated */
    struct buf answer;
};

/* DENIED: the answer is a refusal. `reason` goes into a Warning. */
NODISCARD enum err job_refuse(struct job *j, unsigned status, const char *reason);
/* What the request wants, and what can be refused without looking at the table (without its lock).
 * DENIED, MEMORY. */
NODISCARD enum err job_read(struct job *j);

#endif
