/* core/peer.h - other domains: requests go out to them and come in from them over TLS, each side
 * proving by certificate which domain it is. RFC 3263, 5922, 5923; docs/federation.md.
 *
 * Out:   a target whose flow must be found carries the ticket of a hop: next host and port, on
 * behalf of one of our domains. The first who needs a hop has it searched for (sip/target.h),
 * others wait for the same search; what was found serves all for a minute, then the search is made
 *        again (mostly from memory) and ends at the same connection.
 * In:    a flow whose certificate names domains (auth/peer_name.h) holds them as its identity; a
 *        request must come From one of them.
 * Names: a domain is known by a durable 32-bit id, keyed, so that a route token can name it: a side
 *        with account 0 and that id as its bid is a domain.
 * Reuse: node_peer_find tells all workers' flows. A connection we made serves for requests to every
 *        domain that its certificate names and that resolves to the same address; one that we
 *        accepted serves when its peer has said ";alias" (RFC 5923 8.2). */
#ifndef CORE_PEER_H
#define CORE_PEER_H

#include "core/context.h"

#define PEER_PORT 5061 /* RFC 3261 19.1.2: SIP over TLS, when none is written */

struct core;
struct flow;
struct peer_cert;
struct sip_msg;
struct sip_uri;
struct route_side;
struct peers; /* one core's */

NODISCARD enum err peers_new(struct core *c);
void peers_free(struct core *c);
bool peers_pump(struct core *c); /* the effects of searches; false: there were none */
void peers_run_timers(struct core *c);
mono_t peers_wake_at(const struct core *c);
/* core's find_flow: see context.h. */
unsigned peer_find_flow(struct core *c, uint64_t owner, unsigned branch, const struct target *to,
                        flow_id *out);

/* Our domain that this account belongs to; the first one for account 0. Lives for this turn. */
slice peer_own_domain(struct core *c, uint32_t account_id);
/* The operator's rules: words to refuse that domain with; NULL: welcome. */
const char *peer_refusal(struct core *c, slice domain);
/* A target at another domain, for a request on behalf of `own`. 0, or the status to refuse it with
 * and words. */
unsigned peer_target(struct core *c, slice own, const struct sip_uri *uri, struct target *out,
                     const char **words);
/* A request of one of our accounts to another domain. */
void peer_call(struct core *c, struct flow *flow, const struct sip_msg *m, uint32_t sender,
               unsigned own_routes);
/* Inside a dialog: where a side that is a domain can be reached: over the flow of the token,
 * another one of the same domain, or one that must be found by the request's next hop. The count.
 */
unsigned peer_side_targets(struct core *c, const struct route_side *side, uint32_t local_account,
                           const struct sip_msg *m, unsigned own_routes, struct target *out);
/* Its server has answered: it lives, and may tell how much it can bear (RFC 7339). */
void peer_heard(struct core *c, const struct target *to, const struct sip_msg *m);
/* A request inside a dialog has been sent to it: it counts for what share of all is new (RFC 7339).
 */
void peer_sends_in_dialog(struct core *c, const struct target *to);
/* Have its flow found for those who come later. */
void peer_prepare(struct core *c, const struct target *to, uint32_t account_id);
/* RFC 3261 18.2.2: the connection of this context's sender, another domain, has broken: have one
 * made to it. context_sender_found tells the outcome, if this is true. */
bool peer_seek_sender(struct core *c, uint64_t owner);
/* RFC 5923 8.1: the connection that this branch went over is gone: have one made to the same
 * server. context_branch_flow or context_branch_no_flow tells the outcome, if this is true. */
bool peer_seek_again(struct core *c, const struct context *x, const struct branch *b);
/* Where the server is that this flow leads to; family NONE: a phone, or it is not known. */
struct addr peer_address(struct core *c, const struct target *to);
/* Any flow of the domain `side->bid`, for answers; FLOW_NONE. */
flow_id peer_side_flow(struct core *c, const struct route_side *side);

/* A flow is up: what is its certificate worth? `asked`: the domain we wanted, empty when accepted.
 */
void peer_flow_open(struct core *c, struct flow *flow, const struct peer_cert *cert, slice asked);
void peer_flow_closed(struct core *c, struct flow *flow);
/* RFC 5923 8.2: a request with ";alias" in its topmost Via. */
void peer_alias(struct core *c, struct flow *flow, const struct sip_msg *m);
/* Does the flow hold the domain of this id? */
bool peer_holds(struct core *c, flow_id flow, uint32_t domain_id);
/* Is this request another domain's, or does it claim to be? */
bool peer_is_sender(struct core *c, const struct flow *flow, const struct sip_msg *m);
/* true: it is, and *out is the id of the domain it speaks for. false: it has been answered. */
bool peer_who(struct core *c, struct flow *flow, const struct sip_msg *m, uint32_t *out);
/* P-Asserted-Identity of a request that came from a domain: RFC 3325 5. Empty: none. */
slice peer_asserted(struct core *c, const struct sip_msg *m, uint32_t domain_id);
/* May who called be asserted to this target? */
bool peer_is_trusted(struct core *c, const struct target *to);
/* What we write into Record-Route instead of our own host for a side that is a domain. */
slice peer_route_host(struct core *c, uint32_t account_id, uint32_t bid, uint32_t other_account);

#endif
