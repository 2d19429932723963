/* os/mailbox.h - letters between threads: many writers, one reader, a fixed number of places.
 *
 * Purpose:  how workers, the store thread and the admin reach a worker. A letter is one heap
 *           block: a head of fixed form (the kind is the user's) and a copy of some bytes.
 * Limits:   `places` letters at most. Ordinary ones are refused above half of it; those that
 *           must arrive (responses, ACK, CANCEL, BYE, results) have the other half too, so that
 *           overload never cuts off the calls that are up. A sender never blocks: ERR_FULL.
 * Order:    the letters of one sender arrive in the order it sent them.
 * Threads:  mailbox_send from any; all else by the reader. The reader's loop is woken when it
 *           sleeps. Writers share three atomic words, no lock.                             */
#ifndef OS_MAILBOX_H
#define OS_MAILBOX_H

#include "base/slice.h"

struct loop;
struct mailbox; /* opaque */

struct letter_link { /* the mailbox's */
    struct letter_link *_Atomic next;
};
struct letter {
    struct letter_link link; /* first: a letter and its link have one address */
    slice bytes;             /* behind the head, in the same block */
    _Alignas(16) unsigned char head[];
};

/* `loop` is the reader's and outlives the mailbox. places >= 2. */
NODISCARD enum err mailbox_new(struct loop *loop, uint32_t places, struct mailbox **out);
void mailbox_free(struct mailbox *m); /* with the letters in it; no sender may be left */

/* FULL: refused, nothing was kept. MEMORY. */
NODISCARD enum err mailbox_send(struct mailbox *m, const void *head, size_t head_len, slice bytes,
                                bool must_arrive);
/* The oldest letter, the reader's to mem_free; NULL when there is none. */
struct letter *mailbox_take(struct mailbox *m);
/* May be false for a letter that its sender has not finished; then that sender wakes us. */
bool mailbox_has_letters(const struct mailbox *m);
uint32_t mailbox_count(const struct mailbox *m); /* from any thread: places in use */

#endif
