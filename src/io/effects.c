#include "io/io_internal.h"

#include "base/mem.h"

static void refuse_later(struct io *io, unsigned worker, const struct core_mail *mail) {
    io_count(&io->counters.mails_refused, 1);
    struct refused *r = mem_alloc(sizeof *r + mail->bytes.len);
    if (!r) return; /* timers of the transaction end what waits for it */
    r->worker = worker;
    r->mail = *mail;
    if (mail->bytes.len) memcpy(r->bytes, mail->bytes.ptr, mail->bytes.len);
    r->mail.bytes = slice_of(r->bytes, mail->bytes.len);
    list_push(&io->refused, &r->link);
}

static void do_send(struct io *io, const struct core_effect *fx) {
    struct conn *c = conn_of(io, fx->flow);
    if (c) {
        conn_say_message(c, fx->bytes);
        loop_rank_changed(io->loop, &c->source); /* it may be in a call by now */
        if (io->dirty_count >= IO_DIRTY_MAX) io_flush(io);
        return;
    }
    const struct flow_info *info = io->udp ? core_flow_info(io->core, fx->flow) : NULL;
    if (info && info->transport == FLOW_UDP) udp_say(io, info, fx->bytes);
}

static void do_mail(struct io *io, const struct core_effect *fx) {
    struct io *to = fx->worker < io->peer_count ? io->peers[fx->worker] : NULL;
    if (!to || io_post_mail(to, &fx->mail) != ERR_OK) refuse_later(io, fx->worker, &fx->mail);
}

static void perform(struct io *io, const struct core_effect *fx) {
    switch (fx->kind) {
    case FX_SEND:
        do_send(io, fx);
        break;
    case FX_CLOSE: {
        struct conn *c = conn_of(io, fx->flow);
        if (c) conn_finish(c);
        break;
    }
    case FX_MAIL:
        do_mail(io, fx);
        break;
    case FX_STORE:
        if (io->hooks.on_store)
            io->hooks.on_store(io->hooks.ctx, io->worker, fx->change, fx->ticket);
        break;
    case FX_TRACE:
        if (io->hooks.on_trace) io->hooks.on_trace(io->hooks.ctx, io->worker, fx->bytes);
        break;
    case FX_DNS:
        dns_ask(io, fx);
        break;
    case FX_CONNECT:
        connect_begin(io, fx);
        break;
    case FX_CONNECT_CANCEL:
        connect_cancel(io, fx->ticket);
        break;
    }
}

/* One thing that core has not heard yet; false when there is none. */
static bool tell_core(struct io *io) {
    struct list *l = list_pop(&io->gone);
    if (l) {
        struct conn *c = LIST_ITEM(l, struct conn, gone);
        flow_id flow = c->flow;
        c->flow = FLOW_NONE;
        core_flow_closed(io->core, flow, io->now);
        return true;
    }
    l = list_pop(&io->answers);
    if (l) {
        struct answer a = *LIST_ITEM(l, struct answer, link);
        mem_free(LIST_ITEM(l, struct answer, link));
        flow_id none;
        if (a.is_dns)
            dns_failed(io, a.ticket);
        else if (core_connected(io->core, a.ticket, a.result, a.why, NULL, io->now, &none) ==
                 ERR_OK)
            ASSERT(false); /* there is nothing that it could have taken */
        return true;
    }
    l = list_pop(&io->refused);
    if (!l) return dns_take(io);
    struct refused *r = LIST_ITEM(l, struct refused, link);
    core_mail_refused(io->core, r->worker, &r->mail, io->now);
    mem_free(r);
    return true;
}

bool io_owes_core(const struct io *io) {
    return !list_empty(&io->gone) || !list_empty(&io->answers) || !list_empty(&io->refused);
}

void io_drain_effects(struct io *io) {
    struct core_effect fx;
    do {
        while (core_next_effect(io->core, &fx)) perform(io, &fx);
    } while (tell_core(io));
}
