#include "proxy/best.h"

/* Lower is better. RFC 3261 16.7 step 6: a 6xx wins over all; else the lowest class; within 4xx
 * those that tell the caller how to succeed (401, 407, 415, 420, 484) come first. RFC 4320 and
 * practice: a 408 or 503 is the least helpful answer of its class. 430 (RFC 5626 11.5) is between
 * nodes only. */
static unsigned best_rank(unsigned status) {
    unsigned class = status / 100;
    if (class == 6) return 0;
    if (class == 3) return 100;
    if (class == 4) {
        switch (status) {
        case 401:
        case 407:
            return 200;
        case 415:
        case 420:
        case 484:
            return 210;
        case 408:
        case 430:
        case 480:
            return 290; /* nobody was there: any answer of a person or phone tells more */
        case 487:
            return 280;
        default:
            return 220;
        }
    }
    return status == 503 ? 390 : 300;
}

bool best_is_better(unsigned a, unsigned b) {
    if (b == 0) return true;
    return best_rank(a) < best_rank(b);
}

unsigned best_as_sent(unsigned best) {
    if (best == 430) return 480; /* RFC 5626 11.5: between nodes only */
    return best == 503 ? 500 : best;
}
