/* FX_DNS: a question for the resolver, and its answer for core. Servers that serve their own domain
 * only never ask, so all of this is made with the first question. */
#include "io/io_internal.h"

#include "base/mem.h"
#include "os/resolver.h"
#include "sip/dns_reply.h"

struct question {
    struct list link; /* asker->open */
    uint64_t ticket;
    enum dns_type type;
    size_t name_len;
    char name[];
};
struct asker {
    struct resolver *resolver;
    struct list open;
    struct dns_reply reply; /* what the reader fills */
};

static enum err asker_new(struct io *io) {
    struct asker *a = mem_zalloc(sizeof *a);
    if (!a) return ERR_MEMORY;
    struct resolver_config c = { .loop = io->loop,
                                 .servers = io->dns_servers,
                                 .server_count = io->dns_server_count };
    enum err e = resolver_new(&c, &a->resolver);
    if (e != ERR_OK) {
        mem_free(a);
        return e;
    }
    list_init(&a->open);
    io->asker = a;
    return ERR_OK;
}

static void question_end(struct question *q) {
    list_remove(&q->link);
    mem_free(q);
}

void asker_free(struct asker *a) {
    if (!a) return;
    resolver_free(a->resolver);
    while (!list_empty(&a->open)) question_end(LIST_ITEM(a->open.next, struct question, link));
    mem_free(a);
}

static enum err ask(struct io *io, const struct core_effect *fx) {
    enum err e = io->is_closing ? ERR_CLOSED : io->asker ? ERR_OK : asker_new(io);
    if (e != ERR_OK) return e;
    struct question *q = mem_alloc(sizeof *q + fx->name.len);
    if (!q) return ERR_MEMORY;
    q->ticket = fx->ticket;
    q->type = (enum dns_type)fx->dns_type;
    q->name_len = fx->name.len;
    if (fx->name.len) memcpy(q->name, fx->name.ptr, fx->name.len);
    list_push(&io->asker->open, &q->link);
    e = resolver_ask(io->asker->resolver, fx->name, dns_wire_type(q->type), (uint64_t)(uintptr_t)q,
                     io->now.mono);
    if (e != ERR_OK) question_end(q);
    return e;
}

void dns_ask(struct io *io, const struct core_effect *fx) {
    io_count(&io->counters.dns_questions, 1);
    if (ask(io, fx) != ERR_OK)
        answer_later(io, (struct answer){ .is_dns = true, .ticket = fx->ticket });
}

void dns_failed(struct io *io, uint64_t ticket) {
    struct dns_answer none = { .result = DNS_FAIL };
    io_count(&io->counters.dns_failures, 1);
    core_dns(io->core, ticket, &none, io->now);
}

bool dns_take(struct io *io) {
    struct asker *a = io->asker;
    struct resolver_reply reply;
    if (!a || !resolver_next(a->resolver, &reply)) return false;
    struct question *q = (struct question *)(uintptr_t)reply.ticket; /* as given in ask() */
    struct dns_question asked = { slice_of(q->name, q->name_len), q->type };
    struct dns_answer answer;
    dns_reply_read(reply.message, &asked, &a->reply, &answer);
    uint64_t ticket = q->ticket;
    question_end(q);
    if (answer.result == DNS_FAIL)
        dns_failed(io, ticket);
    else
        core_dns(io->core, ticket, &answer, io->now);
    return true;
}

void dns_run(struct io *io) {
    if (io->asker) resolver_run(io->asker->resolver, io->now.mono);
}

mono_t dns_wake_at(const struct io *io) {
    return io->asker ? resolver_wake_at(io->asker->resolver) : MONO_NEVER;
}
