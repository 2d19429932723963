/* Mail to other workers that their full mailboxes have refused, and that nothing would make good:
 * what must arrive is kept here and sent again until there is room. Bounded in number and in time;
 * mail that comes later may overtake it. */
#include "core/core_priv.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#define MAIL_AGAIN_MS  20
#define MAIL_TRIES_MAX 1600 /* 32 s: no transaction waits for longer (RFC 3261 17) */

struct owed_mail {
    struct list link;
    unsigned worker;
    struct core_mail mail;
    char bytes[];
};

void core_mail(struct core *c, unsigned worker, const struct core_mail *mail) {
    struct core_effect *fx = core_effect(c, FX_MAIL);
    if (!fx) return;
    fx->worker = worker;
    fx->mail = *mail;
    fx->mail.from_worker = (uint8_t)c->worker;
    COUNT(c, mails_out);
}

bool mail_owe(struct core *c, unsigned worker, const struct core_mail *mail) {
    struct owed_mail *o = NULL;
    if (c->owed_count < LIMIT_OWED_MAILS && mail->tries < MAIL_TRIES_MAX)
        o = mem_alloc(sizeof *o + mail->bytes.len);
    if (!o) {
        LOG(LOG_ERROR, "mail.lost", LOG_F_U64("worker", worker));
        return false;
    }
    o->worker = worker;
    o->mail = *mail;
    o->mail.tries++;
    if (mail->bytes.len) memcpy(o->bytes, mail->bytes.ptr, mail->bytes.len);
    o->mail.bytes = slice_of(o->bytes, mail->bytes.len);
    list_init(&o->link);
    list_push(&c->owed, &o->link);
    if (c->owed_count++ == 0) {
        c->owed_timer.kind = TIMER_MAIL;
        timer_start(&c->timers, &c->owed_timer, c->now.mono + MAIL_AGAIN_MS);
    }
    return true;
}

/* What is refused once more comes back by core_mail_refused, after this. */
void mail_again(struct core *c) {
    for (struct list *l; (l = list_pop(&c->owed));) {
        struct owed_mail *o = LIST_ITEM(l, struct owed_mail, link);
        o->mail.bytes = core_out_copy(c, o->mail.bytes);
        core_mail(c, o->worker, &o->mail);
        mem_free(o);
    }
    c->owed_count = 0;
}

void mail_forget(struct core *c) {
    for (struct list *l; (l = list_pop(&c->owed));) mem_free(LIST_ITEM(l, struct owed_mail, link));
}
