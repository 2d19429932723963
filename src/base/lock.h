/* base/lock.h - the one lock of the house: held for a look-up or a change of a shared table.
 *
 * Never held while something is sent, awaited or logged, and never two at once but where a header
 * says so. It is not recursive; misuse is our bug and asserts. Threads: that is what it is for. */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include "base/defs.h"
#include <pthread.h>

struct lock {
    pthread_mutex_t mutex;
};

static inline void lock_init(struct lock *l) {
    ASSERT(pthread_mutex_init(&l->mutex, NULL) == 0);
}
static inline void lock_fini(struct lock *l) {
    ASSERT(pthread_mutex_destroy(&l->mutex) == 0);
}
static inline void lock_take(struct lock *l) {
    ASSERT(pthread_mutex_lock(&l->mutex) == 0);
}
static inline void lock_give(struct lock *l) {
    ASSERT(pthread_mutex_unlock(&l->mutex) == 0);
}

#endif
