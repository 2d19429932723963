/* base/lock.h - the lock of the tables that workers share: it spins a little, then sleeps.
 *
 * Purpose:  protocol code has no threads of its own; a few tables (accounts, location, used nonces)
 *           are read by all workers. Their locks are held for a look-up only, so waiting a few
 *           hundred cycles is nearly always cheaper than the kernel.
 * Rules:    one lock at a time; nothing that may block happens under it. Not recursive.
 *
 *   lock_take(&shard->lock); ... lock_give(&shard->lock);                                       */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include "base/defs.h"
#include <pthread.h>

struct lock {
    pthread_mutex_t mutex;
};

static inline void lock_init(struct lock *l) {
    pthread_mutexattr_t attr;
    int r = pthread_mutexattr_init(&attr);
    ASSERT(r == 0);
#ifdef __GLIBC__
    r = pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    ASSERT(r == 0);
#endif
    r = pthread_mutex_init(&l->mutex, &attr);
    ASSERT(r == 0);
    (void)pthread_mutexattr_destroy(&attr);
}
static inline void lock_fini(struct lock *l) {
    (void)pthread_mutex_destroy(&l->mutex);
}
static inline void lock_take(struct lock *l) {
    int r = pthread_mutex_lock(&l->mutex);
    ASSERT(r == 0);
}
static inline void lock_give(struct lock *l) {
    int r = pthread_mutex_unlock(&l->mutex);
    ASSERT(r == 0);
}

#endif
