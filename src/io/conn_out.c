#include "io/io_internal.h"

#include "base/mem.h"
#include <errno.h>
#include <sys/socket.h>

/* ---- towards the kernel ---- */

static void outbox_add(struct conn *c, slice bytes) {
    struct io *io = c->io;
    struct outbox *o = c->outbox;
    size_t waiting = o ? o->len - o->at : 0;
    size_t need = waiting + bytes.len;
    if (need > io->limits.out_bytes_max) {
        io_count(&io->counters.closed_stalled, 1);
        conn_kill(c);
        return;
    }
    if (o && o->at) {
        memmove(o->bytes, o->bytes + o->at, waiting);
        o->at = 0;
        o->len = (uint32_t)waiting;
    }
    if (!o || need > o->cap) {
        size_t cap = o ? o->cap * 2u : 4096u;
        if (cap < need) cap = need;
        struct outbox *grown = mem_grow(o, sizeof *o + cap);
        if (!grown) {
            conn_kill(c);
            return;
        }
        if (!o) *grown = (struct outbox){ 0 };
        c->outbox = o = grown;
        o->cap = (uint32_t)cap;
    }
    memcpy(o->bytes + o->len, bytes.ptr, bytes.len);
    o->len += (uint32_t)bytes.len;
    if (!c->write_timer.armed)
        timer_start(&io->timers, &c->write_timer, io->now.mono + io->limits.stall_ms);
    if (loop_mod(io->loop, &c->source, c->source.interest | LOOP_WRITE) != ERR_OK) conn_kill(c);
}

/* How much the kernel took; -1: the connection is over. */
static ssize_t kernel_send(struct conn *c, slice bytes) {
    ssize_t n = send(c->source.fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
    if (n >= 0) {
        io_count(&c->io->counters.bytes_out, (uint64_t)n);
        return n;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS) return 0;
    conn_broken(c, "the connection was reset");
    return -1;
}

static void send_bytes(struct conn *c, slice bytes) {
    if (c->state == CONN_DEAD || bytes.len == 0) return;
    if (!c->outbox) {
        ssize_t n = kernel_send(c, bytes);
        if (n < 0) return;
        bytes = slice_from(bytes, (size_t)n);
    }
    if (bytes.len) outbox_add(c, bytes);
}

void conn_send_wire(struct conn *c) {
    struct tls_wire *w = &c->io->wire;
    size_t n = w->out_len;
    w->out_len = 0;
    send_bytes(c, slice_of(w->out, n));
}

/* ---- gathering ---- */

static void say_now(struct conn *c, slice bytes) {
    if (!c->tls.ssl) {
        send_bytes(c, bytes);
        return;
    }
    while (bytes.len && c->state != CONN_DEAD) {
        slice piece = slice_head(bytes, TLS_WRITE_MAX);
        if (tls_write(&c->tls, piece.ptr, piece.len) != ERR_OK) {
            c->io->wire.out_len = 0;
            conn_kill(c);
            return;
        }
        conn_send_wire(c);
        bytes = slice_from(bytes, piece.len);
    }
}

static struct out_block *block_take(struct io *io) {
    struct out_block *b = io->free_blocks;
    if (b)
        io->free_blocks = b->next;
    else
        b = mem_alloc(sizeof *b);
    if (b) b->len = 0;
    return b;
}

static void write_gathered(struct conn *c) {
    struct out_block *b = c->out;
    if (!b) return;
    c->out = NULL;
    say_now(c, slice_of(b->bytes, b->len));
    b->next = c->io->free_blocks;
    c->io->free_blocks = b;
}

void conn_say(struct conn *c, slice bytes) {
    struct io *io = c->io;
    if (c->state == CONN_DEAD || c->state == CONN_LINGER) return;
    if (c->out && bytes.len > IO_BLOCK_BYTES - c->out->len) write_gathered(c);
    if (c->state == CONN_DEAD) return;
    if (!c->out && bytes.len <= IO_BLOCK_BYTES) c->out = block_take(io);
    if (!c->out) { /* larger than a block, or memory is short */
        say_now(c, bytes);
        return;
    }
    memcpy(c->out->bytes + c->out->len, bytes.ptr, bytes.len);
    c->out->len += bytes.len;
    if (list_linked(&c->dirty)) return;
    list_push(&io->dirty, &c->dirty);
    io->dirty_count++;
}

/* The last bytes are with the kernel: close our side. */
static void shut(struct conn *c) {
    if (c->tls.ssl) {
        tls_close_notify(&c->tls);
        conn_send_wire(c);
    }
    if (c->state == CONN_DEAD) return;
    c->state = CONN_LINGER;
    timer_start(&c->io->timers, &c->read_timer, c->io->now.mono + c->io->limits.linger_ms);
    if (shutdown(c->source.fd, SHUT_WR) < 0)
        conn_kill(c);
    else if (c->is_ending) /* its end has been told already */
        loop_again(c->io->loop, &c->source);
}

void conn_flush(struct conn *c) {
    write_gathered(c);
    if (c->state == CONN_CLOSING && !c->outbox) shut(c);
}

void io_flush(struct io *io) {
    for (struct list *l; (l = list_pop(&io->dirty)) != NULL;) {
        io->dirty_count--;
        conn_flush(LIST_ITEM(l, struct conn, dirty));
    }
}

void conn_writable(struct conn *c) {
    struct io *io = c->io;
    struct outbox *o = c->outbox;
    if (o) {
        ssize_t n = kernel_send(c, slice_of(o->bytes + o->at, o->len - o->at));
        if (n <= 0) return;
        o->at += (uint32_t)n;
        timer_start(&io->timers, &c->write_timer, io->now.mono + io->limits.stall_ms);
        if (o->at < o->len) return;
        c->outbox = NULL;
        mem_free(o);
    }
    timer_stop(&io->timers, &c->write_timer);
    if (loop_mod(io->loop, &c->source, LOOP_READ) != ERR_OK) {
        conn_kill(c);
        return;
    }
    if (c->relayed) relay_stream_writable(c);
    if (c->state == CONN_CLOSING) shut(c);
}
