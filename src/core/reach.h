/* core/reach.h - where a device can be reached now: by a side of a route token, or by a GRUU.
 *
 * A side of a dialog is known by its flow and, durably, by its binding; a device with several flows
 * (RFC 5626) is reached over whichever lives. A GRUU (RFC 5627) is read without a table
 * (sip/token.h); what it leads to are the bindings of its device. Nothing is kept in here; results
 * lie in the core's arena of this turn. */
#ifndef CORE_REACH_H
#define CORE_REACH_H

#include "auth/accounts.h"
#include "base/limits.h"
#include "core/context.h"
#include "registrar/location.h"
#include "sip/msg.h"
#include "sip/token.h"
#include "sip/uri.h"

struct core;

/* Where a side can be reached now: its flow of the token, else its binding's present one, else
 * another flow of that device. */
flow_id side_flow(struct core *c, const struct route_side *side);
/* All of these, in that order; more than one only when they are of one instance. */
unsigned side_targets(struct core *c, const struct route_side *side,
                      struct target out[static LIMIT_FORKS]);
/* false: its flow is gone, or may not carry a sips request. */
bool binding_target(struct core *c, const struct binding *b, bool is_sips, struct target *out);
enum gruu_state {
    GRUU_NONE,   /* not a GRUU of a domain of ours */
    GRUU_VALID,  /* of this account and device */
    GRUU_VOID,   /* was one of this account and device: ended by a new Call-ID or its last expiry */
    GRUU_UNKNOWN /* forged, or of an account that is no more */
};
enum gruu_state gruu_find(struct core *c, const struct sip_uri *uri, struct account *out,
                          uint64_t *out_instance);
/* The registered contact of this flow when the URI is a GRUU of its device; else the URI as it is.
 */
slice gruu_contact(struct core *c, slice uri_text, flow_id flow);
/* The targets of a request inside a dialog whose Request-URI is a GRUU of that side; left alone
 * when it is none. false: 404. */
bool gruu_in_dialog(struct core *c, const struct sip_msg *m, const struct route_side *side,
                    struct target out[static LIMIT_FORKS], unsigned *count);

#endif
