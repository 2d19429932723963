/* What a phone remembers of its dialogs: RFC 3261 12, seen from the outside. */
#include "replay.h"

struct dialog *dialog_new(struct world *w, struct agent *a) {
    if (a->dialog_count == DIALOGS_MAX) {
        (void)complain(w, "too many dialogs of one agent");
        return NULL;
    }
    struct dialog *d = arena_alloc(&w->arena, sizeof *d);
    if (!d) {
        (void)complain(w, "the scenario is too long for its memory");
        return NULL;
    }
    memset(d, 0, sizeof *d);
    a->dialogs[a->dialog_count++] = d;
    a->now = d;
    return d;
}

struct dialog *dialog_named(struct agent *a, slice name) {
    for (unsigned i = 0; i < a->dialog_count; i++)
        if (a->dialogs[i]->name.len && slice_eq(a->dialogs[i]->name, name)) return a->dialogs[i];
    return NULL;
}

/* The URI of the first Contact, kept as it is: the message lives as long as the scenario. */
static slice contact_of(const struct sip_msg *m) {
    slice v;
    struct hdr_contact c;
    if (hdr_value_first(m, HDR_CONTACT, &v) != ERR_OK || hdr_contact(v, &c) != ERR_OK || c.is_star)
        return SLICE_NONE;
    return c.addr.uri_text;
}

/* RFC 3261 12.1: the callee takes Record-Route as it stands, the caller in reverse. */
static void take_routes(struct dialog *d, const struct sip_msg *m, bool is_caller) {
    struct hdr_values it = hdr_values_of(m, HDR_RECORD_ROUTE);
    d->route_count = 0;
    for (slice v; d->route_count < ROUTES_MAX && hdr_values_next(&it, &v);)
        d->routes[d->route_count++] = v;
    for (unsigned i = 0; is_caller && i < d->route_count / 2; i++) {
        slice swap = d->routes[i];
        d->routes[i] = d->routes[d->route_count - 1 - i];
        d->routes[d->route_count - 1 - i] = swap;
    }
}

static bool makes_dialog(unsigned method) {
    return method == SIP_INVITE || method == SIP_SUBSCRIBE || method == SIP_REFER;
}
static bool refreshes_target(unsigned method) {
    return method == SIP_INVITE || method == SIP_UPDATE || method == SIP_SUBSCRIBE;
}

/* The dialog of this agent with these tags; an unanswered one when the other tag is still unknown.
 */
static struct dialog *find(struct agent *a, slice call_id, slice local_tag, slice remote_tag) {
    struct dialog *open = NULL;
    for (unsigned i = 0; i < a->dialog_count; i++) {
        struct dialog *d = a->dialogs[i];
        if (!slice_eq(d->call_id, call_id) || !slice_eq(d->local_tag, local_tag)) continue;
        if (slice_eq(d->remote_tag, remote_tag)) return d;
        if (!open || !d->remote_tag.len) open = d;
    }
    return open;
}

static bool hear_response(struct world *w, struct agent *a, const struct sip_msg *m) {
    struct dialog *d = find(a, m->call_id, m->from.tag, m->to.tag);
    if (!d) return true;
    if (m->status > 100 && m->status < 300 && makes_dialog(m->method) && m->to.tag.len &&
        !slice_eq(d->remote_tag, m->to.tag)) {
        if (d->remote_tag.len) { /* another branch of a fork: RFC 3261 13.2.2.4 */
            struct dialog *fork = dialog_new(w, a);
            if (!fork) return false;
            *fork = *d;
            fork->name = SLICE_NONE;
            d = fork;
        }
        d->remote = m->to.value;
        d->remote_tag = m->to.tag;
        take_routes(d, m, true);
    }
    if (m->status > 100 && m->status < 300 && refreshes_target(m->method) && contact_of(m).len)
        d->target = contact_of(m);
    if (m->status >= 200 && m->method == SIP_INVITE) {
        d->final = m->status;
        d->final_to = m->to.value;
    }
    if (m->method != SIP_REGISTER) a->now = d;
    return true;
}

/* A request that opens something: this side gets a tag. */
static bool hear_first(struct world *w, struct agent *a, const struct sip_msg *m,
                       struct dialog **out) {
    struct dialog *d = dialog_new(w, a);
    if (!d) return false;
    d->call_id = m->call_id;
    d->local_tag = text_fresh(w, "t");
    d->local =
        text_make(w, SLICE_FMT ";tag=" SLICE_FMT, SLICE_ARG(m->to.value), SLICE_ARG(d->local_tag));
    d->remote = m->from.value;
    d->remote_tag = m->from.tag;
    d->target = contact_of(m);
    take_routes(d, m, false);
    *out = d;
    return true;
}

static struct dialog *dialog_of_cancel(const struct agent *a, const struct sip_msg *m) {
    for (unsigned i = a->heard_count; i > 0; i--) {
        const struct heard *h = a->heard[i - 1];
        if (h->m.msg->method == SIP_INVITE && slice_eq(h->m.msg->call_id, m->call_id) &&
            slice_eq(h->m.msg->via.branch, m->via.branch))
            return h->dialog;
    }
    return NULL;
}

static bool hear_request(struct world *w, struct agent *a, const struct message *message) {
    const struct sip_msg *m = message->msg;
    struct dialog *d = NULL;
    if (m->method == SIP_CANCEL) {
        d = dialog_of_cancel(a, m);
        if (!d)
            return complain(w,
                            "this CANCEL has no INVITE of the same Call-ID and branch:\n" SLICE_FMT,
                            SLICE_ARG(message->bytes));
    } else if (m->to.tag.len) {
        d = find(a, m->call_id, m->to.tag, m->from.tag);
        if (d && refreshes_target(m->method) && contact_of(m).len) d->target = contact_of(m);
    } else if (!hear_first(w, a, m, &d)) {
        return false;
    }
    if (a->heard_count == HEARD_MAX) return complain(w, "too many requests to one agent");
    struct heard *h = arena_alloc(&w->arena, sizeof *h);
    if (!h) return complain(w, "the scenario is too long for its memory");
    *h = (struct heard){ .m = *message, .dialog = d, .is_answered = m->method == SIP_ACK };
    a->heard[a->heard_count++] = h;
    if (d) a->now = d;
    return true;
}

bool agent_hear(struct world *w, struct agent *a, const struct message *m) {
    return m->msg->is_request ? hear_request(w, a, m) : hear_response(w, a, m->msg);
}

struct heard *agent_unanswered(struct agent *a, slice method, const struct dialog *in) {
    for (unsigned i = a->heard_count; i > 0; i--) {
        struct heard *h = a->heard[i - 1];
        if (h->is_answered || (in && h->dialog != in)) continue;
        if (!method.len || slice_eq(h->m.msg->method_name, method)) return h;
    }
    return NULL;
}
